//! Units: their code lives as long as something can run it.

use std::sync::{Arc, Mutex};

use spelter_bytecode::Opcode::*;
use spelter_interp::inspect::backtrace::DebugInfo;
use spelter_interp::{Installed, Machine, Strategy, UnitSource};

use crate::{machines, words};

/// A unit whose initialiser returns a function that adds one.
fn install(m: &mut Machine, strategy: Strategy) -> Installed {
    let (closure, grab) = match strategy {
        Strategy::Carry => (CLOSURE_CARRY, GRAB),
        Strategy::Stub => (CLOSURE_DYN, GRAB_DYN),
    };
    let code = words(&[
        (BRANCH, &[8]),
        (grab, &[0]), // at 2: the function
        (ACC0, &[]),
        (OFFSETINT, &[1]),
        (RETURN, &[1]),
        (closure, &[0, -9]), // at 9
        (RETURN, &[1]),
    ]);
    let source = UnitSource {
        name: "Increment".to_owned(),
        words: code,
        strategy,
        digest: None,
        own_slots: 1,
        slots: Vec::new(),
        debug: DebugInfo::None,
    };
    // SAFETY: the code is a unit's for this strategy, uses no slots, globals or primitives, and obeys the rules of
    // the verifier; its largest frame has one word.
    unsafe { m.install_unit(source, &[]) }.expect("room for a unit")
}

#[test]
fn a_unit_dies_with_its_last_function() {
    for strategy in [Strategy::Carry, Strategy::Stub] {
        for mut m in machines() {
            let mark = m.mark();
            let installed = install(&mut m, strategy);
            let unit = m.push_int(0);
            let f = m.push(|m| m.call(installed.init, &[unit])).expect("a function");
            let kept = m.keep(f);
            m.release(mark);
            m.collect_full();
            assert_eq!(m.units().counts.alive(), 1, "{strategy:?}: its function is kept");

            let f = m.push_kept(&kept);
            let n = m.push_int(41);
            assert_eq!(m.call(f, &[n]).and_then(|v| Ok(v.int()?)), Ok(42));
            m.release(mark);
            drop(kept);
            m.collect_full();
            assert_eq!(m.units().counts.alive(), 0, "{strategy:?}: nothing refers to it");
            assert_eq!((m.units().counts.freed, m.kept_count(), m.stack_depth()), (1, 0, mark));
        }
    }
}

#[test]
fn an_unload_callback_runs_once_after_the_unit_is_freed() {
    for mut m in machines() {
        let mark = m.mark();
        let installed = install(&mut m, Strategy::Carry);
        let told = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&told);
        let unit = m.unit_of_object(m.val(installed.object)).expect("its code object");
        unit.on_unload(move |unloaded| log.lock().unwrap().push((unloaded.id, unloaded.name.clone())));
        drop(unit);
        m.release(mark);
        m.collect_full();
        m.collect_full();
        assert_eq!(*told.lock().unwrap(), [(installed.id, "Increment".to_owned())]);
    }
}
