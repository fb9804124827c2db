//! Terminal settings: those of nix cannot represent every speed.

use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd};

use nix::errno::Errno;

/// The direction of a speed.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    Input,
    Output,
}

pub(crate) fn settings(fd: impl AsFd) -> Result<libc::termios, Errno> {
    let mut settings = MaybeUninit::uninit();
    // SAFETY: writes the settings if it succeeds.
    unsafe {
        Errno::result(libc::tcgetattr(fd.as_fd().as_raw_fd(), settings.as_mut_ptr()))?;
        Ok(settings.assume_init())
    }
}

pub(crate) fn set_settings(fd: impl AsFd, when: i32, settings: &libc::termios) -> Result<(), Errno> {
    // SAFETY: settings, which are only read.
    Errno::result(unsafe { libc::tcsetattr(fd.as_fd().as_raw_fd(), when, settings) }).map(drop)
}

/// A speed, as the system codes it.
pub(crate) fn speed(settings: &libc::termios, way: Way) -> libc::speed_t {
    // SAFETY: settings, which are only read.
    unsafe {
        match way {
            Way::Input => libc::cfgetispeed(settings),
            Way::Output => libc::cfgetospeed(settings),
        }
    }
}

pub(crate) fn set_speed(settings: &mut libc::termios, way: Way, speed: libc::speed_t) -> Result<(), Errno> {
    // SAFETY: settings, which are changed.
    Errno::result(unsafe {
        match way {
            Way::Input => libc::cfsetispeed(settings, speed),
            Way::Output => libc::cfsetospeed(settings, speed),
        }
    })
    .map(drop)
}

// The rest is here to keep the terminal functions together.

pub(crate) fn send_break(fd: impl AsFd, duration: i32) -> Result<(), Errno> {
    // SAFETY: numbers only.
    Errno::result(unsafe { libc::tcsendbreak(fd.as_fd().as_raw_fd(), duration) }).map(drop)
}

pub(crate) fn drain(fd: impl AsFd) -> Result<(), Errno> {
    // SAFETY: a number only.
    Errno::result(unsafe { libc::tcdrain(fd.as_fd().as_raw_fd()) }).map(drop)
}

pub(crate) fn flush(fd: impl AsFd, queue: i32) -> Result<(), Errno> {
    // SAFETY: numbers only.
    Errno::result(unsafe { libc::tcflush(fd.as_fd().as_raw_fd(), queue) }).map(drop)
}

pub(crate) fn flow(fd: impl AsFd, action: i32) -> Result<(), Errno> {
    // SAFETY: numbers only.
    Errno::result(unsafe { libc::tcflow(fd.as_fd().as_raw_fd(), action) }).map(drop)
}
