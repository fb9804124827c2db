//! OCaml's `unix` library (`otherlibs/unix`), one file per subject.
//!
//! Calls that may block run in a blocking section, which owns all that it needs: descriptors stay open while they are
//! in use ([`crate::io::fds::Fd`]), and buffers are copied in and out, as in OCaml. Operations that change or replace
//! the whole process fail with `EPERM` in a machine that is not the whole process.

use spelter_interp::families;

pub(crate) mod addresses;
pub(crate) mod args;
mod descriptors;
pub(crate) mod dirs;
mod environment;
pub(crate) mod errors;
pub(crate) mod files;
mod maps;
pub(crate) mod names;
mod netdb;
mod options;
mod processes;
mod select;
pub(crate) mod signals;
pub(crate) mod sockets;
pub(crate) mod stat;
mod terminals;
mod time;
mod users;

families! {
    /// All primitives of the library.
    pub(crate) static PRIMITIVES = [
        addresses::TABLE,
        descriptors::TABLE,
        dirs::TABLE,
        environment::TABLE,
        errors::TABLE,
        files::TABLE,
        maps::TABLE,
        names::TABLE,
        netdb::TABLE,
        options::TABLE,
        processes::TABLE,
        select::TABLE,
        signals::TABLE,
        sockets::TABLE,
        stat::TABLE,
        terminals::TABLE,
        time::TABLE,
        users::TABLE,
    ];
}

#[cfg(test)]
mod tests {
    use spelter_interp::{Machine, Prim, Raise, Release, Row, Settings, Slot};

    use super::PRIMITIVES;
    use crate::io::channels::Io;

    /// A guest that can raise `Unix_error`, and has no descriptors.
    fn guest() -> Machine {
        let mut m = Machine::new(Settings::default());
        crate::install(&mut m);
        for number in 0..3 {
            m.ext::<Io>().fds.close(number).unwrap();
        }
        let name = m.push(|m| m.new_string(b"Unix.Unix_error")).unwrap();
        let id = m.push(|m| m.new_block(0, &[name])).unwrap();
        m.register_named(b"Unix.Unix_error", id);
        m
    }

    /// Calls a primitive with the first of these arguments, as many as it takes.
    fn call(m: &mut Machine, prim: Prim, args: [Slot; 6]) -> Result<(), Raise> {
        let [a, b, c, d, e, _] = args;
        match prim {
            Prim::P1(f) => f(m, [a]),
            Prim::P2(f) => f(m, [a, b]),
            Prim::P3(f) => f(m, [a, b, c]),
            Prim::P4(f) => f(m, [a, b, c, d]),
            Prim::P5(f) => f(m, [a, b, c, d, e]),
            Prim::V2(_) | Prim::V4(_) => panic!("functions that only inspect values get values, not slots"),
            Prim::Pn(f) => f(m, &args),
        }
        .map(drop)
    }

    #[test]
    fn a_guest_does_not_fork_replace_or_end_its_host() {
        /// The number of `EPERM` among the constructors.
        const EPERM: i64 = 30;
        let names = ["fork", "exit", "execv", "execve", "execvp", "execvpe", "putenv", "unsetenv"];
        let mut m = guest();
        let arg = m.push(|m| m.new_string(b"/bin/true")).unwrap();
        for name in names {
            let prim = PRIMITIVES.find(&format!("caml_unix_{name}"), Release::V5_5).unwrap().prim;
            assert_eq!(call(&mut m, prim, [arg; 6]), Err(Raise::Exn), "{name}");
            assert_eq!(m.exn().field(1).unwrap().int(), Ok(EPERM), "{name}");
        }
    }

    /// Primitives that would change the test process, wait, or use the network.
    const LEFT_OUT: [&str; 27] = [
        "unix_kill",
        "unix_alarm",
        "unix_setitimer",
        "unix_sigprocmask",
        "unix_sigsuspend",
        "unix_sigwait",
        "unix_sleep",
        "unix_select",
        "unix_wait",
        "unix_waitpid",
        "unix_umask",
        "unix_nice",
        "unix_setsid",
        "unix_setuid",
        "unix_setgid",
        "unix_setgroups",
        "unix_initgroups",
        "unix_gethostbyname",
        "unix_gethostbyaddr",
        "unix_getaddrinfo",
        "unix_getnameinfo",
        "unix_bind",
        "unix_connect",
        "unix_accept",
        "unix_chroot",
        "unix_chdir",
        "unix_spawn",
    ];

    #[test]
    fn each_version_has_one_name_for_a_primitive() {
        let (old, new) = ("unix_fork", "caml_unix_fork");
        assert!(
            PRIMITIVES.find(old, Release::V5_0).is_none() && PRIMITIVES.find(new, Release::V5_0).is_some()
        );
        assert!(PRIMITIVES.find(old, Release::V4_14).is_some());
        assert!(PRIMITIVES.find(new, Release::V4_14).is_none());
        let count = |release| PRIMITIVES.rows().filter(|row| row.versions.contains(release)).count();
        let counts = [Release::V4_13, Release::V5_0, Release::V5_2, Release::V5_4, Release::V5_5].map(count);
        assert_eq!(counts, [132, 132, 134, 135, 136]);
    }

    #[test]
    fn no_arguments_break_a_primitive() {
        let mut m = guest();
        let ints = [0, 1, 3, -1, (1 << 62) - 1, -(1 << 62)].map(|i| m.push_int(i));
        let strings = [&b"/no where/file"[..], b"", b"\0x"].map(|s| m.push(|m| m.new_string(s)).unwrap());
        let blocks = [
            m.push(|m| m.new_block(0, &[ints[0], ints[1]])).unwrap(),
            m.push(|m| m.new_block(1, &[strings[0], ints[4]])).unwrap(),
            m.push(|m| m.new_block(0, &[strings[1]; 40])).unwrap(),
            m.push(|m| m.new_float(f64::NAN)).unwrap(),
            m.push(|m| m.new_float(-1e300)).unwrap(),
            m.push(|m| m.new_int64(-1)).unwrap(),
            m.push(|m| m.new_float_array(2)).unwrap(),
        ];
        let values: Vec<Slot> = ints.into_iter().chain(strings).chain(blocks).collect();
        let mut calls = 0;
        let is_tried = |row: &&Row| !LEFT_OUT.contains(&row.name.trim_start_matches("caml_"));
        for &Row { name, prim, .. } in PRIMITIVES.rows().filter(is_tried) {
            let mut seed = 0x9E37_79B9_7F4A_7C15_u64;
            for _ in 0..500 {
                let args = std::array::from_fn(|_| {
                    seed ^= seed << 13;
                    seed ^= seed >> 7;
                    seed ^= seed << 17;
                    values[(seed % values.len() as u64) as usize]
                });
                let mark = m.mark();
                match call(&mut m, prim, args) {
                    Err(Raise::Fatal(message)) => panic!("{name}: {message}"),
                    _ => calls += 1,
                }
                m.release(mark);
            }
        }
        m.full_major().unwrap();
        assert!(calls > 50_000);
    }
}
