//! Calls that the host runs step by step: for so much fuel, and on later.

use std::fmt;

use spelter_interp::{Machine, Progress, Raise, Resumption};

use crate::context::{Context, Local};
use crate::convert::{Args, FromOcaml, Value};
use crate::error::Error;
use crate::function::Function;
use crate::program::Program;
use crate::vm::{Outcome, Vm};
use crate::wrong_type::WrongType;

/// A call that has paused, or has not begun, and whose result is a `T`. [`Vm::start`] makes it.
///
/// Any number of calls can be paused in a machine, and they can be resumed in any order; other calls may come in between.
/// What a paused call refers to stays alive, its code included; [`Vm::revoke`] reaches it. To end it, drop it: none of its
/// code runs then, no exception handler and no `Fun.protect`.
///
/// Only the call's own code pauses. While it is in a function of the host that has called back, in a finaliser or in a
/// signal handler, and while other threads of the guest run, it goes on with the machine's fuel instead, and pauses
/// afterwards.
///
/// ```
/// use spelter::{Step, Vm};
///
/// let mut vm = Vm::builder().fuel(1_000_000)
///     # .primitive("host_wait", |n: i64| n)
///     # .primitive("host_wait_six", |_: i64, _: i64, _: i64, _: i64, _: i64, _: i64| 0)
///     # .primitive("host_wait_six_of_array", |_: i64, _: i64, _: i64, _: i64, _: i64, _: i64| 0)
///     # .primitive("host_each", |_: spelter::Value, n: i64| n)
///     # .primitive("host_note", |_: String| ())
///     .build();
/// # vm.run_bytes("host.byte", include_bytes!("../tests/fixtures/pauses/host.byte"))?;
/// // let rec count n = if n = 0 then "done" else count (n - 1)
/// let unit = vm.load_bytes("guest.cmo", include_bytes!("../tests/fixtures/pauses/guest.cmo"))?;
/// # let _ = &unit;
/// let mut call = vm.start::<String>("count", (1000i64,))?;
/// let mut steps = 1;
/// let result = loop {
///     match call.resume(&mut vm, 100)? {
///         Step::Done(result) => break result,
///         Step::Paused(paused) => call = paused,
///     }
///     steps += 1;
/// };
/// assert_eq!((result.as_str(), steps), ("done", 11));
/// # Ok::<(), spelter::Error>(())
/// ```
pub struct Paused<T> {
    call: spelter_interp::Paused,
    ends: Ends<T>,
}

/// What became of a call that was resumed.
#[derive(Debug)]
pub enum Step<T> {
    /// It has returned.
    Done(T),
    /// Its fuel was used up.
    Paused(Paused<T>),
}

/// How a call's end becomes a `T`.
struct Ends<T> {
    read: for<'c> fn(&mut Context<'c>, Local<'c>) -> Result<T, WrongType>,
    left: fn(Raise) -> Result<T, Raise>,
}

/// Makes the result of a host function for which a call waits.
pub(crate) type Answer = Box<dyn for<'c> FnOnce(&mut Context<'c>) -> Result<Local<'c>, Raise> + Send>;

impl<T> fmt::Debug for Paused<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Paused").field(&self.call).finish()
    }
}

impl<T: FromOcaml> Paused<T> {
    fn of_call(call: spelter_interp::Paused) -> Self {
        Paused { call, ends: Ends { read: |cx, v| cx.read(v), left: Err } }
    }
}

impl Paused<Outcome> {
    fn of_program(call: spelter_interp::Paused) -> Self {
        Paused { call, ends: Ends { read: |_, _| Ok(Outcome::Finished), left: Outcome::of } }
    }
}

impl<T> Paused<T> {
    /// Goes on with the call, until it returns or has burnt `fuel` units. They come out of the machine's own fuel
    /// ([`VmBuilder::fuel`](crate::VmBuilder::fuel)): when that is used up, the call ends with [`Error::Limit`]. A call that
    /// is interrupted by pauses burns as much altogether as one that is not. Each step is a call of the host's for limits of
    /// time and output, and for interrupts.
    ///
    /// # Errors
    /// As for [`Vm::call`]; the call has then ended. [`Error::Unmetered`] if the machine does not count fuel.
    ///
    /// # Panics
    /// When the call belongs to another machine.
    pub fn resume(self, vm: &mut Vm, fuel: u64) -> Result<Step<T>, Error> {
        if vm.fuel().is_none() {
            return Err(Error::Unmetered);
        }
        self.go_on(vm, None, Some(fuel))
    }

