//! Versions: error messages for files that cannot be read.

use insta::assert_snapshot;
use spelter_bytecode::{CompilationUnit, Dialect, ErrorKind, Executable, FileKind, Library, info};

use crate::fixtures::*;

#[test]
fn another_version_is_named() {
    let older = [b"Caml1999O029", &TINY_CMO[12..]].concat();
    let error = CompilationUnit::read(&older).expect_err("a file of OCaml 4.12");
    assert_snapshot!(error, @"byte offset 0x0: compiled by OCaml 4.12, this reader knows 4.13, 4.14, 5.0, 5.1, 5.2, 5.3, 5.4, 5.5; recompile it with one of these");
    let unknown = [b"Caml1999O999", &TINY_CMO[12..]].concat();
    let error = CompilationUnit::read(&unknown).expect_err("a file of no version");
    assert_snapshot!(error, @"byte offset 0x0: compiled by OCaml of unknown version (magic number Caml1999O999), this reader knows 4.13, 4.14, 5.0, 5.1, 5.2, 5.3, 5.4, 5.5; recompile it with one of these");
}

#[test]
fn every_version_is_told_by_its_digits() {
    for (version, name, bytes) in LATER {
        let info = info::Info::read(bytes).expect("a fixture");
        assert_eq!(info.dialect().version, *version, "{name}");
    }
    for (older, newer) in Dialect::KNOWN.iter().zip(&Dialect::KNOWN[1..]) {
        assert!(older.release < newer.release && older.digits < newer.digits, "{}", newer.version);
    }
}

#[test]
fn another_kind_of_file_is_refused() {
    let error = CompilationUnit::read(LIB_CMA).expect_err("a library");
    assert_snapshot!(error, @r#"byte offset 0x0: not an OCaml object file (.cmo) (no OCaml magic number of that kind; found "Caml1999A030")"#);
    let error = Library::read(TINY_BYTE).expect_err("an executable");
    assert!(matches!(error.kind(), ErrorKind::NotThisKind { .. }), "{error}");
    let error = Executable::read(b"#!/bin/sh\n").expect_err("a script");
    assert!(matches!(error.kind(), ErrorKind::NotThisKind { .. }), "{error}");
    let error = info::describe("x", b"#!/bin/sh\necho").expect_err("a script");
    assert_snapshot!(error, @r##"byte offset 0x0: not an OCaml bytecode file (executable, .cmo or .cma) (no OCaml magic number of that kind; found "#!/bin/sh\nec")"##);
}

#[test]
fn kinds_are_told_by_their_magic_numbers() {
    let kinds: Vec<_> = ALL.iter().map(|bytes| FileKind::sniff(bytes)).collect();
    let [object, library, executable] = [FileKind::Object, FileKind::Library, FileKind::Executable].map(Some);
    assert_eq!(kinds, [object, object, library, executable]);
    assert_eq!(FileKind::sniff(b"Caml1999I030 an interface"), None);
    assert_eq!(FileKind::sniff(b""), None);
}
