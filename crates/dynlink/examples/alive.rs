//! Three copies of a unit are loaded. What is still in use of one unit keeps it alive, and the machine can say what
//! that is.
//!
//! Run it with `cargo run -p spelter-dynlink --example alive`.

use std::error::Error;

use spelter_bytecode::CompilationUnit;
use spelter_dynlink::explain::why_all_alive;
use spelter_dynlink::{Visibility, load_unit};
use spelter_interp::{Machine, Raise, Settings};

fn main() -> Result<(), Box<dyn Error>> {
    // let add x y = x + y   let answer = add 40 2
    let unit = CompilationUnit::read(include_bytes!("../tests/fixtures/answer.cmo"))?;
    let mut m = Machine::new(Settings::default());
    let mark = m.mark();
    for i in 0..3 {
        let loaded = load_unit(&mut m, &unit, Visibility::Private)?;
        let module = loaded.push_module(&mut m).map_err(told)?;
        if i == 1 {
            let add = m.push_field(module, 0).map_err(told)?;
            m.register_named(b"add", add);
        }
        // Drops its slots and its handle; the registered value stays.
        m.release(mark);
    }
    println!("loaded: {}", m.units().loaded().count());

    m.collect_full();
    println!("alive:  {}", m.units().loaded().count());
    for why in why_all_alive(&mut m) {
        for path in &why.paths {
            println!("{} because of {path}", why.name);
        }
    }
    let add = m.named_value("add").ok_or("not registered")?;
    let (x, y) = (m.push_int(40), m.push_int(2));
    println!("40 + 2 = {}", m.call(add, &[x, y]).map_err(told)?.int()?);
    m.release(mark);

    m.unregister_named(b"add");
    m.collect_full();
    println!("alive:  {}", m.units().loaded().count());
    assert_eq!(m.units().loaded().count(), 0);
    Ok(())
}

fn told(raise: Raise) -> String {
    format!("{raise:?}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_runs() {
        main().unwrap();
    }
}
