//! Shared libraries with C primitives: where they are looked for, and what is said when they cannot be used. No test
//! needs a C compiler: a file that is no library is refused by name, which tells where it was found.

use std::fs;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::Command;

use spelter_bytecode::Executable;
use spelter_bytecode::exe::Section;

use crate::{clean, file, spelter};

const SIGABRT: i32 = 6;

/// Writes a program that names these libraries, folders for them, and primitives that it does not have.
fn write_program(path: &Path, libraries: &str, folders: &str, primitives: &str) {
    let exe = Executable::read(&fs::read(file("program.byte")).expect("it is there")).expect("a program");
    let mut sections: Vec<Section> = exe
        .sections()
        .iter()
        .filter(|section| ![*b"DLLS", *b"DLPT"].contains(&section.name))
        .cloned()
        .collect();
    for section in sections.iter_mut().filter(|section| section.name == *b"PRIM") {
        section.data.extend_from_slice(primitives.as_bytes());
    }
    for (name, text) in [(*b"DLPT", folders), (*b"DLLS", libraries)] {
        sections.push(Section { name, data: text.as_bytes().to_owned() });
    }
    // Programs end with their data, names and debug data; the order of other sections does not matter.
    let exe = Executable::from_parts(exe.dialect(), Vec::new(), sections).expect("all sections");
    fs::write(path, exe.write()).expect("it is written");
}

/// Creates folders, each with a file in the place of a library.
fn write_libraries(folder: &Path, names: &[&str]) {
    for name in names {
        fs::create_dir_all(folder.join(name)).expect("a folder");
        fs::write(folder.join(name).join("dllfoo.so"), "no library").expect("it is written");
    }
}

/// What a command says before it aborts, without its first words; `None` if it does not abort.
fn complaint(command: &mut Command) -> Option<String> {
    let output = command.output().expect("it starts");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "", "nothing has run");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let rest = said.strip_prefix("Fatal error: ")?.strip_suffix('\n')?.to_owned();
    (output.status.signal() == Some(SIGABRT)).then_some(rest)
}

/// A command without what the environment says about libraries.
fn without_folders(mut command: Command) -> Command {
    for name in ["CAML_LD_LIBRARY_PATH", "OCAMLLIB", "CAMLLIB", "LD_LIBRARY_PATH"] {
        command.env_remove(name);
    }
    command
}

/// The complaint that a file is no library.
fn no_library(file: &str) -> Option<String> {
    Some(format!("cannot load shared library dllfoo\nReason: {file}: file too short"))
}

#[test]
fn folders_are_searched_in_ocamls_order() {
    let temp = tempfile::tempdir().expect("a folder");
    let dir = temp.path();
    write_libraries(dir, &["first", "path", "own", "listed", "other"]);
    write_program(&dir.join("p.byte"), "dllfoo\0", "own\0", "");
    write_program(&dir.join("q.byte"), "dllfoo\0", "", "");
    fs::create_dir(dir.join("lib")).expect("a folder");
    fs::write(dir.join("lib/ld.conf"), "/nowhere\nlisted\nother\n").expect("it is written");
    let run = |args: &[&str], env: &[(&str, &str)]| {
        let mut as_ocamlrun = without_folders(clean(Command::new(env!("CARGO_BIN_EXE_spelter"))));
        as_ocamlrun.arg0("ocamlrun").current_dir(dir).args(args).envs(env.iter().copied());
        let mut as_spelter = without_folders(spelter());
        as_spelter.current_dir(dir).arg("run").args(args).envs(env.iter().copied());
        let said = complaint(&mut as_ocamlrun);
        assert_eq!(complaint(&mut as_spelter), said, "{args:?}");
        said
    };
    let path = ("CAML_LD_LIBRARY_PATH", "/nowhere:path");
    let lib = ("OCAMLLIB", "lib");
    assert_eq!(
        run(&["-I", "/nowhere", "-I", "first", "p.byte"], &[path, lib]),
        no_library("first/dllfoo.so")
    );
    assert_eq!(run(&["p.byte"], &[path, lib]), no_library("path/dllfoo.so"));
    assert_eq!(run(&["p.byte"], &[lib]), no_library("own/dllfoo.so"));
    assert_eq!(run(&["q.byte"], &[lib]), no_library("listed/dllfoo.so"));
    assert_eq!(run(&["q.byte"], &[("CAMLLIB", "lib")]), no_library("listed/dllfoo.so"));
    let absent = "dllfoo.so: cannot open shared object file: No such file or directory";
    let nothing = Some(format!("cannot load shared library dllfoo\nReason: {absent}"));
    assert_eq!(run(&["q.byte"], &[("OCAMLLIB", "absent"), ("CAMLLIB", "lib")]), nothing);

    // An empty name is that of the current folder.
    fs::copy(dir.join("own/dllfoo.so"), dir.join("dllfoo.so")).expect("it is copied");
    assert_eq!(run(&["p.byte"], &[("CAML_LD_LIBRARY_PATH", ":own")]), no_library("./dllfoo.so"));
}

