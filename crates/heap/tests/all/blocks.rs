//! Unusual blocks: atoms, inner closures, pinned, large and truncated ones.

use crate::client::{COLLECTING, Client, field, int_field};
use spelter_heap::Mode;
use spelter_heap::raw::{Header, MAX_WOSIZE, NoRoots, Value, tag};

#[test]
fn there_is_one_atom_per_tag_and_it_stays() {
    for mode in COLLECTING {
        let mut c = Client::new(mode);
        let holder = c.push(256, 0);
        for i in 0..=255 {
            let atom = c.heap.atom(i as u8);
            // SAFETY: an atom.
            assert_eq!(unsafe { (atom.tag(), atom.wosize()) }, (i as u8, 0));
            c.set(holder, i, atom);
        }
        c.full();
        c.compact();
        c.verify();
        for i in 0..=255 {
            assert_eq!(field(c.top(), i), c.heap.atom(i as u8));
        }
        let before = c.top();
        assert_eq!(c.push(0, 12), c.heap.atom(12));
        c.pop();
        assert_eq!(c.top(), before);
    }
}

/// A closure block with an inner closure at word 4, whose last field is an int block.
fn push_closure(c: &mut Client) {
    c.push_int_block(99);
    let v = c.push(7, tag::CLOSURE);
    // SAFETY: just allocated, young.
    unsafe {
        v.set_word(3, Header::new(4, tag::INFIX).bits());
    }
    c.pop();
    let env = c.pop();
    c.set(v, 6, env);
    c.stack.0.push(v);
}

#[test]
fn an_infix_pointer_keeps_and_follows_its_closure() {
    for mode in COLLECTING {
        let mut c = Client::new(mode);
        push_closure(&mut c);
        let inner = Value::from_bits(c.pop().bits() + 32);
        c.stack.0.push(inner);
        // Also through a field.
        let holder = c.push(1, 0);
        c.set(holder, 0, c.stack.0[0]);
        for round in 0..3 {
            match round {
                0 => c.minor(),
                1 => c.full(),
                _ => c.compact(),
            }
            c.churn();
            let inner = c.stack.0[0];
            assert_eq!(field(c.stack.0[1], 0), inner);
            // SAFETY: on the stack.
            unsafe {
                assert_eq!(inner.tag(), tag::INFIX);
                assert_eq!(inner.enclosing().bits(), inner.bits() - 32);
                assert_eq!(inner.enclosing().tag(), tag::CLOSURE);
            }
            assert_eq!(int_field(field(inner, 2), 0), 99);
            c.verify();
        }
    }
}

#[test]
fn large_blocks_are_scanned_and_freed() {
    for mode in COLLECTING {
        let mut c = Client::new(mode);
        for size in [257, 510, 511, 512, 5000, 100_000] {
            let big = c.push(size, 0);
            assert_eq!(field(big, size - 1), Value::UNIT);
            c.push_int_block(size as i64);
            let small = c.pop();
            let big = c.top();
            c.set(big, size - 1, small);
        }
        c.full();
        c.churn();
        for (i, size) in [257, 510, 511, 512, 5000, 100_000].into_iter().enumerate() {
            assert_eq!(int_field(field(c.stack.0[i], size - 1), 0), size as i64);
        }
        assert!(c.heap.quick_stats().heap_words > 100_000);
        c.stack.0.clear();
        c.full();
        assert_eq!(c.live_blocks(), 0);
        assert_eq!(c.heap.quick_stats().heap_words, 0, "all memory is released");
    }
}

#[test]
fn a_block_too_large_to_exist_is_refused() {
    let mut c = Client::new(Mode::Plain);
    for size in [MAX_WOSIZE, MAX_WOSIZE + 1, usize::MAX] {
        // SAFETY: no values are kept.
        let error = unsafe { c.heap.alloc(&mut NoRoots, size, 0) }.unwrap_err();
        assert_eq!(error.words, size);
    }
}

#[test]
fn a_pinned_block_stays_where_it_is() {
    for mode in COLLECTING {
        let mut c = Client::new(mode);
        // SAFETY: pushed at once.
        let pinned = unsafe { c.heap.alloc_pinned(2, 0).unwrap() };
        c.stack.0.push(pinned);
        c.push_int_block(5);
        let v = c.pop();
        c.set(pinned, 1, v);
        for _ in 0..3 {
            c.churn();
            c.compact();
            assert_eq!(c.top(), pinned);
            assert_eq!(int_field(field(pinned, 1), 0), 5);
        }
        c.pop();
        c.full();
        assert_eq!(c.live_blocks(), 0);
    }
}

#[test]
fn truncated_blocks_forget_what_was_cut_off() {
    for mode in COLLECTING {
        for size in [3, 200, 1000] {
            let mut c = Client::new(mode);
            c.push_int_block(1);
            let v = c.push(size, 0);
            c.set(v, size - 1, c.stack.0[0]);
            c.set(v, 0, c.stack.0[0]);
            c.stack.0.remove(0);
            if size != 3 {
                c.minor();
            }
            // SAFETY: on the stack.
            unsafe { c.heap.truncate(c.top(), 2) };
            c.full();
            c.verify();
            // SAFETY: on the stack.
            assert_eq!(unsafe { c.top().wosize() }, 2);
            assert_eq!(int_field(field(c.top(), 0), 0), 1);
            assert_eq!(c.live_blocks(), 2);
            c.pop();
            c.full();
            assert_eq!(c.live_blocks(), 0);
        }
    }
}

#[test]
fn a_value_read_before_a_truncation_survives() {
    let mut c = Client::new(Mode::Plain);
    c.push_int_block(9);
    let v = c.push(2, 0);
    c.set(v, 1, c.stack.0[0]);
    c.stack.0.remove(0);
    c.minor();
    c.slice(0); // the stack has been scanned, the block has not
    let v = c.top();
    c.stack.0.push(field(v, 1));
    // SAFETY: on the stack.
    unsafe { c.heap.truncate(v, 1) };
    c.slice(usize::MAX);
    c.churn();
    c.verify();
    assert_eq!(int_field(c.top(), 0), 9);
}

#[test]
fn reachable_words_count_shared_blocks_once_and_atoms_not_at_all() {
    let mut c = Client::new(Mode::Plain);
    c.push_int_block(1);
    let v = c.push(3, 0);
    c.set(v, 0, c.stack.0[0]);
    c.set(v, 1, c.stack.0[0]);
    c.set(v, 2, c.heap.atom(0));
    // SAFETY: on the stack.
    assert_eq!(unsafe { c.heap.reachable_words(v) }, Ok(4 + 2));
    push_closure(&mut c);
    let inner = Value::from_bits(c.top().bits() + 32);
    // SAFETY: on the stack.
    assert_eq!(unsafe { c.heap.reachable_words(inner) }, Ok(8 + 2));
}
