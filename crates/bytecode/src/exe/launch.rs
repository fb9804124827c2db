//! How an executable of OCaml 5.5 names the runtime that shall run it.

/// The runtime that an executable was linked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Runtime {
    /// The name of its file, such as `ocamlrun`, without its identifier.
    pub name: String,
    /// Its identifier, such as `a104`: version and configuration.
    pub id: Option<RuntimeId>,
    /// Where the executable looks for it.
    pub search: Search,
}

/// Where an executable looks for its runtime. Folders end with a slash.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Search {
    /// In this folder only.
    Only(String),
    /// In this folder, then beside the executable and in `PATH`.
    First(String),
    /// Beside the executable and in `PATH`.
    Anywhere,
}

/// The identifier in a runtime's name: four digits in base 32.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RuntimeId([u8; 4]);

impl RuntimeId {
    fn parse(text: &str) -> Option<RuntimeId> {
        let digit = |byte: u8| char::from(byte).to_digit(32).filter(|_| !byte.is_ascii_uppercase());
        let mut digits = [0; 4];
        let bytes: &[u8; 4] = text.as_bytes().try_into().ok()?;
        for (slot, byte) in digits.iter_mut().zip(bytes) {
            *slot = digit(*byte)? as u8;
        }
        Some(RuntimeId(digits))
    }

    /// The number of the release: 21 is 5.5.
    pub fn release(self) -> u8 {
        (self.0[1] & 3) << 4 | self.0[0] >> 1
    }

    /// Whether the runtime is a development version.
    pub fn is_development(self) -> bool {
        self.0[0] & 1 != 0
    }

    /// How many bits of headers are reserved.
    pub fn reserved_bits(self) -> u8 {
        (self.0[2] & 3) << 3 | self.0[1] >> 2
    }

    /// The configuration, in the words of `ocamlobjinfo`.
    pub(crate) fn remarks(self) -> impl Iterator<Item = &'static str> {
        let [_, _, third, last] = self.0;
        [
            (third & 4, "Flat float array representation disabled"),
            (third & 8, "Frame pointers enabled"),
            (third & 16, "TSAN enabled"),
            (last & 1, "Compiled without 64-bit support"),
            (last & 2, "Compiled without support dynamic loading"),
            (last & 4, "Compiled without support for compressed marshalling"),
            (last & 8, "Windows Unicode support disabled"),
        ]
        .into_iter()
        .filter_map(|(set, remark)| (set != 0).then_some(remark))
    }
}

impl std::fmt::Display for RuntimeId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.iter().try_for_each(|digit| {
            let digit = char::from_digit((*digit).into(), 32).unwrap_or('?');
            write!(f, "{digit}")
        })
    }
}

impl Runtime {
    /// From a file's first bytes, a few hundred or more.
    pub fn of_head(head: &[u8]) -> Option<Runtime> {
        Runtime::of_prefix(head)
    }

    fn new(file: &str, search: Search) -> Option<Runtime> {
        if file.is_empty() {
            return None;
        }
        let (name, id) = match file.rsplit_once('-') {
            Some((name, id)) if !name.is_empty() => (name, RuntimeId::parse(id)),
            _ => (file, None),
        };
        let name = if id.is_some() { name } else { file };
        Some(Runtime { name: name.to_owned(), id, search })
    }

    fn at(path: &str) -> Option<Runtime> {
        let (folder, file) = path.split_at(path.rfind('/')? + 1);
        Runtime::new(file, Search::Only(folder.to_owned()))
    }

    /// From the start of the file: a `#!` line with the runtime, or a shell script that looks for it.
    pub(super) fn of_prefix(prefix: &[u8]) -> Option<Runtime> {
        let rest = prefix.strip_prefix(b"#!")?;
        // The scripts are short; what follows may be anything.
        let text = rest[..rest.len().min(1 << 14)].utf8_chunks().next()?.valid();
        let (path, script) = text.split_once('\n')?;
        if let Some(script) = script.strip_prefix("exec '") {
            let (path, rest) = quoted(script)?;
            return rest.starts_with(" \"$0\" \"$@\"\n").then(|| Runtime::at(&path))?;
        }
        if let Some(script) = script.strip_prefix("r='") {
            let (file, rest) = quoted(script)?;
            return match rest.strip_prefix("\nc='").and_then(quoted) {
                Some((folder, rest)) if rest.starts_with("\"$r\"\n") => {
                    Runtime::new(&file, Search::First(folder))
                }
                _ => Runtime::new(&file, Search::Anywhere),
            };
        }
        if path.contains(' ') { None } else { Runtime::at(path) }
    }

    /// From the `RNTM` section.
    pub(super) fn of_section(section: &[u8]) -> Option<Runtime> {
        match std::str::from_utf8(section).ok()?.split_once('\0') {
            None => Runtime::at(std::str::from_utf8(section).ok()?),
            // Up to 5.4 the path ends with a NUL.
            Some((path, "")) => Runtime::at(path),
            Some(("", file)) => Runtime::new(file, Search::Anywhere),
            Some((folder, file)) => {
                let slash = if folder.ends_with('/') { "" } else { "/" };
                Runtime::new(file, Search::First(format!("{folder}{slash}")))
            }
        }
    }
}

/// The text up to the closing quote of a shell word, and what follows it. A quote in the text is written `'\\''`.
fn quoted(text: &str) -> Option<(String, &str)> {
    let mut whole = String::new();
    let mut rest = text;
    loop {
        let (part, after) = rest.split_once('\'')?;
        whole.push_str(part);
        match after.strip_prefix("\\''") {
            Some(more) => {
                whole.push('\'');
                rest = more;
            }
            None => return Some((whole, after)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn launchers_name_their_runtime() {
        let found = |prefix: &str| Runtime::of_prefix(prefix.as_bytes());
        let runtime = |search| Runtime { name: "ocamlrun".to_owned(), id: RuntimeId::parse("a104"), search };
        let bin = || "/usr/bin/".to_owned();
        assert_eq!(found("#!/usr/bin/ocamlrun-a104\n"), Some(runtime(Search::Only(bin()))));
        assert_eq!(
            found("#!/bin/sh\nexec '/usr/bin/ocamlrun-a104' \"$0\" \"$@\"\n"),
            Some(runtime(Search::Only(bin())))
        );
        let script = "#!/bin/sh\nr='ocamlrun-a104'\nc='/it'\\''s/'\"$r\"\nif ! test";
        assert_eq!(found(script), Some(runtime(Search::First("/it's/".to_owned()))));
        assert_eq!(found("#!/bin/sh\nr='ocamlrun-a104'\nd=\"\"\n"), Some(runtime(Search::Anywhere)));
        assert_eq!(found("#!/bin/sh -e\necho\n"), None);
    }

    #[test]
    fn sections_name_their_runtime() {
        let found =
            |section: &[u8]| Runtime::of_section(section).map(|runtime| (runtime.name, runtime.search));
        let run = "ocamlrun".to_owned();
        assert_eq!(found(b"/b/ocamlrun-a100"), Some((run.clone(), Search::Only("/b/".to_owned()))));
        assert_eq!(found(b"/b/ocamlrun\0"), Some((run.clone(), Search::Only("/b/".to_owned()))));
        assert_eq!(found(b"/b\0ocamlrun-a100"), Some((run.clone(), Search::First("/b/".to_owned()))));
        assert_eq!(found(b"\0ocamlrun-a100"), Some((run, Search::Anywhere)));
        assert_eq!(
            (found(b""), found(b"\0"), found(b"x\0y\0")),
            (None, None, Some(("y\0".to_owned(), Search::First("x/".to_owned()))))
        );
    }
}
