//! Ephemerons and the weak references of Rust code.

use crate::client::{COLLECTING, Client, int_field};
use spelter_heap::Mode;
use spelter_heap::raw::{Phase, Value, Visitor};

fn push_ephemeron(c: &mut Client, keys: usize) -> Value {
    // SAFETY: pushed at once.
    let e = unsafe { c.heap.ephe_create(&mut c.stack, keys).unwrap() };
    c.stack.0.push(e);
    e
}
fn key(c: &mut Client, e: Value, i: usize) -> Option<i64> {
    // SAFETY: an ephemeron on the stack.
    unsafe { c.heap.ephe_get_key(e, i) }.map(|v| int_field(v, 0))
}
fn data(c: &mut Client, e: Value) -> Option<i64> {
    // SAFETY: an ephemeron on the stack.
    unsafe { c.heap.ephe_get_data(e) }.map(|v| int_field(v, 0))
}

#[test]
fn data_lives_as_long_as_all_keys_do() {
    for mode in COLLECTING {
        for young in [false, true] {
            let mut c = Client::new(mode);
            push_ephemeron(&mut c, 2);
            c.push_int_block(1);
            c.push_int_block(2);
            c.push_int_block(3);
            let d = c.pop();
            let e = c.stack.0[0];
            // SAFETY: an ephemeron and blocks that are on the stack or just allocated.
            unsafe {
                assert_eq!(c.heap.ephe_keys(e), 2);
                assert!(!c.heap.ephe_check_key(e, 0) && !c.heap.ephe_check_data(e));
                c.heap.ephe_set_data(e, d);
                c.heap.ephe_set_key(e, 0, c.stack.0[1]);
                c.heap.ephe_set_key(e, 1, c.stack.0[2]);
            }
            if !young {
                c.compact();
                c.churn();
            }
            let e = c.stack.0[0];
            assert_eq!((key(&mut c, e, 0), key(&mut c, e, 1), data(&mut c, e)), (Some(1), Some(2), Some(3)));
            c.pop();
            // In torture mode, nothing is young any more.
            if young && mode == Mode::Plain {
                c.minor();
            } else {
                c.full();
            }
            c.verify();
            let e = c.stack.0[0];
            assert_eq!((key(&mut c, e, 0), key(&mut c, e, 1), data(&mut c, e)), (Some(1), None, None));
        }
    }
}

#[test]
fn data_that_leads_to_its_own_key_keeps_nothing() {
    for mode in COLLECTING {
        let mut c = Client::new(mode);
        push_ephemeron(&mut c, 1);
        let k = c.push(1, 0);
        let e = c.stack.0[0];
        // SAFETY: on the stack.
        unsafe {
            c.heap.ephe_set_key(e, 0, k);
            c.heap.ephe_set_data(e, k);
        }
        c.full();
        assert_eq!(c.live_blocks(), 2);
        c.pop();
        c.full();
        assert_eq!(c.live_blocks(), 1);
    }
}

#[test]
fn chains_of_ephemerons_hold_in_any_order() {
    for mode in COLLECTING {
        for backwards in [false, true] {
            let mut c = Client::new(mode);
            for _ in 0..10 {
                push_ephemeron(&mut c, 1);
            }
            for n in 0..11 {
                c.push_int_block(n);
            }
            for i in 0..10 {
                let e = c.stack.0[if backwards { 9 - i } else { i }];
                // SAFETY: on the stack.
                unsafe {
                    c.heap.ephe_set_key(e, 0, c.stack.0[10 + i]);
                    c.heap.ephe_set_data(e, c.stack.0[11 + i]);
                }
            }
            c.stack.0.truncate(11); // ten ephemerons and the first key
            c.minor();
            c.verify();
            c.full();
            for i in 0..10 {
                let e = c.stack.0[if backwards { 9 - i } else { i }];
                assert_eq!(data(&mut c, e), Some(i as i64 + 1));
            }
            c.pop();
            c.full();
            assert_eq!(c.live_blocks(), 10);
        }
    }
}

#[test]
fn blits_copy_unset_keys_too() {
    let mut c = Client::new(Mode::Plain);
    let a = push_ephemeron(&mut c, 4);
    let b = push_ephemeron(&mut c, 4);
    let one = c.push_int_block(1);
    // SAFETY: all on the stack, none moves.
    unsafe {
        c.heap.ephe_set_key(a, 0, one);
        c.heap.ephe_set_key(a, 1, Value::int(5));
        c.heap.ephe_set_key(b, 3, one);
        c.heap.ephe_blit_key(a, 0, b, 1, 3);
        assert_eq!(c.heap.ephe_get_key(b, 1), Some(one));
        assert_eq!(c.heap.ephe_get_key(b, 2), Some(Value::int(5)));
        assert_eq!(c.heap.ephe_get_key(b, 3), None);
        c.heap.ephe_blit_key(b, 1, b, 0, 3);
        assert_eq!(c.heap.ephe_get_key(b, 0), Some(one));
        c.heap.ephe_set_data(a, one);
        c.heap.ephe_blit_data(a, b);
        assert_eq!(c.heap.ephe_get_data(b), Some(one));
        c.heap.ephe_unset_data(a);
        c.heap.ephe_blit_data(a, b);
        assert!(!c.heap.ephe_check_data(b));
        c.heap.ephe_unset_key(b, 0);
        assert!(!c.heap.ephe_check_key(b, 0));
    }
    c.verify();
}

