//! Programs under a debugger: the protocol, driven by these tests, and sessions of OCaml's own `ocamldebug`.

use std::fmt::Write as _;
use std::io::{Read, Write};
use std::ops::Range;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use spelter_bytecode::Executable;
use spelter_bytecode::debug::{Event, EventTable};
use spelter_bytecode::exe::debug_units;

use crate::{clean, file, spelter};

/// The range of the program's code that belongs to a finaliser.
const FINALISER: Range<i32> = 0x50..0x70;

/// The tag of closures.
const CLOSURE: i32 = 247;

/// A program to debug, and the version that compiled it.
#[derive(Clone, Copy)]
struct Debuggee {
    file: &'static str,
    version: &'static str,
    /// The number of its code.
    fragment: i32,
    /// Whether positions on the stack are pairs.
    has_fibers: bool,
}

const OCAML_4: Debuggee =
    Debuggee { file: "debuggee.byte", version: "4.13.1", fragment: 0, has_fibers: false };
const OCAML_5: Debuggee = Debuggee { file: "fibers.byte", version: "5.4.1", fragment: 3, has_fibers: true };

/// One connection with the program, and a log of the reproducible part of the conversation.
struct Session {
    socket: UnixStream,
    log: String,
    program: Debuggee,
    /// The current frame's position in the code, in bytes.
    at: i32,
}

impl Session {
    fn bytes<const N: usize>(&mut self) -> [u8; N] {
        let mut bytes = [0; N];
        self.socket.read_exact(&mut bytes).expect("the program answers");
        bytes
    }

    fn number(&mut self) -> i32 {
        i32::from_be_bytes(self.bytes())
    }

    fn send(&mut self, request: u8, numbers: &[i32]) {
        let mut bytes = vec![request];
        bytes.extend(numbers.iter().flat_map(|n| n.to_be_bytes()));
        self.socket.write_all(&bytes).expect("the program listens");
    }

    fn note(&mut self, text: std::fmt::Arguments<'_>) {
        writeln!(self.log, "{text}").expect("a string takes it");
    }

    /// Runs for this many events, and returns the kind of the report.
    fn go(&mut self, events: i32) -> u8 {
        self.send(b'g', &[events]);
        let [kind] = self.bytes();
        let left = self.number();
        let frame = self.place();
        self.note(format_args!("go {events}: {} {left} {frame}", char::from(kind)));
        kind
    }

    /// The position of a frame on the stack: the number of its fiber, if there are fibers, and its depth.
    fn position(&mut self) -> (String, i32) {
        let block = if self.program.has_fibers { format!("{}:", self.number()) } else { String::new() };
        let depth = self.number();
        (format!("{block}{depth}"), depth)
    }

    /// The position of a frame, and where it is in the code.
    fn place(&mut self) -> String {
        let (depth, _) = self.position();
        let [fragment, at]: [i32; 2] = std::array::from_fn(|_| self.number());
        self.at = at;
        // The stack depth below functions that the runtime calls is implementation-specific.
        let depth = if FINALISER.contains(&at) && !self.program.has_fibers { "?".to_owned() } else { depth };
        format!("{depth} at {fragment}:{at}")
    }

    fn frame(&mut self, request: u8) {
        self.send(request, &[]);
        let frame = self.place();
        self.note(format_args!("frame {}: {frame}", char::from(request)));
    }

    /// The caller's frame, if there is one and the present one's size is known.
    fn up(&mut self) -> bool {
        let Some(event) = events(self.program).into_iter().find(|event| event.pos as i32 == self.at) else {
            return false;
        };
        self.send(b'U', &[event.stack_size as i32]);
        let (position, depth) = self.position();
        if depth == -1 {
            self.note(format_args!("up: none"));
            return false;
        }
        let place = [self.number(), self.number()];
        self.at = place[1];
        // The stack depth below functions that the runtime calls is implementation-specific.
        let position = if self.program.has_fibers { format!("{position} at ") } else { String::new() };
        self.note(format_args!("up: {position}{place:?}"));
        true
    }

