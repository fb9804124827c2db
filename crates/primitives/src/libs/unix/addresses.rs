//! Addresses of sockets (`socketaddr.c`), and texts of internet addresses (`addrofstr.c`, `strofaddr.c`).

use std::ffi::CString;

use nix::errno::Errno;
use nix::libc;
use spelter_interp::{Machine, Raise, Res, Slot, fallible, prims};

use super::errors::{check, unix_error};
use crate::ffi;

/// `Unix.sockaddr`'s constructors.
const ADDR_UNIX: u8 = 0;
const ADDR_INET: u8 = 1;

/// Bytes of `sun_path`.
const MAX_PATH: usize = 108;
/// The sizes of `struct sockaddr_in` and `struct sockaddr_in6`.
const INET_LEN: usize = 16;
const INET6_LEN: usize = 28;

/// A `Unix.sockaddr` in the system's format.
pub(crate) fn encode(m: &mut Machine, address: Slot) -> Result<Vec<u8>, Raise> {
    match m.val(address).tag()? {
        ADDR_UNIX => encode_path(m, address),
        _ => encode_inet(m, address),
    }
}

fn encode_path(m: &mut Machine, address: Slot) -> Result<Vec<u8>, Raise> {
    let path = m.push_field(address, 0)?;
    let bytes = m.bytes(path)?;
    // The names of abstract sockets begin with a NUL.
    let (too_long, cut) = (bytes.len() >= MAX_PATH, bytes.first() != Some(&0) && bytes.contains(&0));
    fallible::afford(bytes.len())?;
    let encoded = [&(libc::AF_UNIX as u16).to_ne_bytes(), bytes].concat();
    if too_long {
        return Err(unix_error(m, Errno::ENAMETOOLONG, "", Some(path)));
    }
    if cut {
        return Err(unix_error(m, Errno::ENOENT, "", Some(path)));
    }
    Ok(encoded)
}

fn encode_inet(m: &Machine, address: Slot) -> Result<Vec<u8>, Raise> {
    let (host, port) = (m.val(address).field(0)?.bytes()?, m.val(address).field(1)?.int()? as u16);
    let mut bytes = vec![0; if host.len() == 16 { INET6_LEN } else { INET_LEN }];
    bytes[2..4].copy_from_slice(&port.to_be_bytes());
    let family = match host.len() {
        16 => {
            bytes[8..24].copy_from_slice(host);
            libc::AF_INET6
        }
        _ => {
            bytes[4..8].copy_from_slice(host.first_chunk::<4>().ok_or_else(Raise::bounds)?);
            libc::AF_INET
        }
    };
    bytes[..2].copy_from_slice(&(family as u16).to_ne_bytes());
    Ok(bytes)
}

/// A decoded address from the system.
enum Address<'a> {
    Path(&'a [u8]),
    Inet(&'a [u8], u16),
}

fn decode(bytes: &[u8]) -> Option<Address<'_>> {
    // Only sockets without a name have no address at all.
    let Some((family, rest)) = bytes.split_first_chunk() else { return Some(Address::Path(b"")) };
    let inet = |host: std::ops::Range<usize>| {
        let port = u16::from_be_bytes(*bytes.get(2..)?.first_chunk()?);
        Some(Address::Inet(bytes.get(host)?, port))
    };
    match i32::from(u16::from_ne_bytes(*family)) {
        libc::AF_UNIX => Some(Address::Path(match rest.first() {
            Some(0) => rest,
            _ => rest.split(|byte| *byte == 0).next().unwrap_or_default(),
        })),
        libc::AF_INET => inet(4..8),
        libc::AF_INET6 => inet(8..24),
        _ => None,
    }
}

/// The `Unix.sockaddr` for an address from the system.
pub(crate) fn new_address<'m>(m: &'m mut Machine, bytes: &[u8]) -> Res<'m> {
    match decode(bytes) {
        Some(Address::Path(path)) => {
            let path = m.push(|m| m.new_string(path))?;
            m.new_block(ADDR_UNIX, &[path])
        }
        Some(Address::Inet(host, port)) => {
            let host = m.push(|m| m.new_string(host))?;
            let port = m.push_int(port.into());
            m.new_block(ADDR_INET, &[host, port])
        }
        None => Err(unix_error(m, Errno::EAFNOSUPPORT, "", None)),
    }
}

fn inet_addr_of_string(m: &mut Machine, [text]: [Slot; 1]) -> Res<'_> {
    fallible::afford(m.bytes(text)?.len().saturating_mul(2))?;
    let address = CString::new(m.bytes(text)?).ok().and_then(|text| ffi::net::address_of_text(&text));
    let address = address.ok_or_else(|| Raise::failure("inet_addr_of_string"))?;
    m.new_string(&address)
}

fn string_of_inet_addr(m: &mut Machine, [address]: [Slot; 1]) -> Res<'_> {
    let bytes = m.bytes(address)?;
    let bytes = if bytes.len() == 16 { bytes } else { bytes.get(..4).ok_or_else(Raise::bounds)? };
    let text = ffi::net::text_of_address(bytes).ok_or(Errno::ENOSPC);
    let text = check(m, "string_of_inet_addr", None, text)?;
    m.new_string(&text)
}

prims! {
    since(V5_0) with "caml_" {
        "unix_inet_addr_of_string" P1 inet_addr_of_string,
        "unix_string_of_inet_addr" P1 string_of_inet_addr,
    }
}
