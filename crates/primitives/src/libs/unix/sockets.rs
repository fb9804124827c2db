//! Sockets (`socket.c`, `socketpair.c`, `bind.c`, `connect.c`, `listen.c`, `accept.c`, `shutdown.c`, `getsockname.c`,
//! `getpeername.c`, `sendrecv.c`).

use nix::libc;
use spelter_interp::{Machine, Raise, Res, Slot, Val, fallible, prims};

use super::addresses::{encode, new_address};
use super::args::{choice, cloexec, fd, flags, int};
use super::descriptors::new_pair;
use super::errors::{check, wait};
use super::files::{BUFFER_SIZE, part};
use crate::UNIT;
use crate::ffi;
use crate::io::channels::Io;

/// In the order of `Unix.socket_domain`'s constructors.
pub(crate) const DOMAINS: [i32; 3] = [libc::PF_UNIX, libc::PF_INET, libc::PF_INET6];
/// In the order of `Unix.socket_type`'s constructors.
pub(crate) const TYPES: [i32; 4] =
    [libc::SOCK_STREAM, libc::SOCK_DGRAM, libc::SOCK_RAW, libc::SOCK_SEQPACKET];

/// The system's numbers for a domain, a type and a protocol.
fn kind(m: &Machine, [keep, domain, kind, protocol]: [Slot; 4]) -> Result<[i32; 3], Raise> {
    let cloexec = if cloexec(m, keep)? { libc::SOCK_CLOEXEC } else { 0 };
    Ok([choice(m, domain, &DOMAINS)?, choice(m, kind, &TYPES)? | cloexec, int(m, protocol)?])
}

fn socket(m: &mut Machine, args: [Slot; 4]) -> Res<'_> {
    let [domain, kind, protocol] = kind(m, args)?;
    let fd = check(m, "socket", None, ffi::net::socket(domain, kind, protocol))?;
    let number = m.ext::<Io>().fds.insert(fd);
    Ok(Val::from_int(number.into()))
}

fn socketpair(m: &mut Machine, args: [Slot; 4]) -> Res<'_> {
    let [domain, kind, protocol] = kind(m, args)?;
    let ends = check(m, "socketpair", None, ffi::net::socketpair(domain, kind, protocol))?;
    new_pair(m, ends)
}

fn bind(m: &mut Machine, [s, address]: [Slot; 2]) -> Res<'_> {
    let address = encode(m, address)?;
    let fd = fd(m, s, "bind")?;
    check(m, "bind", None, ffi::net::bind(fd, &address))?;
    Ok(UNIT)
}

fn connect(m: &mut Machine, [s, address]: [Slot; 2]) -> Res<'_> {
    let address = encode(m, address)?;
    let fd = fd(m, s, "connect")?;
    wait(m, "connect", None, |waiter| waiter.connect(fd, &address))?;
    Ok(UNIT)
}

fn listen(m: &mut Machine, [s, backlog]: [Slot; 2]) -> Res<'_> {
    let backlog = int(m, backlog)?;
    let fd = fd(m, s, "listen")?;
    check(m, "listen", None, ffi::net::listen(fd, backlog))?;
    Ok(UNIT)
}

fn accept(m: &mut Machine, [keep, s]: [Slot; 2]) -> Res<'_> {
    let cloexec = cloexec(m, keep)?;
    let fd = fd(m, s, "accept")?;
    let (connection, address) = wait(m, "accept", None, |waiter| waiter.accept(fd, cloexec))?;
    // If this raises, the connection is closed.
    let address = m.push(|m| new_address(m, &address))?;
    let number = m.ext::<Io>().fds.insert(connection);
    let number = m.push_int(number.into());
    m.new_block(0, &[number, address])
}

/// In the order of `Unix.shutdown_command`'s constructors.
const SHUTDOWN: [i32; 3] = [libc::SHUT_RD, libc::SHUT_WR, libc::SHUT_RDWR];

fn shutdown(m: &mut Machine, [s, command]: [Slot; 2]) -> Res<'_> {
    let how = choice(m, command, &SHUTDOWN)?;
    let fd = fd(m, s, "shutdown")?;
    check(m, "shutdown", None, ffi::net::shutdown(fd, how))?;
    Ok(UNIT)
}

