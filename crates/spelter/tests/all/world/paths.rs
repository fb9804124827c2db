//! `unix`'s calls on paths and descriptors, on what a host has given: they act as in a process, and neither names nor
//! links nor whoever changes links meanwhile lead elsewhere.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use spelter::{Access, Captured, Dispatch, Error, Grade, Grant, Limit, MemoryDir, Outcome, Vm, World};
use tempfile::TempDir;

use super::{PATHS, builders};
use crate::graded;

/// What the guest prints on one machine.
fn told_by(builder: spelter::VmBuilder, args: &[&str], world: World) -> String {
    let output = Captured::default();
    let mut vm = builder.args([&["paths"], args].concat()).world(world.stdout(output.clone())).build();
    let outcome = vm.run_bytes(PATHS.0, PATHS.1);
    assert!(matches!(outcome, Ok(Outcome::Finished)), "{outcome:?}");
    String::from_utf8(output.take()).expect("text")
}

fn builder() -> spelter::VmBuilder {
    graded(Vm::builder().dispatch(Dispatch::Tail), Grade::Checked)
}

/// What it prints on all machines, each in a world of its own.
fn told(args: &[&str], mut world: impl FnMut() -> World) -> String {
    let mut found: Vec<String> = builders().map(|builder| told_by(builder, args, world())).collect();
    found.dedup();
    assert_eq!(found.len(), 1, "{found:#?}");
    found.remove(0)
}

fn put(path: PathBuf, text: &str) {
    fs::write(&path, text).expect("it is written");
    // Whatever the umask is.
    fs::set_permissions(path, Permissions::from_mode(0o644)).expect("it is ours");
}

/// A folder `data` with a file and a folder that has a file, and beside it `out` with two files and a folder.
fn folder() -> TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    let root = folder.path();
    fs::create_dir_all(root.join("data/sub")).expect("folders");
    fs::create_dir_all(root.join("out/sub")).expect("folders");
    for path in ["data", "data/sub"] {
        fs::set_permissions(root.join(path), Permissions::from_mode(0o755)).expect("it is ours");
    }
    put(root.join("data/in"), "inside\n");
    put(root.join("data/sub/x"), "");
    put(root.join("out/text"), "outside\n");
    put(root.join("out/empty"), "");
    folder
}

fn given(folder: &TempDir, access: Access) -> World {
    World::nothing().dir("data", folder.path().join("data"), access).expect("it exists")
}

/// A directory in memory with the same files.
fn in_memory(access: Access) -> World {
    let dir = MemoryDir::new(1 << 20);
    dir.write("in", "inside\n").expect("there is room");
    dir.write("sub/x", "").expect("there is room");
    World::nothing().memory("data", &dir, access)
}

/// All that is known of what is below a path: any change shows, but for the times of reading.
fn tree(path: &Path) -> BTreeMap<PathBuf, String> {
    let mut all = BTreeMap::new();
    let mut rest = vec![path.to_owned()];
    while let Some(path) = rest.pop() {
        let found = fs::symlink_metadata(&path).expect("it is there");
        let content = match () {
            () if found.is_dir() => {
                let entries = fs::read_dir(&path).expect("a folder");
                rest.extend(entries.map(|entry| entry.expect("an entry").path()));
                Vec::new()
            }
            () if found.is_file() => fs::read(&path).expect("a file"),
            () => Vec::new(),
        };
        let times = (found.mtime(), found.mtime_nsec(), found.ctime(), found.ctime_nsec());
        all.insert(path, format!("{:o} {} {times:?} {content:?}", found.mode(), found.nlink()));
    }
    all
}

/// What the same program prints in a process, about the same folder.
fn in_a_process(args: &[&str], at: &str, run: impl Fn(&[&str]) -> String) -> String {
    let folder = folder();
    let data = folder.path().canonicalize().expect("it is there").join("data");
    let data = data.to_str().expect("text");
    let args: Vec<String> = args.iter().map(|arg| arg.replace(at, data)).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    run(&args).replace(data, at)
}

/// By OCaml's own runtime, if there is one.
fn by_ocamlrun(args: &[&str]) -> Option<String> {
    let file = tempfile::NamedTempFile::new().expect("a file");
    fs::write(file.path(), PATHS.1).expect("it is written");
    let version = Command::new("ocamlrun").arg("-version").output().ok()?;
    if !String::from_utf8_lossy(&version.stdout).contains("version 4.13") {
        return None;
    }
    Some(in_a_process(args, "/data", |args| {
        let output = Command::new("ocamlrun").arg(file.path()).args(args).output().expect("it runs");
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).expect("text")
    }))
}

