//! How the machine gets from one handler to the next: two backends for the same handlers, each for both grades of
//! trust.

mod chains;
mod match_loop;
pub(crate) mod own;
#[cfg(tail_dispatch)]
mod tail;
/// A replacement for builds that cannot tail-call, which run the loop instead.
#[cfg(not(tail_dispatch))]
mod tail {
    use crate::Machine;
    use crate::exec::exit::Exit;
    use crate::exec::regs::{Regs, Trust};

    pub(super) use super::match_loop::cell;

    #[allow(clippy::extra_unused_type_parameters, reason = "its counterpart in tail dispatch has it")]
    pub(super) fn own_cells<T>() -> super::own::Cells {
        super::own::Cells::default()
    }

    pub(super) fn run<T: Trust>(m: &mut Machine, regs: Regs) -> Exit {
        super::match_loop::run::<T, false>(m, regs)
    }
}

pub(crate) use chains::goes_on;
use spelter_bytecode::Opcode;

use crate::Machine;
use crate::exec::exit::Exit;
use crate::exec::regs::{Checked, Metered, Regs, Trust, Trusted};

/// How the next handler is reached.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Dispatch {
    /// A loop around a `match`, available everywhere.
    Loop,
    /// Each handler jumps to the next. Needs an optimised build on x86-64 or aarch64; elsewhere the loop is used.
    #[default]
    Tail,
    /// The loop, which also counts the instructions that it runs: see [`Machine::profile`].
    Profile,
}

impl Dispatch {
    /// Whether this build can tail-call; otherwise [`Dispatch::Tail`] is the loop. It cannot at the opt-levels 0, 1,
    /// `s` and `z`, on other processors, and with `--cfg spelter_portable` in `RUSTFLAGS`.
    pub const TAIL_CALLS: bool = cfg!(tail_dispatch);
}

/// How far the machine trusts the code that it runs.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Grade {
    /// Code from a compiler that we trust, as `ocamlrun` does: see [`Engine::trusted`].
    Trusted,
    /// Code that is verified when it is loaded, and tested while it runs.
    #[default]
    Checked,
}

/// A machine's engine. It is fixed when the machine is made, because code is translated for it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Engine {
    /// How the next handler is reached.
    pub dispatch: Dispatch,
    grade: Grade,
    metered: bool,
}

impl Engine {
    /// An engine that checks the code that it runs.
    pub fn checked(dispatch: Dispatch) -> Engine {
        Engine { dispatch, grade: Grade::Checked, metered: false }
    }

    /// The same for a machine whose code burns fuel: see [`Machine::set_fuel`].
    pub fn metered(dispatch: Dispatch) -> Engine {
        Engine { dispatch, grade: Grade::Checked, metered: true }
    }

    /// Whether code burns fuel.
    pub fn is_metered(self) -> bool {
        self.metered
    }

    /// An engine that trusts its code, as `ocamlrun` does: nothing is verified, and only what OCaml itself tests is
    /// tested.
    ///
    /// # Safety
    /// All code that the machine will ever load (the program, its units, what the program loads by itself, marshalled
    /// closures) comes unchanged from an OCaml compiler, and only receives values of the types for which it was
    /// compiled, from its host, from any other caller, from what it unmarshals, and whatever it does with `Obj`.
    pub unsafe fn trusted(dispatch: Dispatch) -> Engine {
        Engine { dispatch, grade: Grade::Trusted, metered: false }
    }

    /// Whether code is checked or trusted.
    pub fn grade(self) -> Grade {
        self.grade
    }
}

/// The cells of the machine's own instructions for an engine.
pub(crate) fn own_cells(engine: Engine) -> own::Cells {
    match (engine.dispatch, engine.grade) {
        (Dispatch::Loop, _) => own::Cells::default(),
        (Dispatch::Profile, _) => own::Cells { counts: true, ..own::Cells::default() },
        (Dispatch::Tail, Grade::Trusted) => tail::own_cells::<Trusted>(),
        (Dispatch::Tail, Grade::Checked) if engine.metered => tail::own_cells::<Metered>(),
        (Dispatch::Tail, Grade::Checked) => tail::own_cells::<Checked>(),
    }
}

/// The cell of an instruction.
pub(crate) fn cell(engine: Engine, op: Opcode) -> u64 {
    match (engine.dispatch, engine.grade) {
        (Dispatch::Loop | Dispatch::Profile, _) => match_loop::cell::<Trusted>(op),
        (Dispatch::Tail, Grade::Trusted) => tail::cell::<Trusted>(op),
        (Dispatch::Tail, Grade::Checked) if engine.metered => tail::cell::<Metered>(op),
        (Dispatch::Tail, Grade::Checked) => tail::cell::<Checked>(op),
    }
}

/// Runs until the activation ends.
pub(crate) fn run(m: &mut Machine, regs: Regs) -> Exit {
    match m.engine.grade {
        Grade::Trusted => run_as::<Trusted>(m, regs),
        Grade::Checked if m.engine.metered => run_as::<Metered>(m, regs),
        Grade::Checked => run_as::<Checked>(m, regs),
    }
}

#[inline(always)]
fn run_as<T: Trust>(m: &mut Machine, regs: Regs) -> Exit {
    match m.engine.dispatch {
        Dispatch::Loop => match_loop::run::<T, false>(m, regs),
        Dispatch::Profile => match_loop::run::<T, true>(m, regs),
        Dispatch::Tail => tail::run::<T>(m, regs),
    }
}
