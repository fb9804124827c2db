//! C code of tests. The suite links it with a runtime of the test's own; here it becomes a shared library, which both
//! runtimes load.

use anyhow::{Result, bail, ensure};

use super::actions::{Kind, stem, tool};
use super::plan::{Input, Reason, State};

/// The compiler that OCaml uses for C.
const C_COMPILER: &str = "gcc";

/// The library of a program's C code: what `-dllib` names, and the file.
const LIBRARY: (&str, &str) = ("-lof_test", "dllof_test.so");

fn is_c(word: &str) -> bool {
    word.ends_with(".c")
}

/// Whether the word at `index` is linked as C code. What follows `-impl` is OCaml code, whatever its name.
fn is_linked(line: &[String], index: usize) -> bool {
    let is_ocaml = index > 0 && line[index - 1] == "-impl";
    !is_ocaml && (is_c(&line[index]) || line[index].ends_with(".o"))
}

/// What the compiler's command line becomes: if it links C code, that code has been made a library before.
///
/// # Errors
///
/// The [`Reason`] to leave the test out.
pub(super) fn without(state: &mut State, line: Vec<String>) -> Result<Vec<String>> {
    if line.iter().any(|word| word.starts_with("-output-")) {
        bail!(Reason::Embedded);
    }
    if line.iter().any(|word| word == "-custom") {
        bail!(Reason::CustomRuntime);
    }
    let (linked, rest): (Vec<usize>, Vec<usize>) =
        (0..line.len()).partition(|&index| is_linked(&line, index));
    let linked: Vec<String> = linked.into_iter().map(|index| line[index].clone()).collect();
    if linked.is_empty() {
        return Ok(line);
    }
    ensure!(state.compiles_c, Reason::CCode);
    let sources: Vec<String> = linked.iter().filter(|word| is_c(word)).cloned().collect();
    for source in &sources {
        let text = std::fs::read_to_string(state.source.join(source)).unwrap_or_default();
        if defines_main(&text) {
            bail!(Reason::Embedded);
        }
    }
    // The compiler compiles C, too.
    if line.iter().any(|word| word == "-c") {
        return Ok(line);
    }
    let objects = linked.iter().map(|word| match word.rsplit_once('/') {
        Some((_, file)) if is_c(word) => format!("{}.o", stem(file)),
        _ if is_c(word) => format!("{}.o", stem(word)),
        _ => word.clone(),
    });
    let mut link: Vec<String> = [C_COMPILER, "-shared", "-o", LIBRARY.1].map(str::to_owned).to_vec();
    link.extend(objects);
    if !sources.is_empty() {
        let mut compile = vec!["-c".to_owned()];
        compile.extend(options_for_c(&line));
        compile.extend(sources);
        state.run(Kind::Compiler, compile, Input::Empty, 0);
    }
    state.run(Kind::Tool, link, Input::Empty, 0);
    let mut rest: Vec<String> = rest.into_iter().map(|index| line[index].clone()).collect();
    let folder = state.current.to_string_lossy().into_owned();
    rest.extend(["-I", ".", "-dllib", LIBRARY.0, "-dllpath"].map(str::to_owned));
    rest.push(folder);
    Ok(rest)
}

/// The compiler's options that concern C.
fn options_for_c(line: &[String]) -> Vec<String> {
    let pairs = line.windows(2).filter(|pair| ["-I", "-ccopt"].contains(&pair[0].as_str()));
    pairs.flatten().cloned().collect()
}

/// Whether C code is a whole program.
fn defines_main(text: &str) -> bool {
    text.lines().any(|line| {
        let line = line.trim_start();
        ["int main(", "int main (", "int wmain(", "int main_os("].iter().any(|start| line.starts_with(start))
    })
}

/// `ocamlmklib`: makes a shared library of C objects, or a library of units that names one.
pub(super) fn make_library(state: &mut State) -> Result<()> {
    ensure!(state.compiles_c, Reason::CCode);
    let mut line = vec![tool(state, "ocamlmklib")?, "-ocamlc".to_owned(), state.tools.program("ocamlc")];
    line.extend(["-o".to_owned(), state.variables.get("program")]);
    line.extend(state.variables.words("modules"));
    state.run(Kind::Tool, line, Input::Empty, 0);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_in_c_has_a_main_function() {
        assert!(defines_main("#include <stdio.h>\n  int main(int argc)\n"));
        assert!(!defines_main("value domain(value v);\nint mainly;\n"));
    }

    #[test]
    fn ocaml_code_may_have_the_name_of_c_code() {
        let line: Vec<String> = ["-o", "p", "-impl", "t.ml.c", "u.c", "v.o"].map(str::to_owned).to_vec();
        let linked: Vec<bool> = (0..line.len()).map(|index| is_linked(&line, index)).collect();
        assert_eq!(linked, [false, false, false, false, true, true]);
    }

    #[test]
    fn options_for_c_keep_their_arguments() {
        let line: Vec<String> =
            ["-g", "-I", "a", "-ccopt", "-x", "-o", "p", "t.ml"].map(str::to_owned).to_vec();
        assert_eq!(options_for_c(&line), ["-I", "a", "-ccopt", "-x"]);
    }
}
