//! Translates each action of a header to steps.

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};

use super::c_code;
use super::plan::{Input, Reason, State, Step};

/// The runtime under which a command runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// None: it runs directly.
    Tool,
    /// The installed compiler.
    Compiler,
    /// The tested runtime.
    Program,
    /// A script that starts `$program`, which runs under the tested runtime.
    Hook,
}

impl Kind {
    /// Whether its output is compared.
    pub fn is_compared(self) -> bool {
        matches!(self, Self::Program | Self::Hook)
    }
}

/// Actions that only check the output of others, or require something that we have.
const NOTHING_TO_DO: [&str; 35] = [
    "arch64",
    "arch_amd64",
    "check-ocaml-output",
    "check-ocamlc.byte-output",
    "check-ocamlc.opt-output",
    "check-ocamldoc-output",
    "check-program-output",
    "compare-binary-files",
    "compare-bytecode-programs",
    "debugger",
    "dumpenv",
    "file-exists",
    "flat-float-array",
    "has_symlink",
    "hasstr",
    "hassysthreads",
    "hasunix",
    "libunix",
    "linux",
    "multicore",
    "naked_pointers",
    "native-compiler",
    "no-afl-instrument",
    "no-flambda",
    "no-tsan",
    "not-bsd",
    "not-clang",
    "not-msvc",
    "not-root",
    "not-target-windows",
    "not-windows",
    "not_macos_amd64_tsan",
    "pass",
    "setup-ocamlc.opt-build-env",
    "shared-libraries",
];

/// The actions that a test's name expands to; an action expands to itself.
pub fn actions_of(name: &str) -> Vec<&str> {
    match name {
        "bytecode" => vec!["setup-ocamlc.byte-build-env", "ocamlc.byte", "run"],
        "toplevel" => vec!["setup-ocaml-build-env", "ocaml"],
        "expect" => vec!["setup-simple-build-env", "run-expect"],
        "ocamldoc" => vec!["setup-ocamldoc-build-env", "run-ocamldoc"],
        _ => vec![name],
    }
}

/// Adds the steps of an action.
///
/// # Errors
///
/// The [`Reason`] to leave this variant out, or an unknown word.
pub fn perform(action: &str, state: &mut State) -> Result<()> {
    match action {
        _ if NOTHING_TO_DO.contains(&action) => Ok(()),
        "setup-ocamlc.byte-build-env" => {
            set_up(state, "ocamlc.byte", false);
            let file = state.variables.get("test_file");
            let program = state.current.join(stem(&file)).with_extension("byte");
            state.variables.set_default("program", program.to_string_lossy());
            Ok(())
        }
        "setup-ocaml-build-env" => {
            set_up(state, "ocaml", false);
            Ok(())
        }
        "setup-ocamldoc-build-env" => {
            set_up(state, "ocamldoc", false);
            let end = match state.variables.get("ocamldoc_backend").as_str() {
                "latex" => "tex",
                "html" => "html",
                "man" => "3o",
                _ => "result",
            };
            let output = format!("{}.{end}", stem(&state.variables.get("test_file")));
            state.variables.set("output", output);
            Ok(())
        }
        "setup-simple-build-env" => {
            set_up(state, "", true);
            Ok(())
        }
        "ocamlc.byte" => compile(state),
        "run" => run(state),
        "ocaml" => toplevel(state),
        "run-expect" => {
            let words = toplevel_words(state);
            let input = Input::Phrases(state.current.join(state.variables.get("test_file")));
            state.run(Kind::Program, words, input, 0);
            Ok(())
        }
        "run-ocamldoc" => ocamldoc(state),
        "ocamlobjinfo" => {
            let mut words = vec![tool(state, "ocamlobjinfo.byte")?];
            words.extend(["-null-crc".to_owned(), state.variables.get("program")]);
            state.run(Kind::Program, words, Input::Empty, 0);
            Ok(())
        }
        "ocamldebug" => {
            let mut words = vec![tool(state, "ocamldebug")?];
            let options = ["-no-version", "-no-prompt", "-no-time", "-no-breakpoint-message"];
            words.extend(options.map(str::to_owned));
            words.push(state.variables.get("program"));
            let input = input(state, "ocamldebug_script");
            state.run(Kind::Program, words, input, 0);
            Ok(())
        }
        "script" => script(state),
        "cd" => {
            state.current = clean(&state.current.join(state.variables.get("cwd")));
            Ok(())
        }
        "copy" => {
            copy(state);
            Ok(())
        }
        "skip" => bail!(Reason::Skipped),
        "ocamlmklib" => c_code::make_library(state),
        "asmgen"
        | "asm"
        | "codegen"
        | "cc"
        | "native"
        | "native-dynlink"
        | "ocamlnat"
        | "ocamlopt.byte"
        | "ocamlopt.opt"
        | "toplevel.opt"
        | "check-ocamlopt.byte-output"
        | "check-ocamlopt.opt-output"
        | "setup-ocamlopt.byte-build-env"
        | "setup-ocamlopt.opt-build-env" => bail!(Reason::NativeCode),
        "afl-instrument"
        | "arch32"
        | "arch_arm"
        | "arch_arm64"
        | "arch_i386"
        | "arch_power"
        | "arch_riscv"
        | "arch_riscv64"
        | "arch_s390x"
        | "bsd"
        | "csharp-compiler"
        | "flambda"
        | "frame_pointers"
        | "function_sections"
        | "gdb"
        | "instrumented-runtime"
        | "libwin32unix"
        | "lldb"
        | "macos"
        | "no-flat-float-array"
        | "no-shared-libraries"
        | "target-windows"
        | "tsan"
        | "windows"
        | "windows-unicode" => {
            bail!(Reason::OtherSystem)
        }
        _ => bail!("no action is called '{action}'"),
    }
}

