//! Libraries that are not Rust, through a loader of the test's own: what they hold keeps units alive and is explained,
//! what they only have named does not.

use std::cell::Cell;
use std::path::{Path, PathBuf};

use spelter::{Error, Grade, Vm};
use spelter_heap::raw::Value;
use spelter_interp::Machine;
use spelter_interp::prim::foreign::{Foreign, Holder, Loader, Located, Outcome};

use crate::{fixture, graded, raw};

thread_local! {
    /// The variable of the library.
    static HELD: Cell<Value> = const { Cell::new(Value::UNIT) };
    /// What it is.
    static HOLDER: Cell<fn() -> Holder> = const { Cell::new(|| Holder::Local) };
}

/// The only library, and its only primitive.
const LIBRARY: &str = "dllcalls";

/// # Safety
/// None is needed.
unsafe extern "C" fn call(_: *mut Machine, _: usize, args: *const Value, _: usize) -> Outcome {
    // SAFETY: the arguments are there.
    Outcome { value: unsafe { *args }, left: 0 }
}

static LOADER: Loader = Loader {
    folders: |_, of_program, _| Ok(of_program.iter().map(PathBuf::from).collect()),
    locate: |_, _, library| Located { name: library.name.to_owned(), file: library.name.into() },
    open: |_, file| if file == Path::new(LIBRARY) { Ok(7) } else { Err("there is no such file".to_owned()) },
    find: |library, name| {
        (library.is_none_or(|handle| handle == 7) && name.starts_with("host_"))
            .then_some(Foreign { calls: &[call; 6], entry: 1 })
    },
    show: |show| {
        let mut held = [HELD.get()];
        show(&mut held);
        HELD.set(held[0]);
    },
    holder: |_| HOLDER.get()(),
    held: || usize::from(HELD.get() != Value::UNIT),
    stack_end: || usize::MAX,
    registered: |_, _| {},
    forked: |_| {},
    nursery_moved: |_| {},
    show_backtrace: |_| {},
    take_backtrace: |_| {},
};

/// A machine with the loader and a program.
fn host() -> Vm {
    let mut vm = graded(Vm::builder(), Grade::Trusted).build();
    // SAFETY: the loader's library reads nothing, and its variable is shown.
    unsafe { raw(&mut vm).set_loader(&LOADER) };
    let (name, bytes) = fixture!("host.byte");
    vm.run_bytes(name, bytes).expect("a program");
    vm
}

/// Lets the library hold the closure that a unit registers, and removes all other references to the unit.
fn held_by_library() -> Vm {
    let mut vm = host();
    let (name, bytes) = fixture!("greet.cmo");
    let unit = vm.load_bytes(name, bytes).expect("a unit");
    let m = raw(&mut vm);
    let mark = m.mark();
    let slot = m.named_value("greet").expect("it is registered");
    // SAFETY: the slot is there.
    HELD.set(unsafe { *m.address_of_slot(slot) });
    m.release(mark);
    vm.unregister("greet");
    drop(unit);
    vm
}

#[test]
fn what_a_library_holds_keeps_its_unit_alive_and_is_explained() {
    type ToHolder = fn() -> Holder;
    let reasons: [(ToHolder, &str); 4] = [
        (|| Holder::Local, "a local root of a function in C that has not returned"),
        (|| Holder::Global(Some("/lib/dllcalls.so".to_owned())), "a global root of /lib/dllcalls.so"),
        (|| Holder::Global(None), "a global root in C's memory"),
        (|| Holder::Named("greet".to_owned()), "the value that C has got as \"greet\""),
    ];
    for (holder, expected) in reasons {
        HOLDER.set(holder);
        let mut vm = held_by_library();
        let before = vm.ledger();
        vm.collect().expect("it collects");
        let why = vm.why_all_alive();
        assert_eq!(why.len(), 1);
        let text = why[0].to_string();
        let start = format!("unit Greet (#2) is alive because of\n  {expected}\n    → closure ");
        assert!(text.starts_with(&start), "{text}");
        HELD.set(Value::UNIT);
        vm.collect().expect("it collects");
        assert_eq!(vm.units().len(), 0, "{expected}");
        assert_ne!(vm.ledger(), before);
    }
}

#[test]
fn a_unit_that_names_a_librarys_primitives_is_garbage_and_the_library_stays() {
    let mut vm = host();
    let (name, bytes) = fixture!("calls.cmo");
    for _ in 0..3 {
        vm.open_library(LIBRARY).expect("it is opened");
        let unit = vm.load_bytes(name, bytes).expect("a unit");
        assert_eq!(vm.call::<i64>("double", (21,)).expect("an argument"), 21);
        drop(unit);
        for name in ["double", "join", "fail", "caught"] {
            assert!(vm.unregister(name));
        }
        vm.collect().expect("it collects");
        assert_eq!(vm.units().len(), 0);
    }
}

#[test]
fn a_library_that_cannot_be_opened_is_an_error() {
    let mut vm = host();
    let error = vm.open_library("dllother").expect_err("there is none");
    assert!(matches!(&error, Error::Library { library, .. } if library == "dllother"), "{error:?}");
    assert_eq!(error.to_string(), "cannot load shared library dllother\nReason: there is no such file");
    vm.open_library("dllunix").expect("it is built in");
    let error = Vm::builder().build().open_library("dllother").expect_err("there is no loader");
    assert!(error.to_string().ends_with("this machine has only the runtime's built-in libraries"), "{error}");
}
