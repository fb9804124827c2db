//! Atomic references and fields (in OCaml's `memory.c`). Only the thread that owns the machine runs primitives, so plain
//! reads and writes are atomic.

use spelter_interp::{Machine, Raise, Res, Slot, Val, prims};

use crate::boolean;

/// The fields of a block that fills a line of the processor's cache together with its header.
const LINE_FIELDS: usize = if cfg!(target_arch = "s390x") {
    31
} else if cfg!(any(target_arch = "aarch64", target_arch = "powerpc64")) {
    15
} else {
    7
};

fn load_at<'m>(m: &'m Machine, block: Slot, i: usize) -> Res<'m> {
    if m.is_sealed(block) {
        return Err(Raise::invalid("primitive: wrong type: expected a block that is not a closure"));
    }
    Ok(m.val(block).scanned_field(i)?)
}

fn exchange_at<'m>(m: &'m mut Machine, block: Slot, i: usize, new: Slot) -> Res<'m> {
    let old = m.push(|m| load_at(m, block, i))?;
    m.set_field(block, i, new)?;
    Ok(m.val(old))
}

/// Stores `new` if the field holds `old` itself. Whether it did.
fn cas_at(m: &mut Machine, block: Slot, i: usize, [old, new]: [Slot; 2]) -> Result<bool, Raise> {
    if !load_at(m, block, i)?.same(m.val(old)) {
        return Ok(false);
    }
    m.set_field(block, i, new)?;
    Ok(true)
}

fn fetch_add_at<'m>(m: &'m mut Machine, block: Slot, i: usize, more: Slot) -> Res<'m> {
    let (old, more) = (load_at(m, block, i)?.int()?, m.int(more)?);
    m.set_field_int(block, i, old.wrapping_add(more))?;
    Ok(Val::from_int(old))
}

fn load(m: &mut Machine, [atomic]: [Slot; 1]) -> Res<'_> {
    load_at(m, atomic, 0)
}

fn exchange(m: &mut Machine, [atomic, new]: [Slot; 2]) -> Res<'_> {
    exchange_at(m, atomic, 0, new)
}

fn cas(m: &mut Machine, [atomic, old, new]: [Slot; 3]) -> Res<'_> {
    Ok(boolean(cas_at(m, atomic, 0, [old, new])?))
}

fn fetch_add(m: &mut Machine, [atomic, more]: [Slot; 2]) -> Res<'_> {
    fetch_add_at(m, atomic, 0, more)
}

fn load_field(m: &mut Machine, [block, i]: [Slot; 2]) -> Res<'_> {
    load_at(m, block, m.index(i)?)
}

fn exchange_field(m: &mut Machine, [block, i, new]: [Slot; 3]) -> Res<'_> {
    exchange_at(m, block, m.index(i)?, new)
}

pub(crate) fn cas_field(m: &mut Machine, [block, i, old, new]: [Slot; 4]) -> Res<'_> {
    Ok(boolean(cas_at(m, block, m.index(i)?, [old, new])?))
}

fn fetch_add_field(m: &mut Machine, [block, i, more]: [Slot; 3]) -> Res<'_> {
    fetch_add_at(m, block, m.index(i)?, more)
}

/// An atomic reference on a cache line of its own.
fn make_contended(m: &mut Machine, [v]: [Slot; 1]) -> Res<'_> {
    let block = m.push(|m| m.new_block_sized(0, LINE_FIELDS))?;
    m.set_field(block, 0, v)?;
    Ok(m.val(block))
}

prims! {
    "caml_atomic_cas" P3 cas => since(V5_0),
    "caml_atomic_cas_field" P4 cas_field => since(V5_4),
    "caml_atomic_exchange" P2 exchange => since(V5_0),
    "caml_atomic_exchange_field" P3 exchange_field => since(V5_4),
    "caml_atomic_fetch_add" P2 fetch_add => since(V5_0),
    "caml_atomic_fetch_add_field" P3 fetch_add_field => since(V5_4),
    "caml_atomic_load" P1 load => since(V5_0),
    "caml_atomic_load_field" P2 load_field => since(V5_4),
    "caml_atomic_make_contended" P1 make_contended => since(V5_2),
}

#[cfg(test)]
mod tests {
    use spelter_interp::Settings;

    use super::*;

    #[test]
    fn only_the_same_value_is_exchanged() {
        let mut m = Machine::new(Settings::default());
        let (one, two) = (m.push(|m| m.new_string(b"1")).unwrap(), m.push(|m| m.new_string(b"1")).unwrap());
        let atomic = m.push(|m| m.new_block(0, &[one])).unwrap();
        assert_eq!(cas(&mut m, [atomic, two, one]).unwrap().int(), Ok(0));
        assert_eq!(cas(&mut m, [atomic, one, two]).unwrap().int(), Ok(1));
        let held = m.push(|m| exchange(m, [atomic, one])).unwrap();
        assert!(m.val(held).same(m.val(two)) && m.val(atomic).field(0).unwrap().same(m.val(one)));
    }

    #[test]
    fn sums_wrap_and_fields_have_bounds() {
        let mut m = Machine::new(Settings::default());
        let (largest, one, far) = (m.push_int(i64::MAX >> 1), m.push_int(1), m.push_int(-1));
        let pair = m.push(|m| m.new_block(0, &[one, largest])).unwrap();
        assert_eq!(fetch_add_field(&mut m, [pair, one, one]).unwrap().int(), Ok(i64::MAX >> 1));
        assert_eq!(load_field(&mut m, [pair, one]).unwrap().int(), Ok(i64::MIN >> 1));
        assert!(
            load_field(&mut m, [pair, far]).is_err() && exchange_field(&mut m, [pair, far, one]).is_err()
        );
        let text = m.push(|m| m.new_string(b"word")).unwrap();
        assert!(load(&mut m, [text]).is_err() && exchange(&mut m, [text, one]).is_err());
    }

    #[test]
    fn a_contended_reference_fills_a_cache_line() {
        let mut m = Machine::new(Settings::default());
        let v = m.push_int(5);
        let atomic = m.push(|m| make_contended(m, [v])).unwrap();
        assert_eq!(m.val(atomic).wosize(), Ok(LINE_FIELDS));
        assert_eq!(load(&mut m, [atomic]).unwrap().int(), Ok(5));
    }
}