    /// Goes on, if the call waits, with the answer.
    pub(crate) fn go_on(
        self,
        vm: &mut Vm,
        answer: Option<Answer>,
        fuel: Option<u64>,
    ) -> Result<Step<T>, Error> {
        let Paused { call, ends } = self;
        assert!(call.is_of(&vm.m), "this call belongs to another machine");
        let step = vm.enter(|m| {
            let mut cx = Context::new(m);
            let how = match answer.map(|answer| answer(&mut cx)) {
                None => Resumption::Continue,
                Some(Ok(answer)) => Resumption::Answer(answer.slot),
                Some(Err(raise)) => Resumption::Raise(raise),
            };
            match cx.m.resume_call(call, how, fuel) {
                Ok(Progress::Done(v)) => Ok((ends.read)(&mut cx, Local::new(v)).map(Step::Done)),
                Ok(Progress::Paused(call)) => Ok(Ok(Step::Paused(Paused { call, ends }))),
                Err(raise) => (ends.left)(m.why_interrupted(raise)).map(|end| Ok(Step::Done(end))),
            }
        });
        Ok(step??)
    }
}

impl Outcome {
    /// How a program ended that did not run to its end.
    pub(crate) fn of(raise: Raise) -> Result<Outcome, Raise> {
        match raise {
            // The program's first thread is over, as if it had run to its end.
            Raise::EndThread => Ok(Outcome::Finished),
            Raise::Exit(code) => Ok(Outcome::Exited(code)),
            raise => Err(raise),
        }
    }
}

impl Vm {
    /// Begins a call of the function that OCaml code registered under `name`: its arguments are made, but nothing runs
    /// before [`Paused::resume`].
    ///
    /// # Errors
    /// When there is no such function.
    pub fn start<T: FromOcaml>(&mut self, name: &str, args: impl Args) -> Result<Paused<T>, Error> {
        let missing = || Error::NoSuchValue(name.to_owned());
        let call = self.lend(|cx| match cx.registered(name) {
            Some(f) => begin(cx, f, args).map(Some),
            None => Ok(None),
        })?;
        call.map(Paused::of_call).ok_or_else(missing)
    }

    /// The same for a function that the host keeps.
    ///
    /// # Errors
    /// When it is not a function.
    ///
    /// # Panics
    /// When another machine keeps it.
    pub fn start_value<T: FromOcaml>(&mut self, f: &Value, args: impl Args) -> Result<Paused<T>, Error> {
        let call = self.lend(|cx| {
            let f = cx.kept(f);
            begin(cx, f, args)
        })?;
        Ok(Paused::of_call(call))
    }

    /// Loads a program, as [`Vm::run`] does, but does not run it before [`Paused::resume`].
    ///
    /// # Errors
    /// When it cannot be loaded.
    pub fn start_program(&mut self, program: &Program) -> Result<Paused<Outcome>, Error> {
        let _call = self.begin_call()?;
        let loaded = self.load_program_in_call(&program.0)?;
        let call = self.caught(|m: &mut Machine| m.pausable_run(&loaded))?;
        call.map(Paused::of_program).map_err(|raise| self.error_of(raise))
    }
}

fn begin<'c>(cx: &mut Context<'c>, f: Local<'c>, args: impl Args) -> Result<spelter_interp::Paused, Raise> {
    let args: Vec<_> = args.values(cx)?.into_iter().map(|arg| arg.slot).collect();
    cx.m.pausable_call(f.slot, &args)
}

impl<A: Args, R: FromOcaml> Function<A, R> {
    /// Begins a call: see [`Vm::start`].
    ///
    /// # Errors
    /// When an argument does not fit its OCaml type.
    ///
    /// # Panics
    /// When it belongs to another machine.
    pub fn start(&self, vm: &mut Vm, args: A) -> Result<Paused<R>, Error> {
        vm.start_value(self.value(), args)
    }
}
