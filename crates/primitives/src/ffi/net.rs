//! Sockets. Addresses are bytes in the system's format, which safe code interprets (`unix/addresses.rs`).

use std::ffi::{CStr, CString};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};

use nix::errno::Errno;

use crate::io::errors::strerror;

/// The longest address.
const MAX_ADDRESS: usize = size_of::<libc::sockaddr_storage>();

/// Calls `f` with a buffer, and its size, for an address that the system writes. Returns the result of `f`, and the
/// address.
fn with_address<T>(
    f: impl FnOnce(*mut libc::sockaddr, *mut libc::socklen_t) -> Result<T, Errno>,
) -> Result<(T, Vec<u8>), Errno> {
    let mut bytes = vec![0; MAX_ADDRESS];
    let mut len = MAX_ADDRESS as libc::socklen_t;
    let result = f(bytes.as_mut_ptr().cast(), &mut len)?;
    // The system reports the full length of the address, which may be more.
    bytes.truncate(len as usize);
    Ok((result, bytes))
}

pub(crate) fn socket(domain: i32, kind: i32, protocol: i32) -> Result<OwnedFd, Errno> {
    // SAFETY: numbers only; the returned descriptor has just been opened.
    unsafe { Errno::result(libc::socket(domain, kind, protocol)).map(|fd| OwnedFd::from_raw_fd(fd)) }
}

pub(crate) fn socketpair(domain: i32, kind: i32, protocol: i32) -> Result<[OwnedFd; 2], Errno> {
    let mut fds = [0; 2];
    // SAFETY: an array of two, which is written; the descriptors in it have just been opened.
    unsafe {
        Errno::result(libc::socketpair(domain, kind, protocol, fds.as_mut_ptr()))?;
        Ok(fds.map(|fd| OwnedFd::from_raw_fd(fd)))
    }
}

pub(crate) fn bind(fd: impl AsFd, address: &[u8]) -> Result<(), Errno> {
    let fd = fd.as_fd().as_raw_fd();
    // SAFETY: bytes and their length.
    Errno::result(unsafe { libc::bind(fd, address.as_ptr().cast(), address.len() as _) }).map(drop)
}

pub(crate) fn connect(fd: impl AsFd, address: &[u8]) -> Result<(), Errno> {
    let fd = fd.as_fd().as_raw_fd();
    // SAFETY: bytes and their length.
    Errno::result(unsafe { libc::connect(fd, address.as_ptr().cast(), address.len() as _) }).map(drop)
}

pub(crate) fn listen(fd: impl AsFd, backlog: i32) -> Result<(), Errno> {
    // SAFETY: numbers only.
    Errno::result(unsafe { libc::listen(fd.as_fd().as_raw_fd(), backlog) }).map(drop)
}

/// The connection, and the address of the peer.
pub(crate) fn accept(fd: impl AsFd, cloexec: bool) -> Result<(OwnedFd, Vec<u8>), Errno> {
    let flags = if cloexec { libc::SOCK_CLOEXEC } else { 0 };
    with_address(|address, len| {
        // SAFETY: a buffer and its length, which are written; the returned descriptor has just been opened.
        unsafe {
            Errno::result(libc::accept4(fd.as_fd().as_raw_fd(), address, len, flags))
                .map(|fd| OwnedFd::from_raw_fd(fd))
        }
    })
}

pub(crate) fn shutdown(fd: impl AsFd, how: i32) -> Result<(), Errno> {
    // SAFETY: numbers only.
    Errno::result(unsafe { libc::shutdown(fd.as_fd().as_raw_fd(), how) }).map(drop)
}

pub(crate) fn own_address(fd: impl AsFd) -> Result<Vec<u8>, Errno> {
    with_address(|address, len| {
        // SAFETY: a buffer and its length, which are written.
        Errno::result(unsafe { libc::getsockname(fd.as_fd().as_raw_fd(), address, len) })
    })
    .map(|(_, address)| address)
}

