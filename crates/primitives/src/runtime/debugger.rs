//! The program's side of the debugger protocol (`debugger.c`): serves the requests of `ocamldebug`, and reports to it.
//!
//! Requests and reports are single bytes, followed by big-endian numbers of four bytes, or by values: the program's
//! words, which the debugger only sends back.

use std::ffi::{CString, OsStr};
use std::io::{self, BufReader, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, ToSocketAddrs};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;

use nix::errno::Errno;
use spelter_heap::raw::tag;
use spelter_interp::inspect::debugger::{CodePlace, Cover, Debugger, Frame, Stop};
use spelter_interp::{DebuggerAddress, Machine, Raise, Slot, Val};

use crate::UNIT;
use crate::ffi;
use crate::ffi::net::Hints;
use crate::io::errors::strerror;
use crate::marshal::r#extern::marshalled;

/// The environment variable with the debugger's address.
const VARIABLE: &str = "CAML_DEBUG_SOCKET";
/// The maximum length of a socket's path, with the final zero.
const MAX_PATH: usize = 108;

/// Sent in place of a value that cannot be marshalled: not a valid header.
const UNREADABLE: &[u8] = &[0; 4];

/// A stream that can be read and written.
trait Socket: Read + Write {}
impl<T: Read + Write> Socket for T {}

/// The debugger's address.
#[derive(Clone, Debug)]
enum Address {
    Unix(PathBuf),
    Internet(SocketAddr),
}

impl Address {
    /// The address that the text describes, and the name by which messages call it.
    fn parse(text: &[u8], written: DebuggerAddress) -> Result<(Address, String), String> {
        let name = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let parts = match written {
            DebuggerAddress::UpToFirstColon => text.iter().position(|byte| *byte == b':'),
            DebuggerAddress::UpToLastColon if text.is_empty() => {
                return Err("cannot connect to debugger: empty address".to_owned());
            }
            DebuggerAddress::UpToLastColon if is_explicit_path(text) => None,
            DebuggerAddress::UpToLastColon => text.iter().rposition(|byte| *byte == b':'),
        };
        let Some(colon) = parts else {
            if text.len() >= MAX_PATH {
                return Err("debug socket path length exceeds maximum permitted length".to_owned());
            }
            return Ok((Address::Unix(OsStr::from_bytes(text).into()), name(text)));
        };
        let (host, port) = (&text[..colon], &text[colon + 1..]);
        match written {
            DebuggerAddress::UpToFirstColon => {
                Ok((Address::Internet(of_first_host(&name(host), port)?), name(host)))
            }
            DebuggerAddress::UpToLastColon => {
                let bare = host.strip_prefix(b"[").and_then(|host| host.strip_suffix(b"]"));
                // Four bytes are too few for brackets around an address.
                let host = bare.filter(|_| host.len() >= 4).unwrap_or(host);
                Ok((Address::Internet(of_any_host(host, port)?), name(host)))
            }
        }
    }

    fn connect(&self) -> io::Result<Box<dyn Socket>> {
        Ok(match self {
            Address::Unix(path) => Box::new(UnixStream::connect(path)?),
            Address::Internet(address) => Box::new(TcpStream::connect(address)?),
        })
    }
}

/// Whether a path says that it is one (`filename_is_implicit`).
fn is_explicit_path(text: &[u8]) -> bool {
    [&b"/"[..], b"./", b"../"].iter().any(|start| text.starts_with(start))
}

/// The first address of version 4 of a host, and the port of whose text only the digits in front count.
fn of_first_host(host: &str, port: &[u8]) -> Result<SocketAddr, String> {
    let digits: String = port.iter().map(|b| char::from(*b)).take_while(char::is_ascii_digit).collect();
    let port = digits.parse::<u64>().unwrap_or(0) as u16;
    let found = (host, port).to_socket_addrs().ok().and_then(|mut all| all.find(SocketAddr::is_ipv4));
    found.ok_or_else(|| format!("unknown debugging host {host}"))
}

