//! Which primitives reach outside a machine, and what must be granted for each.
//!
//! A primitive that is not in this table is computation inside its machine, or acts only on descriptors and channels
//! that the machine has got ([`Fds`](crate::Fds)): `crates/spelter/tests/all/world/pure.txt` lists those one by one, so
//! that a new primitive belongs to neither list until somebody has decided.

use std::collections::HashMap;
use std::sync::LazyLock;

use spelter_interp::{Prim, Row, Screen};

use super::refused::refused;
use super::substitutes;

/// What a host can grant to the guests of a machine, with all rights that the process has there. Most of it can also be
/// granted in parts: see [`World`](super::World).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Grant {
    /// All files of the system, and the current directory.
    Files,
    /// The environment of the process.
    Environment,
    /// The system's clock, processor times, and the time zone.
    Clock,
    /// The system's random numbers.
    Random,
    /// Starting and waiting for processes, and what the system knows of them and of users.
    Processes,
    /// Sockets and the names of the network.
    Network,
    /// Signals to and from other processes, and timers.
    Signals,
    /// The settings of terminals.
    Terminals,
    /// Files of runtime events.
    Events,
    /// Where OCaml's own libraries are. (What a library in C can do is not limited by grants: only a host opens it.)
    Libraries,
}

/// A row: primitives, without the prefix `caml_`, that reach the same thing.
pub struct Reach {
    /// The grant with which they act as in OCaml.
    pub grant: Grant,
    /// What to grant, as messages say it.
    pub help: &'static str,
    /// Whether they act on what the host has given to the machine, when the grant is missing.
    pub mediated: bool,
    /// Their names.
    pub names: &'static [&'static str],
}

/// All primitives that reach outside their machine.
pub static REACHES: &[Reach] = &[
    Reach {
        grant: Grant::Files,
        help: "World::file, World::dir",
        mediated: true,
        names: &[
            "sys_open",
            "sys_file_exists",
            "sys_is_directory",
            "sys_is_regular_file",
            "sys_remove",
            "sys_rename",
            "sys_chdir",
            "sys_mkdir",
            "sys_rmdir",
            "sys_getcwd",
            "sys_read_directory",
            "unix_access",
            "unix_chdir",
            "unix_chmod",
            "unix_getcwd",
            "unix_has_symlink",
            "unix_link",
            "unix_lstat",
            "unix_lstat_64",
            "unix_mkdir",
            "unix_open",
            "unix_opendir",
            "unix_readlink",
            "unix_realpath",
            "unix_rename",
            "unix_rmdir",
            "unix_stat",
            "unix_stat_64",
            "unix_symlink",
            "unix_truncate",
            "unix_truncate_64",
            "unix_unlink",
            "unix_utimes",
        ],
    },
    Reach {
        grant: Grant::Files,
        help: "Grant::Files",
        mediated: false,
        names: &[
            "unix_chown",
            "unix_chroot",
            "unix_fchmod",
            "unix_fchown",
            "unix_lockf",
            "unix_map_file_bytecode",
            "unix_mkfifo",
            "unix_pipe",
            "unix_umask",
        ],
    },
    Reach {
        grant: Grant::Environment,
        help: "World::env",
        mediated: true,
        names: &[
            "sys_getenv",
            "sys_getenv_opt",
            "sys_unsafe_getenv",
            "unix_environment",
            "unix_environment_unsafe",
        ],
    },
    Reach {
        grant: Grant::Environment,
        help: "Grant::Environment",
        mediated: false,
        names: &["unix_putenv", "unix_unsetenv"],
    },
    Reach {
        grant: Grant::Clock,
        help: "World::clock",
        mediated: true,
        names: &["sys_time", "sys_time_include_children", "unix_gettimeofday", "unix_time"],
    },
    Reach {
        grant: Grant::Clock,
        help: "Grant::Clock",
        mediated: false,
        names: &["ml_runtime_current_timestamp", "unix_localtime", "unix_mktime", "unix_times"],
    },
    Reach { grant: Grant::Random, help: "World::seed", mediated: true, names: &["sys_random_seed"] },
    Reach {
        grant: Grant::Processes,
        help: "Grant::Processes",
        mediated: false,
        names: &[
            "sys_system_command",
            "unix_execv",
            "unix_execve",
            "unix_execvp",
            "unix_execvpe",
            "unix_exit",
            "unix_fork",
            "unix_getegid",
            "unix_geteuid",
            "unix_getgid",
            "unix_getgrgid",
            "unix_getgrnam",
            "unix_getgroups",
            "unix_getlogin",
            "unix_getpid",
            "unix_getppid",
            "unix_getpwnam",
            "unix_getpwuid",
            "unix_getuid",
            "unix_initgroups",
            "unix_nice",
            "unix_setgid",
            "unix_setgroups",
            "unix_setsid",
            "unix_setuid",
            "unix_spawn",
            "unix_wait",
            "unix_waitpid",
        ],
    },
    Reach {
        grant: Grant::Processes,
        help: "Grant::Processes",
        mediated: true,
        names: &["recommended_domain_count", "set_current_thread_name", "sys_proc_self_exe"],
    },
    Reach {
        grant: Grant::Network,
        help: "Grant::Network",
        mediated: false,
        names: &[
            "unix_accept",
            "unix_bind",
            "unix_connect",
            "unix_getaddrinfo",
            "unix_gethostbyaddr",
            "unix_gethostbyname",
            "unix_gethostname",
            "unix_getnameinfo",
            "unix_getpeername",
            "unix_getprotobyname",
            "unix_getprotobynumber",
            "unix_getservbyname",
            "unix_getservbyport",
            "unix_getsockname",
            "unix_getsockopt",
            "unix_listen",
            "unix_recv",
            "unix_recvfrom",
            "unix_send",
            "unix_sendto",
            "unix_setsockopt",
            "unix_shutdown",
            "unix_socket",
            "unix_socketpair",
        ],
    },
    Reach {
        grant: Grant::Signals,
        help: "Grant::Signals",
        mediated: true,
        names: &["install_signal_handler"],
    },
    Reach {
        grant: Grant::Signals,
        help: "Grant::Signals",
        mediated: false,
        names: &[
            "thread_sigmask",
            "unix_alarm",
            "unix_getitimer",
            "unix_kill",
            "unix_setitimer",
            "unix_sigpending",
            "unix_sigprocmask",
            "unix_sigsuspend",
            "unix_sigwait",
            "wait_signal",
        ],
    },
    Reach {
        grant: Grant::Terminals,
        help: "Grant::Terminals",
        mediated: false,
        names: &[
            "unix_tcdrain",
            "unix_tcflow",
            "unix_tcflush",
            "unix_tcgetattr",
            "unix_tcsendbreak",
            "unix_tcsetattr",
        ],
    },
    Reach {
        grant: Grant::Events,
        help: "Grant::Events",
        mediated: false,
        names: &[
            "ml_runtime_events_create_cursor",
            "ml_runtime_events_path",
            "ml_runtime_events_start",
            "runtime_events_start",
        ],
    },
    Reach {
        grant: Grant::Libraries,
        help: "Grant::Libraries",
        mediated: true,
        names: &["dynlink_parse_ld_conf", "sys_get_stdlib_dirs"],
    },
];