pub(crate) fn peer_address(fd: impl AsFd) -> Result<Vec<u8>, Errno> {
    with_address(|address, len| {
        // SAFETY: a buffer and its length, which are written.
        Errno::result(unsafe { libc::getpeername(fd.as_fd().as_raw_fd(), address, len) })
    })
    .map(|(_, address)| address)
}

pub(crate) fn recv(fd: impl AsFd, into: &mut [u8], flags: i32) -> Result<usize, Errno> {
    let (to, len) = (into.as_mut_ptr().cast(), into.len());
    // SAFETY: bytes, which are written, and their length.
    let n = Errno::result(unsafe { libc::recv(fd.as_fd().as_raw_fd(), to, len, flags) })?;
    Ok((n as usize).min(len))
}

/// The number of bytes received, and the sender's address.
pub(crate) fn recvfrom(fd: impl AsFd, into: &mut [u8], flags: i32) -> Result<(usize, Vec<u8>), Errno> {
    let (to, len) = (into.as_mut_ptr().cast(), into.len());
    let (n, address) = with_address(|address, address_len| {
        // SAFETY: bytes and an address, which are written, and their lengths.
        Errno::result(unsafe { libc::recvfrom(fd.as_fd().as_raw_fd(), to, len, flags, address, address_len) })
    })?;
    Ok(((n as usize).min(len), address))
}

pub(crate) fn send(fd: impl AsFd, bytes: &[u8], flags: i32) -> Result<usize, Errno> {
    let (from, len) = (bytes.as_ptr().cast(), bytes.len());
    // SAFETY: bytes and their length.
    Errno::result(unsafe { libc::send(fd.as_fd().as_raw_fd(), from, len, flags) }).map(|n| n as usize)
}

pub(crate) fn sendto(fd: impl AsFd, bytes: &[u8], flags: i32, address: &[u8]) -> Result<usize, Errno> {
    let (from, len) = (bytes.as_ptr().cast(), bytes.len());
    let (to, to_len) = (address.as_ptr().cast(), address.len() as _);
    let fd = fd.as_fd().as_raw_fd();
    // SAFETY: bytes and an address, and their lengths.
    Errno::result(unsafe { libc::sendto(fd, from, len, flags, to, to_len) }).map(|n| n as usize)
}

// ---- options ---------------------------------------------------------------------------------------

/// The value of a socket option: made of integers, so that the system may write any bits.
pub(crate) trait OptionValue: Copy {}
impl OptionValue for i32 {}
impl OptionValue for libc::linger {}
impl OptionValue for libc::timeval {}

/// A socket's option.
pub(crate) fn option<T: OptionValue>(fd: impl AsFd, level: i32, name: i32) -> Result<T, Errno> {
    let mut value = MaybeUninit::<T>::zeroed();
    let mut len = size_of::<T>() as libc::socklen_t;
    let fd = fd.as_fd().as_raw_fd();
    // SAFETY: room for a value and its size; the types allowed are made of integers, for which all bits are valid.
    unsafe {
        Errno::result(libc::getsockopt(fd, level, name, value.as_mut_ptr().cast(), &mut len))?;
        Ok(value.assume_init())
    }
}

/// Sets a socket's option.
pub(crate) fn set_option<T: OptionValue>(
    fd: impl AsFd,
    level: i32,
    name: i32,
    value: T,
) -> Result<(), Errno> {
    let fd = fd.as_fd().as_raw_fd();
    // SAFETY: a value and its size.
    Errno::result(unsafe {
        libc::setsockopt(fd, level, name, (&raw const value).cast(), size_of::<T>() as _)
    })
    .map(drop)
}

// ---- texts of addresses ----------------------------------------------------------------------------

// SAFETY: POSIX's declarations, in <arpa/inet.h>.
unsafe extern "C" {
    fn inet_pton(family: i32, text: *const libc::c_char, into: *mut libc::c_void) -> i32;
    fn inet_ntop(
        family: i32,
        address: *const libc::c_void,
        into: *mut libc::c_char,
        len: libc::socklen_t,
    ) -> *const libc::c_char;
}