    /// Requests a value and then its marshalled form, which goes into the log.
    fn value(&mut self, request: u8, numbers: &[i32]) -> [u8; 8] {
        self.send(request, numbers);
        let word: [u8; 8] = self.bytes();
        let n = i64::from_ne_bytes(word);
        let shown = if n & 1 == 1 { (n >> 1).to_string() } else { self.marshalled(word) };
        self.note(format_args!("{} {numbers:?}: {shown}", char::from(request)));
        word
    }

    fn marshalled(&mut self, word: [u8; 8]) -> String {
        self.send(b'M', &[]);
        self.socket.write_all(&word).expect("the program listens");
        let magic: [u8; 4] = self.bytes();
        if magic == [0; 4] {
            return "unreadable".to_owned();
        }
        let [length, objects, _, words]: [i32; 4] = std::array::from_fn(|_| self.number());
        let mut data = vec![0; length as usize];
        self.socket.read_exact(&mut data).expect("as many bytes as it said");
        let data: String = data.iter().map(|byte| format!("{byte:02x}")).collect();
        format!("{objects} objects, {words} words, {data}")
    }

    /// Size and tag of a block.
    fn header(&mut self, word: [u8; 8]) -> (i32, i32) {
        self.send(b'H', &[]);
        self.socket.write_all(&word).expect("the program listens");
        let header = self.number();
        let (size, tag) = (header >> 10, header & 0xFF);
        self.note(format_args!("header: size {size}, tag {tag}"));
        (size, tag)
    }

    /// A field: its word, or the bytes of a double.
    fn field(&mut self, word: [u8; 8], i: i32) {
        self.send(b'F', &[]);
        self.socket.write_all(&word).expect("the program listens");
        self.socket.write_all(&i.to_be_bytes()).expect("the program listens");
        let [is_double] = self.bytes();
        let found: [u8; 8] = self.bytes();
        let shown = match is_double {
            1 => f64::from_ne_bytes(found).to_string(),
            _ if found[0] & 1 == 1 => (i64::from_ne_bytes(found) >> 1).to_string(),
            _ => self.marshalled(found),
        };
        self.note(format_args!("field {i}: {shown}"));
    }

    fn closure_code(&mut self, word: [u8; 8]) {
        self.send(b'C', &[]);
        self.socket.write_all(&word).expect("the program listens");
        let place = [self.number(), self.number()];
        self.note(format_args!("code of closure: {place:?}"));
    }
}

/// The program's debug events, in order.
fn events(program: Debuggee) -> Vec<Event> {
    let exe = Executable::read(&std::fs::read(file(program.file)).expect("there")).expect("an executable");
    let section = exe.section("DBUG").expect("debug data");
    let units = debug_units(section, exe.dialect()).expect("readable");
    EventTable::of_units(&units).expect("readable").events().to_vec()
}

/// The first event in a line: its position, and the size of the frame there.
fn event_at(line: i64) -> (i32, i32) {
    event_of(OCAML_4, line)
}

fn event_of(program: Debuggee, line: i64) -> (i32, i32) {
    let events = events(program);
    let event = events.iter().find(|event| event.loc.start.line == line).expect("an event there");
    (event.pos as i32, event.stack_size as i32)
}

/// Starts the program under a debugger, driven by `talk`; returns the log and the program's output.
fn debugged(
    program: Debuggee,
    mut command: Command,
    talk: impl FnOnce(&UnixListener, &mut Session),
) -> String {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("socket");
    let listener = UnixListener::bind(&path).expect("a socket");
    let child = clean(command_in(program, &mut command, &path)).spawn().expect("it starts");
    let (socket, _) = listener.accept().expect("the program calls");
    socket.set_read_timeout(Some(Duration::from_secs(60))).expect("a socket has one");
    let mut session = Session { socket, log: String::new(), program, at: -1 };
    let first = session.number();
    session.note(format_args!("first connection: {first}"));
    let pid = session.number();
    assert_eq!(u32::try_from(pid), Ok(child.id()));
    session.send(b'K', &[1]);
    talk(&listener, &mut session);
    let ended = child.wait_with_output().expect("it ends");
    let (code, err) = (ended.status.code(), String::from_utf8_lossy(&ended.stderr));
    session.note(format_args!("exit code {code:?}, {err:?}"));
    session.log
}

fn command_in(program: Debuggee, command: &mut Command, socket: &Path) -> Command {
    let mut started = Command::new(command.get_program());
    started.args(command.get_args()).arg(file(program.file)).env("CAML_DEBUG_SOCKET", socket);
    started.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    started
}