/// Splits at blanks outside quotes.
pub fn words(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word = String::new();
    let mut quote = None;
    for c in text.chars() {
        match c {
            '\'' | '"' if quote.is_none() => quote = Some(c),
            _ if quote == Some(c) => quote = None,
            _ if quote.is_none() && c.is_whitespace() => {
                if !word.is_empty() {
                    words.push(std::mem::take(&mut word));
                }
            }
            _ => word.push(c),
        }
    }
    if !word.is_empty() {
        words.push(word);
    }
    words
}

/// The path of a tool that a version may have been built without.
pub(super) fn tool(state: &State, name: &str) -> Result<String> {
    if !state.tools.has(name) {
        bail!(Reason::NoTool);
    }
    Ok(state.tools.program(name))
}

pub(super) fn stem(file: &str) -> &str {
    file.rsplit_once('.').map_or(file, |(stem, _)| stem)
}

/// The path without `..`, which the folders of a case have only before their own names.
fn clean(path: &Path) -> PathBuf {
    let mut clean = PathBuf::new();
    for part in path.components() {
        match part {
            std::path::Component::ParentDir => {
                clean.pop();
            }
            part => clean.push(part),
        }
    }
    clean
}

/// A new folder below the case's, with the files that the header names.
fn set_up(state: &mut State, tool: &str, with_test: bool) {
    let folder = state.folder.join(format!("{tool}{}", state.variables.get("compiler_directory_suffix")));
    let mut files = state.variables.words("readonly_files");
    files.extend(state.variables.words("subdirectories"));
    files.extend(state.variables.words(if with_test { "test_file" } else { "all_modules" }));
    let copies = files.iter().map(|file| (state.source.join(file), folder.join(file))).collect();
    state.steps.push(Step::Furnish { folder: folder.clone(), copies });
    state.variables.set("test_build_directory", folder.to_string_lossy());
    state.current = folder;
}

fn copy(state: &mut State) {
    let target = state.variables.get("dst");
    let copies = state.variables.words("src").into_iter().map(|file| {
        let from = state.current.join(file);
        let mut to = state.current.join(&target);
        if target.ends_with('/') {
            to.push(from.file_name().unwrap_or_default());
        }
        (from, to)
    });
    let copies = copies.collect();
    state.steps.push(Step::Furnish { folder: state.current.clone(), copies });
}

