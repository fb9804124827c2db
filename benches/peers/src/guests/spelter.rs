//! OCaml bytecode, checked, which is the default.

use anyhow::Result;
use spelter::{Function, Vm};

use super::{Guest, next};

pub(crate) struct Spelter {
    vm: Vm,
    add: Function<(i64, i64), i64>,
    fib: Function<(i64,), i64>,
    rounds: Function<(i64,), i64>,
}

impl Guest for Spelter {
    const NAME: &'static str = "spelter 0.1";

    /// Nothing yet: each machine reads and verifies its program.
    type Shared = ();

    fn share() -> Result<()> {
        Ok(())
    }

    fn instance((): &()) -> Result<Self> {
        let mut vm = Vm::builder().primitive("host_next", next).build();
        vm.run_bytes("host.byte", include_bytes!("../../guests/host.byte"))?;
        let unit = vm.load_bytes("guest.cmo", include_bytes!("../../guests/guest.cmo"))?;
        let unit = unit.with_interface(include_bytes!("../../guests/guest.cmi"))?;
        let (add, fib, rounds) =
            (vm.function(&unit, "add")?, vm.function(&unit, "fib")?, vm.function(&unit, "rounds")?);
        Ok(Spelter { vm, add, fib, rounds })
    }

    fn add(&mut self, a: i64, b: i64) -> Result<i64> {
        Ok(self.add.call(&mut self.vm, (a, b))?)
    }

    fn fib(&mut self, n: i64) -> Result<i64> {
        Ok(self.fib.call(&mut self.vm, (n,))?)
    }

    fn rounds(&mut self, n: i64) -> Result<i64> {
        Ok(self.rounds.call(&mut self.vm, (n,))?)
    }
}
