//! Turns the `Raise` of a primitive into an exception value, or into a reason to leave the machine for good.

use spelter_bytecode::dialect::Predefined;
use spelter_heap::Val;
use spelter_heap::raw::{Value, tag};

use crate::Machine;
use crate::exec::fault::Stopped;
use crate::prim::{Panicked, Raise, Slot};

/// Why the machine is left for good.
#[derive(Debug)]
pub(crate) enum Leaving {
    /// The program's thread called `Thread.exit`.
    Thread,
    /// The program called `exit`.
    Exit(i32),
    /// It cannot continue.
    Fatal(String),
    /// It is checked, and was stopped.
    Fault(Box<Stopped>),
    /// Some Rust code panicked.
    Panic(Box<Panicked>),
    /// The host asked for its call to stop.
    Interrupted,
    /// Not for good: the call pauses at a safe point.
    Paused,
    /// Not for good: a primitive has paused the call. Below its arguments the stack has this depth.
    Waiting(usize),
}

impl Machine {
    pub(crate) fn set_result(&mut self, v: Value) {
        self.result = v;
    }

    /// Stores the result of the primitive that just returned.
    #[inline(always)]
    pub(crate) fn take_result(&self) -> Value {
        self.result
    }

    /// Records the exception value, or the reason to leave, for what a primitive raised, so that `raise_left` finds it.
    /// The backtrace starts here.
    #[cold]
    pub(crate) fn leave_exn(&mut self, raise: Raise) {
        let settled = self.settle_exn(raise);
        self.leave_settled(settled);
    }

    pub(super) fn leave_settled(&mut self, settled: Result<(), Leaving>) {
        let settled = settled.and_then(|()| match self.debug_trap() {
            Ok(()) => Ok(()),
            Err(raise) => self.materialise(raise),
        });
        match settled {
            Ok(()) => self.record_backtrace(false),
            Err(leaving) => self.leaving = Some(leaving),
        }
    }

    /// Creates the exception to be raised, after running pending actions (`caml_raise`). An exception that those raise
    /// replaces it.
    pub(super) fn settle_exn(&mut self, raise: Raise) -> Result<(), Leaving> {
        self.materialise(raise)?;
        if !self.action_due() {
            return Ok(());
        }
        let mark = self.mark();
        let exn = self.push_raw(self.roots.thread.exn.get());
        let outcome = match self.run_pending() {
            Ok(()) => {
                self.roots.thread.exn.set(self.raw(exn));
                Ok(())
            }
            Err(raise) => self.materialise(raise),
        };
        self.release(mark);
        outcome
    }

    /// Makes the exception value for `raise` the machine's current exception.
    pub(crate) fn materialise(&mut self, raise: Raise) -> Result<(), Leaving> {
        let (exception, message) = match raise {
            Raise::Exn => return Ok(()),
            Raise::Exit(code) => return Err(Leaving::Exit(code)),
            Raise::EndThread => return Err(Leaving::Thread),
            Raise::Fatal(message) => return Err(Leaving::Fatal(message)),
            Raise::Fault(stopped) => return Err(Leaving::Fault(stopped)),
            Raise::Panic(panicked) => return Err(Leaving::Panic(panicked)),
            Raise::Interrupted => return Err(Leaving::Interrupted),
            // Where it can, the primitive's caller has seen to it.
            Raise::Pause => {
                return Err(Leaving::Fatal("a primitive pauses where the call cannot".to_owned()));
            }
            Raise::OutOfMemory => (Predefined::OutOfMemory, None),
            Raise::Sys(message) => (Predefined::SysError, Some(message)),
            Raise::Failure(message) => (Predefined::Failure, Some(message.into_owned().into_bytes())),
            Raise::Invalid(message) => (Predefined::InvalidArgument, Some(message.into_owned().into_bytes())),
            Raise::EndOfFile => (Predefined::EndOfFile, None),
            Raise::DivisionByZero => (Predefined::DivisionByZero, None),
            Raise::NotFound => (Predefined::NotFound, None),
            Raise::StackOverflow => (Predefined::StackOverflow, None),
            Raise::BlockedIo => (Predefined::SysBlockedIo, None),
        };
        match message {
            None => self.roots.thread.exn.set(self.predefined(exception)),
            Some(message) => self.materialise_message(exception, &message),
        }
        Ok(())
    }

    /// The same for an exception with a message.
    #[inline(never)]
    fn materialise_message(&mut self, exception: Predefined, message: &[u8]) {
        let mark = self.mark();
        let made = self
            .push(|m| m.new_string(message))
            .and_then(|text| {
                let v = self.predefined(exception);
                let id = self.push_raw(v);
                self.new_block(0, &[id, text]).map(|v| v.raw())
            })
            .unwrap_or_else(|_| self.predefined(Predefined::OutOfMemory));
        self.release(mark);
        self.roots.thread.exn.set(made);
    }

    /// Pushes the exception value for `raise` into a new slot, or `()` if it has none ([`Raise::Exit`],
    /// [`Raise::EndThread`], [`Raise::Fatal`], [`Raise::Fault`], [`Raise::Panic`], [`Raise::Interrupted`] and
    /// [`Raise::Pause`]).
    pub fn push_exception(&mut self, raise: Raise) -> Slot {
        match self.materialise(raise) {
            Ok(()) => self.push_raw(self.roots.thread.exn.get()),
            Err(_) => self.push_int(0),
        }
    }

    /// A predefined exception: one of the first globals.
    fn predefined(&self, exception: Predefined) -> Value {
        // Every new global table starts with them, but the program can get hold of the table (`caml_get_global_data`)
        // and truncate it.
        let slot = self.dialect.slot(exception).unwrap_or(usize::MAX);
        self.globals().field(slot).map_or(Value::UNIT, Val::raw)
    }

    pub(super) fn install_predefined_exceptions(&mut self) {
        let table = self
            .new_array(self.dialect.predefined.iter().enumerate(), |m, (i, (exception, _))| {
                let name = m.push(|m| m.new_string(exception.name().as_bytes()))?;
                let id = m.push_int(-(i as i64) - 1);
                m.new_block(tag::OBJECT, &[name, id])
            })
            .map(|v| v.raw())
            .expect("an empty heap has room for the predefined exceptions");
        self.roots.globals = table;
    }
}
