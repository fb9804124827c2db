//! Guests with every limit and no grant, and what must hold whatever they do: a guest does no more than use its budget.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs;
use std::path::PathBuf;
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::wait::{WaitPidFlag, waitpid};
use spelter::{
    Captured, Error, HeapConfig, HeapMode, Limit, LinkError, Outcome, Program, Unit, Value, Vm, World,
};
use spelter_bytecode::Dialect;
use spelter_bytecode::obj::CompilationUnit;

use crate::engine::{Engine, Notes, add_host_functions, checked};
use crate::{generate, malloc};

/// What each call may burn, where fuel is the limit that is met first, and where another is.
pub const FUELS: [u64; 2] = [20_000, 5_000_000];
/// How long each call may take.
pub const TIME: Duration = Duration::from_millis(100);
/// The bytes that a machine may hold.
pub const MEMORY: usize = 8 << 20;
/// The bytes that each call may write.
pub const OUTPUT: u64 = 4096;
/// The words of each stack.
pub const STACK: usize = 1 << 12;
/// The words of the old generation, where that is the limit that is met, and where another is met before.
pub const HEAPS: [usize; 2] = [1 << 18, 1 << 22];
/// The threads of a machine.
pub const THREADS: usize = 3;

/// A unit whose functions have known results, and that needs nothing.
const PROBE: &[u8] = include_bytes!("../../crates/spelter/tests/fixtures/probe.cmo");

/// A machine with every limit and no grant.
pub struct Confined {
    /// The machine.
    pub vm: Vm,
    output: [Captured; 2],
    notes: Notes,
    dialect: &'static Dialect,
    fuel: u64,
}

/// Which of the budgets are large, so that others are met before.
#[derive(Clone, Copy, Debug)]
pub struct Large {
    /// The fuel.
    pub fuel: bool,
    /// The old generation.
    pub heap: bool,
}

/// Whether the machine answered after the attack.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum After {
    /// It gave the fixed answer to the fixed call.
    Answered,
    /// What the guest has left in it meets a limit again: it holds all memory, or has threads or finalisers that never end.
    Limited,
    /// An exception of the guest's finalisers, or of what else runs between calls, came up in the fixed call.
    Disturbed,
}

impl Confined {
    /// A machine for programs of this version; some of the budgets are large.
    pub fn new(engine: Engine, dialect: &'static Dialect, large: Large, args: &[&str]) -> Confined {
        let fuel = FUELS[usize::from(large.fuel)];
        let config = HeapConfig {
            nursery_words: 1 << 12,
            max_words: Some(HEAPS[usize::from(large.heap)]),
            mode: engine.heap,
            torture_period: 40,
            ..HeapConfig::default()
        };
        let output = <[Captured; 2]>::default();
        let [out, err] = output.clone();
        let builder = checked()
            .dispatch(engine.dispatch)
            .strategy(engine.strategy)
            .heap(config)
            .args(args.iter().copied())
            .fuel(fuel)
            .time_limit(TIME)
            .memory_limit(MEMORY)
            .output_limit(OUTPUT)
            .stack_limit_words(STACK)
            .thread_limit(THREADS)
            .world(World::nothing().stdout(out).stderr(err));
        let notes = Notes::default();
        notes.unlimit();
        Confined { vm: add_host_functions(builder, &notes).build(), output, notes, dialect, fuel }
    }

    /// Lets the guest run once more, with new fuel, and checks that it has only used its budget. Returns also what it has
    /// written.
    ///
    /// # Panics
    /// When it has done more than that.
    pub fn attack<T: std::fmt::Debug>(
        &mut self,
        attack: impl FnOnce(&mut Vm) -> Result<T, Error>,
    ) -> (Result<T, Error>, Vec<u8>) {
        self.vm.set_fuel(self.fuel).expect("it has fuel");
        let outcome = attack(&mut self.vm);
        if let Err(Error::Panic { .. }) = &outcome {
            panic!("the runtime panicked: {outcome:?}");
        }
        let left = self.vm.fuel().expect("it has fuel");
        assert!(left <= self.fuel, "it has more fuel than it got: {left}");
        if let Err(Error::Limit(Limit::Fuel)) = &outcome {
            assert_eq!(left, 0, "it is stopped though it has fuel");
        }
        let mut written = Vec::new();
        self.output.iter().for_each(|output| written.append(&mut output.take()));
        assert!(written.len() as u64 <= OUTPUT, "it has written {} bytes", written.len());
        let held = self.vm.memory().expect("it is limited");
        assert!(held <= MEMORY + MEMORY / 100, "it holds {held} bytes");
        let error = outcome.as_ref().err().map(ToString::to_string);
        assert!(error.is_none_or(|text| !text.is_empty()), "an error without a text");
        (outcome, written)
    }