/// The four or sixteen bytes of the internet address in a text.
pub(crate) fn address_of_text(text: &CStr) -> Option<Vec<u8>> {
    for (family, len) in [(libc::AF_INET, 4), (libc::AF_INET6, 16)] {
        let mut bytes = vec![0u8; 16];
        // SAFETY: a C string, and room for the longer of the two.
        if unsafe { inet_pton(family, text.as_ptr(), bytes.as_mut_ptr().cast()) } > 0 {
            bytes.truncate(len);
            return Some(bytes);
        }
    }
    None
}

/// The text of an internet address of four or sixteen bytes.
pub(crate) fn text_of_address(address: &[u8]) -> Option<Vec<u8>> {
    let family = match address.len() {
        4 => libc::AF_INET,
        16 => libc::AF_INET6,
        _ => return None,
    };
    let mut text = [0u8; 64];
    // SAFETY: as many bytes as the family needs, and a buffer with its length.
    let done = unsafe {
        !inet_ntop(family, address.as_ptr().cast(), text.as_mut_ptr().cast(), text.len() as _).is_null()
    };
    let text = CStr::from_bytes_until_nul(&text).ok().filter(|_| done)?;
    Some(text.to_bytes().to_vec())
}

// ---- the network's data base -----------------------------------------------------------------------

/// The elements of a null-terminated C array of pointers.
///
/// # Safety
/// `at` is such an array, or null.
unsafe fn array_of<T>(mut at: *const *mut T, f: impl Fn(*const T) -> Vec<u8>) -> Vec<Vec<u8>> {
    let mut all = Vec::new();
    // SAFETY: by contract; null ends it.
    unsafe {
        while !at.is_null() && !(*at).is_null() {
            all.push(f(*at));
            at = at.add(1);
        }
    }
    all
}

/// A C string's bytes.
///
/// # Safety
/// `text` is a C string, or null.
unsafe fn bytes_of(text: *const libc::c_char) -> Vec<u8> {
    // SAFETY: by contract.
    if text.is_null() { Vec::new() } else { unsafe { CStr::from_ptr(text) }.to_bytes().to_vec() }
}

/// A host, as `gethostbyname` returns it.
pub(crate) struct Host {
    pub(crate) name: Vec<u8>,
    pub(crate) aliases: Vec<Vec<u8>>,
    pub(crate) family: i32,
    pub(crate) addresses: Vec<Vec<u8>>,
}

// SAFETY: glibc's declarations, in <netdb.h>.
unsafe extern "C" {
    fn gethostbyname_r(
        name: *const libc::c_char,
        into: *mut libc::hostent,
        buffer: *mut libc::c_char,
        len: usize,
        result: *mut *mut libc::hostent,
        error: *mut i32,
    ) -> i32;
    fn gethostbyaddr_r(
        address: *const libc::c_void,
        address_len: libc::socklen_t,
        family: i32,
        into: *mut libc::hostent,
        buffer: *mut libc::c_char,
        len: usize,
        result: *mut *mut libc::hostent,
        error: *mut i32,
    ) -> i32;
    fn getservbyname_r(
        name: *const libc::c_char,
        protocol: *const libc::c_char,
        into: *mut libc::servent,
        buffer: *mut libc::c_char,
        len: usize,
        result: *mut *mut libc::servent,
    ) -> i32;
    fn getservbyport_r(
        port: i32,
        protocol: *const libc::c_char,
        into: *mut libc::servent,
        buffer: *mut libc::c_char,
        len: usize,
        result: *mut *mut libc::servent,
    ) -> i32;
    fn getprotobyname_r(
        name: *const libc::c_char,
        into: *mut libc::protoent,
        buffer: *mut libc::c_char,
        len: usize,
        result: *mut *mut libc::protoent,
    ) -> i32;
    fn getprotobynumber_r(
        number: i32,
        into: *mut libc::protoent,
        buffer: *mut libc::c_char,
        len: usize,
        result: *mut *mut libc::protoent,
    ) -> i32;
}

