//! Activations: calling a closure from Rust, calling a primitive from code.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::ptr;

use spelter_heap::raw::{Value, tag};

use crate::exec::dispatch::{self, Grade};
use crate::exec::exit::Exit;
use crate::exec::regs::{Regs, closure_code, enclosing};
use crate::machine::raise::Leaving;
use crate::prim::foreign::Foreign;
use crate::prim::table::Target;
use crate::prim::{DirectCall, HostFn, NO_PRIMITIVE, Panicked, Prim, Raise, Res, Slot};
use crate::{Machine, Val};

/// So many arguments of a host function are passed without allocating memory.
const FEW_ARGUMENTS: usize = 8;

/// Complains of a value that is not a closure, or of a call without arguments.
///
/// # Safety
/// A value of the program.
#[inline]
pub(super) unsafe fn check_callable(closure: Value, args: usize) -> Result<(), Raise> {
    // SAFETY: every even word is a block.
    let callable = closure.is_block()
        && unsafe { enclosing(closure).0.tag() } == tag::CLOSURE
        && closure_code(closure).is_ok();
    match callable && args > 0 {
        true => Ok(()),
        false => Err(Raise::invalid("call of a value that is not a closure")),
    }
}

impl Machine {
    /// Runs code until this activation ends. What it pushed is then popped.
    ///
    /// # Safety
    /// `pc` points into this machine's translated code, and the stack is as that code expects.
    unsafe fn run(&mut self, pc: *const u64, env: Value, extra: usize) -> Result<Value, Raise> {
        let _call = self.begin_call();
        if self.engine.is_metered() {
            self.burn_entry();
        }
        // SAFETY: by contract.
        unsafe { self.run_in_call(pc, env, extra) }
    }

    /// The same, for code that runs in a call of the host, in a machine that is not metered or has burnt the entry's fuel.
    ///
    /// # Safety
    /// As above.
    #[inline(always)]
    unsafe fn run_in_call(&mut self, pc: *const u64, env: Value, extra: usize) -> Result<Value, Raise> {
        // Other threads than the host's wait for an interrupted call to end at a safe point, where they hold no values.
        if self.is_home() {
            self.check_interrupt()?;
        }
        let t = &mut self.roots.thread;
        let outer = t.nesting;
        t.nesting = outer.deeper(self.prims.loader.map(|loader| loader.stack_end))?;
        let (running, floor) = (t.running, t.floor);
        let saved = (t.base_depth, t.trap_depth, t.pc, t.extra);
        t.base_depth = t.stack.depth();
        let fiber = self.fiber_number();
        let t = &mut self.roots.thread;
        t.running = NO_PRIMITIVE;
        // SAFETY: the caller guarantees it.
        let (regs, cell) = unsafe { (Regs::enter(pc, self.roots.thread.stack.sp, env, env, extra), *pc) };
        let can_run = cell != 0 || self.translate_at(pc);
        // After a panic, the code below repairs the machine's own state. The heap records whether its state is damaged.
        let outcome =
            catch_unwind(AssertUnwindSafe(|| if can_run { dispatch::run(self, regs) } else { Exit::Leave }));
        let exit = match outcome {
            Ok(exit) => exit,
            // The heap is damaged, so the machine cannot continue: propagate the panic.
            Err(payload) if self.heap.is_broken() => resume_unwind(payload),
            Err(payload) => self.leave_panicked(&*payload),
        };
        self.roots.thread.nesting = outer;
        self.leave_fibers(fiber);
        // The frames of code that an exception has left are dropped here: reporting a stack overflow needs room.
        let base = self.roots.thread.base_depth;
        if exit != Exit::Stop && self.mark() > base {
            self.release(base);
        }
        let t = &mut self.roots.thread;
        (t.base_depth, t.trap_depth, t.pc, t.extra) = saved;
        (t.running, t.floor) = (running, floor);
        self.outcome_of(exit)
    }

