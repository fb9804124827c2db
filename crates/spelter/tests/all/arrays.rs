//! Guests that try to write to the blocks of big arrays, which machines trust, or to reach beyond their elements.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use spelter::{Dispatch, HeapMode, Value, Vm, VmBuilder};

macro_rules! fixture {
    ($name:literal) => {
        ($name, include_bytes!(concat!("../fixtures/arrays/", $name)).as_slice())
    };
}

/// What each attack of the guest ends in. Afterwards, its arrays have the content that they had.
fn attacks(builder: VmBuilder, (name, bytes): (&str, &[u8])) -> String {
    let things: Rc<RefCell<BTreeMap<String, Value>>> = Rc::default();
    let kept = Rc::clone(&things);
    let builder = builder.primitive_in_context("host_keep", 2, move |cx, args| {
        let name = cx.read::<String>(args[0])?;
        let value = cx.keep(args[1]);
        kept.borrow_mut().insert(name, value);
        Ok(cx.unit())
    });
    let mut vm = builder.build();
    vm.load_bytes(name, bytes).unwrap();
    let mut all = std::mem::take(&mut *things.borrow_mut());
    let intact = all.remove("intact").unwrap();
    let mut text = String::new();
    for (name, attack) in &all {
        let outcome = match vm.call_value::<i64>(attack, ((),)) {
            Ok(n) => n.to_string(),
            // Its number tells in which unit it was.
            Err(error) => error.to_string().split(" near byte").next().unwrap_or_default().to_owned(),
        };
        text += &format!("{name}: {outcome}\n");
        vm.collect().unwrap();
        assert_eq!(vm.call_value::<i64>(&intact, ((),)).ok(), Some(42), "{text}");
    }
    text
}

/// The same on every engine.
fn attacks_everywhere(guest: (&str, &[u8])) -> String {
    let expected = attacks(Vm::builder(), guest);
    for dispatch in [Dispatch::Loop, Dispatch::Tail] {
        for mode in [HeapMode::Plain, HeapMode::Torture] {
            assert_eq!(attacks(Vm::builder().dispatch(dispatch).heap_mode(mode), guest), expected);
        }
    }
    expected
}

#[test]
fn the_words_of_an_array_are_out_of_reach() {
    insta::assert_snapshot!(attacks_everywhere(fixture!("overwrite.cmo")));
}

#[test]
fn an_array_is_no_atomic_variable() {
    insta::assert_snapshot!(attacks_everywhere(fixture!("atomics.cmo")));
}