/// The first address of a host and a port, whatever its version.
fn of_any_host(host: &[u8], port: &[u8]) -> Result<SocketAddr, String> {
    if host.is_empty() || port.is_empty() {
        return Err("empty host or empty port".to_owned());
    }
    let shown = [host, port].map(|text| String::from_utf8_lossy(text).into_owned());
    let hints = Hints { flags: libc::AI_NUMERICSERV, kind: libc::SOCK_STREAM, ..Hints::default() };
    let [c_host, c_port] = [host, port].map(|text| CString::new(text).unwrap_or_default());
    let infos = ffi::net::address_infos(Some(&c_host), Some(&c_port), &hints).map_err(|error| {
        format!("cannot connect to debugger at {} port {}\nerror: {error}", shown[0], shown[1])
    })?;
    let first = infos.first().and_then(|info| socket_address(&info.address));
    first.ok_or_else(|| format!("unknown debugging host {} port {}", shown[0], shown[1]))
}

/// The address in a `sockaddr_in` or `sockaddr_in6`.
fn socket_address(bytes: &[u8]) -> Option<SocketAddr> {
    let family = i32::from(u16::from_ne_bytes(*bytes.first_chunk()?));
    let port = u16::from_be_bytes(*bytes.get(2..)?.first_chunk()?);
    let ip: IpAddr = match family {
        libc::AF_INET => Ipv4Addr::from(*bytes.get(4..)?.first_chunk::<4>()?).into(),
        libc::AF_INET6 => Ipv6Addr::from(*bytes.get(8..)?.first_chunk::<16>()?).into(),
        _ => return None,
    };
    Some(SocketAddr::new(ip, port))
}

/// A connection with the debugger.
struct Remote {
    name: String,
    address: Address,
    socket: BufReader<Box<dyn Socket>>,
    out: Vec<u8>,
    /// Whether it follows the parent when the program forks.
    follows_parent: bool,
}

/// The connection has been lost.
struct Lost;

impl From<io::Error> for Lost {
    fn from(_: io::Error) -> Self {
        Lost
    }
}

/// Attaches the debugger that the environment names, if it names one, to a machine that has the version of its program but
/// not yet the program. Processes that the program starts do not see the variable.
///
/// # Errors
/// Why the debugger cannot be reached, in the wording of OCaml's runtime.
pub fn attach_debugger(m: &mut Machine) -> Result<(), String> {
    let Some(text) = ffi::sys::take_variable(VARIABLE) else { return Ok(()) };
    let (address, name) = Address::parse(text.as_bytes(), m.behaviour().debugger_address)?;
    let socket = address.connect().map_err(|e| refused(&name, &e))?;
    let mut remote =
        Remote { name, address, socket: BufReader::new(socket), out: Vec::new(), follows_parent: true };
    remote.put(-1);
    remote.introduce().map_err(|Lost| "the debugger has hung up".to_owned())?;
    crate::handover::debugger(m, Box::new(remote));
    Ok(())
}

fn refused(name: &str, e: &io::Error) -> String {
    format!(
        "cannot connect to debugger at {name}\nerror: {}",
        strerror(Errno::from_raw(e.raw_os_error().unwrap_or(libc::EIO)))
    )
}

impl Remote {
    fn introduce(&mut self) -> Result<(), Lost> {
        self.put(std::process::id().into());
        self.flush()
    }

    // ---- bytes -------------------------------------------------------------------------------------

    fn get_bytes<const N: usize>(&mut self) -> Result<[u8; N], Lost> {
        let mut bytes = [0; N];
        self.socket.read_exact(&mut bytes)?;
        Ok(bytes)
    }

    fn get(&mut self) -> Result<i64, Lost> {
        Ok(i32::from_be_bytes(self.get_bytes()?).into())
    }

    /// A number used as an index or count; a negative one becomes huge.
    fn get_index(&mut self) -> Result<usize, Lost> {
        Ok(self.get()? as usize)
    }

