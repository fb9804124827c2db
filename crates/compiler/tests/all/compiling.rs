//! Compiling, linking, and loading what was compiled.

use std::time::Duration;

use spelter::{Function, Limit, Outcome, Vm};
use spelter_compiler::{Compiled, Compiler, Diagnostics, Error, Installation, Link, Severity, Source, Span};

use crate::{compiler, installation};

/// A machine with the whole standard library.
fn machine(compiler: &mut Compiler) -> Vm {
    let mut vm = Vm::builder().build();
    vm.run_bytes("host", compiler.host().expect("a program")).expect("it runs");
    vm
}

fn refused(result: Result<Compiled, Error>) -> Diagnostics {
    match result {
        Err(Error::Rejected(diagnostics)) => diagnostics,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_source_becomes_a_loaded_unit() {
    let mut compiler = compiler();
    let source = "let decide price = if price > 100 then Printf.sprintf \"%d is much\" price else \"buy\"";
    let rule = compiler.compile("rule", source).expect("it compiles");
    assert_eq!((rule.name.as_str(), rule.warnings.as_slice()), ("rule", &[][..]));
    let mut vm = machine(&mut compiler);
    let unit = vm.load_bytes("rule", &rule.cmo).expect("it loads");
    let unit = unit.with_interface(&rule.cmi).expect("its interface");
    let decide: Function<(i64,), String> = vm.function(&unit, "decide").expect("the function");
    assert_eq!(decide.call(&mut vm, (120,)).expect("it answers"), "120 is much");
    assert_eq!(decide.call(&mut vm, (12,)).expect("it answers"), "buy");
}

#[test]
fn units_see_each_other() {
    let mut compiler = compiler();
    let api = Source::new("api", "let limit = ref 3\nlet set n = limit := n\nlet hidden = 1");
    let api = api.interface("val limit : int ref\nval set : int -> unit\n");
    let api = compiler.compile_source(&api).expect("it compiles");
    let user = |text: &str| Source::new("user", text).uses(&api);
    let text = "let () = Api.set 7; Callback.register \"limit\" (fun () -> !Api.limit)";
    let user_unit = compiler.compile_source(&user(text)).expect("it compiles");
    let mut vm = machine(&mut compiler);
    vm.load_public("api", &api.cmo).expect("it loads");
    vm.load_bytes("user", &user_unit.cmo).expect("it loads");
    assert_eq!(vm.call::<i64>("limit", ((),)).expect("it answers"), 7);

    let errors = refused(compiler.compile_source(&user("let x = Api.hidden")));
    assert!(errors.to_string().contains("Unbound value"), "{errors}");
    let unknown = refused(compiler.compile("user", text));
    assert!(unknown.to_string().contains("Unbound module"), "{unknown}");

    // An interface without its implementation.
    let cmi = compiler.compile_interface("port", "val size : string -> int").expect("it compiles");
    let source = Source::new("user", "let n = Port.size \"four\"").uses_interface("port", cmi);
    compiler.compile_source(&source).expect("it compiles");
}

#[test]
fn errors_and_warnings_have_places() {
    let compiler = compiler().flag("-w").flag("+26");
    let errors = refused(compiler.compile("rule", "let f x =\n  x + 1\n\nlet g = f\n  \"a\" ^\n    \"b\""));
    let [error] = errors.0.as_slice() else { panic!("{errors:?}") };
    assert_eq!((error.severity, error.file.as_deref()), (Severity::Error, Some("rule.ml")));
    let span = error.span.expect("a place");
    assert_eq!((span.line, span.column), (5, Some(2)), "{error}");
    assert!(error.message.starts_with("This"), "{error}");
    assert!(error.text.starts_with("File \"rule.ml\", line"), "{error}");

    let unit = compiler.compile("rule", "let f x = let unused = x in 1").expect("it compiles");
    let [warning] = unit.warnings.as_slice() else { panic!("{:?}", unit.warnings) };
    assert_eq!(warning.severity, Severity::Warning);
    assert!(warning.code.as_ref().is_some_and(|code| code.starts_with("26")), "{warning:?}");
    let span = Span { line: 1, column: Some(14), end_line: 1, end_column: Some(20) };
    assert_eq!(warning.span, Some(span));

    let lines = refused(compiler.compile("rule", "let f = (1 : int\n  list)"));
    let syntax = refused(compiler.compile("rule", "let f = (1 +\nlet"));
    assert!(lines.errors().count() == 1 && syntax.errors().count() == 1, "{lines} {syntax}");
    assert!(syntax.0[0].message.starts_with("Syntax error"), "{syntax}");
}

#[test]
fn options_and_names_are_checked() {
    let unknown = refused(compiler().flag("-nonsense").compile("rule", ""));
    assert!(unknown.to_string().contains("-nonsense"), "{unknown}");
    for name in ["", "a b", "../x", "1a", "a.ml"] {
        let error = compiler().compile(name, "").expect_err("no name");
        assert!(matches!(error, Error::Name { .. }), "{name}: {error}");
    }
    let error = compiler().include("/nowhere/at/all").compile("a", "").expect_err("no folder");
    assert!(error.to_string().starts_with("/nowhere/at/all: "), "{error}");
}

#[test]
fn an_interface_is_inferred() {
    let interface =
        compiler().infer_interface("rule", "type t = A | B of int\nlet f = function A -> 0 | B n -> n");
    assert_eq!(interface.expect("it is"), "type t = A | B of int\nval f : t -> int\n");
    let refused = compiler().infer_interface("rule", "let x = y");
    assert!(matches!(refused, Err(Error::Rejected(_))), "{refused:?}");
}

#[test]
fn a_program_is_linked_and_runs() {
    let compiler = compiler().include("+str"); // not needed before 5.0
    let words = compiler.compile("words", "let all = Str.split (Str.regexp \" +\")").expect("it compiles");
    let main = Source::new("main", "let () = List.iter print_endline (Words.all \"one  two\")").uses(&words);
    let main = compiler.compile_source(&main).expect("it compiles");
    let program = compiler.link(&Link::new().library("str.cma").unit(&words).unit(&main)).expect("it links");
    let mut vm = Vm::builder().build();
    assert_eq!(vm.run_bytes("main", &program).expect("it runs"), Outcome::Finished);
    assert_eq!(vm.output(), b"one\ntwo\n");

    let alone = compiler.compile("alone", "let () = print_endline \"alone\"").expect("it compiles");
    let program = compiler.program(&[&alone]).expect("it links");
    let mut vm = Vm::builder().build();
    vm.run_bytes("alone", &program).expect("it runs");
    assert_eq!(vm.output(), b"alone\n");

    let missing = compiler.program(&[&main]);
    let Err(Error::Rejected(missing)) = missing else { panic!("{missing:?}") };
    assert!(missing.to_string().contains("Words"), "{missing}");
}

#[test]
fn limits_stop_a_compilation() {
    let limited = compiler().fuel(1000).compile("rule", "");
    assert!(matches!(limited, Err(Error::Machine(spelter::Error::Limit(Limit::Fuel)))), "{limited:?}");
    let limited = compiler().time_limit(Duration::from_millis(1)).compile("rule", "");
    assert!(matches!(limited, Err(Error::Machine(spelter::Error::Limit(Limit::Time)))), "{limited:?}");
    let limited = compiler().memory_limit(1 << 20).compile("rule", "");
    assert!(limited.is_err(), "{limited:?}");
}

#[test]
fn files_come_from_bytes() {
    let library = std::path::PathBuf::from(installation().library());
    let mut files = Vec::new();
    for entry in std::fs::read_dir(&library).expect("a folder") {
        let path = entry.expect("an entry").path();
        let wanted =
            path.extension().is_some_and(|it| ["cmi", "cma", "cmo"].iter().any(|known| it == *known));
        let name = path.file_name().expect("a name").to_string_lossy().into_owned();
        if wanted || name.starts_with("camlheader") || name == "runtime-launch-info" {
            files.push((format!("lib/{name}"), std::fs::read(&path).expect("a file")));
        }
    }
    let compilers = library.ancestors().map(|dir| dir.join("bin/ocamlc.byte"));
    let path = compilers.into_iter().find(|path| path.exists()).expect("a compiler");
    files.push(("ocamlc.byte".to_owned(), std::fs::read(path).expect("a file")));
    let without = files.iter().filter(|(name, _)| name != "ocamlc.byte").cloned();
    let without = Installation::from_files(without).expect("the library is there");
    let missing = Compiler::new(without).expect_err("no compiler");
    assert_eq!(
        missing.to_string(),
        "OCaml's ocamlc.byte is not among the given files; give its bytes under this name"
    );
    let given = Compiler::new(Installation::from_files(files).expect("all are there")).expect("a compiler");
    let source = "let f x = String.length x + 1";
    let (ours, theirs) = (given.compile("a", source), compiler().compile("a", source));
    assert_eq!(ours.expect("it compiles"), theirs.expect("it compiles"));
    given.program(&[&given.compile("b", "let () = print_int 3").expect("it compiles")]).expect("it links");
}

#[test]
fn what_is_compiled_is_what_ocamlc_writes() {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("rule.ml"), "let f x = List.map succ x\n").expect("it is written");
    let library = std::path::PathBuf::from(installation().library());
    let mut programs = library.ancestors().map(|dir| dir.join("bin"));
    let bin = programs.find(|bin| bin.join("ocamlc.byte").exists()).expect("a compiler");
    let mut command = std::process::Command::new(bin.join("ocamlrun"));
    command
        .arg(bin.join("ocamlc.byte"))
        .args(["-c", "rule.ml"])
        .current_dir(&folder)
        .env("OCAMLLIB", &library);
    assert!(command.status().expect("it starts").success());
    let ours = compiler().debug(false).compile("rule", "let f x = List.map succ x\n").expect("it compiles");
    let theirs = |name: &str| std::fs::read(folder.path().join(name)).expect("a file");
    // 5.3 as Debian builds it compresses interfaces, which Spelter only reads; so digests differ.
    if theirs("rule.cmi")[12..16] == [0x84, 0x95, 0xA6, 0xBD] {
        return;
    }
    assert_eq!(ours.cmo, theirs("rule.cmo"));
    assert_eq!(ours.cmi, theirs("rule.cmi"));
}