/// The lines that differ.
fn differences(these: &str, those: &str) -> Vec<String> {
    let lines = these.lines().zip(those.lines()).filter(|(a, b)| a != b);
    let lines = lines.map(|(a, b)| format!("{a}\n    {b}")).collect();
    assert_eq!(these.lines().count(), those.lines().count());
    lines
}

/// What each call comes to, in a few lines: its outcomes without paths.
fn outcomes(found: &str) -> String {
    let mut all: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for line in found.lines() {
        let (name, outcome) = line.split_once(": ").expect("a name and an outcome");
        let call = name.split([' ', '/']).next().expect("a call");
        let call = if call == "open" { name.split(" /").next().expect("flags") } else { call };
        // An error is followed by the call and the path.
        let is_error = outcome.starts_with(char::is_uppercase);
        let outcome = outcome.split_once(", ").filter(|_| is_error).map_or(outcome, |(error, _)| error);
        all.entry(call).or_default().insert(outcome);
    }
    let lines = all
        .into_iter()
        .map(|(call, outcomes)| format!("{call}: {}", outcomes.into_iter().collect::<Vec<_>>().join(" | ")));
    lines.collect::<Vec<_>>().join("\n")
}

#[test]
fn a_directory_to_write_is_as_in_a_process() {
    // The directory that was given has no name in another; `realpath` does not begin with what is too long.
    let known = [
        "rename /data /data/x: Device or resource busy, rename, \"/data\"\n    rename /data /data/x: Invalid argument, rename, \"/data\"",
        ".../a/a/a: File name too long, realpath, \".../a/a/a\"\n    .../a/a/a: No such file or directory, realpath, \".../a/a/a\"",
    ];
    for (args, known) in [(["calls", "/data"], known.as_slice()), (["descriptors", "/data/in"], &[])] {
        let mut folders = Vec::new();
        let found = told(&args, || {
            folders.push(folder());
            given(folders.last().expect("a folder"), Access::ReadWrite)
        });
        let process = in_a_process(&args, "/data", |args| {
            told_by(builder(), args, World::nothing().allow(Grant::Files))
        });
        assert_eq!(differences(&found, &process), known);
        match by_ocamlrun(&args) {
            Some(expected) => assert_eq!(differences(&found, &expected), known),
            None => eprintln!("there is no ocamlrun 4.13"),
        }
        for folder in &folders {
            let out = tree(&folder.path().join("out"));
            assert_eq!(out.len(), 4, "{out:?}");
        }
    }
}

#[test]
fn descriptors_in_memory_are_as_in_a_process() {
    let found = told(&["descriptors", "/data/in"], || in_memory(Access::ReadWrite));
    let process = in_a_process(&["descriptors", "/data/in"], "/data", |args| {
        told_by(builder(), args, World::nothing().allow(Grant::Files))
    });
    // No other program gets such a descriptor.
    let known = ["keep on exec: Invalid argument, set_close_on_exec, \"\"\n    keep on exec: done"];
    assert_eq!(differences(&found, &process), known);
}

#[test]
fn where_a_directory_in_memory_differs() {
    let found = told(&["calls", "/data"], || in_memory(Access::ReadWrite));
    let process = in_a_process(&["calls", "/data"], "/data", |args| {
        told_by(builder(), args, World::nothing().allow(Grant::Files))
    });
    insta::assert_snapshot!(differences(&found, &process).join("\n"));
}

#[test]
fn nothing_changes_a_directory_to_read() {
    let folder = folder();
    let before = tree(folder.path());
    let found = told(&["calls", "/data"], || given(&folder, Access::ReadOnly));
    assert_eq!(tree(folder.path()), before);
    let memory = MemoryDir::new(1 << 20);
    memory.write("in", "inside\n").expect("there is room");
    memory.write("sub/x", "").expect("there is room");
    let stored = told(&["calls", "/data"], || World::nothing().memory("data", &memory, Access::ReadOnly));
    assert_eq!(memory.names(), [b"in".to_vec(), b"sub/x".to_vec()]);
    assert_eq!(memory.read("in").as_deref(), Some(b"inside\n".as_slice()));
    insta::assert_snapshot!(found);
    insta::assert_snapshot!(
        "nothing_changes_a_directory_to_read_in_memory",
        differences(&stored, &found).join("\n")
    );
}

