//! Structural comparison (OCaml's `compare.c`): without recursion, whatever the values' depth.

use std::cmp::Ordering;

use spelter_heap::raw::tag;
use spelter_interp::boxed::{Compared, behaviour};
use spelter_interp::{Machine, Raise, Res, Slot, Val, prims};

use crate::boolean;

/// Pending pairs of blocks beyond which OCaml's runtime gives up.
const MAX_PENDING: usize = 1024 * 1024 / 2 - 1;

/// Two blocks of the same size whose fields from `next` on are still to be compared.
#[derive(Clone, Copy)]
struct Pending<'m> {
    a: Val<'m>,
    b: Val<'m>,
    next: usize,
    size: usize,
}

/// A stack that needs no allocation while it is low.
struct Stack<'m> {
    low: [Pending<'m>; 8],
    depth: usize,
    high: Vec<Pending<'m>>,
}

impl<'m> Stack<'m> {
    fn new() -> Self {
        let none = Pending { a: Val::from_int(0), b: Val::from_int(0), next: 0, size: 0 };
        Stack { low: [none; 8], depth: 0, high: Vec::new() }
    }

    fn push(&mut self, pending: Pending<'m>) -> Result<(), Raise> {
        match self.low.get_mut(self.depth) {
            Some(place) => *place = pending,
            None if self.depth >= MAX_PENDING => return Err(Raise::OutOfMemory),
            None => self.high.push(pending),
        }
        self.depth += 1;
        Ok(())
    }

    /// The next two fields to compare.
    fn next(&mut self) -> Result<Option<(Val<'m>, Val<'m>)>, Raise> {
        let Some(top) = self.depth.checked_sub(1) else { return Ok(None) };
        let high = top.wrapping_sub(self.low.len());
        let pending = if top < self.low.len() { &mut self.low[top] } else { &mut self.high[high] };
        let fields = (pending.a.field(pending.next)?, pending.b.field(pending.next)?);
        pending.next += 1;
        if pending.next == pending.size {
            self.depth = top;
            self.high.truncate(high.min(self.high.len()));
        }
        Ok(Some(fields))
    }
}

/// The order of two floats: the total one, or none if a NaN is among them.
fn order_floats(x: f64, y: f64, total: bool) -> Option<Ordering> {
    match x.partial_cmp(&y) {
        // NaN equals itself and is below all others.
        None if total => Some(y.is_nan().cmp(&x.is_nan())),
        order => order,
    }
}

/// What a custom comparison says: `None` for unordered, unless the order asked for is total.
fn order_customs(c: Compared, total: bool) -> Option<Ordering> {
    if c.unordered && !total { None } else { Some(c.order) }
}

/// The order of an integer and a block, as the block's kind sees it; integers are smaller than most.
fn order_with_int(block: Val<'_>, int: i64, total: bool) -> Result<Option<Ordering>, Raise> {
    if block.tag()? == tag::CUSTOM
        && let Some(ext) = behaviour(block.custom_ops()?).and_then(|b| b.compare_ext)
    {
        return Ok(order_customs(ext(block, int), total));
    }
    Ok(Some(Ordering::Greater))
}

/// Compares two values. `None`: unordered, which happens only if the order asked for is not total.
///
/// The total order is `compare`'s: the very same block is equal to itself, unseen. The other one is that of `=`
/// and `<`, in which NaN is not comparable.
fn order(m: &Machine, a: Slot, b: Slot, total: bool) -> Result<Option<Ordering>, Raise> {
    let mut stack = None;
    let (mut a, mut b) = (m.val(a), m.val(b));
    loop {
        let found = if a.same(b) && (total || a.is_int()) {
            Some(Ordering::Equal)
        } else {
            match (a.int(), b.int()) {
                (Ok(i), Ok(j)) => Some(i.cmp(&j)),
                (Ok(i), Err(_)) => {
                    if b.tag()? == tag::FORWARD {
                        m.check_interrupt()?;
                        b = b.field(0)?;
                        continue;
                    }
                    order_with_int(b, i, total)?.map(Ordering::reverse)
                }
                (Err(_), Ok(j)) => {
                    if a.tag()? == tag::FORWARD {
                        m.check_interrupt()?;
                        a = a.field(0)?;
                        continue;
                    }
                    order_with_int(a, j, total)?
                }
                (Err(_), Err(_)) => match order_blocks(a, b, total)? {
                    Blocks::Ordered(found) => found,
                    Blocks::Fields(size) => {
                        // What leads back to itself has no end.
                        m.check_interrupt()?;
                        if size > 1 {
                            let stack = stack.get_or_insert_with(Stack::new);
                            stack.push(Pending { a, b, next: 1, size })?;
                        }
                        (a, b) = (a.field(0)?, b.field(0)?);
                        continue;
                    }
                    Blocks::Instead(x, y) => {
                        m.check_interrupt()?;
                        (a, b) = (x, y);
                        continue;
                    }
                },
            }
        };
        if found != Some(Ordering::Equal) {
            return Ok(found);
        }
        match stack.as_mut().map_or(Ok(None), Stack::next)? {
            Some(fields) => (a, b) = fields,
            None => return Ok(found),
        }
    }
}

