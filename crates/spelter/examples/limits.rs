//! A user's script under limits: it can neither run on and on, nor use up the memory, nor look at a file that it was not
//! given; and after each attempt the machine works as before.
//!
//! Run it with `cargo run -p spelter --example limits`.

use std::time::Duration;

use spelter::{Error, Function, TypedUnit, Vm, World};

const HOST: &[u8] = include_bytes!("../tests/fixtures/examples/host.byte");
const SCRIPT: &[u8] = include_bytes!("../tests/fixtures/examples/script.cmo");
const INTERFACE: &[u8] = include_bytes!("../tests/fixtures/examples/script.cmi");

/// A machine for a script that nobody has read.
fn machine() -> Result<(Vm, TypedUnit), Error> {
    let mut vm = Vm::builder()
        .world(World::nothing().file("motd", "zinc is cheap today\n"))
        .memory_limit(16 << 20)
        .stack_limit_words(1 << 16)
        .thread_limit(1)
        .fuel(1_000_000)
        .time_limit(Duration::from_millis(500))
        .build();
    vm.run_bytes("host.byte", HOST)?;
    let script = vm.load_bytes("script.cmo", SCRIPT)?.with_interface(INTERFACE)?;
    Ok((vm, script))
}

/// Calls a function of the script with new fuel, and says how that ended.
fn attempt(vm: &mut Vm, script: &TypedUnit, name: &str, argument: Option<&str>) -> Result<String, Error> {
    vm.set_fuel(1_000_000)?;
    let outcome = match argument {
        Some(argument) => {
            let f: Function<(&str,), String> = vm.function(script, name)?;
            f.call(vm, (argument,))
        }
        None => {
            let f: Function<((),), ()> = vm.function(script, name)?;
            f.call(vm, ((),)).map(|()| "()".to_owned())
        }
    };
    let text = outcome.unwrap_or_else(|error| error.to_string());
    println!("{name} {}: {text}", argument.unwrap_or_default());
    Ok(text)
}

/// How each attempt ended, and what the script answers afterwards.
pub(crate) fn run() -> Result<(Vec<String>, Vec<String>), Error> {
    let (mut vm, script) = machine()?;
    let mut ends = Vec::new();
    for (name, argument) in
        [("forever", None), ("hoard", None), ("peek", Some("motd")), ("peek", Some("/etc/passwd"))]
    {
        ends.push(attempt(&mut vm, &script, name, argument)?);
    }
    vm.set_fuel(1_000)?;
    let shout: Function<(Vec<&str>,), Vec<String>> = vm.function(&script, "shout")?;
    let answer = shout.call(&mut vm, (vec!["still", "here"],))?;
    println!("shout: {answer:?}, {:?} fuel left", vm.fuel());
    Ok((ends, answer))
}

#[allow(dead_code, reason = "the tests include this file to call `run`")]
fn main() -> Result<(), Error> {
    run().map(drop)
}
