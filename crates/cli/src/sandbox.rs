//! `spelter run --sandbox`: what the command line grants to a program, and what is said when that was not enough.

use std::ffi::OsString;
use std::io::{self, Write};
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::SystemTime;

use clap::{ArgMatches, Args, Command, FromArgMatches};
use spelter::{Access, Captured, Grant, World};

/// What a `--grant` names.
#[derive(Clone, Debug)]
pub(crate) enum Gift {
    Stdin,
    Stdout,
    Stderr,
    Clock,
    Random,
    /// The variable, and its value if it is not to be that of the process.
    Env(OsString, Option<OsString>),
    File(PathBuf),
    Dir(PathBuf, Access),
    All(Grant),
}

impl FromStr for Gift {
    type Err = String;

    fn from_str(text: &str) -> Result<Gift, String> {
        let (what, of) = text.split_once('=').map_or((text, None), |(what, of)| (what, Some(of)));
        Ok(match (what, of) {
            ("stdin", None) => Gift::Stdin,
            ("stdout", None) => Gift::Stdout,
            ("stderr", None) => Gift::Stderr,
            ("clock", None) => Gift::Clock,
            ("random", None) => Gift::Random,
            ("env", Some(variable)) if !variable.is_empty() => match variable.split_once('=') {
                Some((name, value)) => Gift::Env(name.into(), Some(value.into())),
                None => Gift::Env(variable.into(), None),
            },
            ("file", Some(path)) if !path.is_empty() => Gift::File(path.into()),
            ("dir", Some(path)) if !path.is_empty() => match path.strip_suffix(":rw") {
                Some(path) => Gift::Dir(path.into(), Access::ReadWrite),
                None => Gift::Dir(path.into(), Access::ReadOnly),
            },
            ("files", None) => Gift::All(Grant::Files),
            ("processes", None) => Gift::All(Grant::Processes),
            ("network", None) => Gift::All(Grant::Network),
            ("signals", None) => Gift::All(Grant::Signals),
            ("terminals", None) => Gift::All(Grant::Terminals),
            _ => {
                return Err("it is one of stdin, stdout, stderr, clock, random, env=NAME, env=NAME=VALUE, \
                            file=PATH, dir=PATH, dir=PATH:rw, files, processes, network, signals, terminals"
                    .to_owned());
            }
        })
    }
}

/// The options of a sandbox: what it grants, if there is one.
///
/// Each option that is described to `clap` costs the start of every program some thousands of instructions, so these are
/// described only if the command line may have them.
#[derive(Debug, Default)]
pub(crate) struct SandboxArgs(pub(crate) Option<Vec<Gift>>);

#[derive(Args)]
struct Options {
    /// Run the program so that it reaches nothing outside but what --grant names; implies --checked. A call of anything
    /// else raises an exception that names it
    #[arg(long)]
    sandbox: bool,
    /// What a program in a sandbox may use: stdin, stdout, stderr, clock, random; env=NAME or env=NAME=VALUE, a variable;
    /// file=PATH, to read; dir=PATH, to read, or dir=PATH:rw, with all that is in it; or all that the process can do
    /// with files, processes, network, signals, terminals. May be repeated
    #[arg(long = "grant", value_name = "WHAT", requires = "sandbox")]
    grants: Vec<Gift>,
}

impl SandboxArgs {
    fn may_be_used() -> bool {
        let names = ["--sandbox", "--grant", "--help", "-h"];
        let is_named =
            |arg: &OsString| names.iter().any(|name| arg.as_encoded_bytes().starts_with(name.as_bytes()));
        std::env::args_os().any(|arg| is_named(&arg))
    }
}

impl Args for SandboxArgs {
    fn augment_args(command: Command) -> Command {
        if SandboxArgs::may_be_used() { Options::augment_args(command) } else { command }
    }

    fn augment_args_for_update(command: Command) -> Command {
        SandboxArgs::augment_args(command)
    }
}

impl FromArgMatches for SandboxArgs {
    fn from_arg_matches(matches: &ArgMatches) -> Result<SandboxArgs, clap::Error> {
        if !SandboxArgs::may_be_used() {
            return Ok(SandboxArgs(None));
        }
        let options = Options::from_arg_matches(matches)?;
        Ok(SandboxArgs(options.sandbox.then_some(options.grants)))
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = SandboxArgs::from_arg_matches(matches)?;
        Ok(())
    }
}

/// What has become known of a program in a sandbox.
pub(crate) struct Sandbox {
    /// What it has written to stderr, if that is not granted.
    said: Option<Captured>,
    /// Whether it has tried to write to stdout, which is not granted.
    refused: Arc<AtomicBool>,
}

/// Standard output if it is not granted.
struct Refused(Arc<AtomicBool>);

