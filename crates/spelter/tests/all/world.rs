//! What guests reach outside their machine: nothing but what is granted.

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, UNIX_EPOCH};

use spelter::{
    Access, Captured, Dispatch, Error, Grade, Grant, HeapMode, LinkError, MemoryDir, Outcome, Vm, VmBuilder,
    World,
};
use spelter_bytecode::Opcode::{GETGLOBAL, STOP};
use spelter_bytecode::obj::{CompilationUnit, Reloc};
use spelter_interp::{Prim, Release, Row};
use spelter_primitives::world::grants::{REACHES, reach};

use crate::by_hand::{Code, OF_4_13, OF_5_4, Program, STRINGS};
use crate::{fixture, graded};

mod paths;

/// Calls of `unix` on paths and descriptors.
const PATHS: (&str, &[u8]) = fixture!("world/paths.byte");

/// All built-in primitives.
fn rows() -> impl Iterator<Item = &'static Row> {
    let families = [&spelter_primitives::PRIMITIVES, &spelter_dynlink::PRIMITIVES].into_iter();
    let libraries = spelter_primitives::LIBRARIES.iter().map(|library| library.primitives);
    families.chain(libraries).flat_map(|families| families.rows())
}

/// Both backends and two heaps.
fn builders() -> impl Iterator<Item = VmBuilder> {
    [Dispatch::Loop, Dispatch::Tail].into_iter().flat_map(|dispatch| {
        [HeapMode::Plain, HeapMode::Torture]
            .map(|heap| graded(Vm::builder().dispatch(dispatch).heap_mode(heap), Grade::Checked))
    })
}

// ---- the table -----------------------------------------------------------------------------------------

/// Primitives that only compute, or act on what their machine has got, by name without `caml_`.
const PURE: &str = include_str!("world/pure.txt");

#[test]
fn every_primitive_is_pure_or_needs_a_grant() {
    let pure: BTreeSet<&str> = PURE.split_whitespace().collect();
    let short = |name: &'static str| name.strip_prefix("caml_").unwrap_or(name);
    let mut wrong = Vec::new();
    let mut known = BTreeSet::new();
    for row in rows() {
        known.insert(short(row.name));
        if pure.contains(short(row.name)) == reach(row.name).is_some() {
            wrong.push(row.name);
        }
    }
    assert!(wrong.is_empty(), "in neither list, or in both: {wrong:?}");
    let named = pure.into_iter().chain(REACHES.iter().flat_map(|reach| reach.names).copied());
    let unknown: Vec<&str> = named.filter(|name| !known.contains(name)).collect();
    assert!(unknown.is_empty(), "no such primitive: {unknown:?}");
}

// ---- nothing -------------------------------------------------------------------------------------------

/// A program that calls a primitive with a string, and with zeros, and exits with the result.
fn attempt(name: &'static str, prim: &Prim, base: &'static [u8]) -> Vec<u8> {
    let arity = match prim {
        Prim::P1(_) => 1,
        Prim::P2(_) | Prim::V2(_) => 2,
        Prim::P3(_) => 3,
        Prim::P4(_) | Prim::V4(_) => 4,
        Prim::P5(_) => 5,
        Prim::Pn(_) => 6,
    };
    let code = (1..arity).fold(Code::default(), |code, _| code.push_int(0));
    let code = match name {
        "caml_install_signal_handler" => code.int(2),
        _ => code.op(GETGLOBAL, &[STRINGS as i32]),
    };
    let code = if arity > 5 { code.call_n(arity, name) } else { code.call(arity, name) };
    let code = code.op(STOP, &[]);
    let strings = vec![b"/etc/passwd".to_vec()];
    Program { base, strings, ..code.done() }.bytes()
}

/// What a guest finds that has been granted nothing, where that is not a refusal.
fn is_absent(name: &str, outcome: &Result<Outcome, Error>) -> bool {
    let raised = |what: &str| matches!(outcome, Err(Error::Uncaught { exception, .. }) if exception == what);
    match name {
        "sys_getenv" | "sys_unsafe_getenv" => raised("Not_found"),
        "sys_rename" => raised("Invalid_argument(\"primitive: wrong type: expected a string\")"),
        "sys_file_exists"
        | "sys_getcwd"
        | "unix_getcwd"
        | "unix_has_symlink"
        | "sys_getenv_opt"
        | "unix_environment"
        | "unix_environment_unsafe"
        | "set_current_thread_name"
        | "sys_proc_self_exe"
        | "install_signal_handler"
        | "recommended_domain_count"
        | "dynlink_parse_ld_conf"
        | "sys_get_stdlib_dirs" => matches!(outcome, Ok(Outcome::Finished)),
        _ => false,
    }
}

