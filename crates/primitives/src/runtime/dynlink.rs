//! Where the standard library and shared libraries are (`dynlink.c`, and a part of `sys.c`).

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use spelter_interp::{Machine, Raise, Res, Slot, fallible, prims};

use crate::io::channels::Io;

/// This runtime's own default, as OCaml's build scripts have it.
const DEFAULT: &[u8] = b"/usr/local/lib/ocaml";

fn sys_const_standard_library_default(m: &mut Machine, _: [Slot; 1]) -> Res<'_> {
    let given = m.params().standard_library.clone();
    m.new_string(if given.is_empty() { DEFAULT } else { &given })
}

/// Whether a path begins with `.` or `..`.
fn is_explicitly_relative(path: &[u8]) -> bool {
    let first = path.split(|b| *b == b'/').next().unwrap_or_default();
    first == b"." || first == b".."
}

/// What C's `dirname` answers.
fn dirname(path: &[u8]) -> &[u8] {
    let end = path.iter().rposition(|b| *b != b'/').map_or(0, |i| i + 1);
    let Some(slash) = path[..end].iter().rposition(|b| *b == b'/') else {
        return if path.starts_with(b"/") { b"/" } else { b"." };
    };
    let end = path[..slash].iter().rposition(|b| *b != b'/').map_or(0, |i| i + 1);
    if end == 0 { b"/" } else { &path[..end] }
}

/// `(directory, None)`; for a directory relative to the program, its real path, and the program's directory.
fn sys_get_stdlib_dirs(m: &mut Machine, [default]: [Slot; 1]) -> Res<'_> {
    let default = c_string(m.bytes(default)?);
    fallible::afford(default.len().saturating_mul(4))?;
    if !is_explicitly_relative(default) {
        let default = default.to_vec();
        let directory = m.push(|m| m.new_string(&default))?;
        let none = m.push_int(0);
        return m.new_block(0, &[directory, none]);
    }
    let root = dirname(&m.params().executable_name).to_vec();
    let path = [&root, b"/".as_slice(), default].concat();
    let real = std::fs::canonicalize(OsStr::from_bytes(&path));
    let path = real.map_or(path, |real| real.into_os_string().into_encoded_bytes());
    let directory = m.push(|m| m.new_string(&path))?;
    let root = m.push(|m| m.new_string(&root))?;
    let root = m.push(|m| m.new_some(root))?;
    m.new_block(0, &[directory, root])
}

/// C's strings end at the first zero byte.
fn c_string(bytes: &[u8]) -> &[u8] {
    bytes.split(|b| *b == 0).next().unwrap_or_default()
}

/// The directories that a loader configuration in `directory` lists, as OCaml reads it since 5.5.
pub fn entries(directory: &[u8], text: &[u8]) -> Vec<Vec<u8>> {
    let text = c_string(text);
    let mut lines: Vec<&[u8]> = text.split(|b| *b == b'\n').collect();
    // A newline ends a line; only a last line without one is a line by itself.
    let last = lines.pop().unwrap_or_default();
    let without_cr = |line: &[u8]| {
        let end = line.iter().rposition(|b| *b != b'\r').map_or(0, |i| i + 1);
        line[..end].to_vec()
    };
    let mut all: Vec<Vec<u8>> = lines.into_iter().map(without_cr).collect();
    if !last.is_empty() {
        all.push(last.to_vec());
    }
    let absolute = |line: Vec<u8>| match line.as_slice() {
        b"." => directory.to_vec(),
        [b'.', b'/', ..] => [directory, &line[1..]].concat(),
        _ if is_explicitly_relative(&line) => [directory, b"/", &line].concat(),
        _ => line,
    };
    all.into_iter().map(absolute).collect()
}

/// The lines of all `ld.conf`: that of `$OCAMLLIB`, of `$CAMLLIB`, and of the default directory.
fn dynlink_parse_ld_conf(m: &mut Machine, [default]: [Slot; 1]) -> Res<'_> {
    let default = fallible::to_vec(c_string(m.bytes(default)?))?;
    let given = ["OCAMLLIB", "CAMLLIB"].into_iter().filter_map(std::env::var_os);
    let mut all = Vec::new();
    // A guest learns nothing about files from this.
    if m.ext::<Io>().fds.owns_process {
        for directory in given.map(|d| d.into_encoded_bytes()).chain([default]) {
            let end = directory.iter().rposition(|b| *b != b'/').map_or(0, |i| i + 1);
            let directory = &directory[..end];
            let file = [directory, b"/ld.conf"].concat();
            let file = Path::new(OsStr::from_bytes(&file));
            if !file.exists() {
                continue;
            }
            let cannot = |_| Raise::Fatal(format!("cannot read loader config file {}", file.display()));
            all.extend(entries(directory, &std::fs::read(file).map_err(cannot)?));
        }
    }
    m.new_list(all, |m, line| m.new_string(&line))
}

prims! {
    "caml_sys_const_standard_library_default" P1 sys_const_standard_library_default => since(V5_5),
    "caml_sys_get_stdlib_dirs" P1 sys_get_stdlib_dirs => since(V5_5),
    "caml_dynlink_parse_ld_conf" P1 dynlink_parse_ld_conf => since(V5_5),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_relative_to_their_file() {
        let text = b"/abs\n.\n./sub\r\n../up\n..\n.hidden\n\nlast\r";
        let expected: [&[u8]; 8] =
            [b"/abs", b"/d", b"/d/sub", b"/d/../up", b"/d/..", b".hidden", b"", b"last\r"];
        assert_eq!(entries(b"/d", text), expected);
        assert_eq!(entries(b"/d", b"one\n").len(), 1);
    }

    #[test]
    fn directories_of_paths() {
        for (path, expected) in
            [("/usr/bin/p", "/usr/bin"), ("p", "."), ("/p", "/"), ("a//p/", "a"), ("", "."), ("/", "/")]
        {
            assert_eq!(dirname(path.as_bytes()), expected.as_bytes(), "{path}");
        }
    }
}
