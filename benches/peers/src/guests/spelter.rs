//! OCaml bytecode, checked, which is the default. The program is read, verified and translated once.

use anyhow::Result;
use spelter::{Program, Value, Vm};

use super::{Guest, next};

pub(crate) struct Spelter {
    vm: Vm,
    add: Value,
    fib: Value,
    rounds: Value,
}

impl Guest for Spelter {
    const NAME: &'static str = "spelter 0.1";

    type Shared = Program;

    fn share() -> Result<Program> {
        Ok(Program::new("program.byte", include_bytes!("../../guests/program.byte"))?)
    }

    fn instance(program: &Program) -> Result<Self> {
        let mut vm = Vm::builder().primitive("host_next", next).build();
        vm.run(program)?;
        let (add, fib, rounds) = (vm.value("add")?, vm.value("fib")?, vm.value("rounds")?);
        Ok(Spelter { vm, add, fib, rounds })
    }

    fn add(&mut self, a: i64, b: i64) -> Result<i64> {
        Ok(self.vm.call_value(&self.add, (a, b))?)
    }

    fn fib(&mut self, n: i64) -> Result<i64> {
        Ok(self.vm.call_value(&self.fib, (n,))?)
    }

    fn rounds(&mut self, n: i64) -> Result<i64> {
        Ok(self.vm.call_value(&self.rounds, (n,))?)
    }
}
