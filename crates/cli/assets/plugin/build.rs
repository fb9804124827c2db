//! Compiles the plug-in with the installed OCaml, and links the standard library for it.

fn main() {
    spelter_compiler::build::host();
    spelter_compiler::build::unit("ocaml/rule.ml");
}