#[test]
fn a_file_and_what_was_not_given() {
    let args =
        ["each", "cfg", "/etc/cfg", "/etc", "/", "/etc/passwd", "/proc/self/mem", "..", "cfg/x", "/absent"];
    let found = told(&args, || World::nothing().file("cfg", "depth = 3").file("/etc/cfg", ""));
    insta::assert_snapshot!(found);
}

#[test]
fn nothing_moves_between_grants() {
    let args = ["moves", "/a/in", "/b/in", "/m/in", "/n/in", "/cfg", "/r/in", "/a/../in", "/etc/passwd"];
    let mut folders = Vec::new();
    let found = told(&args, || {
        folders.push([folder(), folder()]);
        let [one, other] = folders.last().expect("folders");
        let dir = |world: World, name, folder: &TempDir, access| {
            world.dir(name, folder.path().join("data"), access).expect("it exists")
        };
        let [m, n] = [MemoryDir::new(1000), MemoryDir::new(1000)];
        m.write("in", "m").expect("there is room");
        let world = World::nothing().memory("m", &m, Access::ReadWrite).memory("n", &n, Access::ReadWrite);
        let world = dir(dir(world, "a", one, Access::ReadWrite), "b", other, Access::ReadWrite);
        dir(world, "r", one, Access::ReadOnly).file("cfg", "")
    });
    insta::assert_snapshot!(found);
}

#[test]
fn values_that_no_file_has() {
    let mut folders = Vec::new();
    let system = told(&["extremes", "/data/in"], || {
        folders.push(folder());
        given(folders.last().expect("a folder"), Access::ReadWrite)
    });
    let memory = told(&["extremes", "/data/in"], || in_memory(Access::ReadWrite));
    for found in [system, memory] {
        let bad: Vec<&str> = found
            .lines()
            .filter(|line| !(line.ends_with("done") || line.ends_with("777") || line.ends_with("0 0")))
            .collect();
        let known = ["modes: Operation not permitted, chmod, \"/data/in\"", "mode: 644"];
        assert!(bad.is_empty() || bad == known, "{bad:?}");
    }
}

// ---- links -----------------------------------------------------------------------------------------------

/// Links that lead out of a directory, or nowhere.
const LINKS: [(&str, &str); 11] = [
    ("file", "../out/text"),
    ("dir", "../out"),
    ("up", ".."),
    ("etc", "/etc"),
    ("passwd", "/etc/passwd"),
    ("mem", "/proc/self/mem"),
    ("fd", "/proc/self/fd/0"),
    ("root", "/proc/self/root"),
    ("loop", "loop"),
    ("dangling", "../out/new"),
    ("deep", "sub/../../out/new"),
];

#[test]
fn links_lead_nowhere_else() {
    for access in [Access::ReadOnly, Access::ReadWrite] {
        let mut folders = Vec::new();
        let mut args = vec!["each".to_owned()];
        for (name, _) in LINKS {
            args.extend(
                ["", "/text", "/sub", "/new", "/../data/in"].map(|below| format!("/data/{name}{below}")),
            );
        }
        // The links themselves come last, since they may be removed.
        args[1..].sort_by_key(|path| path.matches('/').count() == 2);
        args.insert(1, "/data/inner".to_owned());
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        let mut before = Vec::new();
        let found = told(&args, || {
            let folder = folder();
            for (name, target) in LINKS {
                symlink(target, folder.path().join("data").join(name)).expect("a link");
            }
            symlink("in", folder.path().join("data/inner")).expect("a link");
            before.push((tree(&folder.path().join("out")), tree(folder.path())));
            folders.push(folder);
            given(folders.last().expect("a folder"), access)
        });
        for (folder, (out, all)) in folders.iter().zip(&before) {
            assert_eq!(tree(&folder.path().join("out")), *out);
            if access == Access::ReadOnly {
                assert_eq!(tree(folder.path()), *all);
            }
        }
        assert!(!found.contains("outside") && !found.contains("root:x"), "{found}");
        // A link that stays inside is followed.
        let (inner, links): (Vec<&str>, Vec<&str>) =
            found.lines().partition(|line| line.contains("/data/inner"));
        assert!(inner.iter().any(|line| line.contains("open r /data/inner: ") && line.contains("inside")));
        insta::assert_snapshot!(format!("links_lead_nowhere_else_{access:?}"), outcomes(&links.join("\n")));
    }
}

