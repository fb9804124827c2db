//! Files of a machine that the system does not know: bytes that the host gave, and what takes the bytes that the program
//! writes.

use std::any::Any;
use std::io::{self, Read, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use nix::errno::Errno;
use nix::libc;
use spelter_interp::{Account, Charge, Machine, OutputMeter, Raise};

use crate::io::channels::Stop;
use crate::io::stored::Open;
use crate::libs::unix::stat::Stats;

/// Such a file, open.
pub(crate) struct Memory {
    content: Mutex<Content>,
    /// What `stat` and `fstat` call it, so that a program can tell files apart; 0 for streams.
    ino: u64,
}

/// What takes bytes, and what limits them.
pub(crate) struct Sink {
    to: Box<dyn Write + Send>,
    /// The same, if it is that.
    captured: Option<Captured>,
    limits: Option<(OutputMeter, Arc<Account>)>,
}

enum Content {
    /// Bytes to read, and the position.
    Input(Arc<[u8]>, usize),
    /// A file of a directory in memory.
    Stored(Open),
    /// What the host reads from.
    Source(Box<dyn Read + Send>),
    /// Takes what is written.
    Output(Sink),
    /// Not granted; by what it would be.
    Refused(&'static str),
}

impl Memory {
    fn new(content: Content, ino: u64) -> Arc<Memory> {
        Arc::new(Memory { content: Mutex::new(content), ino })
    }

    /// A file that is read.
    pub(crate) fn input(bytes: Arc<[u8]>, ino: u64) -> Arc<Memory> {
        Memory::new(Content::Input(bytes, 0), ino)
    }

    /// A file of a directory in memory.
    pub(crate) fn stored(open: Open, ino: u64) -> Arc<Memory> {
        Memory::new(Content::Stored(open), ino)
    }

    /// A file that is read from elsewhere.
    pub(crate) fn source(source: Box<dyn Read + Send>) -> Arc<Memory> {
        Memory::new(Content::Source(source), 0)
    }

    /// A file that is written.
    pub(crate) fn output(sink: impl Write + Send + 'static) -> Arc<Memory> {
        let captured = (&sink as &dyn Any).downcast_ref::<Captured>().cloned();
        let sink = Sink { to: Box::new(sink), captured, limits: None };
        Memory::new(Content::Output(sink), 0)
    }

    /// Makes the limits of a machine hold for what is written.
    pub(crate) fn limit(&self, m: &Machine) {
        if let Content::Output(sink) = &mut *self.lock() {
            sink.limits = Some((m.output_meter(), Arc::clone(m.heap().account())));
        }
    }

    /// Collects if otherwise the limit of memory would leave no room for `len` bytes more.
    pub(crate) fn make_room(&self, m: &mut Machine, len: usize) -> Result<(), Raise> {
        let growth = match &*self.lock() {
            Content::Output(Sink { captured: Some(captured), .. }) => captured.growth(len),
            _ => 0,
        };
        if growth > 0 { m.charge(growth).map(drop) } else { Ok(()) }
    }

    /// A file that can be neither read nor written; `help` names what would grant it.
    pub(crate) fn refused(help: &'static str) -> Arc<Memory> {
        Memory::new(Content::Refused(help), 0)
    }

    fn lock(&self) -> MutexGuard<'_, Content> {
        self.content.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn with<T>(&self, f: impl FnOnce(&mut Content) -> Result<T, Stop>) -> Result<T, Stop> {
        match &mut *self.lock() {
            Content::Refused(help) => Err(Stop::NotGranted(help)),
            content => f(content),
        }
    }

    /// Writes some of the bytes. A panic of the host's sink is an error of the file.
    pub(crate) fn write(&self, bytes: &[u8]) -> Result<usize, Stop> {
        self.with(|content| {
            let sink = match content {
                Content::Output(sink) => sink,
                Content::Stored(open) => return Ok(open.write(bytes)?),
                _ => return Err(Stop::Errno(Errno::EBADF)),
            };
            if let Some((meter, account)) = &sink.limits {
                if !meter.spend(bytes.len()) {
                    return Err(Stop::Errno(Errno::ENOSPC));
                }
                if let Some(captured) = &sink.captured {
                    captured.grow(account, bytes.len())?;
                }
            }
            let to = &mut sink.to;
            let written = catch_unwind(AssertUnwindSafe(|| match to.write(bytes) {
                // Whoever reads the sink is to see what the program has flushed.
                Ok(n) => to.flush().map(|()| n.min(bytes.len())),
                Err(e) => Err(e),
            }));
            match written {
                Ok(Ok(0)) if !bytes.is_empty() => Err(Stop::Errno(Errno::ENOSPC)),
                Ok(Ok(n)) => Ok(n),
                Ok(Err(e)) => Err(errno(&e).into()),
                Err(_) => Err(Stop::Errno(Errno::EIO)),
            }
        })
    }

    /// Reads some bytes; none at the end. A panic of the host's source is an error of the file.
    pub(crate) fn read(&self, into: &mut [u8]) -> Result<usize, Stop> {
        self.with(|content| match content {
            Content::Input(bytes, at) => {
                let rest = bytes.get(*at..).unwrap_or_default();
                let n = rest.len().min(into.len());
                into[..n].copy_from_slice(&rest[..n]);
                *at += n;
                Ok(n)
            }
            Content::Stored(open) => Ok(open.read(into)?),
            Content::Source(source) => match catch_unwind(AssertUnwindSafe(|| source.read(into))) {
                Ok(Ok(n)) => Ok(n.min(into.len())),
                Ok(Err(e)) => Err(errno(&e).into()),
                Err(_) => Err(Stop::Errno(Errno::EIO)),
            },
            _ => Err(Stop::Errno(Errno::EBADF)),
        })
    }

    /// Where the next byte is read.
    pub(crate) fn position(&self) -> Result<i64, Stop> {
        self.with(|content| match content {
            Content::Input(_, at) => Ok(*at as i64),
            Content::Stored(open) => Ok(open.at as i64),
            _ => Err(Stop::Errno(Errno::ESPIPE)),
        })
    }

    /// The number of bytes in the file.
    pub(crate) fn size(&self) -> Result<i64, Stop> {
        self.with(|content| match content {
            Content::Input(bytes, _) => Ok(bytes.len() as i64),
            Content::Stored(open) => Ok(open.size() as i64),
            _ => Err(Stop::Errno(Errno::ESPIPE)),
        })
    }

    /// Changes the number of bytes in the file; those that are added are zero.
    pub(crate) fn set_size(&self, len: i64) -> Result<(), Stop> {
        let len = usize::try_from(len).map_err(|_| Stop::Errno(Errno::EINVAL))?;
        self.with(|content| match content {
            Content::Stored(open) if open.writes => Ok(open.file.set_size(len)?),
            _ => Err(Stop::Errno(Errno::EINVAL)),
        })
    }

    /// Waits until everything is stored, where that means anything.
    pub(crate) fn sync(&self) -> Result<(), Stop> {
        self.with(|content| match content {
            Content::Stored(_) | Content::Input(..) => Ok(()),
            _ => Err(Stop::Errno(Errno::EINVAL)),
        })
    }

    /// What is known of the file. Streams are like pipes.
    pub(crate) fn stats(&self) -> Result<Stats, Stop> {
        let known = |kind: libc::mode_t, mode, size| Stats {
            ino: self.ino,
            mode: kind | mode,
            nlink: 1,
            size,
            ..Stats::default()
        };
        Ok(match &*self.lock() {
            Content::Input(bytes, _) => known(libc::S_IFREG, 0o444, bytes.len() as i64),
            Content::Stored(open) => known(libc::S_IFREG, 0o644, open.size() as i64),
            Content::Source(_) => known(libc::S_IFIFO, 0o400, 0),
            Content::Output(_) => known(libc::S_IFIFO, 0o200, 0),
            Content::Refused(_) => known(libc::S_IFIFO, 0, 0),
        })
    }

    /// Moves to a position, which may be behind the end.
    pub(crate) fn seek(&self, to: i64) -> Result<i64, Stop> {
        self.with(|content| match content {
            Content::Input(_, at) | Content::Stored(Open { at, .. }) => {
                *at = usize::try_from(to).map_err(|_| Stop::Errno(Errno::EINVAL))?;
                Ok(to)
            }
            _ => Err(Stop::Errno(Errno::ESPIPE)),
        })
    }
}

/// The system's number for an error, also for one that Rust's libraries report.
pub(crate) fn errno(e: &io::Error) -> Errno {
    match (e.raw_os_error(), e.kind()) {
        (Some(number), _) => Errno::from_raw(number),
        (None, io::ErrorKind::PermissionDenied) => Errno::EACCES,
        (None, io::ErrorKind::BrokenPipe) => Errno::EPIPE,
        (None, io::ErrorKind::StorageFull) => Errno::ENOSPC,
        (None, io::ErrorKind::NotFound) => Errno::ENOENT,
        (None, io::ErrorKind::InvalidInput) => Errno::EINVAL,
        (None, _) => Errno::EIO,
    }
}

/// What a program has written, until the host takes it. It counts towards the limit of the memory of the machine that
/// writes it.
#[derive(Clone, Default)]
pub struct Captured(Arc<Mutex<Kept>>);

#[derive(Default)]
struct Kept {
    bytes: Vec<u8>,
    charges: Vec<Charge>,
}

impl Kept {
    /// The room needed for `len` bytes more, or for as many as may be kept.
    fn wanted(&self, len: usize) -> usize {
        const FIRST: usize = 4 << 10;
        let all = (self.bytes.len() + len).min(Captured::MOST);
        if all <= self.bytes.capacity() { 0 } else { all.max(2 * self.bytes.capacity()).max(FIRST) }
    }
}

impl Captured {
    /// As many bytes are kept; more are an error of the file (`ENOSPC`) until the host has taken them.
    pub const MOST: usize = 16 << 20;

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes all that has been written since the last time.
    pub fn take(&self) -> Vec<u8> {
        std::mem::take(&mut *self.kept()).bytes
    }

    /// What `len` bytes more would take.
    fn growth(&self, len: usize) -> usize {
        let kept = self.kept();
        kept.wanted(len).saturating_sub(kept.bytes.capacity())
    }

    /// Makes room for `len` bytes more.
    fn grow(&self, account: &Arc<Account>, len: usize) -> Result<(), Stop> {
        let mut kept = self.kept();
        let wanted = kept.wanted(len);
        let more = wanted.saturating_sub(kept.bytes.capacity());
        if more == 0 {
            return Ok(());
        }
        let Some(charge) = account.charged_to(more) else {
            account.refuse();
            return Err(Stop::Errno(Errno::ENOSPC));
        };
        let more = wanted - kept.bytes.len();
        kept.bytes.try_reserve_exact(more).map_err(|_| Stop::Errno(Errno::ENOSPC))?;
        kept.charges.push(charge);
        Ok(())
    }
}

impl Write for Captured {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let all = &mut self.kept().bytes;
        let n = bytes.len().min(Captured::MOST - all.len());
        all.try_reserve(n)?;
        all.extend_from_slice(&bytes[..n]);
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
