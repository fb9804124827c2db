//! Terminals (`termios.c`).

use nix::errno::Errno;
use nix::libc::{self, tcflag_t, termios};
use spelter_interp::{Machine, Raise, Res, Slot, prims};

use super::args::{choice, fd, int};
use super::errors::{check, unix_error};
use crate::UNIT;
use crate::ffi;
use crate::ffi::terminal::Way;

/// The flag words in the system's settings.
#[derive(Clone, Copy)]
enum Word {
    Input,
    Output,
    Control,
    Local,
}

impl Word {
    fn of(self, settings: &mut termios) -> &mut tcflag_t {
        match self {
            Word::Input => &mut settings.c_iflag,
            Word::Output => &mut settings.c_oflag,
            Word::Control => &mut settings.c_cflag,
            Word::Local => &mut settings.c_lflag,
        }
    }
}

/// The meaning of a field of `Unix.terminal_io`.
enum Field {
    /// Whether a flag is set.
    Flag(Word, tcflag_t),
    /// One of several values of the bits in a mask, and the number of the first value.
    One(Word, tcflag_t, i64, &'static [tcflag_t]),
    Speed(Way),
    /// A control character.
    Char(usize),
}

use Field::{Char, Flag, One, Speed};

/// In the order of the record's fields.
const FIELDS: [Field; 38] = [
    Flag(Word::Input, libc::IGNBRK),
    Flag(Word::Input, libc::BRKINT),
    Flag(Word::Input, libc::IGNPAR),
    Flag(Word::Input, libc::PARMRK),
    Flag(Word::Input, libc::INPCK),
    Flag(Word::Input, libc::ISTRIP),
    Flag(Word::Input, libc::INLCR),
    Flag(Word::Input, libc::IGNCR),
    Flag(Word::Input, libc::ICRNL),
    Flag(Word::Input, libc::IXON),
    Flag(Word::Input, libc::IXOFF),
    Flag(Word::Output, libc::OPOST),
    Speed(Way::Output),
    Speed(Way::Input),
    One(Word::Control, libc::CSIZE, 5, &[libc::CS5, libc::CS6, libc::CS7, libc::CS8]),
    One(Word::Control, libc::CSTOPB, 1, &[0, libc::CSTOPB]),
    Flag(Word::Control, libc::CREAD),
    Flag(Word::Control, libc::PARENB),
    Flag(Word::Control, libc::PARODD),
    Flag(Word::Control, libc::HUPCL),
    Flag(Word::Control, libc::CLOCAL),
    Flag(Word::Local, libc::ISIG),
    Flag(Word::Local, libc::ICANON),
    Flag(Word::Local, libc::NOFLSH),
    Flag(Word::Local, libc::ECHO),
    Flag(Word::Local, libc::ECHOE),
    Flag(Word::Local, libc::ECHOK),
    Flag(Word::Local, libc::ECHONL),
    Char(libc::VINTR),
    Char(libc::VQUIT),
    Char(libc::VERASE),
    Char(libc::VKILL),
    Char(libc::VEOF),
    Char(libc::VEOL),
    Char(libc::VMIN),
    Char(libc::VTIME),
    Char(libc::VSTART),
    Char(libc::VSTOP),
];

/// The system's speeds, each with its value in bauds.
const SPEEDS: [(libc::speed_t, i64); 31] = [
    (libc::B0, 0),
    (libc::B50, 50),
    (libc::B75, 75),
    (libc::B110, 110),
    (libc::B134, 134),
    (libc::B150, 150),
    (libc::B200, 200),
    (libc::B300, 300),
    (libc::B600, 600),
    (libc::B1200, 1200),
    (libc::B1800, 1800),
    (libc::B2400, 2400),
    (libc::B4800, 4800),
    (libc::B9600, 9600),
    (libc::B19200, 19_200),
    (libc::B38400, 38_400),
    (libc::B57600, 57_600),
    (libc::B115200, 115_200),
    (libc::B230400, 230_400),
    (libc::B460800, 460_800),
    (libc::B500000, 500_000),
    (libc::B576000, 576_000),
    (libc::B921600, 921_600),
    (libc::B1000000, 1_000_000),
    (libc::B1152000, 1_152_000),
    (libc::B1500000, 1_500_000),
    (libc::B2000000, 2_000_000),
    (libc::B2500000, 2_500_000),
    (libc::B3000000, 3_000_000),
    (libc::B3500000, 3_500_000),
    (libc::B4000000, 4_000_000),
];

/// The value reported for any other speed.
const UNKNOWN_SPEED: i64 = 9600;

impl Field {
    fn read(&self, settings: &mut termios) -> i64 {
        match *self {
            Flag(word, mask) => i64::from(*word.of(settings) & mask != 0),
            One(word, mask, first, values) => {
                let bits = *word.of(settings) & mask;
                values.iter().position(|v| *v == bits).map_or(0, |i| i as i64 + first)
            }
            Speed(way) => {
                let speed = ffi::terminal::speed(settings, way);
                SPEEDS.iter().find(|(code, _)| *code == speed).map_or(UNKNOWN_SPEED, |(_, bauds)| *bauds)
            }
            Char(which) => settings.c_cc[which].into(),
        }
    }

