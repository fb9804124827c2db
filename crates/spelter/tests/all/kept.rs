//! Guests that hand the host values by name: things to hold, functions to call, attacks to try.

use std::collections::BTreeMap;

use crate::Shared;

use spelter::{Dispatch, HeapMode, Value, Vm, VmBuilder};

/// What guests have handed over, by name.
pub(crate) type Things = Shared<BTreeMap<String, Value>>;

/// Gives guests the primitive `host_keep`, a name and a value.
pub(crate) fn keeping(builder: VmBuilder) -> (VmBuilder, Things) {
    let things = Things::default();
    let kept = things.clone();
    let builder = builder.primitive_in_context("host_keep", 2, move |cx, args| {
        let name = cx.read::<String>(args[0])?;
        let value = cx.keep(args[1]);
        kept.lock().insert(name, value);
        Ok(cx.unit())
    });
    (builder, things)
}

/// What an attack ends in.
pub(crate) fn outcome(vm: &mut Vm, attack: &Value) -> String {
    match vm.call_value::<i64>(attack, ((),)) {
        Ok(n) => n.to_string(),
        // Its number tells in which unit it was.
        Err(error) => error.to_string().split(" near byte").next().unwrap_or_default().to_owned(),
    }
}

/// What attacks end in, which is the same on every engine.
pub(crate) fn everywhere(attacks: impl Fn(VmBuilder) -> String) -> String {
    let expected = attacks(Vm::builder());
    for dispatch in [Dispatch::Loop, Dispatch::Tail] {
        for mode in [HeapMode::Plain, HeapMode::Torture] {
            assert_eq!(attacks(Vm::builder().dispatch(dispatch).heap_mode(mode)), expected);
        }
    }
    expected
}
