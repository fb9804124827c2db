//! Lua 5.4 in C, through mlua.

use anyhow::{Result, anyhow};
use mlua::Function;

use super::{Guest, next};

const SOURCE: &str = include_str!("../../guests/guest.lua");

pub(crate) struct Lua {
    add: Function,
    fib: Function,
    rounds: Function,
    /// After what refers to it.
    _lua: mlua::Lua,
}

impl Guest for Lua {
    const NAME: &'static str = "mlua 0.12 (Lua 5.4)";

    type Shared = ();

    fn share() -> Result<()> {
        Ok(())
    }

    fn instance((): &()) -> Result<Self> {
        let make = || {
            let lua = mlua::Lua::new();
            let globals = lua.globals();
            globals.set("host_next", lua.create_function(|_, n: i64| Ok(next(n)))?)?;
            lua.load(SOURCE).exec()?;
            Ok::<_, mlua::Error>(Lua {
                add: globals.get("add")?,
                fib: globals.get("fib")?,
                rounds: globals.get("rounds")?,
                _lua: lua,
            })
        };
        make().map_err(|e| anyhow!("{e}"))
    }

    fn add(&mut self, a: i64, b: i64) -> Result<i64> {
        self.add.call((a, b)).map_err(|e| anyhow!("{e}"))
    }

    fn fib(&mut self, n: i64) -> Result<i64> {
        self.fib.call(n).map_err(|e| anyhow!("{e}"))
    }

    fn rounds(&mut self, n: i64) -> Result<i64> {
        self.rounds.call(n).map_err(|e| anyhow!("{e}"))
    }
}