#[test]
fn nothing_is_reached_when_nothing_is_granted() {
    let mut refused = 0;
    for (base, release) in [(OF_4_13, Release::V4_13), (OF_5_4, Release::V5_4)] {
        for Row { name, prim, .. } in rows().filter(|row| row.versions.contains(release)) {
            let Some(reach) = reach(name) else { continue };
            let program = attempt(name, prim, base);
            for builder in builders() {
                let outcome = builder.world(World::nothing()).build().run_bytes("guest", &program);
                let short = name.strip_prefix("caml_").unwrap_or(name);
                if is_absent(short, &outcome) {
                    continue;
                }
                let Err(Error::Uncaught { exception, .. }) = &outcome else { panic!("{name}: {outcome:?}") };
                let told = exception.starts_with("Sys_error(\"") && exception.contains("not granted (");
                assert!(told && exception.contains(reach.help), "{name}: {exception}");
                refused += 1;
            }
        }
    }
    assert!(refused > 800, "{refused}");
}

/// In a process of its own, since other tests open files.
#[test]
#[cfg(target_os = "linux")]
fn no_descriptor_is_opened() {
    const ALONE: &str = "SPELTER_TEST_ALONE";
    if std::env::var_os(ALONE).is_none() {
        let mut test = std::process::Command::new(std::env::current_exe().expect("this test"));
        let test = test.args(["--exact", "world::no_descriptor_is_opened"]).env(ALONE, "");
        let output = test.output().expect("it starts");
        let told = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success() && told.contains("1 passed"), "{told}");
        return;
    }
    let open = || fs::read_dir("/proc/self/fd").expect("a folder").count();
    let before = open();
    let mut machines = Vec::new();
    for (base, release) in [(OF_4_13, Release::V4_13), (OF_5_4, Release::V5_4)] {
        for row in rows().filter(|row| row.versions.contains(release) && reach(row.name).is_some()) {
            let mut vm = Vm::builder().world(World::nothing()).build();
            let _ = vm.run_bytes("guest", &attempt(row.name, &row.prim, base));
            machines.push(vm);
        }
    }
    for (name, bytes) in PROBES {
        let args = ["probe", "files", "settings", "chance", "process", "streams"];
        let mut vm = Vm::builder().args(args).build();
        vm.run_bytes(name, bytes).expect("it runs");
        machines.push(vm);
    }
    assert!(machines.len() > 200, "{}", machines.len());
    assert_eq!(open(), before);
}

#[test]
fn a_grant_of_a_kind_gives_the_primitives_back() {
    let row = rows().find(|row| row.name == "unix_getpid").expect("a primitive");
    let program = attempt(row.name, &row.prim, OF_4_13);
    let run = |world: World| Vm::builder().world(world).build().run_bytes("guest", &program);
    assert!(matches!(run(World::nothing().allow(Grant::Processes)), Ok(Outcome::Finished)));
    assert!(run(World::nothing().allow(Grant::Network)).is_err());
    assert!(matches!(run(World::process()), Ok(Outcome::Finished)));
}

/// A unit that calls only this primitive, made from one that calls others.
fn unit_naming(primitive: &str, unit_name: &str) -> Vec<u8> {
    let mut unit = CompilationUnit::read(fixture!("calls.cmo").1).expect("a fixture");
    unit.name = unit_name.to_owned();
    for (reloc, _) in &mut unit.relocs {
        if let Reloc::Primitive(name) = reloc {
            *name = primitive.to_owned();
        }
    }
    unit.write()
}

