//! C's side played by Rust functions, where no C compiler is needed. `cargo xtask stubs` has the real thing.

use std::ffi::{c_char, c_int};
use std::sync::{Mutex, PoisonError};

use spelter_heap::raw::{Header, Value};
use spelter_heap::{Config, Mode};
use spelter_interp::{Machine, Raise, Settings};

use crate::call::CALLS;
use crate::roots::Block;
use crate::state;

// SAFETY: the functions of this crate, as C declares them.
unsafe extern "C" {
    #[allow(clashing_extern_declarations, reason = "Rust can only call variadic functions")]
    fn caml_alloc_sprintf(format: *const c_char, ...) -> Value;
    fn caml_failwith(message: *const c_char) -> Value;
    fn caml_exception_failure(message: *const c_char) -> Value;
    fn caml_alloc_small_dispatch(first: usize, second: usize) -> Value;
    fn caml_process_pending_actions_exn() -> Value;
}

/// To C there is one machine in the process.
static MACHINE: Mutex<()> = Mutex::new(());

/// Calls a function of one argument, and passes on its result.
fn primitive<T>(
    f: unsafe extern "C" fn(Value) -> Value,
    argument: i64,
    then: impl FnOnce(&mut Machine, Result<Value, Raise>) -> T,
) -> T {
    let _one = MACHINE.lock().unwrap_or_else(PoisonError::into_inner);
    let heap = Config { mode: Mode::Torture, ..Config::default() };
    let mut m = Machine::new(Settings { heap, ..Settings::default() });
    spelter_primitives::install(&mut m);
    state::adopt(&m);
    let result = call(&mut m, f, Value::int(argument));
    then(&mut m, result)
}

fn call(m: &mut Machine, f: unsafe extern "C" fn(Value) -> Value, argument: Value) -> Result<Value, Raise> {
    // SAFETY: the function keeps C's rules; nobody else shows the roots that it has, so it has none.
    let outcome = unsafe { CALLS[0](m, f as *const () as usize, &raw const argument, 1) };
    match outcome.left {
        0 => Ok(outcome.value),
        _ => Err(m.take_raised().expect("what it raised is recorded")),
    }
}

#[test]
fn many_optional_arguments() {
    unsafe extern "C" fn f(n: Value) -> Value {
        let (n, text) = (n.as_int() as c_int, c"text".as_ptr());
        // SAFETY: arguments as the format says.
        unsafe {
            caml_alloc_sprintf(
                c"%d %s %g %d %d %d %d %d %g %g %g %g %g %g %g %g %g %s".as_ptr(),
                n,
                text,
                1.5,
                2,
                3,
                4,
                5,
                6,
                0.1,
                0.2,
                0.3,
                0.4,
                0.5,
                0.6,
                0.7,
                0.8,
                0.9,
                text,
            )
        }
    }
    // SAFETY: the function's result.
    let text = primitive(f, 7, |_, s| unsafe { s.unwrap().bytes().to_vec() });
    assert_eq!(text, b"7 text 1.5 2 3 4 5 6 0.1 0.2 0.3 0.4 0.5 0.6 0.7 0.8 0.9 text");
}

#[test]
fn texts_longer_than_the_first_attempt() {
    unsafe extern "C" fn f(width: Value) -> Value {
        // SAFETY: arguments as the format says.
        unsafe { caml_alloc_sprintf(c"%*d".as_ptr(), width.as_int() as c_int, 5 as c_int) }
    }
    for width in [127, 128, 129, 1000] {
        // SAFETY: the function's result.
        let text = primitive(f, width, |_, s| unsafe { s.unwrap().bytes().to_vec() });
        assert_eq!((text.len() as i64, text.last()), (width, Some(&b'5')));
    }
}

#[test]
fn raising_leaves_c() {
    unsafe extern "C" fn f(_: Value) -> Value {
        // SAFETY: a text of C.
        unsafe { caml_failwith(c"left".as_ptr()) };
        unreachable!("it does not return")
    }
    assert_eq!(primitive(f, 0, |_, outcome| outcome.map(drop)), Err(Raise::failure("left")));
}

#[test]
fn an_exception_as_a_value() {
    unsafe extern "C" fn f(_: Value) -> Value {
        // SAFETY: a text of C.
        unsafe { caml_exception_failure(c"kept".as_ptr()) }
    }
    // SAFETY: the function's result, a block {Failure, text}.
    let text = primitive(f, 0, |_, v| unsafe { v.unwrap().field(1).bytes().to_vec() });
    assert_eq!(text, b"kept");
}

#[test]
fn blocks_that_c_allocates_itself() {
    /// What C's macro `Alloc_small` does, for OCaml 4.
    unsafe fn alloc_small(wosize: usize, tag: u8) -> Value {
        state::set(state::YOUNG_PTR, state::get(state::YOUNG_PTR).wrapping_sub(8 * (wosize as u64 + 1)));
        // SAFETY: the macro's call; then the place for a header is known.
        unsafe {
            if state::get(state::YOUNG_PTR) < state::get(state::YOUNG_LIMIT) {
                caml_alloc_small_dispatch(wosize, 0);
            }
            let header = state::get(state::YOUNG_PTR) as *mut u64;
            *header = Header::new(wosize, tag).bits();
            Value::from_ptr(header.add(1))
        }
    }
    unsafe extern "C" fn f(_: Value) -> Value {
        // SAFETY: each block is filled before the next one is allocated.
        unsafe {
            let first = alloc_small(2, 3);
            first.set_word(0, Value::int(1).bits());
            first.set_word(1, Value::int(2).bits());
            first
        }
    }
    // SAFETY: the function's result.
    primitive(f, 0, |_, v| unsafe {
        let v = v.unwrap();
        assert_eq!((v.tag(), v.wosize(), v.field(0), v.field(1)), (3, 2, Value::int(1), Value::int(2)));
    });
}

#[test]
fn nothing_is_pending() {
    unsafe extern "C" fn f(_: Value) -> Value {
        // SAFETY: the machine runs.
        unsafe { caml_process_pending_actions_exn() }
    }
    assert_eq!(primitive(f, 0, |_, outcome| outcome), Ok(Value::UNIT));
}

#[test]
fn local_roots_are_forgotten_when_c_is_left() {
    unsafe extern "C" fn f(_: Value) -> Value {
        let mut variable = Value::UNIT;
        let mut block = Block::new(state::local_roots(), &raw mut variable, 1);
        state::set_local_roots(&raw mut block);
        // SAFETY: a text of C.
        unsafe { caml_failwith(c"left".as_ptr()) }
    }
    unsafe extern "C" fn g(_: Value) -> Value {
        Value::int(state::local_roots().is_null().into())
    }
    primitive(f, 0, |m, outcome| {
        assert!(outcome.is_err());
        assert_eq!(call(m, g, Value::UNIT), Ok(Value::int(1)));
    });
}
