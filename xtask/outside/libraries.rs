//! A host that lets its machine load a library in C: `cargo xtask outside` compiles the library, and names its folder.

use spelter::{Error, HeapConfig, Vm};
use spelter_cinterface::{Refusal, install};

fn fixture(name: &str) -> Vec<u8> {
    let path = std::path::Path::new(env!("SPELTER_CRATES")).join("spelter/tests/fixtures").join(name);
    std::fs::read(path).expect("the fixture can be read")
}

fn trusted() -> Vm {
    // SAFETY: the fixtures come from an OCaml compiler.
    unsafe { Vm::builder().trusted() }.build()
}

fn with_libraries(vm: &mut Vm) -> Result<(), Refusal> {
    let folder = std::env::var_os("SPELTER_STUBS").expect("the folder of the library");
    // SAFETY: the library does what its units expect, and starts no threads.
    unsafe { install(vm.machine_for_loader(), vec![folder.into()]) }
}

fn main() -> Result<(), Error> {
    assert_eq!(with_libraries(&mut Vm::builder().build()), Err(Refusal::Checked));
    let heap = HeapConfig { max_words: Some(1 << 20), ..HeapConfig::default() };
    // SAFETY: it runs no code.
    let mut limited = unsafe { Vm::builder().heap(heap).trusted() }.build();
    assert_eq!(with_libraries(&mut limited), Err(Refusal::Limited));

    // One machine after the other can have libraries, until one has opened some.
    let mut unused = trusted();
    assert_eq!(with_libraries(&mut unused), Ok(()));
    assert_eq!(with_libraries(&mut trusted()), Err(Refusal::Taken));
    drop(unused);
    let mut vm = trusted();
    assert_eq!(with_libraries(&mut vm), Ok(()));
    vm.run_bytes("host.byte", &fixture("host.byte"))?;
    let missing = vm.open_library("dllnowhere");
    assert!(matches!(missing, Err(Error::Library { .. })), "{missing:?}");
    let before = vm.load_bytes("calls.cmo", &fixture("calls.cmo"));
    assert!(matches!(before, Err(Error::Link { .. })), "{before:?}");
    vm.open_library("dllcalls")?;

    let unit = vm.load_bytes("calls.cmo", &fixture("calls.cmo"))?;
    assert_eq!(vm.call::<i64>("double", (21,))?, 42);
    assert_eq!(vm.call::<String>("join", ("one", "two"))?, "onetwo");
    assert_eq!(vm.call::<String>("caught", ("this",))?, "caught this");
    let failed = vm.call::<i64>("fail", ("that",));
    assert!(failed.unwrap_err().to_string().contains("Failure(\"that\")"));

    // The library stays; the unit is garbage, although it has named the library's functions.
    drop(unit);
    for name in ["double", "join", "fail", "caught"] {
        assert!(vm.unregister(name));
    }
    vm.collect()?;
    assert_eq!(vm.units().len(), 0);
    vm.load_bytes("calls.cmo", &fixture("calls.cmo"))?;
    assert_eq!(vm.call::<String>("join", ("a", "b"))?, "ab");

    // The library has a global root, which leads to a value of this machine for ever.
    drop(vm);
    assert_eq!(with_libraries(&mut trusted()), Err(Refusal::Taken));
    println!("a host with a library in C: ok");
    Ok(())
}
