//! The facade's only unsafe code, for what types cannot express.

use std::rc::Rc;

use spelter_interp::{Engine, HostFn, Machine, Raise, Res, Slot};

use crate::context::{Context, Local};
use crate::vm::{Vm, VmBuilder};

/// Converts a host function to the machine's form. The types of its context and locals enforce the machine's
/// contract.
fn host_fn<F>(f: F) -> impl for<'m> Fn(&'m mut Machine, &[Slot]) -> Res<'m>
where
    F: for<'c> Fn(&mut Context<'c>, &[Local<'c>]) -> Result<Local<'c>, Raise>,
{
    move |m, args| {
        let result = match args {
            // The usual numbers of arguments need no memory.
            [] => f(&mut Context::new(m), &[]),
            [a] => f(&mut Context::new(m), &[Local::new(*a)]),
            [a, b] => f(&mut Context::new(m), &[*a, *b].map(Local::new)),
            [a, b, c] => f(&mut Context::new(m), &[*a, *b, *c].map(Local::new)),
            [a, b, c, d] => f(&mut Context::new(m), &[*a, *b, *c, *d].map(Local::new)),
            _ => f(&mut Context::new(m), &args.iter().map(|arg| Local::new(*arg)).collect::<Vec<_>>()),
        };
        let result = result?.slot;
        Ok(m.val(result))
    }
}

/// Registers a primitive of the host.
pub(crate) fn add_primitive<F>(m: &mut Machine, name: &str, arity: usize, f: F)
where
    F: for<'c> Fn(&mut Context<'c>, &[Local<'c>]) -> Result<Local<'c>, Raise> + Send + 'static,
{
    let f: HostFn = Rc::new(host_fn(f));
    // SAFETY: `f` accesses the machine only through a context, whose lifetime it cannot choose. So it cannot swap the
    // machine, and it reaches no slots except its arguments and those that it pushed, which it releases in the order
    // of scopes.
    unsafe { m.add_host_primitive(name, arity, f) };
}

/// Calls `handler` after the host's signal has arrived.
pub(crate) fn on_signal(
    m: &mut Machine,
    name: &str,
    handler: impl Fn(&mut Context<'_>) + Send + Sync + 'static,
) -> std::io::Result<()> {
    let handler = move |m: &mut Machine| {
        let mark = m.mark();
        handler(&mut Context::new(m));
        m.release(mark);
    };
    // SAFETY: `handler` accesses the machine only through a context, as in `add_primitive`.
    unsafe { spelter_primitives::handle_for_host(m, name, std::sync::Arc::new(handler)) }
}

impl Vm {
    /// The machine, for a loader of shared libraries (the crate `spelter-cinterface`).
    ///
    /// # Safety
    /// Only the loader's `install` uses it, whose conditions hold; among them, that the machine stays in this thread.
    pub unsafe fn machine_for_loader(&mut self) -> &mut Machine {
        &mut self.m
    }
}

impl VmBuilder {
    /// Trusts all code, as `ocamlrun` does: nothing is verified, and only OCaml's own run-time checks remain. This
    /// saves a few percent of time ([docs/performance.md]).
    ///
    /// [docs/performance.md]: https://github.com/spelter/spelter/blob/main/docs/performance.md
    ///
    /// # Safety
    /// All code that the machine will ever load must come unchanged from an OCaml compiler: the program, units, code
    /// that the program loads by itself, and closures that it unmarshals. All values that it gets must have the types
    /// that it was compiled for: arguments of the host's calls, results of host functions, values that are written
    /// into its blocks.
    pub unsafe fn trusted(mut self) -> Self {
        let dispatch = self.settings.engine.dispatch;
        // SAFETY: the caller guarantees it.
        self.settings.engine = unsafe { Engine::trusted(dispatch) };
        self
    }
}

// SAFETY: A machine is only used through `&mut Vm` or `&Vm`, by the thread that has the `Vm`, and does not ask which one
// that is: what is reference counted or in cells inside of it is used by one thread at a time. What leaves it are numbers
// with an `Arc` (values, units, namespaces, functions), `Arc`s of atomics and locks (interrupts, captured output), and
// copies. What hosts put into it (functions, sinks, clocks, handlers) is `Send` by the signatures of this crate's safe
// functions, and by contract of the others. The program's own threads already take turns with the machine.
unsafe impl Send for Vm {}

impl Vm {
    /// The underlying machine, for tools and tests that work with slots directly.
    ///
    /// # Safety
    /// The caller must keep the contract of [`spelter_interp::Prim`]: do not swap or replace the machine, and do not
    /// use or release any slots except those that were pushed since. Whatever is put into the machine can be sent to
    /// another thread, and the caller keeps nothing that shares its reference counts.
    pub unsafe fn machine(&mut self) -> &mut Machine {
        self.raw()
    }
}