/// A primitive's name without the prefix that only some versions give it.
fn short(name: &str) -> &str {
    name.strip_prefix("caml_").unwrap_or(name)
}

/// What a primitive reaches, if it is in the table.
pub fn reach(name: &str) -> Option<&'static Reach> {
    static BY_NAME: LazyLock<HashMap<&str, &Reach>> = LazyLock::new(|| {
        REACHES.iter().flat_map(|reach| reach.names.iter().map(move |name| (*name, reach))).collect()
    });
    BY_NAME.get(short(name)).copied()
}

impl Grant {
    /// This grant in a set of them.
    pub(super) fn bit(self) -> u32 {
        1 << self as u32
    }
}

fn substitute(grants: u32, row: &'static Row) -> Option<Prim> {
    let reach = reach(row.name)?;
    if grants & reach.grant.bit() != 0 {
        return None;
    }
    Some(if reach.mediated { substitutes::of(short(row.name)) } else { Prim::Pn(refused) })
}

fn lacks(grants: u32, name: &str) -> Option<&'static str> {
    let reach = reach(name)?;
    (grants & reach.grant.bit() == 0 && !reach.mediated).then_some(reach.help)
}

/// The screen of a machine with these grants.
pub(crate) fn screen(grants: u32) -> Screen {
    Screen { grants, substitute, refused: lacks }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_name_stands_once_and_each_mediated_one_has_a_substitute() {
        let mut names: Vec<&str> = REACHES.iter().flat_map(|reach| reach.names).copied().collect();
        for reach in REACHES.iter().filter(|reach| reach.mediated) {
            for name in reach.names {
                assert!(!matches!(substitutes::of(name), Prim::Pn(_)), "{name} has no substitute");
            }
        }
        let count = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), count);
    }
}