#[test]
fn a_unit_that_names_what_is_not_granted_is_not_loaded() {
    let load =
        |vm: &mut Vm, unit: &str| vm.load_bytes("guest.cmo", &unit_naming("caml_sys_system_command", unit));
    let mut vm = crate::host(Vm::builder());
    match load(&mut vm, "Guest") {
        Err(e @ Error::Link { source: LinkError::NotGranted { .. }, .. }) => {
            let text = "guest.cmo: unit Guest calls primitive caml_sys_system_command, which is not granted \
                        (Grant::Processes)";
            assert_eq!(e.to_string(), text);
        }
        other => panic!("{other:?}"),
    }
    // OCaml's own units name much that is never called.
    assert!(load(&mut vm, "Stdlib__Guest").is_ok());
    // What the host itself provides needs no grant.
    let mut vm = crate::host(Vm::builder().primitive("caml_sys_system_command", |_: spelter::Value| 0));
    let loaded = load(&mut vm, "Guest");
    assert!(!matches!(loaded, Err(Error::Link { .. })), "{loaded:?}");
}

// ---- the standard library ------------------------------------------------------------------------------

const PROBES: [(&str, &[u8]); 2] = [fixture!("world/probe.byte"), fixture!("world/probe_5_5.byte")];

/// What the probe finds: what it writes to standard output, on all machines and both versions the same.
fn probe(groups: &[&str], world: impl Fn(World) -> World) -> String {
    let mut found = BTreeSet::new();
    for (name, bytes) in PROBES {
        for builder in builders() {
            let output = Captured::default();
            let world = world(World::nothing().stdout(output.clone()));
            let args = [&["probe"], groups].concat();
            let mut vm = builder.args(args).world(world).build();
            let outcome = vm.run_bytes(name, bytes);
            assert!(matches!(outcome, Ok(Outcome::Finished)), "{outcome:?}");
            found.insert(String::from_utf8(output.take()).expect("text"));
        }
    }
    assert_eq!(found.len(), 1, "{found:#?}");
    found.pop_first().expect("one")
}

/// A folder with files, with links out of it, and beside a file.
fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    let root = folder.path();
    let put = |path: &Path, text: &str| fs::write(path, text).expect("it is written");
    fs::create_dir_all(root.join("data/sub")).expect("folders");
    put(&root.join("data/in"), "inside\n");
    put(&root.join("outside"), "outside\n");
    symlink("../outside", root.join("data/link")).expect("a link");
    symlink("..", root.join("data/uplink")).expect("a link");
    symlink("/etc/passwd", root.join("data/up")).expect("a link");
    folder
}

#[test]
fn a_directory_in_memory_is_like_one_of_the_system() {
    // Links can exist only in the latter.
    let told = |world: &dyn Fn(World) -> World| -> Vec<String> {
        let found = probe(&["files"], world);
        let lines = found.lines().filter(|line| !line.contains("link") && !line.contains("data/up"));
        let with_links = ["list data:", "rename up:"];
        lines.filter(|line| !with_links.iter().any(|it| line.starts_with(it))).map(str::to_owned).collect()
    };
    let left = std::cell::RefCell::new(Vec::new());
    let in_memory = |access| {
        told(&|world| {
            let data = MemoryDir::new(1 << 16);
            for (name, bytes) in [("in", "inside\n"), ("sub/x", "")] {
                data.write(name, bytes).expect("there is room");
            }
            left.borrow_mut().push(data.clone());
            world.file("cfg", "one\ntwo\n").memory("data", &data, access)
        })
    };
    let folders = std::cell::RefCell::new(Vec::new());
    let of_the_system = |access| {
        told(&|world| {
            let mut folders = folders.borrow_mut();
            folders.push(folder());
            let folder = folders.last().expect("a folder");
            fs::write(folder.path().join("data/sub/x"), "").expect("it is written");
            world.file("cfg", "one\ntwo\n").dir("data", folder.path().join("data"), access).expect("a folder")
        })
    };
    for access in [Access::ReadOnly, Access::ReadWrite] {
        assert_eq!(in_memory(access), of_the_system(access));
    }
    let read_write = left.take().pop().expect("directories");
    // Of what the probe has written, only this was not renamed and removed.
    assert_eq!(read_write.names(), [b"in".to_vec(), b"link".to_vec(), b"sub/x".to_vec()]);
}

#[test]
fn the_standard_library_with_nothing_granted() {
    insta::assert_snapshot!(probe(&["files", "settings", "chance", "process", "streams"], |world| world));
    assert!(!Path::new("/tmp/spelter-escaped").exists());
}

