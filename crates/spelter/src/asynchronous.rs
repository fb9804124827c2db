//! Host functions that wait, and calls that are futures.

use std::fmt;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::{Context as Task, Poll};

use spelter_interp::{Panicked, Raise};

use crate::context::{Context, Local};
use crate::convert::{Args, FromOcaml, Value};
use crate::error::Error;
use crate::function::Function;
use crate::host::Reply;
use crate::pausable::{Answer, Paused, Step};
use crate::program::Program;
use crate::vm::{Outcome, Vm, VmBuilder};

/// The result of a host function that is not there yet: that of a future. The call of the guest that needs it
/// ([`Vm::call_async`]) waits, while other work of the thread goes on. Nothing is assumed about what runs the future.
///
/// ```
/// use spelter::{Async, Vm};
///
/// // external double : int -> int = "host_double"
/// let double = |n: i64| Async(async move {
///     // ... await what takes a while ...
///     2 * n
/// });
/// # let mut vm = Vm::builder()
/// #     .primitive("host_double", double)
/// #     .primitive("host_join", |a: &str, b: &str| format!("{a}{b}"))
/// #     .primitive("host_fail", |_: &str| 0)
/// #     .build();
/// # vm.run_bytes("host.byte", include_bytes!("../tests/fixtures/host.byte"))?;
/// # vm.load_bytes("calls.cmo", include_bytes!("../tests/fixtures/calls.cmo"))?;
/// let answer: i64 = smol::block_on(vm.call_async("double", (21i64,)))?;
/// assert_eq!(answer, 42);
/// # Ok::<(), spelter::Error>(())
/// ```
///
/// The future is dropped when the call is. What it returns is a [`Reply`], so it may be a `Result`. The guest gets `Failure`
/// where it cannot wait: in [`Vm::call`] and other calls that are not futures; and where a function of the host has called
/// back, a finaliser or a signal handler runs, or another thread of the guest.
#[derive(Clone, Copy, Debug)]
pub struct Async<F>(pub F);

impl<F> Reply for Async<F>
where
    F: Future + Send + 'static,
    F::Output: Reply + Send + 'static,
{
    fn reply<'c>(self, cx: &mut Context<'c>) -> Result<Local<'c>, Raise> {
        let primitive = cx.m.running_primitive().unwrap_or("a host function").to_owned();
        if !cx.m.can_pause() || !cx.m.ext::<Waits>().allowed {
            let where_it_can = "only code that `Vm::call_async` or `Vm::run_async` runs itself can";
            return Err(Raise::failure(format!("{primitive} waits: {where_it_can}")));
        }
        let future = Box::pin(async move { answer(self.0.await) });
        cx.m.ext::<Waits>().wait = Some(Wait { primitive, future });
        Err(Raise::Pause)
    }
}

fn answer<R: Reply + Send + 'static>(reply: R) -> Answer {
    Box::new(move |cx| reply.reply(cx))
}

/// What a call waits for.
struct Wait {
    primitive: String,
    future: Pin<Box<dyn Future<Output = Answer> + Send>>,
}

impl Wait {
    /// Polls the future. A panic there is one in the host function.
    fn poll(&mut self, task: &mut Task<'_>) -> Poll<Result<Answer, Error>> {
        let polled = catch_unwind(AssertUnwindSafe(|| self.future.as_mut().poll(task)));
        match polled {
            Ok(polled) => polled.map(Ok),
            Err(payload) => {
                let primitive = Some(self.primitive.clone());
                Poll::Ready(Err(Error::panic(Panicked { primitive, ..Panicked::of(&*payload) })))
            }
        }
    }
}

/// A machine's part in that.
#[derive(Default)]
struct Waits {
    /// Whether the call that runs is a future.
    allowed: bool,
    /// What the call waits for that has just paused.
    wait: Option<Wait>,
}

/// A call of the guest as a future: [`Vm::call_async`] makes it. It borrows the machine. Dropping it ends the call: none of
/// its code runs then, no exception handler and no `Fun.protect`.
#[must_use = "futures do nothing unless they are awaited"]
pub struct CallFuture<'vm, T> {
    vm: &'vm mut Vm,
    call: State<T>,
}

enum State<T> {
    /// It could not begin.
    Failed(Error),
    Ready(Paused<T>),
    Waits(Paused<T>, Wait),
    Ended,
}