/// What comparing two blocks by themselves leads to.
enum Blocks<'m> {
    /// They are ordered, or unordered.
    Ordered(Option<Ordering>),
    /// Their fields decide; they have that many, at least one.
    Fields(usize),
    /// These decide in their place.
    Instead(Val<'m>, Val<'m>),
}

#[inline]
fn order_blocks<'m>(a: Val<'m>, b: Val<'m>, total: bool) -> Result<Blocks<'m>, Raise> {
    let (mut a_tag, b_tag) = (a.tag()?, b.tag()?);
    if a_tag != b_tag {
        if a_tag == tag::FORWARD {
            return Ok(Blocks::Instead(a.field(0)?, b));
        }
        if b_tag == tag::FORWARD {
            return Ok(Blocks::Instead(a, b.field(0)?));
        }
        let outer = |t| if t == tag::INFIX { tag::CLOSURE } else { t };
        if outer(a_tag) != outer(b_tag) {
            return Ok(Blocks::Ordered(Some(outer(a_tag).cmp(&outer(b_tag)))));
        }
        a_tag = tag::CLOSURE;
    }
    let found = match a_tag {
        tag::FORWARD => return Ok(Blocks::Instead(a.field(0)?, b.field(0)?)),
        tag::STRING => Some(a.bytes()?.cmp(b.bytes()?)),
        tag::DOUBLE => order_floats(a.float()?, b.float()?, total),
        tag::DOUBLE_ARRAY => {
            let len = a.float_len()?;
            let mut found = Some(len.cmp(&b.float_len()?));
            let mut i = 0;
            while found == Some(Ordering::Equal) && i < len {
                found = order_floats(a.float_field(i)?, b.float_field(i)?, total);
                i += 1;
            }
            found
        }
        tag::ABSTRACT => return Err(Raise::invalid("compare: abstract value")),
        tag::CLOSURE | tag::INFIX => return Err(Raise::invalid("compare: functional value")),
        tag::OBJECT => Some(a.field(1)?.int()?.cmp(&b.field(1)?.int()?)),
        tag::CUSTOM => {
            let (a_ops, b_ops) = (a.custom_ops()?, b.custom_ops()?);
            let compare_of = |ops| behaviour(ops).and_then(|b| b.compare);
            match (compare_of(a_ops), compare_of(b_ops)) {
                (None, None) => return Err(Raise::invalid("compare: abstract value")),
                (Some(compare), Some(_)) if a_ops.name == b_ops.name => order_customs(compare(a, b), total),
                // Of different types: by name.
                _ => Some(a_ops.name.cmp(b_ops.name)),
            }
        }
        _ => {
            let size = a.wosize()?;
            match size.cmp(&b.wosize()?) {
                Ordering::Equal if size > 0 => return Ok(Blocks::Fields(size)),
                order => Some(order),
            }
        }
    };
    Ok(Blocks::Ordered(found))
}

fn compare(m: &mut Machine, [a, b]: [Slot; 2]) -> Res<'_> {
    let order = order(m, a, b, true)?;
    Ok(Val::from_int(order.map_or(0, |o| o as i64)))
}

fn equal(m: &mut Machine, [a, b]: [Slot; 2]) -> Res<'_> {
    Ok(boolean(order(m, a, b, false)? == Some(Ordering::Equal)))
}

fn notequal(m: &mut Machine, [a, b]: [Slot; 2]) -> Res<'_> {
    Ok(boolean(order(m, a, b, false)? != Some(Ordering::Equal)))
}

fn lessthan(m: &mut Machine, [a, b]: [Slot; 2]) -> Res<'_> {
    Ok(boolean(order(m, a, b, false)?.is_some_and(Ordering::is_lt)))
}

fn lessequal(m: &mut Machine, [a, b]: [Slot; 2]) -> Res<'_> {
    Ok(boolean(order(m, a, b, false)?.is_some_and(Ordering::is_le)))
}

fn greaterthan(m: &mut Machine, [a, b]: [Slot; 2]) -> Res<'_> {
    Ok(boolean(order(m, a, b, false)?.is_some_and(Ordering::is_gt)))
}

fn greaterequal(m: &mut Machine, [a, b]: [Slot; 2]) -> Res<'_> {
    Ok(boolean(order(m, a, b, false)?.is_some_and(Ordering::is_ge)))
}

prims! {
    "caml_compare" P2 compare,
    "caml_equal" P2 equal,
    "caml_greaterequal" P2 greaterequal,
    "caml_greaterthan" P2 greaterthan,
    "caml_lessequal" P2 lessequal,
    "caml_lessthan" P2 lessthan,
    "caml_notequal" P2 notequal,
}