    /// What an activation that has ended this way returns or raises.
    #[inline(always)]
    pub(super) fn outcome_of(&mut self, exit: Exit) -> Result<Value, Raise> {
        let t = &mut self.roots.thread;
        let accu = std::mem::replace(&mut t.accu, Value::UNIT);
        t.env = Value::UNIT;
        match exit {
            Exit::Stop => Ok(accu),
            Exit::Slow | Exit::Covered => unreachable!("dispatch handles these two itself"),
            Exit::Exception => Err(Raise::Exn),
            Exit::Leave => Err(match self.leaving.take() {
                Some(Leaving::Exit(code)) => Raise::Exit(code),
                Some(Leaving::Thread) => Raise::EndThread,
                Some(Leaving::Fatal(message)) => Raise::Fatal(message),
                Some(Leaving::Fault(stopped)) => Raise::Fault(stopped),
                Some(Leaving::Panic(panicked)) => Raise::Panic(panicked),
                Some(Leaving::Interrupted) => Raise::Interrupted,
                Some(Leaving::Paused | Leaving::Waiting(_)) => Raise::Pause,
                None => Raise::Fatal("the machine stopped without recording a reason".to_owned()),
            }),
        }
    }

    /// After a panic in something that this activation called: the reason to leave the machine.
    #[cold]
    pub(super) fn leave_panicked(&mut self, payload: &(dyn Any + Send)) -> Exit {
        let primitive = self.prims.name(self.roots.thread.running).map(str::to_owned);
        let panicked = Panicked { primitive, ..Panicked::of(payload) };
        self.roots.thread.inserted = 0;
        self.raised = None;
        self.raised_by_foreign.set(None);
        self.leaving = Some(Leaving::Panic(Box::new(panicked)));
        Exit::Leave
    }