#[test]
fn files_and_a_directory_to_read() {
    let folder = folder();
    let found = probe(&["files"], |world| {
        let world = world.file("cfg", "one\ntwo\n").file("etc/more", "");
        world.dir("data", folder.path().join("data"), Access::ReadOnly).expect("it exists")
    });
    insta::assert_snapshot!(found);
    let left: BTreeSet<_> = fs::read_dir(folder.path().join("data"))
        .expect("it is there")
        .map(|e| e.expect("an entry").file_name())
        .collect();
    assert_eq!(left.len(), 5, "{left:?}");
}

#[test]
fn a_directory_to_write() {
    let folder = folder();
    let found = probe(&["files"], |world| {
        world.dir("data", folder.path().join("data"), Access::ReadWrite).expect("it exists")
    });
    insta::assert_snapshot!(found);
    let names = |path: &Path| -> BTreeSet<_> {
        fs::read_dir(path).expect("it is there").map(|e| e.expect("an entry").file_name()).collect()
    };
    assert_eq!(names(folder.path()).len(), 2, "{:?}", names(folder.path()));
    assert_eq!(fs::read(folder.path().join("outside")).expect("it is there"), b"outside\n");
}

#[test]
fn settings_that_are_given() {
    let found = probe(&["settings"], |world| {
        let ticks = AtomicU64::new(0);
        let clock = move || {
            UNIX_EPOCH + Duration::from_millis(1_000_500 + 250 * ticks.fetch_add(1, Ordering::Relaxed))
        };
        world.env("LANG", "C").env("A", "b").clock(clock).seed(7)
    });
    insta::assert_snapshot!(found);
}

#[test]
fn chance_is_what_the_seed_says() {
    for (name, bytes) in PROBES {
        let run = |seed: u64| {
            let output = Captured::default();
            let world = World::nothing().stdout(output.clone()).seed(seed);
            let mut vm = Vm::builder().args(["probe", "chance"]).world(world).build();
            vm.run_bytes(name, bytes).expect("it runs");
            String::from_utf8(output.take()).expect("text")
        };
        assert!(run(7).starts_with("random: ") && !run(7).contains("granted"), "{}", run(7));
        assert_eq!(run(7), run(7));
        assert_ne!(run(7), run(8));
    }
}

// ---- streams -------------------------------------------------------------------------------------------

#[test]
fn streams_that_are_given() {
    for (name, bytes) in PROBES {
        for builder in builders() {
            let (output, errors) = (Captured::default(), Captured::default());
            let world = World::nothing().stdin("one\ntwo").stdout(output.clone()).stderr(errors.clone());
            let mut vm = builder.args(["probe", "streams"]).world(world).build();
            vm.run_bytes(name, bytes).expect("it runs");
            let expected = "stdin: one, two\nstdin: End_of_file\nstderr: done\nraw\nunix write: 4\n";
            assert_eq!(String::from_utf8_lossy(&output.take()), expected);
            assert_eq!(errors.take(), b"a message\n");
            assert_eq!(vm.output(), b"", "a world that was set captures nothing by itself");
        }
    }
}

#[test]
fn by_default_output_is_kept() {
    let mut vm = Vm::builder().args(["probe", "streams"]).build();
    let (name, bytes) = PROBES[0];
    vm.run_bytes(name, bytes).expect("it runs");
    let output = vm.output();
    assert!(output.ends_with(b"raw\nunix write: 4\n"), "{}", String::from_utf8_lossy(&output));
    assert_eq!((vm.error_output(), vm.output()), (b"a message\n".to_vec(), Vec::new()));
}

/// Fails, or panics.
struct Broken(bool);

impl Write for Broken {
    fn write(&mut self, _: &[u8]) -> io::Result<usize> {
        assert!(self.0, "a sink that panics");
        Err(io::ErrorKind::StorageFull.into())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_sink_that_fails_is_an_error_of_the_guest() {
    let (name, bytes) = PROBES[0];
    for (fails, expected) in [(true, "No space left on device"), (false, "Input/output error")] {
        let output = Captured::default();
        let world = World::nothing().stdout(output.clone()).stderr(Broken(fails));
        let mut vm = Vm::builder().args(["probe", "streams"]).world(world).build();
        vm.run_bytes(name, bytes).expect("it runs");
        let output = String::from_utf8(output.take()).expect("text");
        assert!(output.contains(&format!("stderr: Sys_error(\"{expected}\")")), "{output}");
    }
}
