//! Threads that C has made (`caml_c_thread_register`). Each has an activation of its own, which is no call: C runs there
//! between `caml_leave_blocking_section` and `caml_enter_blocking_section`, and cannot be left.

use std::cell::Cell;
use std::mem::MaybeUninit;
use std::ptr;
use std::sync::{Mutex, PoisonError};

use spelter_interp::prim::foreign::Entrance;
use spelter_interp::{Machine, Raise};
use spelter_primitives::{foreign, printexc};

use crate::call::{self, Activation};

/// Where guests come in, once a machine is installed.
static ENTRANCE: Mutex<Option<Entrance>> = Mutex::new(None);

/// A guest's activation, and its place for the machine.
struct Guest {
    activation: Activation,
    place: MaybeUninit<Machine>,
}

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
    if !GUEST.get().is_null() || call::is_known_thread() {
        return false;
    }
    let guest = Box::into_raw(Box::new(Guest {
        activation: Activation::new(ptr::null_mut(), call::no_arguments()),
        place: MaybeUninit::uninit(),
    }));
    // SAFETY: this thread is none of the machine's. Its place and its activation live until it is unregistered.
    unsafe {
        let place = (*guest).place.as_mut_ptr();
        (*guest).activation.machine = place;
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
        (*guest).activation.link();
        call::enter(&raw mut (*guest).activation);
        call::leave_machine();
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
        call::take_machine();
        call::end(&raw mut (*guest).activation);
        let place = (*guest).activation.machine;
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
        let activation = &mut *call::running();
        let raise = activation.take_raise();
        let why = report(&mut *activation.machine, raise);
        activation.machine.read().end_in_guest(why)
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