fn getsockname(m: &mut Machine, [s]: [Slot; 1]) -> Res<'_> {
    let fd = fd(m, s, "getsockname")?;
    let address = check(m, "getsockname", None, ffi::net::own_address(fd))?;
    new_address(m, &address)
}

fn getpeername(m: &mut Machine, [s]: [Slot; 1]) -> Res<'_> {
    let fd = fd(m, s, "getpeername")?;
    let address = check(m, "getpeername", None, ffi::net::peer_address(fd))?;
    new_address(m, &address)
}

// ---- sending and receiving -------------------------------------------------------------------------

/// In the order of `Unix.msg_flag`'s constructors.
const MSG_FLAGS: [i32; 3] = [libc::MSG_OOB, libc::MSG_DONTROUTE, libc::MSG_PEEK];

fn recv(m: &mut Machine, [s, into, start, len, how]: [Slot; 5]) -> Res<'_> {
    let how = flags(m, how, &MSG_FLAGS)?;
    let (start, len) = part(m, into, start, len)?;
    let fd = fd(m, s, "recv")?;
    let mut buffer = fallible::filled(0, len.min(BUFFER_SIZE))?;
    let n = wait(m, "recv", None, |waiter| {
        waiter.receive(&fd, how, |how| ffi::net::recv(&fd, &mut buffer, how))
    })?;
    m.bytes_mut(into)?[start..start + n].copy_from_slice(&buffer[..n]);
    Ok(Val::from_int(n as i64))
}

fn recvfrom(m: &mut Machine, [s, into, start, len, how]: [Slot; 5]) -> Res<'_> {
    let how = flags(m, how, &MSG_FLAGS)?;
    let (start, len) = part(m, into, start, len)?;
    let fd = fd(m, s, "recvfrom")?;
    let mut buffer = fallible::filled(0, len.min(BUFFER_SIZE))?;
    let (n, address) = wait(m, "recvfrom", None, |waiter| {
        waiter.receive(&fd, how, |how| ffi::net::recvfrom(&fd, &mut buffer, how))
    })?;
    m.bytes_mut(into)?[start..start + n].copy_from_slice(&buffer[..n]);
    let address = m.push(|m| new_address(m, &address))?;
    let n = m.push_int(n as i64);
    m.new_block(0, &[n, address])
}

fn send(m: &mut Machine, [s, from, start, len, how]: [Slot; 5]) -> Res<'_> {
    let how = flags(m, how, &MSG_FLAGS)?;
    let (start, len) = part(m, from, start, len)?;
    let fd = fd(m, s, "send")?;
    let bytes = fallible::to_vec(&m.bytes(from)?[start..start + len.min(BUFFER_SIZE)])?;
    let n = wait(m, "send", None, |waiter| {
        waiter.send(&fd, &bytes, how, |bytes, how| ffi::net::send(&fd, bytes, how))
    })?;
    Ok(Val::from_int(n as i64))
}

fn sendto<'m>(m: &'m mut Machine, slots: &[Slot]) -> Res<'m> {
    let &[s, from, start, len, how, address] = slots else { return Err(Raise::bounds()) };
    let how = flags(m, how, &MSG_FLAGS)?;
    let address = encode(m, address)?;
    let (start, len) = part(m, from, start, len)?;
    let fd = fd(m, s, "sendto")?;
    let bytes = fallible::to_vec(&m.bytes(from)?[start..start + len.min(BUFFER_SIZE)])?;
    let n = wait(m, "sendto", None, |waiter| {
        waiter.send(&fd, &bytes, how, |bytes, how| ffi::net::sendto(&fd, bytes, how, &address))
    })?;
    Ok(Val::from_int(n as i64))
}

prims! {
    since(V5_0) with "caml_" {
        "unix_socket" P4 socket,
        "unix_socketpair" P4 socketpair,
        "unix_bind" P2 bind,
        "unix_connect" P2 connect,
        "unix_listen" P2 listen,
        "unix_accept" P2 accept,
        "unix_shutdown" P2 shutdown,
        "unix_getsockname" P1 getsockname,
        "unix_getpeername" P1 getpeername,
        "unix_recv" P5 recv,
        "unix_recvfrom" P5 recvfrom,
        "unix_send" P5 send,
        "unix_sendto" Pn sendto,
    }
}
