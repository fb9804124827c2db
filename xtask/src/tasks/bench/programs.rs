//! The programs: sources in `benches/ocaml`, `benches/ocaml5` and `benches/stubs`, compiled into `target/bench`, and
//! programs of the OCaml distribution.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use xtask::cc;
use xtask::ocaml::{Origin, Tools};
use xtask::process::path_text;
use xtask::workspace;

/// The kind of a row of the table.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    /// Running code.
    Running,
    /// Running code that mostly allocates.
    Allocation,
    /// Effects, atomics or domains: what only OCaml 5 has.
    Effects,
    /// Calling a library in C.
    Foreign,
    /// Starting up.
    Start,
}

/// One of our programs: its name, its kind, its argument for timing (about a second under `ocamlrun`), and its
/// argument for counting instructions.
type Ours = (&'static str, Kind, &'static str, &'static str);

/// Those that every version compiles.
const OURS: [Ours; 31] = [
    ("fib", Kind::Running, "39", "27"),
    ("tak", Kind::Running, "1600", "30"),
    ("ackermann", Kind::Running, "400", "8"),
    ("closures", Kind::Allocation, "1800000", "30000"),
    ("partial", Kind::Allocation, "8000000", "150000"),
    ("lists", Kind::Allocation, "8000", "150"),
    ("sorting", Kind::Allocation, "200", "5"),
    ("maps", Kind::Allocation, "800000", "25000"),
    ("hashtables", Kind::Allocation, "2500000", "50000"),
    ("strings", Kind::Running, "6000", "120"),
    ("buffers", Kind::Running, "40000", "1000"),
    ("formats", Kind::Running, "500000", "6000"),
    ("nbody", Kind::Running, "500000", "10000"),
    ("spectral", Kind::Running, "1200", "150"),
    ("mandelbrot", Kind::Running, "1000", "140"),
    ("fft", Kind::Running, "400", "10"),
    ("sieve", Kind::Running, "200", "5"),
    ("fannkuch", Kind::Running, "10", "8"),
    ("matrix", Kind::Running, "110", "3"),
    ("bigarrays", Kind::Running, "900", "20"),
    ("exceptions", Kind::Running, "2500000", "50000"),
    ("objects", Kind::Running, "13000000", "250000"),
    ("patterns", Kind::Running, "150000", "3000"),
    ("lazies", Kind::Allocation, "5500", "800"),
    ("trees", Kind::Allocation, "20", "14"),
    ("cache", Kind::Allocation, "3000000", "150000"),
    ("young_pointers", Kind::Allocation, "7000000", "200000"),
    ("marshal", Kind::Running, "5000", "100"),
    ("compare_hash", Kind::Running, "280000", "6000"),
    ("int64s", Kind::Running, "14000000", "200000"),
    ("interpreter", Kind::Running, "160000", "4000"),
];

/// Those that need OCaml 5, `state` 5.3.
const OURS_OF_5: [Ours; 8] = [
    ("generators", Kind::Effects, "2500", "25"),
    ("fibers", Kind::Effects, "600", "20"),
    ("state", Kind::Effects, "14000000", "100000"),
    ("abort", Kind::Effects, "2500000", "50000"),
    ("handlers", Kind::Effects, "8000000", "50000"),
    ("atomics", Kind::Effects, "10000000", "100000"),
    ("mutexes", Kind::Effects, "7000000", "100000"),
    ("channels", Kind::Effects, "400000", "20000"),
];

/// Those that call `stubs.c`.
const OURS_OF_C: [Ours; 4] = [
    ("c_add", Kind::Foreign, "40000000", "300000"),
    ("c_alloc", Kind::Foreign, "4000000", "50000"),
    ("c_callback", Kind::Foreign, "5000000", "60000"),
    ("c_raise", Kind::Foreign, "15000000", "150000"),
];

/// How many copies of all sources make up the large ones, for times and for counts.
const LARGE: [(usize, &str); 2] = [(8, "large"), (1, "small")];
/// How many rules the lexer has.
const RULES: [(usize, &str); 2] = [(6, "lexer"), (2, "lexer_small")];

/// A program that is ready to run.
pub(super) struct Job {
    pub(super) name: &'static str,
    pub(super) kind: Kind,
    pub(super) folder: PathBuf,
    /// Variables of its environment.
    pub(super) env: BTreeMap<String, String>,
    /// The bytecode file.
    pub(super) bytecode: [String; 1],
    /// Arguments when times are taken.
    pub(super) args: Vec<String>,
    /// Arguments when instructions are counted.
    pub(super) count_args: Vec<String>,
    /// Where the input comes from, if there is any, for times and for counts.
    pub(super) stdin: Option<PathBuf>,
    pub(super) count_stdin: Option<PathBuf>,
    /// The file that it writes.
    pub(super) product: Option<PathBuf>,
    /// The same program compiled by ocamlopt.
    pub(super) native: Option<Vec<String>>,
}

/// Compiles the programs whose name contains `filter`: all that this version can compile.
pub(super) fn built(tools: &Tools, filter: &str) -> Result<Vec<Job>> {
    let mut jobs = ours(tools, "ocaml", &OURS, filter)?;
    jobs.extend(built_of_5(tools, filter)?);
    jobs.extend(built_of_c(tools, filter)?);
    let installed = installed(tools)?.into_iter().filter(|job| job.name.contains(filter));
    jobs.extend(installed);
    Ok(jobs)
}

/// Compiles those that need OCaml 5, with a version of it.
pub(super) fn built_of_5(tools: &Tools, filter: &str) -> Result<Vec<Job>> {
    match tools.version.name.starts_with('4') {
        true => Ok(Vec::new()),
        false => ours(tools, "ocaml5", &OURS_OF_5, filter),
    }
}

/// Compiles those that call C, if there is a C compiler. They have no native versions, which link other libraries.
fn built_of_c(tools: &Tools, filter: &str) -> Result<Vec<Job>> {
    let wanted = OURS_OF_C.iter().filter(|(name, ..)| name.contains(filter));
    if wanted.clone().next().is_none() || !cc::is_here() {
        return Ok(Vec::new());
    }
    let sources = workspace::root().join("benches/stubs");
    let libraries = folder(tools)?.join("byte");
    fs::create_dir_all(&libraries)?;
    cc::library(tools, &sources.join("stubs.c"), &libraries.join("dllbench_stubs.so"))?;
    let place = path_text(&libraries)?;
    let flags = ["-dllib", "-lbench_stubs", "-I", &place];
    let mut jobs = Vec::new();
    for &(name, kind, arg, count_arg) in wanted {
        let bytecode =
            compile_with(tools, "ocamlc", &flags, &sources.join(name).with_extension("ml"), "byte")?;
        let mut job = job(name, kind, bytecode, tools)?;
        (job.args, job.count_args) = (vec![arg.to_owned()], vec![count_arg.to_owned()]);
        job.env.insert("CAML_LD_LIBRARY_PATH".to_owned(), place.clone());
        jobs.push(job);
    }
    Ok(jobs)
}

fn ours(tools: &Tools, sources: &str, programs: &[Ours], filter: &str) -> Result<Vec<Job>> {
    let native = is_system(tools) && tools.has("ocamlopt");
    let mut jobs = Vec::new();
    for &(name, kind, arg, count_arg) in programs {
        if !name.contains(filter) {
            continue;
        }
        let source = workspace::root().join("benches").join(sources).join(name).with_extension("ml");
        let native = match native {
            true => Some(vec![compile(tools, "ocamlopt", &source, "native")?]),
            false => None,
        };
        jobs.push(Job {
            args: vec![arg.to_owned()],
            count_args: vec![count_arg.to_owned()],
            native,
            ..job(name, kind, compile(tools, "ocamlc", &source, "byte")?, tools)?
        });
    }
    Ok(jobs)
}

/// Whether it is the version of the system's packages, which alone has ocamlopt's C compiler and libraries at hand.
fn is_system(tools: &Tools) -> bool {
    tools.version.origin == Origin::System
}

/// The folder for the products of a version.
fn folder(tools: &Tools) -> Result<PathBuf> {
    let folder = workspace::root().join(super::folder());
    let folder = if is_system(tools) { folder } else { folder.join(tools.version.name) };
    fs::create_dir_all(&folder)?;
    Ok(folder)
}

fn sources() -> PathBuf {
    workspace::root().join("benches/ocaml")
}

fn job(name: &'static str, kind: Kind, bytecode: String, tools: &Tools) -> Result<Job> {
    Ok(Job {
        name,
        kind,
        folder: folder(tools)?,
        env: tools.env.clone(),
        bytecode: [bytecode],
        args: Vec::new(),
        count_args: Vec::new(),
        stdin: None,
        count_stdin: None,
        product: None,
        native: None,
    })
}

/// Compiles a copy of the source, because the compiler writes its products next to it, unless this was done before.
fn compile(tools: &Tools, compiler: &str, source: &Path, kind: &str) -> Result<String> {
    compile_with(tools, compiler, &[], source, kind)
}

fn compile_with(tools: &Tools, compiler: &str, flags: &[&str], source: &Path, kind: &str) -> Result<String> {
    let name = source.file_stem().context("a source without a name")?;
    let text = fs::read_to_string(source)?;
    let folder = folder(tools)?.join(kind);
    fs::create_dir_all(&folder)?;
    let copy = folder.join(source.file_name().context("a source without a name")?);
    let program = folder.join(name).with_extension(kind);
    if !program.exists() || fs::read_to_string(&copy).ok().as_ref() != Some(&text) {
        fs::write(&copy, text)?;
        let done = tools
            .command(&tools.program(compiler))
            .args(["-w", "-a"])
            .args(flags)
            .arg("-o")
            .args([&program, &copy])
            .current_dir(&folder)
            .status()?;
        ensure!(done.success(), "{compiler} cannot compile {}", source.display());
    }
    path_text(&program)
}

/// The rows for installed programs: the compiler, the lexer generator, the toplevel; and the start-up rows.
fn installed(tools: &Tools) -> Result<Vec<Job>> {
    let folder = folder(tools)?;
    let path = |name: &str| path_text(&folder.join(name));
    let natively = |tool: &str| {
        let tool = format!("{tool}.opt");
        (is_system(tools) && tools.has(&tool)).then(|| vec![tools.program(&tool)])
    };
    for (copies, name) in LARGE {
        fs::write(folder.join(name).with_extension("ml"), large_source(copies)?)?;
        fs::write(folder.join(name).with_extension("session"), session(copies)?)?;
    }
    for (rules, name) in RULES {
        fs::write(folder.join(name).with_extension("mll"), lexer(rules))?;
    }
    let hello = folder.join("hello.ml");
    fs::write(&hello, "let () = print_endline \"hello, world\"\n")?;
    let compile_args = |name: &str| -> Result<Vec<String>> {
        let flags = ["-w", "-a", "-c", "-o"].map(str::to_owned);
        Ok([flags.to_vec(), vec![path("out.cmo")?, path(name)?]].concat())
    };
    let lex_args = |name: &str| -> Result<Vec<String>> {
        Ok(vec!["-q".to_owned(), "-o".to_owned(), path("out.ml")?, path(name)?])
    };
    let toplevel_args = ["-noinit", "-no-version", "-noprompt", "-w", "-a"].map(str::to_owned).to_vec();
    Ok(vec![
        Job {
            args: compile_args("large.ml")?,
            count_args: compile_args("small.ml")?,
            product: Some(folder.join("out.cmo")),
            native: natively("ocamlc"),
            ..job("ocamlc", Kind::Running, tools.program("ocamlc.byte"), tools)?
        },
        Job {
            args: lex_args("lexer.mll")?,
            count_args: lex_args("lexer_small.mll")?,
            product: Some(folder.join("out.ml")),
            native: natively("ocamllex"),
            ..job("ocamllex", Kind::Running, tools.program("ocamllex.byte"), tools)?
        },
        Job {
            args: toplevel_args.clone(),
            count_args: toplevel_args,
            stdin: Some(folder.join("large.session")),
            count_stdin: Some(folder.join("small.session")),
            ..job("toplevel", Kind::Running, tools.program("ocaml"), tools)?
        },
        job("hello", Kind::Start, compile(tools, "ocamlc", &hello, "byte")?, tools)?,
        Job {
            args: vec!["-version".to_owned()],
            count_args: vec!["-version".to_owned()],
            native: natively("ocamlc"),
            ..job("ocamlc-version", Kind::Start, tools.program("ocamlc.byte"), tools)?
        },
    ])
}

/// All programs as modules of one program that runs none of them.
fn large_source(copies: usize) -> Result<String> {
    let mut text = String::new();
    for copy in 0..copies {
        for (name, ..) in OURS {
            let source = fs::read_to_string(sources().join(format!("{name}.ml")))?;
            let source = source.replace("let () =", "let main () =");
            text += &format!("module M{copy}_{name} = struct\n{source}\nend\n\n");
        }
    }
    Ok(text)
}

/// The same as phrases for the toplevel.
fn session(copies: usize) -> Result<String> {
    Ok(large_source(copies)?.replace("\nend\n\n", "\nend;;\n\n"))
}

/// A lexer with this many rules, each with some keywords, numbers, strings and comments.
fn lexer(rules: usize) -> String {
    let mut text = "let digit = ['0'-'9']\nlet letter = ['a'-'z' 'A'-'Z' '_']\n".to_owned();
    for rule in 0..rules {
        text += if rule == 0 { "rule " } else { "and " };
        text += &format!("token{rule} = parse\n");
        for word in ["while", "until", "function", "match", "module", "mutable", "method", "virtual"] {
            text += &format!("  | \"{word}{rule}\" {{ `Key {rule} }}\n  | \"{word}s\" {{ `Word }}\n");
        }
        text += "  | letter (letter | digit)* { `Ident (Lexing.lexeme lexbuf) }\n";
        text += "  | digit+ ('.' digit*)? (['e' 'E'] ['+' '-']? digit+)? { `Number }\n";
        text += "  | \"0x\" ['0'-'9' 'a'-'f']+ { `Hex }\n  | '\"' ([^ '\"' '\\\\'] | '\\\\' _)* '\"' { `String }\n";
        text += &format!(
            "  | [' ' '\\t' '\\n']+ {{ token{rule} lexbuf }}\n  | _ {{ `Other }}\n  | eof {{ `Eof }}\n"
        );
    }
    text
}