impl Write for Refused {
    fn write(&mut self, _: &[u8]) -> io::Result<usize> {
        self.0.store(true, Ordering::Relaxed);
        Err(io::ErrorKind::PermissionDenied.into())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A number that nobody can foretell, from the standard library's source of keys for hash tables.
fn seed() -> u64 {
    use std::hash::{BuildHasher, RandomState};
    RandomState::new().hash_one(SystemTime::now())
}

impl Sandbox {
    /// The world with these gifts.
    ///
    /// # Errors
    /// A message, when one of them cannot be had.
    pub(crate) fn new(gifts: &[Gift]) -> Result<(World, Sandbox), String> {
        let (said, refused) = (Captured::default(), Arc::default());
        let mut world = World::nothing().stdout(Refused(Arc::clone(&refused))).stderr(said.clone());
        for gift in gifts {
            world = given(world, gift)?;
        }
        let hears = gifts.iter().any(|gift| matches!(gift, Gift::Stderr));
        Ok((world, Sandbox { said: (!hears).then_some(said), refused }))
    }

    /// Says on stderr why the program has ended if it could not do so itself, and what to grant. Returns the exit code.
    pub(crate) fn report(&self, code: i32) -> i32 {
        let said = self.said.as_ref().map(Captured::take).unwrap_or_default();
        let said = String::from_utf8_lossy(&said);
        let fatal = said.rfind("Fatal error: ").map_or("", |at| &said[at..]);
        let mut text = String::new();
        if code != 0 {
            text.push_str(&shown(fatal));
        }
        let lacks = |grant: &str| fatal.contains("not granted") && fatal.contains(grant);
        let options: Vec<String> =
            OPTIONS.iter().filter(|(grant, _)| lacks(grant)).map(|(_, o)| format!("--grant={o}")).collect();
        if code != 0 && !options.is_empty() {
            text.push_str(&format!("spelter: the sandbox does not grant that; see {}\n", options.join(", ")));
        }
        let silenced = self.refused.load(Ordering::Relaxed);
        if silenced {
            text.push_str("spelter: the program wrote to stdout, which the sandbox does not grant; see --grant=stdout\n");
        }
        // Errors of stderr cannot be reported.
        let _ = io::stderr().write_all(text.as_bytes());
        if silenced && code == 0 { 2 } else { code }
    }
}

/// A message of the program as text that does nothing to a terminal: the program has not been granted stderr.
fn shown(message: &str) -> String {
    let mut text = String::new();
    for c in message.chars() {
        match c {
            c if c.is_control() && c != '\n' => text.extend(c.escape_default()),
            c => text.push(c),
        }
    }
    text
}

/// The options that grant what messages name.
const OPTIONS: [(&str, &str); 11] = [
    ("World::file", "file=PATH"),
    ("World::dir", "dir=PATH"),
    ("World::env", "env=NAME"),
    ("World::clock", "clock"),
    ("World::seed", "random"),
    ("Grant::Files", "files"),
    ("Grant::Clock", "clock"),
    ("Grant::Processes", "processes"),
    ("Grant::Network", "network"),
    ("Grant::Signals", "signals"),
    ("Grant::Terminals", "terminals"),
];

fn given(world: World, gift: &Gift) -> Result<World, String> {
    Ok(match gift {
        Gift::Stdin => world.stdin_from(io::stdin()),
        Gift::Stdout => world.stdout(io::stdout()),
        Gift::Stderr => world.stderr(io::stderr()),
        Gift::Clock => world.clock(SystemTime::now).allow(Grant::Clock),
        Gift::Random => world.seed(seed()),
        Gift::Env(name, value) => {
            let value = value.clone().or_else(|| std::env::var_os(name));
            match value {
                Some(value) => world.env(name.clone().into_vec(), value.into_vec()),
                // A variable that is not set here is not set there, either.
                None => world,
            }
        }
        Gift::File(path) => {
            let bytes = std::fs::read(path).map_err(|e| format!("--grant=file={}: {e}", path.display()))?;
            world.file(path.as_os_str().as_encoded_bytes(), bytes)
        }
        Gift::Dir(path, access) => {
            let name = path.as_os_str().as_encoded_bytes();
            world.dir(name, path, *access).map_err(|e| format!("--grant=dir={}: {e}", path.display()))?
        }
        Gift::All(grant) => world.allow(*grant),
    })
}

#[cfg(test)]
mod tests {
    use super::shown;

    #[test]
    fn messages_do_nothing_to_a_terminal() {
        let message = "Fatal error: \x1b]0;title\x07 \r\u{9b}2J é\nmore\n";
        assert_eq!(shown(message), "Fatal error: \\u{1b}]0;title\\u{7} \\r\\u{9b}2J é\nmore\n");
    }
}