    /// Whether the machine works after an attack: a fixed call must give its fixed answer, unless what the attack has left
    /// behind meets a limit again, or raises.
    ///
    /// # Panics
    /// When the answer is another.
    pub fn works(&mut self) -> After {
        self.notes.unlimit();
        // A machine that could not load its program can load another.
        let host = &versioned(self.dialect).host;
        let (ran, _) = self.attack(|vm| vm.run(host));
        match ran {
            Ok(Outcome::Finished) | Err(Error::SecondProgram { .. }) => {}
            Err(error) => return disturbed(&error),
            Ok(other) => panic!("the host program ended otherwise: {other:?}"),
        }
        let probe = &versioned(self.dialect).probe;
        let (loaded, _) = self.attack(|vm| vm.load_bytes("probe.cmo", probe));
        let unit: Unit = match loaded {
            Ok(unit) => unit,
            Err(error) => return disturbed(&error),
        };
        let (answer, _) = self.attack(|vm| {
            let f: Value = vm.field(&unit, 0)?;
            vm.call_value::<(i64, String, f64)>(&f, (10, "probe"))
        });
        match answer {
            Ok(answer) => {
                assert_eq!(answer, (55, "probe".to_owned(), 0.5), "the fixed call's answer");
                After::Answered
            }
            Err(error) => disturbed(&error),
        }
    }
}

fn disturbed(error: &Error) -> After {
    match error {
        Error::Limit(_) => After::Limited,
        // The limit of the old generation, which the guest's globals fill.
        Error::Link { source: LinkError::OutOfMemory { .. }, .. } => After::Limited,
        // An exception that the guest raises where it runs between the probe's instructions; also `exit` there.
        // A damaged file may say that it is of another version.
        Error::Link { source: LinkError::OtherVersion { .. }, .. } => After::Disturbed,
        Error::Uncaught { .. } | Error::Fault { .. } | Error::Exit(_) | Error::EndThread => After::Disturbed,
        other => panic!("the machine no longer works: {other}"),
    }
}

/// What a machine of a version runs to show that it works.
struct Versioned {
    version: &'static str,
    host: Program,
    probe: Vec<u8>,
}

fn versioned(dialect: &Dialect) -> &'static Versioned {
    static ALL: OnceLock<Vec<Versioned>> = OnceLock::new();
    let of = |dialect: &&'static Dialect| {
        let mut unit = CompilationUnit::read(PROBE).expect("a fixture");
        unit.dialect = dialect;
        (unit.required_globals, unit.primitives, unit.debug) = (Vec::new(), Vec::new(), None);
        let host = Program::new("host", &generate::host(dialect).bytes).expect("it was just made");
        Versioned { version: dialect.version, host, probe: unit.write() }
    };
    let all = ALL.get_or_init(|| Dialect::KNOWN.iter().map(of).collect());
    all.iter().find(|known| known.version == dialect.version).expect("a known version")
}

// ---- the process ---------------------------------------------------------------------------------------

/// What guests have in common with their host, and must not change.
#[derive(PartialEq, Eq, Debug)]
pub struct Process {
    descriptors: BTreeSet<OsString>,
    environment: BTreeSet<(OsString, OsString)>,
    directory: PathBuf,
}

/// How many threads come up that belong to the library, not to a guest: the one that watches deadlines.
const OWN_THREADS: usize = 1;
/// How many looks it takes until the host has made what it keeps, such as the programs that it runs again and again.
const FIRST_LOOKS: usize = 16;
/// How much more may be allocated than after the first guests, whatever guests did since: the host's own programs, and less
/// than the limit of one guest.
const KEPT: usize = 6 << 20;
/// How much more may be in memory when what is free was returned: also parts of pages that are free.
const RESIDENT: usize = 12 << 20;
/// What measuring itself, and the host's copies of what guests load, take.
const MEASURED: usize = 2 << 20;

fn count(folder: &str) -> BTreeSet<OsString> {
    fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").file_name()).collect()
}

