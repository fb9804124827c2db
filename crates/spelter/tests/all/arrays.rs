//! Guests that try to write to the blocks of big arrays, which machines trust, or to reach beyond their elements.

use spelter::VmBuilder;

use crate::kept::{everywhere, keeping, outcome};

macro_rules! fixture {
    ($name:literal) => {
        ($name, include_bytes!(concat!("../fixtures/arrays/", $name)).as_slice())
    };
}

/// What each attack of the guest ends in. Afterwards, its arrays have the content that they had.
fn attacks(builder: VmBuilder, (name, bytes): (&str, &[u8])) -> String {
    let (builder, things) = keeping(builder);
    let mut vm = builder.build();
    vm.load_bytes(name, bytes).unwrap();
    let mut all = std::mem::take(&mut *things.lock());
    let intact = all.remove("intact").unwrap();
    let mut text = String::new();
    for (name, attack) in &all {
        text += &format!("{name}: {}\n", outcome(&mut vm, attack));
        vm.collect().unwrap();
        assert_eq!(vm.call_value::<i64>(&intact, ((),)).ok(), Some(42), "{text}");
    }
    text
}

#[test]
fn the_words_of_an_array_are_out_of_reach() {
    insta::assert_snapshot!(everywhere(|builder| attacks(builder, fixture!("overwrite.cmo"))));
}

#[test]
fn an_array_is_no_atomic_variable() {
    insta::assert_snapshot!(everywhere(|builder| attacks(builder, fixture!("atomics.cmo"))));
}
