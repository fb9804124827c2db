//! `dis`, `info` and `verify`.

use std::fs;

use crate::{file, outcome, spelter};

#[test]
fn dis_names_what_numbers_stand_for() {
    let (code, out, err) = outcome(spelter().arg("dis").arg(file("plugin.cmo")));
    assert_eq!((code, err.as_str()), (Some(0), ""));
    assert!(out.starts_with("    @0  BRANCH @"), "{out}");
    assert!(out.contains("PUSHCONSTINT 123456789") && out.contains("GETGLOBALFIELD Host"), "{out}");
    let (code, out, _) = outcome(spelter().arg("dis").arg(file("host.byte")));
    assert_eq!(code, Some(0));
    assert!(out.contains("caml_register_named_value"), "{out}");
}

#[test]
fn info_describes_each_file() {
    let plugin = file("plugin.cmo");
    let (code, out, _) = outcome(spelter().arg("info").arg(&plugin).arg(file("host.byte")));
    assert_eq!(code, Some(0));
    assert!(out.starts_with(&format!("OCaml 4.13\nFile {}\nUnit name: Plugin\n", plugin.display())), "{out}");
    assert!(out.contains("\nPrimitives used:\n") && out.contains("\n\tcaml_register_named_value\n"), "{out}");
}

#[test]
fn verify_has_one_line_for_each_file_that_fails() {
    let dir = tempfile::tempdir().expect("a directory");
    let (code, out, err) = outcome(spelter().arg("verify").arg(file("plugin.cmo")).arg(file("host.byte")));
    assert_eq!((code, out.as_str(), err.as_str()), (Some(0), "", ""));

    let broken = dir.path().join("broken.cmo");
    let mut bytes = fs::read(file("plugin.cmo")).expect("it is there");
    bytes[20] = 0x7f; // the first instruction's target
    fs::write(&broken, bytes).expect("it is written");
    let text = dir.path().join("text.cmo");
    fs::write(&text, "let x = 1").expect("it is written");
    let files = [&broken, &text, &dir.path().join("absent.cmo")];
    let (code, _, err) = outcome(spelter().arg("verify").args(files));
    assert_eq!(code, Some(1));
    let lines: Vec<_> = err.lines().collect();
    assert_eq!(lines.len(), 3, "{err}");
    for (line, file) in lines.iter().zip(files) {
        assert!(line.starts_with(&format!("{}: ", file.display())), "{line}");
    }
}

#[test]
fn a_file_that_cannot_be_read_is_one_line_and_exit_code_1() {
    for command in ["dis", "info"] {
        let (code, out, err) = outcome(spelter().args([command, "absent.cmo"]));
        assert_eq!((code, out.as_str()), (Some(1), ""), "{command}");
        assert_eq!(err, "spelter: absent.cmo: No such file or directory (os error 2)\n");
    }
}
