//! A REPL in a program: each line is a phrase for OCaml's own toplevel, which can call the program, and has limits.
//!
//! Run it with `cargo run -p spelter-compiler --example repl`; it needs an OCaml installation.

use std::io::{self, BufRead, Write};
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use spelter::Limit;
use spelter_compiler::{Error, Installation, Toplevel};

/// What phrases can change in this program.
static LAMP: AtomicI64 = AtomicI64::new(0);

fn main() -> Result<(), Error> {
    let mut toplevel = Toplevel::builder()
        .primitive("lamp_set", |percent: i64| LAMP.store(percent.clamp(0, 100), Ordering::Relaxed))
        .primitive("lamp_get", |(): ()| LAMP.load(Ordering::Relaxed))
        .fuel(50_000_000)
        .time_limit(Duration::from_secs(2))
        .start(&Installation::find()?)?;
    toplevel.eval("module Lamp = struct external set : int -> unit = \"lamp_set\" external get : unit -> int = \"lamp_get\" end")?;

    println!("Type OCaml, such as: Lamp.set 40");
    for line in io::stdin().lock().lines() {
        let Ok(line) = line else { break };
        match toplevel.eval(&line) {
            Ok(answer) => print!("{}{}{}", answer.printed, answer.error_output, answer.text),
            // What was defined before remains.
            Err(Error::Machine(spelter::Error::Limit(Limit::Fuel | Limit::Time))) => {
                println!("that takes too long")
            }
            Err(Error::Machine(spelter::Error::Exit(_))) => break,
            Err(error) => println!("{error}"),
        }
        println!("[lamp: {} %]", LAMP.load(Ordering::Relaxed));
        let _ = io::stdout().flush();
    }
    Ok(())
}