    fn get_frame(&mut self, m: &Machine) -> Result<Frame, Lost> {
        let block = if m.behaviour().debugs_fibers { self.get()? } else { 0 };
        Ok(Frame { block, offset: self.get()? })
    }

    fn get_place(&mut self) -> Result<CodePlace, Lost> {
        Ok(CodePlace { fragment: self.get_index()?, byte: self.get_index()? })
    }

    fn get_value(&mut self, m: &mut Machine) -> Result<Slot, Lost> {
        let word = u64::from_ne_bytes(self.get_bytes()?);
        Ok(m.shown_value(word).unwrap_or_else(|| m.push_int(0)))
    }

    fn put(&mut self, n: i64) {
        self.out.extend((n as i32).to_be_bytes());
    }

    fn put_place(&mut self, place: Option<CodePlace>) {
        let CodePlace { fragment, byte } = place.unwrap_or(CodePlace { fragment: 0, byte: 0 });
        self.put(fragment as i64);
        self.put(byte as i64);
    }

    /// Sends a value, or `()` if there is none.
    fn put_value(&mut self, m: &mut Machine, f: impl FnOnce(&Machine) -> Option<Val<'_>>) {
        let shown = m.push(|m| Ok(f(m).unwrap_or(UNIT)));
        let word = shown.map_or(UNIT.raw().bits(), |slot| m.show_value(slot));
        self.out.extend(word.to_ne_bytes());
    }

    fn flush(&mut self) -> Result<(), Lost> {
        let out = std::mem::take(&mut self.out);
        self.socket.get_mut().write_all(&out)?;
        Ok(self.socket.get_mut().flush()?)
    }

    // ---- reports -----------------------------------------------------------------------------------

    fn report(&mut self, m: &Machine, stop: Stop) -> Result<(), Lost> {
        match stop {
            Stop::Start => return Ok(()),
            Stop::Event => self.out.push(b'e'),
            Stop::Breakpoint => self.out.push(b'b'),
            Stop::Exit => self.out.push(b'x'),
            Stop::Trap => self.out.push(b's'),
            Stop::Uncaught => self.out.push(b'u'),
            Stop::DebugInfo(events) => {
                self.out.push(b'D');
                self.out.extend(marshalled(m, events, false).unwrap_or_else(|_| UNREADABLE.to_vec()));
            }
            Stop::Loaded(fragment) => {
                self.out.push(b'L');
                self.put(fragment as i64);
            }
            Stop::Unloaded(fragment) => {
                self.out.push(b'U');
                self.put(fragment as i64);
            }
        }
        self.put(m.debug_events() as i64);
        if matches!(stop, Stop::Event | Stop::Breakpoint) {
            self.put_frame(m, m.debug_frame());
        } else {
            let none: &[i64] = if m.behaviour().debugs_fibers { &[-1, -1, 0, 0] } else { &[0, -1, 0] };
            none.iter().for_each(|n| self.put(*n));
        }
        self.flush()
    }

    // ---- requests ----------------------------------------------------------------------------------

    /// Serves requests until the program must continue, or end with an exit code.
    fn serve(&mut self, m: &mut Machine) -> Result<Option<i32>, Lost> {
        let mut frame = m.debug_frame();
        loop {
            let mark = m.mark();
            let [request] = self.get_bytes()?;
            match request {
                b'e' => {
                    let place = self.get_place()?;
                    m.cover(place, Some(Cover::Event));
                }
                b'B' => {
                    let place = self.get_place()?;
                    m.cover(place, Some(Cover::Break));
                }
                b'i' => {
                    let place = self.get_place()?;
                    m.cover(place, None);
                }
                b'c' => self.checkpoint(m)?,
                b'g' => {
                    m.set_debug_events(self.get()? as u64);
                    return Ok(None);
                }
                b's' => return Ok(Some(0)),
                // It does not matter whether there was a child to wait for.
                b'w' => drop(ffi::process::waitpid(-1, 0)),
                b'0' | b'f' => {
                    if request == b'0' {
                        frame = m.debug_frame();
                    }
                    self.put_frame(m, frame);
                    self.flush()?;
                }
                b'S' => frame = self.get_frame(m)?,
                b'U' => {
                    let size = self.get()?;
                    match m.caller_frame(frame, size) {
                        Some((caller, _)) => {
                            frame = caller;
                            self.put_frame(m, frame);
                        }
                        None => self.put_position(m, Frame { block: -1, offset: -1 }),
                    }
                    self.flush()?;
                }
                b'b' => m.set_trap_barrier(self.get_frame(m)?),
                b'K' => self.follows_parent = self.get()? != 0,
                request => self.answer(m, request, frame)?,
            }
            m.release(mark);
        }
    }