/// Every way of running the program: `spelter` with these arguments, and the real runtime if it is installed.
fn engines(program: Debuggee) -> Vec<Command> {
    let mut engines: Vec<Command> = [
        &[][..],
        &["--dispatch=loop"],
        &["--checked"],
        &["--dispatch=loop", "--checked"],
        &["--heap=torture"],
    ]
    .into_iter()
    .map(|options| {
        let mut command = spelter();
        command.arg("run").args(options);
        command
    })
    .collect();
    if Command::new("ocamlrun")
        .arg("-vnum")
        .output()
        .is_ok_and(|out| out.stdout.trim_ascii() == program.version.as_bytes())
    {
        engines.push(Command::new("ocamlrun"));
    }
    engines
}

/// The same conversation with each engine; returns the log, which must be equal.
fn same_everywhere(program: Debuggee, talk: impl Fn(&UnixListener, &mut Session)) -> String {
    let mut logs = engines(program).into_iter().map(|command| debugged(program, command, &talk));
    let first = logs.next().expect("an engine");
    for log in logs {
        assert_eq!(log, first);
    }
    first
}

#[test]
fn every_event_to_the_end() {
    let log = same_everywhere(OCAML_4, |_, s| {
        s.frame(b'f');
        for event in events(OCAML_4) {
            s.send(b'e', &[0, event.pos as i32]);
        }
        for _ in 0..100 {
            match s.go(1) {
                b'e' => {
                    s.value(b'A', &[]);
                    s.frame(b'0');
                }
                b's' => s.note(format_args!("an exception passes the barrier")),
                _ => break,
            }
        }
        s.value(b'A', &[]);
        s.send(b'g', &[1]);
    });
    insta::assert_snapshot!(log);
}

#[test]
fn breakpoints_frames_and_values() {
    let log = same_everywhere(OCAML_4, |_, s| {
        // After the innermost call of `sum`.
        let (in_sum, size) = event_at(21);
        s.send(b'B', &[0, in_sum]);
        s.go(1000);
        s.value(b'A', &[]);
        for i in 0..size {
            s.value(b'L', &[i]);
        }
        s.up();
        s.frame(b'f');
        s.value(b'L', &[0]);
        while s.up() {}
        s.frame(b'0');
        // In the finaliser, which the runtime calls; then in a closure with a variable.
        // (The instruction at which it is stopped cannot be uncovered.)
        for (at, variable) in [(FINALISER.start, 3), (event_at(27).0, 2)] {
            s.send(b'B', &[0, at]);
            // It stops at the previous one again.
            while s.go(1000) == b'b' && s.at != at {}
            s.value(b'A', &[]);
            s.value(b'E', &[variable]);
            while s.up() {}
        }
        // The last lines, with the definitions as locals.
        let (pos, size) = event_at(36);
        s.send(b'B', &[0, pos]);
        s.go(1000);
        for i in 0..size {
            let word = s.value(b'L', &[i]);
            if word[0] & 1 == 0 {
                let (size, tag) = s.header(word);
                match tag {
                    CLOSURE => s.closure_code(word),
                    _ => (0..size).for_each(|i| s.field(word, i)),
                }
            }
        }
        s.send(b's', &[]);
    });
    insta::assert_snapshot!(log);
}

#[test]
fn checkpoints_are_processes() {
    let log = same_everywhere(OCAML_4, |listener, s| {
        let (pos, _) = event_at(36);
        s.send(b'B', &[0, pos]);
        s.go(1000);
        s.send(b'c', &[]);
        let child = s.number();
        let (socket, _) = listener.accept().expect("the copy calls");
        let mut copy = Session { socket, log: String::new(), program: OCAML_4, at: -1 };
        assert_eq!(copy.number(), child);
        // The original continues to its end, and the copy is still at its position.
        while s.go(1000) != b'u' {}
        copy.frame(b'0');
        copy.value(b'L', &[0]);
        copy.send(b'B', &[0, event_at(37).0]);
        copy.go(1000);
        copy.value(b'A', &[]);
        copy.send(b's', &[]);
        s.note(format_args!("the copy:\n{}the original:", copy.log));
        // The copy is a child of the original, which waits for it.
        s.send(b'w', &[]);
        s.value(b'A', &[]);
        s.send(b'g', &[1]);
    });
    insta::assert_snapshot!(log);
}

