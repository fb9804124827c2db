//! The main function of the crate that depends on all of our crates: `cargo xtask outside` combines it with their
//! front pages.

use spelter::{Dispatch, Error, Vm};

// front pages

/// A host for plug-ins, with a host function.
fn host() -> Result<(), Error> {
    let fixture = |name: &str| {
        let path = std::path::Path::new(env!("SPELTER_CRATES")).join("spelter/tests/fixtures").join(name);
        std::fs::read(path).expect("the fixture can be read")
    };
    let mut vm = Vm::builder().primitive("host_log", |line: String| println!("{line}")).build();
    vm.run_bytes("host.byte", &fixture("host.byte"))?;
    for round in 1..=3 {
        let unit = vm.load_bytes("greet.cmo", &fixture("greet.cmo"))?;
        let greeting: String = vm.call("greet", (format!("round {round}"),))?;
        assert_eq!(greeting, format!("hello, round {round}"));
        assert_eq!(vm.units().len(), 1);
        drop(unit);
        vm.unregister("greet");
        vm.collect()?;
        assert_eq!(vm.units().len(), 0);
    }
    Ok(())
}

fn main() -> Result<(), Error> {
    let wanted = std::env::args().nth(1);
    let dispatch = if Dispatch::TAIL_CALLS { "tail" } else { "loop" };
    assert_eq!(wanted.as_deref(), Some(dispatch), "how this build dispatches");
    front_pages();
    host()
}
