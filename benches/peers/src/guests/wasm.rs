//! WebAssembly in an interpreter, wasmi. Its compiled module is shared.

use anyhow::Result;
use wasmi::{Engine, Linker, Module, Store, TypedFunc};

use super::{Guest, next};

const SOURCE: &str = include_str!("../../guests/guest.wat");

pub(crate) struct Wasm {
    store: Store<()>,
    add: TypedFunc<(i64, i64), i64>,
    fib: TypedFunc<i64, i64>,
    rounds: TypedFunc<i64, i64>,
}

impl Guest for Wasm {
    const NAME: &'static str = "wasmi 2.0";

    type Shared = (Engine, Module, Linker<()>);

    fn share() -> Result<Self::Shared> {
        let engine = Engine::default();
        let module = Module::new(&engine, SOURCE)?;
        let mut linker = Linker::new(&engine);
        linker.func_wrap("host", "next", next)?;
        Ok((engine, module, linker))
    }

    fn instance((engine, module, linker): &Self::Shared) -> Result<Self> {
        let mut store = Store::new(engine, ());
        let instance = linker.instantiate_and_start(&mut store, module)?;
        let add = instance.get_typed_func(&store, "add")?;
        let fib = instance.get_typed_func(&store, "fib")?;
        let rounds = instance.get_typed_func(&store, "rounds")?;
        Ok(Wasm { store, add, fib, rounds })
    }

    fn add(&mut self, a: i64, b: i64) -> Result<i64> {
        Ok(self.add.call(&mut self.store, (a, b))?)
    }

    fn fib(&mut self, n: i64) -> Result<i64> {
        Ok(self.fib.call(&mut self.store, n)?)
    }

    fn rounds(&mut self, n: i64) -> Result<i64> {
        Ok(self.rounds.call(&mut self.store, n)?)
    }
}
