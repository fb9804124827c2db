//! Tries to open libraries, and prints why each one that cannot be opened cannot.
//!
//! Run it with `cargo run -p spelter-cinterface --example open -- /usr/lib/ocaml/stublibs/dllzarith`. This executable
//! exports nothing, so what it prints for a library is a name of OCaml's runtime that the library needs.

use spelter::Vm;

fn main() {
    let libraries: Vec<String> = std::env::args().skip(1).filter(|_| !cfg!(test)).collect();
    for (library, why) in refused(&libraries) {
        println!("{library}: {why}");
    }
}

/// The libraries that cannot be opened, and why.
fn refused(libraries: &[String]) -> Vec<(&str, String)> {
    // SAFETY: no code runs, and whoever names the libraries answers for them.
    let mut vm = unsafe { Vm::builder().trusted() }.build();
    // SAFETY: as above.
    if let Err(refusal) = unsafe { spelter_cinterface::install(vm.machine_for_loader(), Vec::new()) } {
        return libraries.iter().map(|library| (&**library, refusal.to_string())).collect();
    }
    let mut why = |library| vm.open_library(library).err().map(|e| e.to_string());
    libraries.iter().filter_map(|library| Some((&**library, why(library)?))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_runs() {
        main();
        let libraries = ["dllnowhere".to_owned()];
        let refused = refused(&libraries);
        assert_eq!(refused.len(), 1);
        assert_eq!(refused[0].0, "dllnowhere");
    }
}
