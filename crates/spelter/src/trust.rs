//! Where this crate's types meet what they cannot show: the facade's only unsafe code.

use std::rc::Rc;

use spelter_interp::{Engine, HostFn, Machine, Raise, Res, Slot};

use crate::context::{Context, Local};
use crate::vm::{Vm, VmBuilder};

/// A function in the machine's form, whose context and locals keep the machine's contract by their types.
fn host_fn<F>(f: F) -> impl for<'m> Fn(&'m mut Machine, &[Slot]) -> Res<'m>
where
    F: for<'c> Fn(&mut Context<'c>, &[Local<'c>]) -> Result<Local<'c>, Raise>,
{
    move |m, args| {
        let args: Vec<Local<'_>> = args.iter().map(|arg| Local::new(*arg)).collect();
        let result = f(&mut Context::new(m), &args)?.slot;
        Ok(m.val(result))
    }
}

/// Makes a primitive of the host's known.
pub(crate) fn add_primitive<F>(m: &mut Machine, name: &str, arity: usize, f: F)
where
    F: for<'c> Fn(&mut Context<'c>, &[Local<'c>]) -> Result<Local<'c>, Raise> + 'static,
{
    let f: HostFn = Rc::new(host_fn(f));
    // SAFETY: all that `f` can do with the machine it does through a context, whose lifetime it cannot choose: it reaches no
    // machine to swap, and no slots but its arguments and those that it pushed, which it releases in the order of scopes.
    unsafe { m.add_host_primitive(name, arity, f) };
}

/// Has `handler` called when the host's signal has come.
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
    // SAFETY: as above.
    unsafe { spelter_primitives::handle_for_host(m, name, std::sync::Arc::new(handler)) }
}

impl VmBuilder {
    /// Trusts all code, as `ocamlrun` does: nothing is verified, and only what OCaml itself tests is tested. It saves the
    /// few percent that [docs/performance.md] tells.
    ///
    /// [docs/performance.md]: https://github.com/spelter/spelter/blob/main/docs/performance.md
    ///
    /// # Safety
    /// All code that the machine will ever load comes unchanged from an OCaml compiler: the program, units, what the
    /// program loads by itself, and closures that it unmarshals. And all values that it gets have the types that it was
    /// compiled for: what the host calls its functions with, what host functions return, what is written into its
    /// blocks.
    pub unsafe fn trusted(mut self) -> Self {
        let dispatch = self.settings.engine.dispatch;
        // SAFETY: the caller's promise.
        self.settings.engine = unsafe { Engine::trusted(dispatch) };
        self
    }
}

impl Vm {
    /// The machine underneath, for tools and tests that work with slots themselves.
    ///
    /// # Safety
    /// Who has it keeps the contract of [`spelter_interp::Prim`]: it is not swapped or replaced, and no slots are used or
    /// released but those that were pushed since.
    pub unsafe fn machine(&mut self) -> &mut Machine {
        self.raw()
    }
}