/// A figure of /proc/self/status, in bytes.
fn status(name: &str) -> usize {
    let text = fs::read_to_string("/proc/self/status").expect("the system's figures");
    let line = text.lines().find(|line| line.starts_with(name)).expect("the figure");
    let kib: usize = line.split_whitespace().nth(1).and_then(|n| n.parse().ok()).expect("a number");
    kib << 10
}

/// An address sanitizer keeps what is freed.
fn is_sanitized() -> bool {
    std::env::var_os("ASAN_OPTIONS").is_some()
}

impl Process {
    /// The process now.
    pub fn now() -> Process {
        Process {
            descriptors: count("/proc/self/fd"),
            environment: std::env::vars_os().collect(),
            directory: std::env::current_dir().expect("a directory"),
        }
    }
}

/// The process before the first guest, its threads, and what it has in memory after the first guests.
struct Before {
    process: Process,
    threads: usize,
    /// The most that was allocated, and that was in memory, at the first looks.
    first: (usize, usize),
    looks: usize,
}

static BEFORE: Mutex<Option<Before>> = Mutex::new(None);

/// Remembers the process as it is before the first guest. For processes that do nothing else.
pub fn begin() {
    let mut before = BEFORE.lock().unwrap_or_else(PoisonError::into_inner);
    before.get_or_insert_with(|| Before {
        process: Process::now(),
        threads: count("/proc/self/task").len(),
        first: (0, 0),
        looks: 0,
    });
}

/// Checks that the process is as it was at the beginning: no descriptor more, no thread or child left, the same
/// environment and directory, and nothing allocated that a guest could have left. Returns the bytes in memory.
///
/// # Panics
/// When it is not.
pub fn check_process() -> usize {
    begin();
    let mut before = BEFORE.lock().unwrap_or_else(PoisonError::into_inner);
    let before = before.as_mut().expect("it has begun");
    // A thread that has ended may still be listed for a moment; one that frees memory ends soon.
    let most = before.threads + OWN_THREADS;
    let until = Instant::now() + Duration::from_secs(5);
    while count("/proc/self/task").len() > most {
        assert!(Instant::now() < until, "threads are left: {:?}", thread_names());
        std::thread::sleep(Duration::from_millis(2));
    }
    // A thread may have kept descriptors until it ended. The environment is not shown: it may be long, and secret.
    let now = Process::now();
    assert_eq!(now.descriptors, before.process.descriptors, "the process's descriptors");
    assert_eq!(now.directory, before.process.directory, "the process's directory");
    assert!(now.environment == before.process.environment, "the process's environment was changed");
    assert_eq!(waitpid(None, Some(WaitPidFlag::WNOHANG)), Err(Errno::ECHILD), "there is a child");
    let (kept, untrimmed) = (malloc::now(), status("VmRSS"));
    malloc::trim();
    let resident = status("VmRSS");
    before.looks += 1;
    if before.looks <= FIRST_LOOKS {
        before.first = (before.first.0.max(kept.used), before.first.1.max(resident));
    }
    let (used, first) = before.first;
    let all = format!("{kept}, {untrimmed} bytes in memory, {resident} without what is free");
    if std::env::var_os("SPELTER_FUZZ_MEMORY").is_some() {
        eprintln!("{all}");
    }
    assert!(is_sanitized() || kept.used <= used + KEPT, "{used} bytes allocated at first: {all}");
    assert!(is_sanitized() || resident <= first + RESIDENT, "{first} bytes in memory at first: {all}");
    resident
}

fn thread_names() -> Vec<String> {
    let names = count("/proc/self/task").into_iter().map(|id| {
        let path = PathBuf::from("/proc/self/task").join(id).join("comm");
        fs::read_to_string(path).unwrap_or_default()
    });
    names.collect()
}

/// Calls `f`, and checks that the process never has more in memory meanwhile than a machine may hold. A heap that keeps
/// what is freed may.
///
/// # Panics
/// When it has more.
pub(crate) fn measured<T>(engine: Engine, f: impl FnOnce() -> T) -> T {
    let before = status("VmRSS");
    if is_sanitized() || engine.heap != HeapMode::Plain || fs::write("/proc/self/clear_refs", "5").is_err() {
        return f();
    }
    let result = f();
    let more = status("VmHWM").saturating_sub(before);
    assert!(more <= MEMORY + MEMORY / 100 + MEASURED, "the process had {more} bytes more in memory");
    result
}
