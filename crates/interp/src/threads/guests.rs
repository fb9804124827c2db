//! Guests: threads that a foreign library has made. A guest registers itself, and is one of the program's threads from
//! then on; but it runs the program only while the library calls it, and has no life that the machine could wait for.

use std::sync::Arc;

use spelter_heap::raw::Value;

use crate::Machine;
use crate::machine::stack::Stack;
use crate::prim::Raise;
use crate::threads::interrupt::{Calls, Interruption};
use crate::threads::master_lock::{MasterLock, Taker};
use crate::threads::state::ThreadState;
use crate::threads::{INITIAL_WORDS, Thread};

/// Where threads that are not the machine's come in.
#[derive(Clone)]
pub struct Entrance {
    lock: Arc<MasterLock>,
    calls: Arc<Calls>,
}

impl Machine {
    /// Where guests come in.
    pub fn entrance(&self) -> Entrance {
        Entrance { lock: Arc::clone(&self.roots.threads.lock), calls: Arc::clone(&self.calls) }
    }

    /// Whether guests may wait for the machine: the program uses threads, and foreign libraries.
    pub(super) fn may_have_guests(&self) -> bool {
        self.loader().is_some() && !self.roots.threads.known.is_empty()
    }

    /// Waits for the machine, and puts it at `place`. It has no running thread until [`Machine::seat_guest`] or
    /// [`Machine::put_down`] is called.
    ///
    /// # Safety
    /// The running thread is none of the machine's. Nothing else uses the place until the machine is put down.
    pub unsafe fn admit_guest(entrance: &Entrance, place: *mut Machine) {
        let calls = Arc::clone(&entrance.calls);
        let taker = Taker { calls, home: false, interruption: Interruption::never() };
        let machine = entrance.lock.take(&taker);
        // SAFETY: the caller guarantees that the place is empty.
        unsafe { place.write(machine) };
    }

    /// Makes the running thread, which has been admitted, one of the program's. Returns its number, under which it is
    /// to be registered with a descriptor ([`Machine::register_first_thread`]).
    ///
    /// # Errors
    /// When there is no memory, or the program does not use threads.
    ///
    /// # Safety
    /// Called once, after [`Machine::admit_guest`].
    pub unsafe fn seat_guest(&mut self) -> Result<u64, Raise> {
        let threads = &self.roots.threads;
        let home = threads.known.get(&super::HOME).ok_or(Raise::OutOfMemory)?;
        if threads.limit.is_some_and(|limit| threads.known.len() >= limit) {
            return Err(Raise::OutOfMemory);
        }
        let domain = home.domain;
        let like = home.state.as_ref().ok_or(Raise::OutOfMemory)?;
        let state = Some(Box::new(ThreadState::new(like.stack.sibling(INITIAL_WORDS)?)));
        let id = self.new_thread_id();
        let guest = Thread { descriptor: Value::UNIT, state, domain, at_end: None, place: None };
        self.roots.threads.known.insert(id, guest);
        self.resume(id);
        Ok(id)
    }

    /// Ends the running thread, a guest, as one of the program's.
    ///
    /// # Safety
    /// The guest runs none of the program's code. Only [`Machine::put_down`] follows.
    pub unsafe fn unseat_guest(&mut self) {
        let mut state = ThreadState::new(Stack::absent());
        self.swap_state(&mut state);
        let threads = &mut self.roots.threads;
        threads.known.remove(&threads.current);
    }

    /// Puts down the machine at `place` for good.
    ///
    /// # Safety
    /// The machine is at that place, has no running thread, and is not used there again.
    pub unsafe fn put_down(place: *mut Machine) {
        // SAFETY: the caller guarantees it.
        let machine = unsafe { place.read() };
        let lock = Arc::clone(&machine.roots.threads.lock);
        lock.put(machine);
    }

    /// Ends the whole program in a guest, for a reason that no code of the program handles.
    pub fn end_in_guest(mut self, raise: Raise) -> ! {
        if let Some(hook) = self.roots.threads.hook.take() {
            hook(self, raise);
        }
        std::process::abort()
    }
}
