//! Threads that C has made (`caml_c_thread_register`). Each has an activation of its own, which is no call: C runs there
//! between `caml_leave_blocking_section` and `caml_enter_blocking_section`, and cannot be left.

use std::cell::Cell;
use std::mem::MaybeUninit;
use std::ptr;
use std::sync::{Mutex, PoisonError};

use spelter_interp::prim::foreign::Entrance;
use spelter_interp::{Machine, Raise};
use spelter_primitives::{foreign, printexc};

use crate::activation;
use crate::call::take_raise;

/// Where guests come in, once a machine is installed.
static ENTRANCE: Mutex<Option<Entrance>> = Mutex::new(None);

/// A guest's place for the machine.
type Guest = MaybeUninit<Machine>;

thread_local! {
    /// What the thread has if it is a guest.
    static GUEST: Cell<*mut Guest> = const { Cell::new(ptr::null_mut()) };
}

/// Lets guests in by this entrance.
pub(crate) fn open(entrance: Entrance) {
    *ENTRANCE.lock().unwrap_or_else(PoisonError::into_inner) = Some(entrance);
}

/// Makes the running thread one of the program's. Returns false if it is already, or cannot be.
pub(crate) fn register() -> bool {
    let entrance = ENTRANCE.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let Some(entrance) = entrance else { return false };
    if !GUEST.get().is_null() || activation::is_known_thread() {
        return false;
    }
    let guest = Box::into_raw(Box::new(Guest::uninit()));
    // SAFETY: this thread is none of the machine's. Its place lives until it is unregistered.
    unsafe {
        let place = (*guest).as_mut_ptr();
        Machine::admit_guest(&entrance, place);
        let m = &mut *place;
        let seated =
            m.seat_guest().and_then(|id| foreign::register_guest(m, id).inspect_err(|_| m.unseat_guest()));
        if seated.is_err() {
            Machine::put_down(place);
            drop(Box::from_raw(guest));
            return false;
        }
        GUEST.set(guest);
        activation::begin_guest(place);
        activation::leave_machine();
    }
    true
}

/// Ends that. Returns false if the thread is no guest.
pub(crate) fn unregister() -> bool {
    let guest = GUEST.replace(ptr::null_mut());
    if guest.is_null() {
        return false;
    }
    // SAFETY: the guest is between two calls, so it waits without the machine; nothing refers to it afterwards.
    unsafe {
        activation::take_machine();
        activation::end_guest();
        let place = (*guest).as_mut_ptr();
        (*place).unseat_guest();
        Machine::put_down(place);
        drop(Box::from_raw(guest));
    }
    true
}

/// Ends the program instead of leaving C in the running activation, which is a guest's: nothing is behind it that could
/// handle the exception.
pub(crate) extern "C" fn end() -> ! {
    // SAFETY: the guest runs, so the machine is at its place, which is not used again.
    unsafe {
        let place = (*activation::running()).machine();
        let raise = take_raise(&*place);
        let why = report(&mut *place, raise);
        place.read().end_in_guest(why)
    }
}

/// Reports an exception as OCaml does when none handles it, and returns how the program ends.
pub(crate) fn report(m: &mut Machine, raise: Raise) -> Raise {
    if !raise.is_exception() {
        return raise;
    }
    let exception = m.push_exception(raise);
    printexc::report_uncaught(m, exception).err().unwrap_or(Raise::Exit(2))
}