/// Looks something up, with larger and larger buffers while the buffer is too small; `read` copies the entry found.
fn look_up<E, T>(
    ask: impl Fn(*mut E, *mut libc::c_char, usize, *mut *mut E) -> i32,
    read: impl Fn(&E) -> T,
) -> Option<T> {
    let mut size = 10_000;
    loop {
        let mut entry = MaybeUninit::<E>::uninit();
        let mut buffer = spelter_interp::fallible::filled(0u8, size).ok()?;
        let mut found: *mut E = std::ptr::null_mut();
        let outcome = ask(entry.as_mut_ptr(), buffer.as_mut_ptr().cast(), size, &mut found);
        if outcome == libc::ERANGE && size < 1 << 24 {
            size *= 4;
            continue;
        }
        // SAFETY: null, or the entry that has been filled; what it points to is in the buffer.
        return unsafe { found.as_ref() }.filter(|_| outcome == 0).map(read);
    }
}

fn read_host(host: &libc::hostent) -> Host {
    let len = host.h_length as usize;
    // SAFETY: C guarantees valid pointers in a host that was found.
    unsafe {
        Host {
            name: bytes_of(host.h_name),
            aliases: array_of(host.h_aliases, |alias| bytes_of(alias)),
            family: host.h_addrtype,
            addresses: array_of(host.h_addr_list, |at| {
                std::slice::from_raw_parts(at.cast::<u8>(), len).to_vec()
            }),
        }
    }
}

pub(crate) fn host_by_name(name: &CStr) -> Option<Host> {
    look_up(
        |entry, buffer, len, found| {
            // SAFETY: a C string; `look_up` provides the rest.
            unsafe { gethostbyname_r(name.as_ptr(), entry, buffer, len, found, &mut 0) }
        },
        read_host,
    )
}

/// The host of an address of four bytes.
pub(crate) fn host_by_address(address: [u8; 4]) -> Option<Host> {
    look_up(
        |entry, buffer, len, found| {
            // SAFETY: an address of the family's length; `look_up` provides the rest.
            unsafe {
                let address = address.as_ptr().cast();
                gethostbyaddr_r(address, 4, libc::AF_INET, entry, buffer, len, found, &mut 0)
            }
        },
        read_host,
    )
}

/// A service: its name, other names, port and protocol.
pub(crate) struct Service {
    pub(crate) name: Vec<u8>,
    pub(crate) aliases: Vec<Vec<u8>>,
    pub(crate) port: u16,
    pub(crate) protocol: Vec<u8>,
}

fn read_service(service: &libc::servent) -> Service {
    // SAFETY: C guarantees valid pointers in a service that was found.
    unsafe {
        Service {
            name: bytes_of(service.s_name),
            aliases: array_of(service.s_aliases, |alias| bytes_of(alias)),
            port: u16::from_be(service.s_port as u16),
            protocol: bytes_of(service.s_proto),
        }
    }
}

pub(crate) fn service_by_name(name: &CStr, protocol: &CStr) -> Option<Service> {
    look_up(
        |entry, buffer, len, found| {
            // SAFETY: two C strings; `look_up` provides the rest.
            unsafe { getservbyname_r(name.as_ptr(), protocol.as_ptr(), entry, buffer, len, found) }
        },
        read_service,
    )
}

pub(crate) fn service_by_port(port: u16, protocol: &CStr) -> Option<Service> {
    look_up(
        |entry, buffer, len, found| {
            // SAFETY: a C string; `look_up` provides the rest.
            unsafe { getservbyport_r(port.to_be().into(), protocol.as_ptr(), entry, buffer, len, found) }
        },
        read_service,
    )
}

/// A protocol: its name, other names and number.
pub(crate) struct Protocol {
    pub(crate) name: Vec<u8>,
    pub(crate) aliases: Vec<Vec<u8>>,
    pub(crate) number: i32,
}