fn input(state: &State, variable: &str) -> Input {
    match state.variables.get(variable) {
        file if file.is_empty() || file == "/dev/null" => Input::Empty,
        file => Input::File(state.current.join(file)),
    }
}

pub(super) fn flags_of(state: &State, variables: &[&str]) -> Vec<String> {
    variables.iter().flat_map(|variable| words(&state.variables.get(variable))).collect()
}

fn folder_flags(state: &State) -> Vec<String> {
    state.variables.words("directories").into_iter().flat_map(|folder| ["-I".to_owned(), folder]).collect()
}

fn with_ending(state: &State, variable: &str, ending: &str) -> Vec<String> {
    state.variables.words(variable).iter().map(|name| format!("{name}.{ending}")).collect()
}

/// The compiler's own modules are installed as one library.
fn binary_modules(state: &State) -> Vec<String> {
    let files = with_ending(state, "binary_modules", "cmo");
    let of_compiler = state.variables.words("directories").iter().any(|folder| folder == "+compiler-libs");
    if of_compiler && !files.is_empty() { vec!["ocamlcommon.cma".to_owned()] } else { files }
}

fn compile(state: &mut State) -> Result<()> {
    let exit = state.variables.number("ocamlc_byte_exit_status");
    let mut line = words(&state.variables.get("commandline"));
    if line.is_empty() {
        let module = state.variables.get("module");
        line = folder_flags(state);
        line.extend(flags_of(state, &["flags"]));
        line.extend(with_ending(state, "libraries", "cma"));
        line.extend(flags_of(state, &["ocamlc_default_flags", "ocamlc_flags"]));
        if module.trim().is_empty() {
            line.extend(program(state));
        } else {
            line.extend(["-c".to_owned(), module.trim().to_owned()]);
        }
    }
    let line = c_code::without(state, line)?;
    state.run(Kind::Compiler, line, Input::Empty, exit);
    Ok(())
}

/// The end of a compiler's command line that builds a program, or only compiles its sources.
fn program(state: &mut State) -> Vec<String> {
    let mut line = Vec::new();
    if state.variables.is_true("compile_only") {
        line.push("-c".to_owned());
    } else {
        line.extend(["-o".to_owned(), state.variables.get("program")]);
    }
    line.extend(flags_of(state, &["ocaml_filetype_flag"]));
    line.extend(binary_modules(state));
    for module in state.variables.words("all_modules") {
        line.extend(prepared(state, module));
    }
    line.extend(flags_of(state, &["last_flags"]));
    line
}

/// The files to compile for a module: a lexer or a parser is generated first.
fn prepared(state: &mut State, module: String) -> Vec<String> {
    let stem = stem(&module).to_owned();
    let (tool, ends): (_, &[&str]) = match module.rsplit_once('.') {
        Some((_, "mll")) => ("ocamllex", &["ml"]),
        Some((_, "mly")) => ("ocamlyacc", &["mli", "ml"]),
        _ => return vec![module],
    };
    let mut line = vec![state.tools.program(tool)];
    line.extend(flags_of(state, &[&format!("{tool}_flags")]));
    line.push(module);
    state.run(Kind::Tool, line, Input::Empty, 0);
    ends.iter().map(|end| format!("{stem}.{end}")).collect()
}

/// Compiles modules one by one, before the toplevel or ocamldoc loads them.
fn compile_modules(state: &mut State, modules: &[String]) -> Result<()> {
    for module in modules {
        if module.ends_with(".c") {
            bail!(Reason::CustomRuntime);
        }
        let mut line = flags_of(state, &["flags", "ocamlc_flags"]);
        line.extend(["-c".to_owned(), module.clone()]);
        if let Some(stem) = module.strip_suffix(".ml") {
            line.extend(["-o".to_owned(), format!("{stem}.cmo")]);
        }
        state.run(Kind::Compiler, line, Input::Empty, 0);
    }
    Ok(())
}

