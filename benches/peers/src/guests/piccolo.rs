//! Lua in Rust, piccolo. It has no functions that a host calls directly: a call starts an executor again, which runs in
//! slices.

use anyhow::{Result, anyhow};
use piccolo::{Callback, CallbackReturn, Closure, Executor, Function, StashedExecutor, StashedFunction};

use super::{Guest, next};

const SOURCE: &str = include_str!("../../guests/guest.lua");

pub(crate) struct Piccolo {
    lua: piccolo::Lua,
    executor: StashedExecutor,
    add: StashedFunction,
    fib: StashedFunction,
    rounds: StashedFunction,
}

impl Guest for Piccolo {
    const NAME: &'static str = "piccolo 0.3";

    type Shared = ();

    fn share() -> Result<()> {
        Ok(())
    }

    fn instance((): &()) -> Result<Self> {
        let mut lua = piccolo::Lua::core();
        let executor = lua.try_enter(|ctx| {
            let callback = Callback::from_fn(&ctx, |ctx, _, mut stack| {
                let n: i64 = stack.consume(ctx)?;
                stack.replace(ctx, next(n));
                Ok(CallbackReturn::Return)
            });
            ctx.set_global("host_next", callback)?;
            let closure = Closure::load(ctx, None, SOURCE.as_bytes())?;
            Ok(ctx.stash(Executor::start(ctx, closure.into(), ())))
        })?;
        lua.execute::<()>(&executor)?;
        let mut function = |name: &'static str| {
            lua.enter(|ctx| match ctx.get_global(name) {
                piccolo::Value::Function(function) => Ok(ctx.stash(function)),
                _ => Err(anyhow!("{name} is no function")),
            })
        };
        let (add, fib, rounds) = (function("add")?, function("fib")?, function("rounds")?);
        Ok(Piccolo { lua, executor, add, fib, rounds })
    }

    fn add(&mut self, a: i64, b: i64) -> Result<i64> {
        let function = self.add.clone();
        self.call(&function, (a, b))
    }

    fn fib(&mut self, n: i64) -> Result<i64> {
        let function = self.fib.clone();
        self.call(&function, n)
    }

    fn rounds(&mut self, n: i64) -> Result<i64> {
        let function = self.rounds.clone();
        self.call(&function, n)
    }
}

impl Piccolo {
    fn call<A>(&mut self, function: &StashedFunction, arguments: A) -> Result<i64>
    where
        A: for<'gc> piccolo::IntoMultiValue<'gc>,
    {
        self.lua.enter(|ctx| {
            let function: Function<'_> = ctx.fetch(function);
            ctx.fetch(&self.executor).restart(ctx, function, arguments);
        });
        Ok(self.lua.execute(&self.executor)?)
    }
}
