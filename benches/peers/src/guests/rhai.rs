//! Rhai: the engine and the syntax tree are shared, and an instance is a scope of variables.

use std::rc::Rc;

use anyhow::Result;
use rhai::{AST, Engine, Scope};

use super::{Guest, next};

const SOURCE: &str = include_str!("../../guests/guest.rhai");

pub(crate) struct Rhai {
    shared: Rc<(Engine, AST)>,
    scope: Scope<'static>,
}

impl Guest for Rhai {
    const NAME: &'static str = "rhai 1.27";

    type Shared = Rc<(Engine, AST)>;

    fn share() -> Result<Self::Shared> {
        let mut engine = Engine::new();
        engine.register_fn("host_next", next);
        let ast = engine.compile(SOURCE)?;
        Ok(Rc::new((engine, ast)))
    }

    fn instance(shared: &Self::Shared) -> Result<Self> {
        Ok(Rhai { shared: Rc::clone(shared), scope: Scope::new() })
    }

    fn add(&mut self, a: i64, b: i64) -> Result<i64> {
        let (engine, ast) = &*self.shared;
        engine.call_fn(&mut self.scope, ast, "add", (a, b)).map_err(|e| anyhow::anyhow!("{e}"))
    }

    fn fib(&mut self, n: i64) -> Result<i64> {
        let (engine, ast) = &*self.shared;
        engine.call_fn(&mut self.scope, ast, "fib", (n,)).map_err(|e| anyhow::anyhow!("{e}"))
    }

    fn rounds(&mut self, n: i64) -> Result<i64> {
        let (engine, ast) = &*self.shared;
        engine.call_fn(&mut self.scope, ast, "rounds", (n,)).map_err(|e| anyhow::anyhow!("{e}"))
    }
}