#[test]
fn whoever_swaps_links_meanwhile_opens_nothing() {
    for access in [Access::ReadWrite, Access::ReadOnly] {
        let folder = folder();
        let (data, out) = (folder.path().join("data"), folder.path().join("out"));
        fs::create_dir(data.join("real")).expect("a folder");
        put(data.join("real/text"), "inside\n");
        put(data.join("real/empty"), "");
        symlink("../out", data.join("leads-out")).expect("a link");
        symlink("../out/text", data.join("link")).expect("a link");
        let before = tree(&out);
        let enough = AtomicBool::new(false);
        let found = std::thread::scope(|scope| {
            scope.spawn(|| {
                let mv = |from: &str, to: &str| _ = fs::rename(data.join(from), data.join(to));
                let end = Instant::now() + Duration::from_millis(700);
                let mut swaps = 0;
                while Instant::now() < end {
                    mv("real", "swap");
                    symlink("in", data.join("other")).expect("a link");
                    mv("other", "link");
                    mv("swap", "real");
                    mv("leads-out", "swap");
                    symlink("../out/text", data.join("other")).expect("a link");
                    mv("other", "link");
                    mv("swap", "leads-out");
                    swaps += 1;
                }
                assert!(swaps > 100, "{swaps}");
                enough.store(true, Ordering::Release);
                put(data.join("enough"), "");
            });
            told_by(builder(), &["race", "/data"], given(&folder, access))
        });
        assert!(enough.load(Ordering::Acquire));
        assert_eq!(tree(&out), before);
        // Both were met: the directory, and the link, which leads nowhere.
        assert!(found.contains("read inside") && found.contains("read Permission denied"), "{found}");
        assert!(!found.contains("outside"), "{found}");
    }
}

// ---- pipes and devices -------------------------------------------------------------------------------------

fn run(program: &str, args: &[&str]) -> bool {
    Command::new(program).args(args).output().is_ok_and(|output| output.status.success())
}

#[test]
fn pipes_and_devices_stop_nobody() {
    let folder = folder();
    let at = |name: &str| folder.path().join("data").join(name).to_str().expect("text").to_owned();
    assert!(run("mkfifo", &["-m", "644", &at("pipe")]), "mkfifo runs");
    // Only root can make one.
    let device = run("mknod", &[&at("null"), "c", "1", "3"]);
    let before = tree(folder.path());
    let found = told(&["each", "/data/pipe", "/data/pipe/x"], || given(&folder, Access::ReadOnly));
    insta::assert_snapshot!(found);
    if device {
        let found = told(&["each", "/data/null"], || given(&folder, Access::ReadOnly));
        for expected in [
            "stat /data/null: characters 644, 0",
            "open w /data/null: Read-only file system",
            "unlink /data/null: Read-only",
        ] {
            assert!(found.contains(expected), "{found}");
        }
    }
    assert_eq!(tree(folder.path()), before);
    // A guest that waits for a pipe's other end waits no longer than it may.
    let builder = builder().time_limit(Duration::from_millis(100));
    let mut vm =
        builder.args(["paths", "wait", "/data/pipe"]).world(given(&folder, Access::ReadOnly)).build();
    let start = Instant::now();
    let outcome = vm.run_bytes(PATHS.0, PATHS.1);
    assert!(matches!(outcome, Err(Error::Limit(Limit::Time))), "{outcome:?}");
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
    // So that the abandoned thread ends.
    drop(fs::OpenOptions::new().read(true).write(true).open(at("pipe")));
    let mut folders = Vec::new();
    let found = told(&["each", "/data/pipe"], || {
        let folder = self::folder();
        let pipe = folder.path().join("data/pipe");
        assert!(run("mkfifo", &["-m", "644", pipe.to_str().expect("text")]), "mkfifo runs");
        folders.push(folder);
        given(folders.last().expect("a folder"), Access::ReadWrite)
    });
    insta::assert_snapshot!("pipes_and_devices_stop_nobody_to_write", found);
}
