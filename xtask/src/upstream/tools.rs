//! OCaml's own tools on large inputs, as further cases: they are bytecode executables, too.

use std::collections::BTreeMap;

use anyhow::Result;

use super::actions::Kind;
use super::plan::{Command, Input, Places, Plan, Reason, Step};
use crate::corpus::files_under;

/// Folders of OCaml's sources that the tools read.
const FOLDERS: [&str; 6] = ["stdlib", "utils", "parsing", "typing", "lambda", "bytecomp"];

/// A case for each tool.
///
/// # Errors
///
/// If the sources cannot be read.
pub fn plans(places: &Places) -> Result<Vec<Plan>> {
    let mut all = Vec::new();
    for folder in FOLDERS {
        let files = files_under(&places.sources.join(folder))?;
        all.extend(files.iter().map(|file| format!("{folder}/{file}")));
    }
    let with_end = |start: &str, ends: &[&str]| -> Vec<String> {
        let fits = |file: &&String| file.starts_with(start) && ends.iter().any(|end| file.ends_with(end));
        all.iter().filter(fits).cloned().collect()
    };
    let documented = with_end("stdlib/", &["a.mli", "e.mli", "g.mli", "m.mli", "r.mli", "t.mli"]);
    let library = &places.tools.library;
    let installed = |ends: &[&str]| -> Result<Vec<String>> {
        let files = files_under(library)?;
        let fits = |file: &String| ends.iter().any(|end| file.ends_with(end));
        Ok(files.into_iter().filter(fits).map(|file| format!("{}/{file}", library.display())).collect())
    };
    let sources = with_end("", &[".ml", ".mli"]);
    let tools: [(&str, &str, Vec<String>); 10] = [
        ("ocamllex.byte", "-o lexer.ml parsing/lexer.mll", Vec::new()),
        ("ocamllex.byte -ml", "-ml -o lexer.ml parsing/lexer.mll", Vec::new()),
        ("ocamldep.byte", "-slash -I utils -I parsing -I typing -I lambda -I bytecomp", sources.clone()),
        ("ocamldep.byte -sort", "-sort -one-line", with_end("utils/", &[".ml", ".mli"])),
        ("ocamldoc -html", "-html -colorize-code -keep-code -charset utf-8", documented.clone()),
        ("ocamldoc -man", "-man -o stdlib.3", documented.clone()),
        ("ocamldoc -latex", "-latex -o stdlib.tex", documented),
        ("ocamlobjinfo.byte", "", installed(&[".cma", "list.cmt", "stdlib.cmi"])?),
        (
            "ocamlc.byte",
            "-dparsetree -dtypedtree -dlambda -dinstr -c -I stdlib stdlib/hashtbl.ml",
            Vec::new(),
        ),
        ("ocamlopt.byte", "-S -dcmm -c -I stdlib stdlib/hashtbl.ml", Vec::new()),
    ];
    let plan = |(name, options, files): (&str, &str, Vec<String>)| {
        let folder = places.runs.join("tools").join(name.replace(' ', ""));
        let tool = name.split(' ').next().unwrap_or(name);
        let mut words = vec![places.tools.program(tool)];
        words.extend(options.split_whitespace().map(str::to_owned));
        words.extend(files);
        let copies = FOLDERS.iter().map(|name| (places.sources.join(name), folder.join(name))).collect();
        let command = Command {
            kind: Kind::Program,
            words,
            input: Input::Empty,
            env: places.tools.with_env(&BTreeMap::from([("TERM".to_owned(), "dumb".to_owned())])),
            folder: folder.clone(),
            exit: 0,
        };
        let steps = vec![Step::Furnish { folder: folder.clone(), copies }, Step::Run(command)];
        let steps = if places.tools.has(tool) { Ok(steps) } else { Err(Reason::NoTool) };
        Plan { name: format!("tools/{}", name.replace(' ', "")), folder, steps }
    };
    Ok(tools.into_iter().map(plan).collect())
}
