//! Methods. A method table holds raw tagged words: entry 0 is the number of methods, whose tagged form is the index of
//! the last tag; entry 1 is a mask for caches; then come pairs of method and tag, sorted by tag.

use std::sync::atomic::Ordering;

use spelter_heap::raw::Value;

use super::{access, handlers};
use crate::exec::exit::SLOW;
use crate::exec::fault::Fault;
use crate::exec::regs::{Trust, cache_at, field, header, int, ints};

/// The index of `tag` in a method table, found by binary search, or of a neighbour if the tag is not there.
#[inline(always)]
fn search<T: Trust>(methods: Value, tag: Value) -> Result<usize, Fault> {
    let last = field::<T>(methods, 0)?;
    ints::<T>(last, tag)?;
    let (mut low, mut high) = (3, last.bits() as usize);
    if T::CHECKED && high >= header::<T>(methods)?.wosize() {
        return Err(Fault::Method);
    }
    while low < high {
        let middle = ((low + high) >> 1) | 1;
        let other = field::<T>(methods, middle)?;
        int::<T>(other)?;
        if (tag.bits() as i64) < other.bits() as i64 {
            high = middle - 2;
        } else {
            low = middle;
        }
    }
    Ok(low)
}

handlers! {
    GETMETHOD(r, m) {
        let methods = access!(r, m, field::<T>(r.peek(0), 0));
        let i = access!(r, m, int::<T>(r.accu));
        r.accu = access!(r, m, field::<T>(methods, i as usize));
    }
    GETPUBMET(r, m) {
        r.push(r.accu);
        let tag = Value::int(r.operand());
        let cache = cache_at(r.operand());
        let methods = access!(r, m, field::<T>(r.accu, 0));
        let cached = cache.load(Ordering::Relaxed) as usize;
        // The table may be of another class and shorter than the one that filled the cache, so its own length is used.
        let last = access!(r, m, field::<T>(methods, 0)).bits() as usize;
        let at = if cached <= last && access!(r, m, field::<T>(methods, cached)) == tag {
            cached
        } else if T::CHECKED && T::QUICK {
            // With its tests, the search needs more registers than the fast case should pay for.
            return SLOW;
        } else {
            let at = access!(r, m, search::<T>(methods, tag));
            cache.store(at as u64, Ordering::Relaxed);
            at
        };
        r.accu = access!(r, m, field::<T>(methods, at - 1));
    }
    GETDYNMET(r, m) {
        let methods = access!(r, m, field::<T>(r.peek(0), 0));
        let at = access!(r, m, search::<T>(methods, r.accu));
        r.accu = access!(r, m, field::<T>(methods, at - 1));
    }
}
