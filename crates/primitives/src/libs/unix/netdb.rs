//! Names of hosts, services and protocols (`gethost.c`, `getserv.c`, `getproto.c`, `getaddrinfo.c`, `getnameinfo.c`,
//! `gethostname.c`).

use std::ffi::CString;
use std::os::unix::ffi::OsStrExt;

use nix::libc;
use nix::unistd;
use spelter_interp::{Machine, Raise, Res, Slot, Val, fallible, prims};

use super::addresses::{encode, new_address};
use super::args::{flags, int, of_table};
use super::sockets::{DOMAINS, TYPES};
use crate::ffi;
use crate::ffi::net::{Hints, Host, Info, Protocol, Service};
use crate::io::wait;

/// A name to look up. One that is not a valid C string raises `Not_found`.
fn name(m: &Machine, s: Slot) -> Result<CString, Raise> {
    fallible::afford(m.bytes(s)?.len().saturating_mul(2))?;
    CString::new(m.bytes(s)?).map_err(|_| Raise::NotFound)
}

fn new_strings(m: &mut Machine, strings: Vec<Vec<u8>>) -> Result<Slot, Raise> {
    m.push(|m| m.new_array(strings, |m, s| m.new_string(&s)))
}

fn new_host(m: &mut Machine, host: Host) -> Res<'_> {
    let name = m.push(|m| m.new_string(&host.name))?;
    let aliases = new_strings(m, host.aliases)?;
    let domain = m.push_int(match host.family {
        libc::PF_UNIX => 0,
        libc::PF_INET => 1,
        _ => 2,
    });
    let addresses = new_strings(m, host.addresses)?;
    m.new_block(0, &[name, aliases, domain, addresses])
}

fn gethostbyname(m: &mut Machine, [host]: [Slot; 1]) -> Res<'_> {
    let host = name(m, host)?;
    let found = wait::elsewhere(m, move || ffi::net::host_by_name(&host))?;
    new_host(m, found.ok_or(Raise::NotFound)?)
}

fn gethostbyaddr(m: &mut Machine, [address]: [Slot; 1]) -> Res<'_> {
    let address = *m.bytes(address)?.first_chunk().ok_or_else(Raise::bounds)?;
    let found = wait::elsewhere(m, move || ffi::net::host_by_address(address))?;
    new_host(m, found.ok_or(Raise::NotFound)?)
}

fn new_service(m: &mut Machine, service: Option<Service>) -> Res<'_> {
    let Service { name, aliases, port, protocol } = service.ok_or(Raise::NotFound)?;
    let name = m.push(|m| m.new_string(&name))?;
    let aliases = new_strings(m, aliases)?;
    let port = m.push_int(port.into());
    let protocol = m.push(|m| m.new_string(&protocol))?;
    m.new_block(0, &[name, aliases, port, protocol])
}

fn getservbyname(m: &mut Machine, [service, protocol]: [Slot; 2]) -> Res<'_> {
    let found = ffi::net::service_by_name(&name(m, service)?, &name(m, protocol)?);
    new_service(m, found)
}

fn getservbyport(m: &mut Machine, [port, protocol]: [Slot; 2]) -> Res<'_> {
    let found = ffi::net::service_by_port(m.int(port)? as u16, &name(m, protocol)?);
    new_service(m, found)
}

fn new_protocol(m: &mut Machine, protocol: Option<Protocol>) -> Res<'_> {
    let Protocol { name, aliases, number } = protocol.ok_or(Raise::NotFound)?;
    let name = m.push(|m| m.new_string(&name))?;
    let aliases = new_strings(m, aliases)?;
    let number = m.push_int(number.into());
    m.new_block(0, &[name, aliases, number])
}

fn getprotobyname(m: &mut Machine, [protocol]: [Slot; 1]) -> Res<'_> {
    let found = ffi::net::protocol_by_name(&name(m, protocol)?);
    new_protocol(m, found)
}

fn getprotobynumber(m: &mut Machine, [number]: [Slot; 1]) -> Res<'_> {
    let found = ffi::net::protocol_by_number(int(m, number)?);
    new_protocol(m, found)
}

