//! The sources to compile: OCaml's standard library, and the compiler's own libraries.
//!
//! Dependencies and flags are read from the sources' own `.depend` and `Compflags`. Files that OCaml's makefiles
//! generate are generated here with the installed tools.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use xtask::corpus::files_under;
use xtask::ocaml::Tools;

use super::build::{Build, read_depend};
use super::plain::Compiler;

/// The flags that the standard library's makefile gives to every file.
const STDLIB_FLAGS: &str = "-strict-sequence -absname -w +a-4-9-41-42-44-45-48-70 -g -warn-error +A -bin-annot \
     -nostdlib -principal -safe-string -strict-formats";

/// The same for the compiler. The generated parser causes warnings.
const COMPILER_FLAGS: &str = "-g -strict-sequence -principal -absname -w +a-4-9-40-41-42-44-45-48-66-70 \
     -bin-annot -safe-string -strict-formats";

/// The compiler's folders that make up its bytecode half and the toplevel.
const FOLDERS: [&str; 8] =
    ["utils", "parsing", "typing", "lambda", "file_formats", "bytecomp", "driver", "toplevel"];

/// The files that compilers write.
const COMPILED: [&str; 6] = [".cmi", ".cmo", ".cmx", ".cmt", ".cmti", ".cma"];

/// What OCaml's makefile generates before it compiles the compiler. Its toplevel shares interfaces between a folder for
/// bytecode and one for native code, and copies them to and fro; here the files for bytecode join their interfaces.
const GENERATE: &str = r#"set -e
for end in ml mli; do
  cp boot/menhir/menhirLib.$end parsing/camlinternalMenhirLib.$end
  sed s/MenhirLib/CamlinternalMenhirLib/g boot/menhir/parser.$end >parsing/parser.$end
done
ocamllex -q parsing/lexer.mll
ocamlrun -p >runtime/primitives
sh lambda/generate_runtimedef.sh runtime/caml/fail.h runtime/primitives >lambda/runtimedef.ml
ocamllex -q tools/make_opcodes.mll
ocaml tools/make_opcodes.ml -opcodes <runtime/caml/instruct.h >bytecomp/opcodes.ml
ocamlc -i bytecomp/opcodes.ml >bytecomp/opcodes.mli
if test -f utils/config.mlp; then
  sed -e 's/%%\(PROFINFO_WIDTH\|WINDOWS_UNICODE\)%%/0/' -e 's/= %%[A-Z_]*%%/= false/' -e 's/%%[A-Z_]*%%//' \
    utils/config.mlp >utils/config.ml
else
  cat utils/config.fixed.ml utils/config.common.ml* | sed -e 's/@[A-Z_]*@//' >utils/config.ml
fi
mv toplevel/byte/*.ml toplevel
sed -i s,toplevel/byte/,toplevel/,g .depend
"#;

/// The standard library, copied below `temp`.
pub(super) fn stdlib(tools: &Tools, compiler: Compiler, temp: &Path) -> Result<Build> {
    copy(tools, &["stdlib", "VERSION"], temp)?;
    let folder = temp.join("stdlib");
    // The makefile or the configuration writes the version, the first line of VERSION, into sys.ml.
    let version = fs::read_to_string(temp.join("VERSION"))?;
    let version = version.lines().next().context("VERSION is empty")?;
    let template =
        ["sys.mlp", "sys.ml.in"].into_iter().find_map(|name| fs::read_to_string(folder.join(name)).ok());
    let template = template.context("the standard library has no template of sys.ml")?;
    let mut text = template.replace("%%VERSION%%", version).replace("@VERSION@", version);
    for (name, value) in [("DEVELOPMENT_VERSION", "false"), ("RELEASE_EXTRA", "None")] {
        text = text.replace(&format!("@OCAML_{name}@"), value);
    }
    let mut numbers = version.split('.');
    for name in ["MAJOR", "MINOR", "PATCHLEVEL"] {
        text = text.replace(&format!("@OCAML_VERSION_{name}@"), numbers.next().unwrap_or("0"));
    }
    fs::write(folder.join("sys.ml"), text)?;
    let flags = |target: &str| -> Result<String> {
        let flags = Command::new("sh").args(["./Compflags", target]).current_dir(&folder).output()?;
        let flags = String::from_utf8(flags.stdout).context("Compflags")?;
        // Compflags is written for a shell to read: it quotes, and refers to $AWK.
        Ok(format!("{STDLIB_FLAGS} {}", flags.trim()))
    };
    let mut steps = read_depend(&fs::read_to_string(folder.join(".depend"))?, flags)?;
    for step in &mut steps {
        // Files that open Stdlib implicitly depend on it.
        let stem = step.target.split('.').next().unwrap_or_default();
        if !["camlinternalFormatBasics", "camlinternalAtomic", "stdlib"].contains(&stem) {
            step.needs.push("stdlib.cmi".to_owned());
        }
    }
    Ok(Build { tools: tools.clone(), compiler, name: "stdlib", folder, steps })
}

/// The compiler's own libraries, copied below `temp`: `compilerlibs` without native code, and the toplevel.
pub(super) fn compilerlibs(tools: &Tools, compiler: Compiler, temp: &Path) -> Result<Build> {
    let mut wanted = FOLDERS.to_vec();
    wanted.extend(["boot/menhir", "tools/make_opcodes.mll", "runtime/caml", ".depend"]);
    copy(tools, &wanted, temp)?;
    let done = tools.command("sh").args(["-c", GENERATE]).current_dir(temp).output()?;
    let said = String::from_utf8_lossy(&done.stderr);
    ensure!(done.status.success(), "the compiler's sources could not be generated:\n{said}");
    let includes: String = FOLDERS.iter().map(|folder| format!(" -I {folder}")).collect();
    let flags = |_: &str| Ok(format!("{COMPILER_FLAGS}{includes}"));
    let mut steps = read_depend(&fs::read_to_string(temp.join(".depend"))?, flags)?;
    // Parts of a file that is put together have names with two dots.
    let is_wanted = |file: &str| {
        file.rsplit_once('/')
            .is_some_and(|(folder, name)| FOLDERS.contains(&folder) && name.matches('.').count() == 1)
    };
    let mut seen = BTreeSet::new();
    steps.retain(|step| {
        is_wanted(&step.target) && temp.join(&step.source).exists() && seen.insert(step.target.clone())
    });
    // Files that depend on the native-code half, directly or indirectly, cannot be compiled.
    loop {
        let left = steps.len();
        let made: BTreeSet<String> = steps.iter().map(|step| step.target.clone()).collect();
        steps.retain(|step| step.needs.iter().all(|need| made.contains(need)));
        if steps.len() == left {
            return Ok(Build {
                tools: tools.clone(),
                compiler,
                name: "compilerlibs",
                folder: temp.to_path_buf(),
                steps,
            });
        }
    }
}

/// Copies files and folders of OCaml's sources below `temp`.
fn copy(tools: &Tools, files: &[&str], temp: &Path) -> Result<()> {
    let sources = tools.sources()?;
    let done =
        Command::new("cp").args(["-r", "--parents"]).args(files).arg(temp).current_dir(sources).status()?;
    ensure!(done.success(), "cannot copy OCaml's sources");
    // Sources that have been built there are not compiled already here.
    for file in files_under(temp)? {
        if COMPILED.iter().any(|end| file.ends_with(end)) {
            fs::remove_file(temp.join(file))?;
        }
    }
    Ok(())
}
