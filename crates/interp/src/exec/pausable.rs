//! Calls that can pause: the host runs one for so much fuel, or until a primitive has to wait, and goes on later.
//!
//! Such a call runs on a fiber of its own, without a parent. When it pauses, its registers are pushed on the running
//! fiber as an event frame, and the host gets that fiber's block, which it keeps; so what a paused call refers to is kept
//! alive, found and revoked like what a suspended continuation refers to. Any number of calls may be paused in a machine,
//! and they may be resumed in any order.
//!
//! ```text
//! at the base of a call    return frame to STOP
//! on top, paused           accu  pc  env  extra_args
//! ```
//!
//! Only the call's own code can pause, not code that a primitive or an action has called: their Rust frames cannot be
//! left and entered again. Such code borrows from the fuel that the host holds back, until the call can pause.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use spelter_heap::raw::Value;

use crate::Kept;
use crate::Machine;
use crate::code::program::LoadedProgram;
use crate::exec::activation::check_callable;
use crate::exec::dispatch;
use crate::exec::exit::{Exit, Flow};
use crate::exec::handlers::exn::raise_left;
use crate::exec::regs::Regs;
use crate::machine::raise::Leaving;
use crate::prim::{NO_PRIMITIVE, Raise, Slot};
use crate::threads::interrupt::Limit;

/// How much fuel code that cannot pause borrows at once.
const LOAN: u64 = 1000;

/// What a machine knows about the call that can pause, while it runs.
#[derive(Default)]
pub(crate) struct Pausing {
    active: bool,
    /// The fuel that the host holds back.
    pub(crate) reserve: u64,
    /// Whether the call pauses at the safe point that it is at.
    here: bool,
}

/// A call that has paused. Dropping it ends the call: none of its code runs, no handler and no `Fun.protect`.
#[derive(Debug)]
pub struct Paused {
    fiber: Kept,
    /// Whether it waits for a primitive's result.
    waits: bool,
}

impl Paused {
    /// Whether it waits for a primitive's result: [`Resumption::Answer`] or [`Resumption::Raise`].
    pub fn waits(&self) -> bool {
        self.waits
    }

    /// Whether it is a call of this machine.
    pub fn is_of(&self, m: &Machine) -> bool {
        m.keeps(&self.fiber)
    }
}

/// How a call goes on.
#[derive(Debug)]
pub enum Resumption {
    /// From where its fuel ended, or from its beginning.
    Continue,
    /// With the result of the primitive that paused it.
    Answer(Slot),
    /// With what that primitive raises.
    Raise(Raise),
}

/// What became of a call.
#[derive(Debug)]
pub enum Progress {
    /// It has returned this, in a new slot.
    Done(Slot),
    /// It has paused again.
    Paused(Paused),
}

impl Machine {
    /// A call of the closure in `f`, paused at its beginning.
    ///
    /// # Errors
    /// When it is not a closure, or there is not enough memory.
    pub fn pausable_call(&mut self, f: Slot, args: &[Slot]) -> Result<Paused, Raise> {
        // SAFETY: what is in a slot is a value.
        unsafe { check_callable(self.raw(f), args.len()) }?;
        let call = self.new_call_fiber()?;
        self.push_base(call)?;
        for arg in args.iter().rev() {
            self.push_on_call(call, &[self.raw(*arg)], false)?;
        }
        let closure = self.raw(f);
        // SAFETY: a closure.
        let code = unsafe { closure.field(0) };
        self.push_on_call(call, &[Value::int(args.len() as i64 - 1), closure, code, closure], false)?;
        self.keep_paused(call, false)
    }

    /// A run of a program, paused at its beginning. It returns `()`.
    ///
    /// # Errors
    /// When there is not enough memory.
    pub fn pausable_run(&mut self, program: &LoadedProgram) -> Result<Paused, Raise> {
        let call = self.new_call_fiber()?;
        self.push_base(call)?;
        let (env, start) = (self.heap.atom(0), Regs::code_value(program.0.start()));
        self.push_on_call(call, &[Value::int(0), env, start, Value::UNIT], false)?;
        self.keep_paused(call, false)
    }

