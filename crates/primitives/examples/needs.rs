//! Lists the primitives that an executable needs and that are not built in. Without an argument, lists all built-in
//! primitives, as `ocamlrun -p` does.
//!
//! Run it with `cargo run -p spelter-primitives --example needs -- prog.byte`.

use std::error::Error;

use spelter_bytecode::Executable;
use spelter_interp::{Machine, Settings};

fn main() -> Result<(), Box<dyn Error>> {
    let mut m = Machine::new(Settings::default());
    spelter_primitives::install(&mut m);
    match std::env::args().nth(1).filter(|_| !cfg!(test)) {
        Some(path) => {
            let exe = Executable::read(&std::fs::read(path)?)?;
            let needed = exe.prims()?;
            let missing = missing(&m, &needed);
            println!("{} primitives, of which {} are missing", needed.len(), missing.len());
            missing.iter().for_each(|name| println!("{name}"));
        }
        None => m.prims().known_names().iter().for_each(|name| println!("{name}")),
    }
    Ok(())
}

/// The names that the machine does not know.
fn missing<'a>(m: &Machine, needed: &[&'a str]) -> Vec<&'a str> {
    needed.iter().copied().filter(|name| !m.prims().knows(name)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_runs() {
        main().unwrap();
        let mut m = Machine::new(Settings::default());
        spelter_primitives::install(&mut m);
        assert_eq!(missing(&m, &["caml_hash", "unix_fork", "caml_teleport"]), ["caml_teleport"]);
    }
}