#[test]
fn a_name_with_a_slash_is_a_file() {
    let dir = tempfile::tempdir().expect("a folder");
    write_libraries(dir.path(), &["a", "b"]);
    write_program(&dir.path().join("p.byte"), "./a/dllfoo\0", "b\0", "");
    let mut command = without_folders(spelter());
    let said = complaint(command.current_dir(&dir).args(["run", "p.byte"]));
    let expected = "cannot load shared library ./a/dllfoo\nReason: ./a/dllfoo.so: file too short";
    assert_eq!(said.as_deref(), Some(expected));
}

#[test]
fn a_configuration_that_cannot_be_read_is_fatal() {
    let dir = tempfile::tempdir().expect("a folder");
    fs::create_dir_all(dir.path().join("lib/ld.conf")).expect("a folder in the place of the file");
    let mut command = without_folders(spelter());
    let command = command.current_dir(&dir).env("OCAMLLIB", "lib").arg("run").arg(file("program.byte"));
    assert_eq!(complaint(command).as_deref(), Some("error while reading loader config file lib/ld.conf"));
}

#[test]
fn an_unknown_primitive_is_named() {
    let dir = tempfile::tempdir().expect("a folder");
    write_program(&dir.path().join("p.byte"), "", "", "foo_one\0foo_two\0");
    let mut command = without_folders(spelter());
    let said = complaint(command.current_dir(&dir).args(["run", "p.byte"]));
    assert_eq!(said.as_deref(), Some("unknown C primitive `foo_one'"));
}

#[test]
fn checked_code_may_not_have_libraries_in_c() {
    let dir = tempfile::tempdir().expect("a folder");
    write_libraries(dir.path(), &["a"]);
    write_program(&dir.path().join("p.byte"), "dllfoo\0", "a\0", "foo_one\0");
    let mut command = without_folders(spelter());
    let said = complaint(command.current_dir(&dir).args(["run", "--checked", "p.byte"]));
    let expected = "p.byte: cannot load shared library dllfoo, which has the C primitives foo_one; run it without \
                    --checked, which refuses libraries in C";
    assert_eq!(said.as_deref(), Some(expected));
}

#[test]
fn the_configuration_lists_the_folders() {
    let dir = tempfile::tempdir().expect("a folder");
    fs::write(dir.path().join("ld.conf"), "/one\n\n/two").expect("it is written");
    let listed = |version: &str| {
        let mut command = without_folders(clean(Command::new(env!("CARGO_BIN_EXE_spelter"))));
        command.arg0("ocamlrun").env("SPELTER_OCAML", version).env("OCAMLLIB", dir.path());
        command.env("CAML_LD_LIBRARY_PATH", "/path").args(["-I", "/first", "-config"]);
        let output = command.output().expect("it starts");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        text.split_once("\nshared_libs_path:\n").expect("the last row").1.to_owned()
    };
    assert_eq!(listed("4.13"), "  /first\n  /one\n  .\n  /two\n");
    assert_eq!(listed("5.4"), "  /first\n  /path\n  /one\n  .\n  /two\n");
}