    fn put_frame(&mut self, m: &Machine, frame: Frame) {
        self.put_position(m, frame);
        self.put_place(m.frame_place(frame));
    }

    fn put_position(&mut self, m: &Machine, frame: Frame) {
        if m.behaviour().debugs_fibers {
            self.put(frame.block);
        }
        self.put(frame.offset);
    }

    /// Requests about values.
    fn answer(&mut self, m: &mut Machine, request: u8, frame: Frame) -> Result<(), Lost> {
        match request {
            b'L' => {
                let i = self.get()?;
                self.put_value(m, |m| m.frame_local(frame, i));
            }
            b'E' => {
                let i = self.get_index()?;
                self.put_value(m, |m| m.frame_environment(frame, i));
            }
            b'G' => {
                let i = self.get_index()?;
                self.put_value(m, |m| m.globals().field(i).ok());
            }
            b'A' => self.put_value(m, Machine::debug_accu),
            b'H' => {
                let v = self.get_value(m)?;
                let v = m.val(v);
                let header = v.wosize().unwrap_or(0) << 10 | usize::from(v.tag().unwrap_or(0));
                self.put(header as i64);
            }
            b'F' => {
                let v = self.get_value(m)?;
                let i = self.get_index()?;
                if m.val(v).tag() == Ok(tag::DOUBLE_ARRAY) {
                    self.out.push(1);
                    self.out.extend(m.val(v).float_field(i).unwrap_or(0.0).to_ne_bytes());
                } else {
                    self.out.push(0);
                    self.put_value(m, |m| m.val(v).scanned_field(i).ok());
                }
            }
            b'M' => {
                let v = self.get_value(m)?;
                self.out.extend(marshalled(m, v, true).unwrap_or_else(|_| UNREADABLE.to_vec()));
            }
            b'C' => {
                let v = self.get_value(m)?;
                self.put_place(m.closure_place(v));
            }
            // Unknown requests are ignored, as in OCaml's runtime.
            _ => return Ok(()),
        }
        self.flush()
    }

    /// Makes a copy of the process, which waits for the debugger on a new connection.
    fn checkpoint(&mut self, m: &Machine) -> Result<(), Lost> {
        // A copy has only the thread that makes it.
        let child = if m.thread_count() > 1 { None } else { ffi::process::fork().ok() };
        if child == Some(0) {
            match self.address.connect() {
                Ok(socket) => self.socket = BufReader::new(socket),
                Err(e) => {
                    eprintln!("Fatal error: {}", refused(&self.name, &e));
                    std::process::abort();
                }
            }
            return self.introduce();
        }
        self.put(child.unwrap_or(-1).into());
        self.flush()
    }
}

impl Debugger for Remote {
    fn stopped(&mut self, m: &mut Machine, stop: Stop) -> Result<(), Raise> {
        let mark = m.mark();
        let outcome = self.report(m, stop).and_then(|()| self.serve(m));
        m.release(mark);
        match outcome {
            Ok(None) => Ok(()),
            Ok(Some(code)) => std::process::exit(code),
            // The debugger can no longer say how the program should continue.
            Err(Lost) => std::process::exit(2),
        }
    }

    fn follows(&self, child: bool) -> bool {
        self.follows_parent != child
    }
}