#[test]
fn keys_copied_between_ephemerons_follow_moves() {
    for copy_data in [false, true] {
        let mut c = Client::new(Mode::Plain);
        let from = push_ephemeron(&mut c, 1);
        let to = push_ephemeron(&mut c, 1);
        let v = c.push_int_block(4);
        // SAFETY: all on the stack, none moves meanwhile.
        unsafe {
            if copy_data {
                c.heap.ephe_set_data(from, v);
                c.heap.ephe_blit_data(from, to);
            } else {
                c.heap.ephe_set_key(from, 0, v);
                c.heap.ephe_blit_key(from, 0, to, 0, 1);
            }
        }
        c.verify();
        c.minor();
        c.churn();
        let copied = if copy_data { data(&mut c, to) } else { key(&mut c, to, 0) };
        assert_eq!(copied, Some(4));
    }
}

#[test]
fn looking_at_ephemerons_keeps_nothing_alive() {
    let mut c = Client::new(Mode::Plain);
    let e = push_ephemeron(&mut c, 1);
    let k = c.push_int_block(1);
    // SAFETY: on the stack.
    unsafe {
        c.heap.ephe_set_key(e, 0, k);
        c.heap.ephe_set_data(e, Value::int(2));
    }
    c.minor();
    c.pop();
    c.slice(0);
    assert_eq!(c.heap.ephemerons(), [e]);
    // SAFETY: on the stack; the key is not used.
    unsafe {
        assert!(c.heap.ephe_peek_key(e, 0).is_some());
        assert_eq!(c.heap.ephe_peek_data(e), Some(Value::int(2)));
        c.slice(usize::MAX);
        assert_eq!((c.heap.ephe_peek_key(e, 0), c.heap.ephe_peek_data(e)), (None, None));
    }
    c.pop();
    c.full();
    assert!(c.heap.ephemerons().is_empty());
}

#[test]
fn a_value_read_from_a_weak_key_while_marking_survives() {
    let mut c = Client::new(Mode::Plain);
    push_ephemeron(&mut c, 1);
    let v = c.push_int_block(8);
    let e = c.stack.0[0];
    // SAFETY: on the stack.
    unsafe { c.heap.ephe_set_key(e, 0, v) };
    c.minor();
    let weak = c.pop();
    c.stack.0.push(weak);
    // SAFETY: on the stack.
    let id = unsafe { c.heap.weak_new(weak).unwrap() };
    c.pop();
    c.slice(0); // the roots have been marked, the key has not
    assert_eq!(c.heap.weak_get(id), Some(weak));
    c.stack.0.push(weak);
    c.slice(usize::MAX);
    c.churn();
    c.verify();
    assert_eq!(key(&mut c, e, 0), Some(8));
    assert_eq!(int_field(c.top(), 0), 8);
}

#[test]
fn weak_handles_follow_and_forget() {
    for mode in COLLECTING {
        let mut c = Client::new(mode);
        let v = c.push_int_block(1);
        // SAFETY: on the stack.
        let id = unsafe { c.heap.weak_new(v).unwrap() };
        c.minor();
        assert_eq!(c.heap.weak_get(id), Some(c.top()));
        c.compact();
        assert_eq!(c.heap.weak_get(id), Some(c.top()));
        c.pop();
        c.full();
        assert_eq!(c.heap.weak_get(id), None);
        // SAFETY: a reference or handle of this heap.
        unsafe { c.heap.weak_drop(id) };
        assert_eq!(c.heap.weak_count(), 0);
    }
}

#[test]
fn roots_can_keep_what_a_weak_handle_leads_to() {
    for mode in COLLECTING {
        let mut c = Client::new(mode);
        let v = c.push_int_block(6);
        // SAFETY: on the stack.
        let id = unsafe { c.heap.weak_new(v).unwrap() };
        c.pop();
        let mut phases = Vec::new();
        let mut roots = |visitor: &mut Visitor<'_>| {
            phases.push(visitor.phase());
            visitor.keep(id);
        };
        // SAFETY: the only value is the weak one.
        unsafe {
            c.heap.minor(&mut roots);
            c.heap.full_major(&mut roots);
            c.heap.compact(&mut roots);
        }
        assert!(phases.contains(&Phase::Minor) && phases.contains(&Phase::Mark));
        let v = c.heap.weak_get(id).unwrap();
        assert_eq!(int_field(v, 0), 6);
        c.full();
        assert_eq!(c.heap.weak_get(id), None);
    }
}

#[test]
fn rooted_handles_keep_and_follow() {
    for mode in COLLECTING {
        let mut c = Client::new(mode);
        let v = c.push_int_block(4);
        // SAFETY: on the stack, then kept by the handle.
        let id = unsafe { c.heap.root_new(v).unwrap() };
        c.pop();
        c.churn();
        c.compact();
        assert_eq!(int_field(c.heap.root_get(id), 0), 4);
        // SAFETY: a handle of this heap, and an integer.
        unsafe { c.heap.root_set(id, Value::int(3)) };
        c.full();
        assert_eq!(c.live_blocks(), 0);
        assert_eq!(c.heap.root_get(id), Value::int(3));
        // SAFETY: a reference or handle of this heap.
        unsafe { c.heap.root_drop(id) };
        assert_eq!(c.heap.root_count(), 0);
    }
}