/// The barrier stops effects that leave its fiber, those that would come back to its frame from a child, and exceptions.
#[test]
fn the_barrier_stops_effects_and_exceptions() {
    let log = same_everywhere(OCAML_5, |_, s| {
        // Before `asked` performs: the barrier is at its frame, then at that of a caller, and so on.
        let (asked, _) = event_of(OCAML_5, 24);
        s.send(b'B', &[OCAML_5.fragment, asked]);
        let mut kind = s.go(1000);
        let mut callers = 0;
        while kind == b'b' {
            for _ in 0..callers {
                s.up();
            }
            s.send(b'f', &[]);
            let [block, offset, _, _]: [i32; 4] = std::array::from_fn(|_| s.number());
            s.note(format_args!("barrier at {block}:{offset}"));
            s.send(b'b', &[block, offset]);
            kind = s.go(1000);
            while kind == b's' {
                kind = s.go(1000);
            }
            callers += 1;
        }
        s.send(b'g', &[1]);
    });
    insta::assert_snapshot!(log);
}

#[test]
fn a_debugger_that_is_not_there() {
    let dir = tempfile::tempdir().expect("a directory");
    for mut engine in engines(OCAML_4) {
        let outcome =
            command_in(OCAML_4, &mut engine, &dir.path().join("nobody")).output().expect("it starts");
        let err = String::from_utf8_lossy(&outcome.stderr).replace(&*dir.path().to_string_lossy(), "DIR");
        assert_eq!(
            err,
            "Fatal error: cannot connect to debugger at DIR/nobody\nerror: No such file or directory\n"
        );
        assert_eq!(outcome.status.code(), None);
    }
}

/// A session of `ocamldebug` with the program, on the `ocamlrun` in `path`.
fn ocamldebug(path: Option<&Path>, script: &str) -> String {
    let dir = tempfile::tempdir().expect("a directory");
    std::fs::copy(file("debuggee.byte"), dir.path().join("debuggee.byte")).expect("a copy");
    std::fs::copy(file("debuggee.ml"), dir.path().join("debuggee.ml")).expect("a copy");
    let mut command = clean(Command::new("ocamldebug"));
    command.arg("debuggee.byte").current_dir(dir.path());
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    if let Some(path) = path {
        let rest = std::env::var_os("PATH").unwrap_or_default();
        let paths = std::iter::once(path.to_owned()).chain(std::env::split_paths(&rest));
        command.env("PATH", std::env::join_paths(paths).expect("a path"));
    }
    let mut child: Child = command.spawn().expect("it starts");
    child.stdin.take().expect("piped").write_all(script.as_bytes()).expect("it reads");
    let done = child.wait_with_output().expect("it ends");
    format!("{}{}", String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr))
}

#[test]
fn sessions_of_ocamldebug() {
    let there = Command::new("ocamldebug").arg("-version").output();
    if !there.is_ok_and(|out| String::from_utf8_lossy(&out.stdout).contains("4.13.1")) {
        eprintln!("skipped: no ocamldebug 4.13.1 here; the tests above drive the protocol themselves");
        return;
    }
    let dir = tempfile::tempdir().expect("a directory");
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_spelter"), dir.path().join("ocamlrun")).expect("a link");
    let scripts = [
        "set loadingmode runtime\ngoto 6\nbreak @ Debuggee 21\nbreak @ Debuggee 23\ninfo breakpoints\nrun\nbt\nprint of_rest\nprint x\nup\nframe\n\
         down\nfinish\nnext\nstep\ndelete 1\nrun\nprint n\nrun\nrun\nrun\nquit\n",
        "set loadingmode runtime\ngoto 20\nbackstep\nbackstep 3\nbt\nprevious\nlast\nrun\nreverse\nbackstep\nbt\nprint n\ngoto 0\ngoto 30\n\
         print total\nprint add\nprint floats\nprint cell\nlist\nquit\n",
    ];
    for script in scripts {
        let ours = ocamldebug(Some(dir.path()), script);
        assert!(ours.contains("Time: "), "{ours}");
        assert_eq!(ours, ocamldebug(None, script));
    }
}
