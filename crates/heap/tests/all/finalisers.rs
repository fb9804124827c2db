//! Finalisers of both kinds.

use crate::client::{COLLECTING, Client, int_field};
use spelter_heap::Mode;
use spelter_heap::raw::{RootKind, Value};

fn first(c: &mut Client, f: i64, v: Value) {
    // SAFETY: a block that is on the stack.
    unsafe { c.heap.final_register(Value::int(f), v) }.unwrap()
}
fn last(c: &mut Client, f: i64, v: Value) {
    // SAFETY: a block that is on the stack.
    unsafe { c.heap.final_register_last(Value::int(f), v) }.unwrap()
}
fn due(c: &mut Client) -> Vec<(i64, Value)> {
    std::iter::from_fn(|| c.heap.next_finaliser()).map(|(f, v)| (f.as_int(), v)).collect()
}

#[test]
fn the_first_kind_gets_its_value_back_latest_registration_first() {
    for mode in COLLECTING {
        let mut c = Client::new(mode);
        for n in 0..5 {
            let v = c.push_int_block(n);
            first(&mut c, n, v);
        }
        // 1 and 3 refer to each other, which does not prevent their finalisation.
        c.set(c.stack.0[1], 0, c.stack.0[3]);
        c.minor();
        assert!(!c.heap.finalisers_pending(), "a minor collection makes none of the first kind due");
        c.full();
        assert_eq!(due(&mut c), []);
        let kept = [c.stack.0[0], c.stack.0[2]];
        c.stack.0 = kept.to_vec();
        c.full();
        assert!(c.heap.finalisers_pending());
        let functions = due(&mut c);
        assert_eq!(functions.iter().map(|f| f.0).collect::<Vec<_>>(), [4, 3, 1]);
        assert_eq!(int_field(functions[1].1, 0), 3, "the value is intact");
        c.full();
        assert_eq!(due(&mut c), [], "each finaliser is due once");
        assert_eq!(c.live_blocks(), 2, "resurrected values die when nothing refers to them");
    }
}

#[test]
fn the_last_kind_comes_after_death_with_unit() {
    for mode in COLLECTING {
        let mut c = Client::new(mode);
        for n in 0..4 {
            let v = c.push_int_block(n);
            last(&mut c, n, v);
        }
        c.stack.0.remove(0);
        match mode {
            Mode::Plain => c.minor(),
            _ => c.full(), // in torture mode it has been promoted
        }
        assert_eq!(due(&mut c), [(0, Value::UNIT)]);
        c.stack.0.remove(1);
        c.full();
        assert_eq!(due(&mut c), [(2, Value::UNIT)]);
        c.stack.0.clear();
        c.compact();
        // A value found dead by a cycle that had already begun comes first.
        let mut functions = due(&mut c);
        functions.sort_by_key(|f| f.0);
        assert_eq!(functions, [(1, Value::UNIT), (3, Value::UNIT)]);
    }
}

#[test]
fn the_last_kind_waits_for_the_first() {
    for mode in COLLECTING {
        let mut c = Client::new(mode);
        let v = c.push_int_block(1);
        first(&mut c, 1, v);
        last(&mut c, 2, v);
        c.pop();
        c.full();
        let functions = due(&mut c);
        assert_eq!(functions.len(), 1);
        assert_eq!(functions[0].0, 1);
        c.stack.0.push(functions[0].1);
        c.full();
        assert_eq!(due(&mut c), []);
        c.pop();
        c.full();
        assert_eq!(due(&mut c), [(2, Value::UNIT)]);
    }
}

#[test]
fn functions_are_kept_and_follow_moves() {
    for mode in COLLECTING {
        let mut c = Client::new(mode);
        let v = c.push_int_block(1);
        c.push_int_block(77);
        let function = c.pop();
        // In torture mode the allocation has moved the block.
        let v = if mode == Mode::Torture { c.top() } else { v };
        // SAFETY: both just allocated or on the stack.
        unsafe { c.heap.final_register(function, v) }.unwrap();
        c.compact();
        c.pop();
        c.full();
        c.compact();
        c.churn();
        let (function, v) = c.heap.next_finaliser().unwrap();
        assert_eq!(int_field(function, 0), 77);
        assert_eq!(int_field(v, 0), 1);
    }
}

#[test]
fn every_kind_of_root_is_shown() {
    let mut c = Client::new(Mode::Plain);
    for n in 0..6 {
        c.push_int_block(n);
    }
    let v = c.stack.0.clone();
    // SAFETY: all on the stack, and nothing collects before the end.
    unsafe {
        c.heap.root_new(v[1]).unwrap();
        c.heap.final_register(v[2], v[3]).unwrap();
        c.heap.final_register_last(v[4], v[5]).unwrap();
    }
    c.stack.0.truncate(1);
    let mut shown = Vec::new();
    c.heap.each_root(&mut c.stack, |kind, v| shown.push((kind, int_field(v, 0))));
    let waiting = RootKind::Finaliser;
    let before = [(RootKind::Client, 0), (RootKind::Handle, 1), (waiting, 2), (waiting, 4)];
    assert_eq!(shown, before);
    c.full();
    shown.clear();
    c.heap.each_root(&mut c.stack, |kind, v| shown.push((kind, int_field(v, 0))));
    let due = RootKind::DueFinaliser;
    assert_eq!(shown, [(RootKind::Client, 0), (RootKind::Handle, 1), (due, 4), (due, 2), (due, 3)]);
}
