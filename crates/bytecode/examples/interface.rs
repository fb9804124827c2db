//! Prints a compiled interface in OCaml's notation, as `ocamlc -i` prints its source, and says where the unit's module has
//! each value.
//!
//! Run it with `cargo run -p spelter-bytecode --example interface -- rule.cmi`.

use std::error::Error;

use spelter_bytecode::cmi::Interface;

fn main() -> Result<(), Box<dyn Error>> {
    match std::env::args().nth(1).filter(|_| !cfg!(test)) {
        Some(path) => print!("{}", Interface::read(&std::fs::read(path)?)?),
        None => print!("{}", fields(include_bytes!("../tests/fixtures/rule.cmi"))?),
    }
    Ok(())
}

/// The fields of a unit's module block.
fn fields(bytes: &[u8]) -> Result<String, Box<dyn Error>> {
    let interface = Interface::read(bytes)?;
    let items = interface.signature.items.iter().enumerate();
    let lines = items.filter_map(|(index, item)| {
        let field = interface.signature.field(index)?;
        Some(format!("{}.{} is field {field}\n", interface.name, item.name()))
    });
    Ok(lines.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_runs() {
        main().unwrap();
        let text = fields(include_bytes!("../tests/fixtures/rule.cmi")).unwrap();
        assert_eq!(text, "Rule.limit is field 0\nRule.decide is field 1\n");
    }
}