    fn write(&self, settings: &mut termios, v: i64) -> Result<(), Errno> {
        match *self {
            Flag(word, mask) if v != 0 => *word.of(settings) |= mask,
            Flag(word, mask) => *word.of(settings) &= !mask,
            One(word, mask, first, values) => {
                let bits = values.get(v.wrapping_sub(first) as usize).ok_or(Errno::EINVAL)?;
                let word = word.of(settings);
                *word = (*word & !mask) | bits;
            }
            Speed(way) => {
                let (speed, _) = SPEEDS.iter().find(|(_, bauds)| *bauds == v).ok_or(Errno::EINVAL)?;
                ffi::terminal::set_speed(settings, way, *speed)?;
            }
            Char(which) => settings.c_cc[which] = v as u8,
        }
        Ok(())
    }
}

fn tcgetattr(m: &mut Machine, [f]: [Slot; 1]) -> Res<'_> {
    let fd = fd(m, f, "tcgetattr")?;
    let mut settings = check(m, "tcgetattr", None, ffi::terminal::settings(fd))?;
    let fields = FIELDS.map(|field| m.push_int(field.read(&mut settings)));
    m.new_block(0, &fields)
}

/// In the order of `Unix.setattr_when`'s constructors.
const WHEN: [i32; 3] = [libc::TCSANOW, libc::TCSADRAIN, libc::TCSAFLUSH];

fn tcsetattr(m: &mut Machine, [f, when, fields]: [Slot; 3]) -> Res<'_> {
    let fd = fd(m, f, "tcsetattr")?;
    let mut settings = check(m, "tcsetattr", None, ffi::terminal::settings(&fd))?;
    for (i, field) in FIELDS.iter().enumerate() {
        // C takes each as an `int`.
        let v = i64::from(m.val(fields).field(i)?.int()? as i32);
        if let Err(e) = field.write(&mut settings, v) {
            return Err(unix_error(m, e, "tcsetattr", None));
        }
    }
    let when = choice(m, when, &WHEN)?;
    check(m, "tcsetattr", None, ffi::terminal::set_settings(&fd, when, &settings))?;
    Ok(UNIT)
}

fn control(
    m: &mut Machine,
    call: &str,
    f: Slot,
    action: impl FnOnce(crate::io::fds::Fd) -> Result<(), Errno>,
) -> Result<(), Raise> {
    let fd = fd(m, f, call)?;
    check(m, call, None, action(fd))
}

fn tcsendbreak(m: &mut Machine, [f, duration]: [Slot; 2]) -> Res<'_> {
    let duration = int(m, duration)?;
    control(m, "tcsendbreak", f, |fd| ffi::terminal::send_break(fd, duration))?;
    Ok(UNIT)
}

fn tcdrain(m: &mut Machine, [f]: [Slot; 1]) -> Res<'_> {
    control(m, "tcdrain", f, ffi::terminal::drain)?;
    Ok(UNIT)
}

/// In the order of `Unix.flush_queue`'s constructors.
const QUEUES: [i32; 3] = [libc::TCIFLUSH, libc::TCOFLUSH, libc::TCIOFLUSH];

fn tcflush(m: &mut Machine, [f, queue]: [Slot; 2]) -> Res<'_> {
    let queue = choice(m, queue, &QUEUES)?;
    control(m, "tcflush", f, |fd| ffi::terminal::flush(fd, queue))?;
    Ok(UNIT)
}

/// In the order of `Unix.flow_action`'s constructors.
const ACTIONS: [i32; 4] = [libc::TCOOFF, libc::TCOON, libc::TCIOFF, libc::TCION];

fn tcflow(m: &mut Machine, [f, action]: [Slot; 2]) -> Res<'_> {
    let action = choice(m, action, &ACTIONS)?;
    control(m, "tcflow", f, |fd| ffi::terminal::flow(fd, action))?;
    Ok(UNIT)
}

prims! {
    since(V5_0) with "caml_" {
        "unix_tcgetattr" P1 tcgetattr,
        "unix_tcsetattr" P3 tcsetattr,
        "unix_tcsendbreak" P2 tcsendbreak,
        "unix_tcdrain" P1 tcdrain,
        "unix_tcflush" P2 tcflush,
        "unix_tcflow" P2 tcflow,
    }
}