    /// Calls the OCaml closure in `f`.
    ///
    /// # Errors
    /// [`Raise::Exn`] when it raises; the exception is [`Machine::exn`].
    pub fn call(&mut self, f: Slot, args: &[Slot]) -> Res<'_> {
        let closure = self.raw(f);
        // SAFETY: what is in a slot is a value.
        unsafe { check_callable(closure, args.len()) }?;
        self.debug_callback();
        let depth = self.mark();
        // Save the registers of an instruction that may be in progress.
        let parent = self.cut_parent();
        let stop = self.stop_code();
        let t = &mut self.roots.thread;
        let frame = [stop, Value::UNIT, Value::int(0), parent, t.env, t.accu];
        let top = t.stack.sp.wrapping_sub(frame.len() + args.len());
        let outcome = if top < t.stack.threshold {
            self.call_growing(f, args, parent)
        } else {
            for (i, arg) in args.iter().enumerate() {
                let arg = self.raw(*arg);
                // SAFETY: there is room for the arguments and the frame, below all slots.
                unsafe { top.add(i).write(arg) };
            }
            // SAFETY: as above; a closure's first word is a code address of this machine's; its arguments and a return
            // frame to `STOP` are on the stack.
            unsafe {
                top.add(args.len()).cast::<[Value; 6]>().write(frame);
                self.roots.thread.stack.sp = top;
                self.run(Regs::code_address(closure.field(0)), closure, args.len() - 1)
            }
        };
        let v = outcome.inspect_err(|_| self.restore_under_way(depth))?;
        self.restore_under_way(depth);
        // SAFETY: just returned; nothing has been allocated since.
        Ok(unsafe { Val::from_raw(v) })
    }

    /// The same if the stack has to grow, for which the collector may run. The registers are on the stack afterwards.
    #[cold]
    fn call_growing(&mut self, f: Slot, args: &[Slot], parent: Value) -> Result<Value, Raise> {
        let t = &mut self.roots.thread;
        t.stack.push_few([t.accu, t.env, parent]);
        self.ensure_stack(args.len())?;
        let stop = self.stop_code();
        self.roots.thread.stack.push_few([Value::int(0), Value::UNIT, stop]);
        for arg in args.iter().rev() {
            let arg = self.raw(*arg);
            self.roots.thread.stack.push_few([arg]);
        }
        // SAFETY: a closure's first word is a code address of this machine's; its arguments and a return frame to
        // `STOP` are on the stack.
        unsafe {
            let closure = self.raw(f);
            self.run(Regs::code_address(closure.field(0)), closure, args.len() - 1)
        }
    }

    /// The same with values that are in no slots, for a primitive that is running. It is written apart because callbacks
    /// of C are frequent.
    ///
    /// # Errors
    /// As above.
    ///
    /// # Safety
    /// They are values of the program.
    pub(crate) unsafe fn call_values(&mut self, closure: Value, args: &[Value]) -> Result<Value, Raise> {
        // SAFETY: a value of the program.
        unsafe { check_callable(closure, args.len()) }?;
        self.debug_callback();
        let depth = self.mark();
        let parent = self.cut_parent();
        let stop = self.stop_code();
        let t = &mut self.roots.thread;
        let frame = [stop, Value::UNIT, Value::int(0), parent, t.env, t.accu];
        let top = t.stack.sp.wrapping_sub(frame.len() + args.len());
        if top < t.stack.threshold {
            // SAFETY: by contract.
            return unsafe { self.call_values_growing(closure, args, parent) };
        }
        // SAFETY: there is room. The rest is as in `call`; libraries in C are only called by trusted code, which leaves its
        // caller's words on the stack.
        unsafe {
            ptr::copy_nonoverlapping(args.as_ptr(), top, args.len());
            top.add(args.len()).cast::<[Value; 6]>().write(frame);
            t.stack.sp = top;
            let outcome = self.run_in_call(Regs::code_address(closure.field(0)), closure, args.len() - 1);
            self.restore_at_once(depth);
            outcome
        }
    }

    /// The same if the stack has to grow, during which the closure may move.
    ///
    /// # Safety
    /// As above.
    #[cold]
    unsafe fn call_values_growing(
        &mut self,
        closure: Value,
        args: &[Value],
        parent: Value,
    ) -> Result<Value, Raise> {
        let depth = self.mark();
        let stop = self.stop_code();
        let t = &mut self.roots.thread;
        t.stack.push_few([t.accu, t.env, parent, closure, Value::int(0), Value::UNIT, stop]);
        for arg in args.iter().rev() {
            t.stack.push_few([*arg]);
        }
        self.ensure_stack(0).inspect_err(|_| self.restore_under_way(depth))?;
        // SAFETY: as in `call`.
        let outcome = unsafe {
            let closure = self.raw(Slot(depth + 4));
            self.run(Regs::code_address(closure.field(0)), closure, args.len() - 1)
        };
        self.restore_under_way(depth);
        outcome
    }

    /// Restores what a call has pushed above `depth`, and the depth.
    fn restore_under_way(&mut self, depth: usize) {
        assert!(self.mark() >= depth + 3, "popped what a call has pushed");
        // SAFETY: just tested.
        unsafe { self.restore_at_once(depth) }
    }

    /// The same without a test, which would make callbacks of C take a sixth longer.
    ///
    /// # Safety
    /// The three words that the call has pushed first are still there.
    #[inline(always)]
    unsafe fn restore_at_once(&mut self, depth: usize) {
        debug_assert!(self.mark() >= depth + 3, "popped what a call has pushed");
        let t = &mut self.roots.thread;
        // SAFETY: by contract.
        let [parent, env, accu] = unsafe { *t.stack.at(depth + 3).cast::<[Value; 3]>() };
        (t.accu, t.env, t.stack.sp) = (accu, env, t.stack.at(depth));
        self.join_parent(parent);
    }

    /// Runs the program's code from its start to its `STOP`.
    pub(crate) fn run_program(&mut self, start: *const u64) -> Result<(), Raise> {
        let env = self.heap.atom(0);
        self.ensure_stack(0)?;
        // SAFETY: the start of translated code that expects an empty frame.
        unsafe { self.run(start, env, 0) }.map(drop)
    }

    /// Pushes the `env` of the code that called the running primitive. `first` is that primitive's first argument.
    pub fn push_caller_env(&mut self, first: Slot) -> Slot {
        self.push_slot(Slot(first.0 + 1))
    }

    /// Rearranges the stack below the running primitive so that its caller, when it returns, enters `code` with `env`
    /// and `arg` (`caml_invoke_traced_function`). The caller is the instrumented function of the toplevel's `#trace`,
    /// whose frame has three words.
    ///
    /// # Errors
    /// When the stack does not have that caller's layout.
    pub fn insert_traced_call(&mut self, [code, env, arg]: [Slot; 3]) -> Result<(), Raise> {
        if self.engine.grade() == Grade::Checked {
            return Err(Raise::failure("functions cannot be traced in checked code"));
        }
        const FRAME: usize = 2 + 3 + 3;
        let inserted = {
            let code = Value::from_bits(self.nativeint(code)? as u64);
            [self.raw(arg), Value::int(0), self.raw(env), code]
        };
        let env = self.val(env);
        if !matches!(env.tag(), Ok(tag::CLOSURE | tag::INFIX)) || !self.may_run(env.raw(), inserted[3]) {
            return Err(Raise::invalid("invoke_traced_function"));
        }
        let pc = Regs::code_address(inserted[3]);
        // The caller enters the function by a return, which does not test whether the function has been translated.
        // SAFETY: an address in code, just tested.
        if unsafe { *pc } == 0 {
            self.translate_function(pc)?;
        }
        let top = self.mark();
        let bottom = top.checked_sub(FRAME).ok_or_else(|| Raise::invalid("invoke_traced_function"))?;
        let frame: Vec<Value> = (bottom + 1..=top).map(|depth| self.raw(Slot(depth))).collect();
        self.release(bottom);
        for v in inserted.into_iter().chain(frame) {
            self.push_raw(v);
        }
        self.roots.thread.inserted = inserted.len();
        Ok(())
    }

    /// Calls primitive `p`, whose `N` arguments are on the stack above the two words of its frame. Returns false when
    /// it raised; the exception is then recorded in the machine.
    #[inline(never)]
    pub(crate) fn call_primitive<const N: usize>(&mut self, p: usize) -> bool {
        let depth = self.mark();
        let arg = |i: usize| Slot(depth - 2 - i);
        (self.roots.thread.running, self.roots.thread.floor) = (p, depth - 2 - N);
        let outcome = match (self.prims.target(p), N) {
            (Some(Target::Static(Prim::P1(f))), 1) => f(self, [arg(0)]),
            (Some(Target::Static(Prim::P2(f))), 2) => f(self, [arg(0), arg(1)]),
            (Some(Target::Static(Prim::P3(f))), 3) => f(self, [arg(0), arg(1), arg(2)]),
            (Some(Target::Static(Prim::P4(f))), 4) => f(self, [arg(0), arg(1), arg(2), arg(3)]),
            (Some(Target::Static(Prim::P5(f))), 5) => f(self, [arg(0), arg(1), arg(2), arg(3), arg(4)]),
            (Some(Target::Static(Prim::V2(f))), 2) => {
                f(self, self.val(arg(0)), self.val(arg(1))).map_err(|raise| *raise)
            }
            (Some(Target::Static(Prim::V4(f))), 4) => {
                let [a, b, c, d] = [0, 1, 2, 3].map(|i| self.val(arg(i)));
                f(self, a, b, c, d).map_err(|raise| *raise)
            }
            (Some(Target::Foreign(foreign)), _) => return self.call_primitive_of_foreign(*foreign, p, N),
            _ => return self.call_other(p, N),
        };
        let outcome = outcome.map(|v| v.raw());
        self.roots.thread.running = NO_PRIMITIVE;
        match outcome {
            Ok(v) => {
                self.release(depth);
                self.set_result(v);
                true
            }
            Err(raise) => {
                self.release(depth);
                if raise == Raise::Interrupted && self.may_restart(p) {
                    return self.restart::<N>(p);
                }
                self.leave_exn(raise);
                false
            }
        }
    }

    /// Whether primitive `p` can be restarted: it is read-only, and the interrupt that stopped it is not for this
    /// thread.
    fn may_restart(&self, p: usize) -> bool {
        let read_only = matches!(self.prims.target(p), Some(Target::Static(Prim::V2(_) | Prim::V4(_))));
        read_only && !self.is_home()
    }

    /// Restarts a read-only primitive once the interrupted call has ended.
    #[cold]
    fn restart<const N: usize>(&mut self, p: usize) -> bool {
        match self.stop_or_wait() {
            Ok(()) => self.call_primitive::<N>(p),
            Err(raise) => {
                self.leave_exn(raise);
                false
            }
        }
    }

    fn call_primitive_of_foreign(&mut self, foreign: Foreign, p: usize, n: usize) -> bool {
        match self.call_foreign(foreign, p, n) {
            Some(v) => {
                self.set_result(v);
                true
            }
            None => false,
        }
    }

    /// Calls primitive `p` with two arguments if it is read-only. It needs no frame unless it raises: then
    /// [`Machine::leave_raised`] needs one.
    pub(crate) fn call_direct2(&mut self, p: usize, a: Value, b: Value) -> DirectCall {
        let Some(Target::Static(Prim::V2(f))) = self.prims.target(p) else {
            return DirectCall::NotPossible;
        };
        self.roots.thread.running = p;
        let outcome = f(self, self.as_val(a), self.as_val(b)).map(|v| v.raw());
        self.direct_outcome(outcome)
    }

    /// Like `call_direct2`, with four arguments.
    pub(crate) fn call_direct4(&mut self, p: usize, a: Value, b: Value, c: Value, d: Value) -> DirectCall {
        let Some(Target::Static(Prim::V4(f))) = self.prims.target(p) else {
            return DirectCall::NotPossible;
        };
        self.roots.thread.running = p;
        let outcome =
            f(self, self.as_val(a), self.as_val(b), self.as_val(c), self.as_val(d)).map(|v| v.raw());
        self.direct_outcome(outcome)
    }

    #[inline]
    fn direct_outcome(&mut self, outcome: Result<Value, Box<Raise>>) -> DirectCall {
        self.roots.thread.running = NO_PRIMITIVE;
        match outcome {
            Ok(v) => DirectCall::Answer(v),
            // It restarts, with a frame, when this thread may continue.
            Err(raise) if *raise == Raise::Interrupted && !self.is_home() => DirectCall::NotPossible,
            Err(raise) => {
                self.raised = Some(raise);
                DirectCall::Raised
            }
        }
    }

    /// Records the exception that a read-only primitive raised.
    #[cold]
    pub(crate) fn leave_raised(&mut self) {
        if let Some(raise) = self.raised.take() {
            self.leave_exn(*raise);
        }
    }

    /// The rarer kinds: any number of arguments, host functions, missing primitives; not those of foreign libraries.
    #[cold]
    pub(crate) fn call_other(&mut self, p: usize, n: usize) -> bool {
        let depth = self.mark();
        // The usual numbers of arguments need no memory.
        let few: [Slot; FEW_ARGUMENTS] = std::array::from_fn(|i| Slot(depth.wrapping_sub(2 + i)));
        let many: Vec<Slot>;
        let args: &[Slot] = match few.get(..n) {
            Some(args) => args,
            None => {
                many = (0..n).map(|i| Slot(depth - 2 - i)).collect();
                &many
            }
        };
        let target = self.prims.target(p).copied();
        (self.roots.thread.running, self.roots.thread.floor) = (p, depth - 2 - n);
        let outcome = match target {
            Some(Target::Static(Prim::Pn(f))) => f(self, args),
            Some(Target::Host { arity, place }) if arity as usize == n && self.is_home() => {
                let f = HostFn::clone(self.prims.host_function(place));
                f(self, args)
            }
            target => Err(self.uncallable(p, n, target.as_ref())),
        };
        let outcome = outcome.map(|v| v.raw());
        let inserted = std::mem::take(&mut self.roots.thread.inserted);
        self.finish_primitive(outcome, depth + inserted)
    }

    /// Why a primitive cannot be called with `n` arguments.
    #[cold]
    fn uncallable(&self, p: usize, n: usize, target: Option<&Target>) -> Raise {
        let name = self.prims.name(p).unwrap_or("?");
        match target {
            Some(Target::Host { .. }) if !self.is_home() => {
                Raise::failure(format!("{name}: the host's functions belong to its own thread"))
            }
            Some(Target::Missing) | None => {
                Raise::Fatal(format!("primitive {name} is called but not implemented"))
            }
            Some(other) => {
                let arity = other.arity().unwrap_or(0);
                Raise::Fatal(format!("primitive {name} takes {arity} arguments, the code passes {n}"))
            }
        }
    }

    #[inline]
    fn finish_primitive(&mut self, outcome: Result<Value, Raise>, depth: usize) -> bool {
        self.roots.thread.running = NO_PRIMITIVE;
        self.release(depth);
        match outcome {
            Ok(v) => {
                self.set_result(v);
                true
            }
            Err(Raise::Pause) if self.can_pause() => {
                self.leaving = Some(Leaving::Waiting(self.roots.thread.floor));
                false
            }
            Err(raise) => {
                self.leave_exn(raise);
                false
            }
        }
    }
}