    fn push_base(&mut self, call: Value) -> Result<(), Raise> {
        let stop = self.stop_code();
        self.push_on_call(call, &[Value::int(0), Value::UNIT, stop], true)
    }

    fn keep_paused(&mut self, fiber: Value, waits: bool) -> Result<Paused, Raise> {
        self.reserve_kept(1)?;
        let mark = self.mark();
        let slot = self.push_raw(fiber);
        let fiber = self.keep(slot);
        self.release(mark);
        Ok(Paused { fiber, waits })
    }

    /// Whether the code that runs, or the primitive that it has called, can pause.
    pub fn can_pause(&self) -> bool {
        self.pausing.active && self.is_home() && self.roots.thread.nesting.is_single()
    }

    /// Goes on with a call until it returns or pauses. In a metered machine it gets `fuel` units of the machine's fuel, or
    /// all of it; the fuel that is left afterwards is the machine's again.
    ///
    /// # Errors
    /// What ended the call: see [`Machine::call`]; and [`Raise::Fatal`] while other code of this thread runs, or if `how`
    /// does not fit.
    ///
    /// # Panics
    /// When the call belongs to another machine.
    pub fn resume_call(
        &mut self,
        paused: Paused,
        how: Resumption,
        fuel: Option<u64>,
    ) -> Result<Progress, Raise> {
        let _call = self.begin_call();
        let mark = self.mark();
        let fiber = self.push_kept(&paused.fiber);
        let call = self.raw(fiber);
        self.release(mark);
        if !self.is_paused_call(call) || paused.waits == matches!(how, Resumption::Continue) {
            return Err(Raise::Fatal("a call is resumed in a way for which it has not paused".to_owned()));
        }
        if !self.is_home() || !self.roots.thread.nesting.is_none() {
            return Err(Raise::Fatal("a call is resumed while other code runs".to_owned()));
        }
        let all = self.fuel;
        self.fuel = fuel.unwrap_or(all).min(all);
        self.pausing = Pausing { active: true, reserve: all - self.fuel, ..Pausing::default() };
        let outcome = self.resume_with_fuel(call, paused, how);
        self.fuel = self.fuel.saturating_add(self.pausing.reserve);
        self.pausing = Pausing::default();
        match outcome? {
            Ok(v) => Ok(Progress::Done(self.push_raw(v))),
            Err(paused) => Ok(Progress::Paused(paused)),
        }
    }

    fn resume_with_fuel(
        &mut self,
        call: Value,
        paused: Paused,
        how: Resumption,
    ) -> Result<Result<Value, Paused>, Raise> {
        // The safe point at which its fuel ended, or the entry, is still to be paid for.
        if self.engine.is_metered() && !paused.waits {
            match self.fuel.checked_sub(1) {
                Some(rest) => self.fuel = rest,
                None if self.pausing.reserve > 0 => return Ok(Err(paused)),
                None => self.exceed(Limit::Fuel),
            }
        }
        self.check_interrupt()?;
        let loader = self.prims.loader.map(|loader| loader.stack_end);
        let t = &mut self.roots.thread;
        t.nesting = t.nesting.deeper(loader)?;
        let outer = (t.running, t.floor, t.pc, t.extra);
        t.running = NO_PRIMITIVE;
        let answer = match how {
            Resumption::Answer(slot) => Some(self.raw(slot)),
            _ => None,
        };
        let raise = match how {
            Resumption::Raise(raise) => Some(raise),
            _ => None,
        };
        let base = self.enter_call(call);
        let regs = self.pop_registers(answer);
        // From now on only the running fiber refers to itself.
        drop(paused);
        // After a panic, the code below repairs the machine's own state, as for other activations.
        let outcome = catch_unwind(AssertUnwindSafe(|| self.go_on(regs, raise)));
        let exit = match outcome {
            Ok(exit) => exit,
            Err(payload) if self.heap.is_broken() => resume_unwind(payload),
            Err(payload) => self.leave_panicked(&*payload),
        };
        self.roots.thread.nesting = Default::default();
        let outcome = match self.leaving {
            Some(Leaving::Paused | Leaving::Waiting(_)) if exit == Exit::Leave => {
                let floor = match self.leaving.take() {
                    Some(Leaving::Waiting(floor)) => Some(floor),
                    _ => None,
                };
                self.push_registers(floor);
                let fiber = self.pause_call();
                self.keep_paused(fiber, floor.is_some()).map(Err)
            }
            _ => {
                self.leave_fibers(base);
                self.end_call_fiber();
                self.outcome_of(exit).map(Ok)
            }
        };
        let t = &mut self.roots.thread;
        (t.running, t.floor, t.pc, t.extra) = outer;
        outcome
    }