fn gethostname(m: &mut Machine, [_]: [Slot; 1]) -> Res<'_> {
    let name = unistd::gethostname().unwrap_or_default();
    m.new_string(name.as_bytes())
}

// ---- getaddrinfo and getnameinfo -------------------------------------------------------------------

/// The hints for a list of options.
fn hints(m: &Machine, options: Slot) -> Result<Hints, Raise> {
    /// In the order of `Unix.getaddrinfo_option`'s constructors: those with an argument, and those without.
    const AI_FAMILY: u8 = 0;
    const AI_SOCKTYPE: u8 = 1;
    const AI_FLAGS: [i32; 3] = [libc::AI_NUMERICHOST, libc::AI_CANONNAME, libc::AI_PASSIVE];
    m.list_len(options)?;
    let mut hints = Hints { family: libc::PF_UNSPEC, ..Hints::default() };
    let mut list = m.val(options);
    while list.is_block() {
        let option = list.field(0)?;
        if option.is_block() {
            let value = option.field(0)?;
            match option.tag()? {
                AI_FAMILY => hints.family = of_table(value, &DOMAINS)?,
                AI_SOCKTYPE => hints.kind = of_table(value, &TYPES)?,
                _ => hints.protocol = value.int()? as i32,
            }
        } else {
            hints.flags |= of_table(option, &AI_FLAGS)?;
        }
        list = list.field(1)?;
    }
    Ok(hints)
}

fn new_info(m: &mut Machine, info: Info) -> Res<'_> {
    let place = |table: &[i32], n: i32| table.iter().position(|known| *known == n).unwrap_or(0) as i64;
    let address = m.push(|m| new_address(m, &info.address))?;
    let name = m.push(|m| m.new_string(&info.name))?;
    let numbers = [place(&DOMAINS, info.family), place(&TYPES, info.kind), info.protocol.into()];
    let [family, kind, protocol] = numbers.map(|n| m.push_int(n));
    m.new_block(0, &[family, kind, protocol, address, name])
}

fn getaddrinfo(m: &mut Machine, [host, service, options]: [Slot; 3]) -> Res<'_> {
    let (Ok(host), Ok(service)) = (name(m, host), name(m, service)) else { return Ok(Val::from_int(0)) };
    let hints = hints(m, options)?;
    let given = |name: CString| (!name.is_empty()).then_some(name);
    let (host, service) = (given(host), given(service));
    let infos = wait::elsewhere(m, move || ffi::net::address_infos(host.as_ref(), service.as_ref(), &hints))?;
    // OCaml returns them in reverse order, and none on failure.
    m.new_list(infos.unwrap_or_default().into_iter().rev(), new_info)
}

/// In the order of `Unix.getnameinfo_option`'s constructors.
const NI_FLAGS: [i32; 5] =
    [libc::NI_NOFQDN, libc::NI_NUMERICHOST, libc::NI_NAMEREQD, libc::NI_NUMERICSERV, libc::NI_DGRAM];

fn getnameinfo(m: &mut Machine, [address, options]: [Slot; 2]) -> Res<'_> {
    let (address, options) = (encode(m, address)?, flags(m, options, &NI_FLAGS)?);
    let names = wait::elsewhere(m, move || ffi::net::names_of_address(&address, options))?;
    let (host, service) = names.ok_or(Raise::NotFound)?;
    let host = m.push(|m| m.new_string(&host))?;
    let service = m.push(|m| m.new_string(&service))?;
    m.new_block(0, &[host, service])
}

prims! {
    since(V5_0) with "caml_" {
        "unix_gethostname" P1 gethostname,
        "unix_gethostbyname" P1 gethostbyname,
        "unix_gethostbyaddr" P1 gethostbyaddr,
        "unix_getservbyname" P2 getservbyname,
        "unix_getservbyport" P2 getservbyport,
        "unix_getprotobyname" P1 getprotobyname,
        "unix_getprotobynumber" P1 getprotobynumber,
        "unix_getaddrinfo" P3 getaddrinfo,
        "unix_getnameinfo" P2 getnameinfo,
    }
}
