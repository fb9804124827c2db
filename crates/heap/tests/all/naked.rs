//! Naked pointers: values that lead outside the heap, to where nothing may be read.

use crate::client::{COLLECTING, Client, field, int_field};
use spelter_heap::raw::{Value, tag};

/// Addresses at which there is no memory, two of them not even aligned; and one past the end of a page's worth of it.
const NOWHERE: [u64; 4] = [0x10, 0x1002, 0x7FFF_0000_0006, 0xFFFF_8000_0000_0000];

#[test]
fn they_are_never_followed() {
    for mode in COLLECTING {
        let mut c = Client::new(mode);
        // Some memory from before they are allowed.
        c.push_int_block(1);
        c.push(2000, 0);
        c.full();
        c.heap.allow_naked_pointers();
        for round in 0..40 {
            for address in NOWHERE {
                let b = c.push(2 + round % 3 * 600, 0);
                c.set(b, 0, Value::from_bits(address));
                c.set(b, 1, Value::int(round as i64));
                c.stack.0.push(Value::from_bits(address));
            }
            // A block that holds the last one, forced suspensions, a weak reference, a finaliser's neighbour.
            let holder = c.push(1, tag::FORWARD);
            c.set(holder, 0, Value::from_bits(NOWHERE[round % 4]));
            let outer = c.push(2, 0);
            let inner = c.stack.0[c.stack.0.len() - 2];
            c.set(outer, 0, inner);
            let old = c.stack.0[1];
            c.set(old, round, Value::from_bits(NOWHERE[round % 4]));
            // SAFETY: the ephemeron is pushed at once.
            unsafe {
                let e = c.heap.ephe_create(&mut c.stack, 1).unwrap();
                c.stack.0.push(e);
                c.heap.ephe_set_key(e, 0, Value::from_bits(NOWHERE[1]));
                c.heap.ephe_set_data(e, Value::from_bits(NOWHERE[0]));
            }
            match round % 4 {
                0 => c.minor(),
                1 => c.slice(500),
                2 => c.full(),
                _ => c.compact(),
            }
            c.verify();
        }
        assert_eq!(int_field(c.stack.0[0], 0), 1);
        assert_eq!(field(c.stack.0[1], 3).bits(), NOWHERE[3]);
        let e = c.top();
        // SAFETY: an ephemeron on the stack.
        unsafe {
            assert_eq!(c.heap.ephe_get_key(e, 0).map(Value::bits), Some(NOWHERE[1]));
            assert_eq!(c.heap.ephe_get_data(e).map(Value::bits), Some(NOWHERE[0]));
        }
    }
}

#[test]
fn what_is_in_the_heap_is_not_outside() {
    for mode in COLLECTING {
        let mut c = Client::new(mode);
        c.heap.allow_naked_pointers();
        let small = c.push_int_block(1);
        // SAFETY: values of this heap.
        unsafe { assert!(!c.heap.is_outside(small) && !c.heap.is_outside(Value::int(3))) };
        c.push(3000, 0);
        c.full();
        for v in [c.stack.0[0], c.stack.0[1], c.heap.atom(0), c.heap.atom(tag::ABSTRACT)] {
            // SAFETY: values of this heap.
            assert!(!unsafe { c.heap.is_outside(v) });
        }
        let elsewhere = Box::new([0u64; 4]);
        for address in NOWHERE.into_iter().chain([elsewhere[1..].as_ptr() as u64]) {
            // SAFETY: a naked pointer.
            assert!(unsafe { c.heap.is_outside(Value::from_bits(address)) });
        }
        // A large block's memory may become something else.
        let large = c.top();
        c.pop();
        c.full();
        c.full();
        // SAFETY: an address that may lead anywhere.
        assert!(unsafe { c.heap.is_outside(large) });
    }
}