    /// Runs a call, on its own stack, until it ends or pauses.
    fn go_on(&mut self, mut regs: Regs, raise: Option<Raise>) -> Exit {
        // SAFETY: where a call goes on is in translated code, or at the start of a function.
        if unsafe { *regs.pc } == 0 && !self.translate_at(regs.pc) {
            return Exit::Leave;
        }
        if raise.is_some() {
            // A primitive raises with the frame that names its caller.
            regs.push(regs.env);
            regs.push(Regs::code_value(regs.pc));
        }
        self.save(&regs);
        let gone_well = match raise {
            Some(raise) => {
                self.leave_exn(raise);
                false
            }
            // Units with larger frames may have been loaded meanwhile, and actions may be due.
            None => self.safe_point(),
        };
        self.reload(&mut regs);
        if !gone_well && let Flow::Break(done) = raise_left(&mut regs, self) {
            return done.exit();
        }
        dispatch::run(self, regs)
    }

    /// Pushes the registers of a call that pauses, instead of the frame of the primitive for which it waits, which begins at
    /// `floor`.
    fn push_registers(&mut self, floor: Option<usize>) {
        if let Some(floor) = floor {
            self.release(floor);
        }
        let t = &mut self.roots.thread;
        let (pc, extra) = (Regs::code_value(t.pc), Value::int(t.extra as i64));
        t.stack.push_few([extra, t.env, pc, t.accu]);
        (t.env, t.accu) = (Value::UNIT, Value::UNIT);
    }

    /// Pops them. The accumulator is a primitive's answer, if there is one.
    fn pop_registers(&mut self, answer: Option<Value>) -> Regs {
        let top = self.mark();
        let [accu, pc, env, extra] = [0, 1, 2, 3].map(|i| self.raw(Slot(top - i)));
        self.release(top - 4);
        let (pc, extra) = (Regs::code_address(pc), extra.as_int() as usize);
        // SAFETY: the registers with which the call paused, on its own stack: the frame of a primitive that has returned is
        // gone. Or those with which a function or a program begins.
        unsafe { Regs::enter(pc, self.roots.thread.stack.sp, answer.unwrap_or(accu), env, extra) }
    }

    /// Without fuel: makes the call pause at this safe point, or lends some to code that cannot. Returns false if there is
    /// none to lend.
    pub(crate) fn pause_without_fuel(&mut self) -> bool {
        if self.pausing.reserve == 0 || !self.can_pause() {
            return self.borrow_fuel();
        }
        self.pausing.here = true;
        self.request_action();
        true
    }

    /// Lends some fuel to code that cannot pause. Returns false if there is none.
    pub(crate) fn borrow_fuel(&mut self) -> bool {
        self.fuel = LOAN.min(self.pausing.reserve);
        self.pausing.reserve -= self.fuel;
        self.fuel > 0
    }

    /// Whether the call pauses at the safe point whose actions have run. They may have raised an exception instead.
    pub(crate) fn pauses_here(&mut self, raised: bool) -> bool {
        // Not for a safe point of what the actions call.
        if !self.pausing.here || !self.can_pause() {
            return false;
        }
        self.pausing.here = false;
        if !raised {
            self.leaving = Some(Leaving::Paused);
        }
        !raised
    }
}