impl<T> Unpin for CallFuture<'_, T> {}

impl<T> fmt::Debug for CallFuture<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match &self.call {
            State::Failed(_) | State::Ready(_) => "ready",
            State::Waits(_, wait) => &wait.primitive,
            State::Ended => "ended",
        };
        f.debug_tuple("CallFuture").field(&state).finish()
    }
}

impl<T> Future for CallFuture<'_, T> {
    type Output = Result<T, Error>;

    fn poll(mut self: Pin<&mut Self>, task: &mut Task<'_>) -> Poll<Result<T, Error>> {
        let this = &mut *self;
        let slice = this.vm.fuel_per_poll;
        let before = this.vm.fuel();
        loop {
            let (call, answer) = match std::mem::replace(&mut this.call, State::Ended) {
                State::Ended => panic!("a call was polled after its end"),
                State::Failed(error) => return Poll::Ready(Err(error)),
                State::Ready(call) => (call, None),
                State::Waits(call, mut wait) => match wait.poll(task) {
                    Poll::Ready(answer) => (call, Some(answer?)),
                    Poll::Pending => {
                        this.call = State::Waits(call, wait);
                        return Poll::Pending;
                    }
                },
            };
            let burnt = before.zip(this.vm.fuel()).map_or(0, |(before, now)| before - now);
            let fuel = slice.map(|slice| slice.saturating_sub(burnt));
            let call = match this.vm.wait_or_go_on(call, answer, fuel)? {
                (Step::Done(result), _) => return Poll::Ready(Ok(result)),
                (Step::Paused(call), Some(wait)) => {
                    this.call = State::Waits(call, wait);
                    continue;
                }
                (Step::Paused(call), None) => call,
            };
            // Its fuel for this time is used up.
            this.call = State::Ready(call);
            task.waker().wake_by_ref();
            return Poll::Pending;
        }
    }
}

impl VmBuilder {
    /// Makes each poll of a call that is a future ([`Vm::call_async`]) end after so many units of fuel, so that other work
    /// of its thread comes to its turn. The machine counts fuel then, as with [`VmBuilder::fuel`], without a limit unless
    /// that sets one.
    pub fn fuel_per_poll(mut self, units: u64) -> Self {
        self.fuel_per_poll = Some(units.max(1));
        self
    }
}

impl Vm {
    /// Calls the function that OCaml code registered under `name`, as [`Vm::call`] does, but can wait for host functions
    /// whose results are [`Async`]. Nothing runs before the future is polled. Each poll is a call of the host's for limits of
    /// time and output, and for interrupts.
    pub fn call_async<T: FromOcaml>(&mut self, name: &str, args: impl Args) -> CallFuture<'_, T> {
        let call = self.start(name, args);
        self.future(call)
    }

    /// The same for a function that the host keeps.
    ///
    /// # Panics
    /// When another machine keeps it.
    pub fn call_value_async<T: FromOcaml>(&mut self, f: &Value, args: impl Args) -> CallFuture<'_, T> {
        let call = self.start_value(f, args);
        self.future(call)
    }

    /// Runs a program, as [`Vm::run`] does, but can wait for host functions whose results are [`Async`].
    pub fn run_async(&mut self, program: &Program) -> CallFuture<'_, Outcome> {
        let call = self.start_program(program);
        self.future(call)
    }

    fn future<T>(&mut self, call: Result<Paused<T>, Error>) -> CallFuture<'_, T> {
        CallFuture { vm: self, call: call.map_or_else(State::Failed, State::Ready) }
    }

    /// Goes on with a call, which may wait then.
    fn wait_or_go_on<T>(
        &mut self,
        call: Paused<T>,
        answer: Option<Answer>,
        fuel: Option<u64>,
    ) -> Result<(Step<T>, Option<Wait>), Error> {
        self.m.ext::<Waits>().allowed = true;
        let step = call.go_on(self, answer, fuel);
        let waits = std::mem::take(self.m.ext::<Waits>());
        Ok((step?, waits.wait))
    }
}

impl<A: Args, R: FromOcaml> Function<A, R> {
    /// Calls it as [`Vm::call_async`] does.
    ///
    /// # Panics
    /// When it belongs to another machine.
    pub fn call_async<'vm>(&self, vm: &'vm mut Vm, args: A) -> CallFuture<'vm, R> {
        vm.call_value_async(self.value(), args)
    }
}
