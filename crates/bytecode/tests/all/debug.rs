//! Debug events, and the lookup that backtraces use.

use spelter_bytecode::debug::{EventInfo, EventKind, EventTable};
use spelter_bytecode::{CompilationUnit, Executable, Library};

use crate::fixtures::*;

#[test]
fn events_say_where_calls_are() {
    let unit = CompilationUnit::read(SHAPES_CMO).expect("a fixture");
    let debug = unit.debug_unit().expect("compiled with -g");
    assert_eq!(debug.dirs().expect("a list"), ["."]);
    let events = debug.events().expect("a list");
    assert!(events.iter().all(|event| event.pos <= unit.code.len() && &*event.module == "Shapes"));
    let raise = events.iter().find(|event| &*event.defname == "Shapes.check").expect("a definition");
    assert_eq!((&*raise.loc.file, raise.loc.start.line), ("shapes.ml", 21));
    let kinds: Vec<_> = events.iter().map(|event| (event.kind, event.info)).collect();
    assert!(kinds.iter().any(|kind| matches!(kind, (EventKind::After, EventInfo::Return(_)))));
    assert!(kinds.contains(&(EventKind::Before, EventInfo::Function)));
}

#[test]
fn the_table_finds_events_at_an_address_or_a_word_after() {
    let unit = CompilationUnit::read(SHAPES_CMO).expect("a fixture");
    let events = unit.debug_unit().expect("compiled with -g").events().expect("a list");
    let table = EventTable::new(events.clone()).expect("memory");
    for pos in (0..=unit.code.len()).step_by(4) {
        let wanted = [pos, pos + 4].into_iter().find(|pos| events.iter().any(|event| event.pos == *pos));
        assert_eq!(table.find(pos).map(|event| event.pos), wanted, "at {pos}");
    }
    assert!(EventTable::default().find(0).is_none());
}

#[test]
fn units_of_programs_and_libraries_have_their_own() {
    let exe = Executable::read(TINY_BYTE).expect("a fixture");
    let units = exe.debug().expect("a section");
    assert_eq!(units.len(), 1);
    let table = EventTable::of_units(&units).expect("events");
    assert!(table.events().iter().any(|event| &*event.defname == "Tiny.add"));
    let library = Library::read(LIB_CMA).expect("a fixture");
    let has_debug: Vec<_> = library.units.iter().map(|unit| unit.debug_unit().is_some()).collect();
    assert_eq!(has_debug, [false, true]);
}