fn read_protocol(protocol: &libc::protoent) -> Protocol {
    // SAFETY: C guarantees valid pointers in a protocol that was found.
    unsafe {
        Protocol {
            name: bytes_of(protocol.p_name),
            aliases: array_of(protocol.p_aliases, |alias| bytes_of(alias)),
            number: protocol.p_proto,
        }
    }
}

pub(crate) fn protocol_by_name(name: &CStr) -> Option<Protocol> {
    look_up(
        |entry, buffer, len, found| {
            // SAFETY: a C string; `look_up` provides the rest.
            unsafe { getprotobyname_r(name.as_ptr(), entry, buffer, len, found) }
        },
        read_protocol,
    )
}

pub(crate) fn protocol_by_number(number: i32) -> Option<Protocol> {
    look_up(
        // SAFETY: a number; `look_up` provides the rest.
        |entry, buffer, len, found| unsafe { getprotobynumber_r(number, entry, buffer, len, found) },
        read_protocol,
    )
}

/// The hints for `getaddrinfo`.
#[derive(Default)]
pub(crate) struct Hints {
    pub(crate) flags: i32,
    pub(crate) family: i32,
    pub(crate) kind: i32,
    pub(crate) protocol: i32,
}

/// A result of `getaddrinfo`.
pub(crate) struct Info {
    pub(crate) family: i32,
    pub(crate) kind: i32,
    pub(crate) protocol: i32,
    pub(crate) address: Vec<u8>,
    pub(crate) name: Vec<u8>,
}

/// The addresses of a host and a service.
///
/// # Errors
/// The system's text, if there are none.
pub(crate) fn address_infos(
    host: Option<&CString>,
    service: Option<&CString>,
    hints: &Hints,
) -> Result<Vec<Info>, String> {
    let pointer = |text: Option<&CString>| text.map_or(std::ptr::null(), |text| text.as_ptr());
    // SAFETY: numbers, and pointers that may be null.
    let mut wanted = unsafe { MaybeUninit::<libc::addrinfo>::zeroed().assume_init() };
    wanted.ai_flags = hints.flags;
    wanted.ai_family = hints.family;
    wanted.ai_socktype = hints.kind;
    wanted.ai_protocol = hints.protocol;
    let mut first: *mut libc::addrinfo = std::ptr::null_mut();
    let mut infos = Vec::new();
    // SAFETY: C strings or null, the hints, and where to write the list. C guarantees that the list is valid until it
    // is freed, which is done once.
    unsafe {
        match libc::getaddrinfo(pointer(host), pointer(service), &wanted, &mut first) {
            0 => {}
            libc::EAI_SYSTEM => return Err(strerror(Errno::last())),
            error => return Err(String::from_utf8_lossy(&bytes_of(libc::gai_strerror(error))).into_owned()),
        }
        let mut next = first;
        while let Some(info) = next.as_ref() {
            let address = std::slice::from_raw_parts(info.ai_addr.cast::<u8>(), info.ai_addrlen as usize);
            infos.push(Info {
                family: info.ai_family,
                kind: info.ai_socktype,
                protocol: info.ai_protocol,
                address: address.to_vec(),
                name: bytes_of(info.ai_canonname),
            });
            next = info.ai_next;
        }
        libc::freeaddrinfo(first);
    }
    Ok(infos)
}

/// The names of an address: the host's and the service's.
pub(crate) fn names_of_address(address: &[u8], flags: i32) -> Option<(Vec<u8>, Vec<u8>)> {
    let (mut host, mut service) = ([0u8; 4096], [0u8; 1024]);
    // SAFETY: an address and two buffers, with their lengths.
    let outcome = unsafe {
        libc::getnameinfo(
            address.as_ptr().cast(),
            address.len() as _,
            host.as_mut_ptr().cast(),
            host.len() as _,
            service.as_mut_ptr().cast(),
            service.len() as _,
            flags,
        )
    };
    let text = |buffer: &[u8]| CStr::from_bytes_until_nul(buffer).ok().map(|text| text.to_bytes().to_vec());
    if outcome == 0 { text(&host).zip(text(&service)) } else { None }
}