fn run(state: &mut State) -> Result<()> {
    let exit = state.variables.number("exit_status");
    let input = input(state, "stdin");
    let name = state.variables.get("test_file");
    let hook = state.source.join(format!("{}.run", stem(&name)));
    let program = clean(&state.current.join(state.variables.get("program")));
    state.variables.set("program", program.to_string_lossy());
    if hook.exists() {
        state.variables.set_default("output", format!("{}.output", program.display()));
        state.variables.set("ocamltest_response", state.current.join("response").to_string_lossy());
        state.run(Kind::Hook, vec!["sh".to_owned(), hook.to_string_lossy().into_owned()], input, exit);
        return Ok(());
    }
    let mut line = flags_of(state, &["program"]);
    line.extend(flags_of(state, &["arguments"]));
    state.run(Kind::Program, line, input, exit);
    Ok(())
}

fn toplevel_words(state: &State) -> Vec<String> {
    let mut line = vec![state.tools.program("ocaml")];
    line.extend(["-noinit", "-no-version", "-noprompt"].map(str::to_owned));
    line.extend(folder_flags(state));
    line.extend(flags_of(state, &["flags"]));
    line.extend(with_ending(state, "libraries", "cma"));
    line.extend(binary_modules(state));
    line
}

fn toplevel(state: &mut State) -> Result<()> {
    let modules = state.variables.words("modules");
    compile_modules(state, &modules)?;
    let mut line = toplevel_words(state);
    let as_argument = state.variables.is_true("ocaml_script_as_argument");
    if as_argument {
        line.push(state.variables.get("test_file"));
    }
    line.extend(flags_of(state, &["arguments"]));
    let input = if as_argument { Input::Empty } else { input(state, "test_file") };
    let exit = state.variables.number("ocaml_exit_status");
    state.run(Kind::Program, line, input, exit);
    Ok(())
}

fn ocamldoc(state: &mut State) -> Result<()> {
    let ocamldoc = tool(state, "ocamldoc")?;
    let plugins = state.variables.words("plugins");
    if !plugins.is_empty() {
        let flags = format!("{} -I +ocamldoc", state.variables.get("flags"));
        state.variables.set("flags", flags);
    }
    compile_modules(state, &plugins)?;
    let mut modules = state.variables.words("modules");
    for module in &modules {
        compile_modules(state, std::slice::from_ref(module))?;
        let line = [&ocamldoc, "-dump", &format!("{}.odoc", stem(module)), module].map(str::to_owned);
        state.run(Kind::Program, line.to_vec(), Input::Empty, 0);
    }
    modules.sort();
    let backend = state.variables.get("ocamldoc_backend");
    let mut line = vec![ocamldoc];
    if !backend.is_empty() {
        line.push(format!("-{backend}"));
    }
    line.extend(flags_of(state, &["ocamldoc_flags"]));
    line.extend(modules.iter().flat_map(|module| ["-load".to_owned(), format!("{}.odoc", stem(module))]));
    line.extend(plugins.iter().flat_map(|plugin| ["-g".to_owned(), format!("{}.cmo", stem(plugin))]));
    let output = if backend == "html" { "index".to_owned() } else { state.variables.get("output") };
    line.extend([state.variables.get("test_file"), "-o".to_owned(), output]);
    state.run(Kind::Program, line, Input::Empty, 0);
    Ok(())
}

/// A script prepares something, or reports that the test does not apply to this machine.
fn script(state: &mut State) -> Result<()> {
    let line = words(&state.variables.get("script"));
    let first = line.first().map_or("", String::as_str);
    if first.contains('/') || ["make", "ocamlrun"].contains(&first) {
        bail!(Reason::BuildTree);
    }
    state.run(Kind::Tool, line, Input::Empty, 0);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_may_be_quoted() {
        assert_eq!(words(" -w '-a b'  x\"y z\" "), ["-w", "-a b", "xy z"]);
    }

    #[test]
    fn paths_are_cleaned() {
        assert_eq!(clean(Path::new("/a/b/./../c")), Path::new("/a/c"));
    }
}
