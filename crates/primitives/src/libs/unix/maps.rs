//! Files as big arrays (`mmap.c`, `mmap_ba.c`). If a file is truncated while it is mapped, the process ends when the
//! program accesses the missing part, as under `ocamlrun`.

use std::io;

use memmap2::MmapMut;
use nix::errno::Errno;
use nix::libc;
use nix::sys::stat::fstat;
use nix::sys::uio::pwrite;
use nix::unistd::ftruncate;
use spelter_interp::{Machine, Raise, Res, Slot, prims};

use super::args::fd;
use super::errors::check;
use crate::ffi;
use crate::io::fds::Fd;
use crate::values::bigarray;

/// Why a file cannot be mapped.
enum Problem {
    Errno(Errno),
    Failure(&'static str),
    /// The array has more bytes than there are addresses.
    TooLarge,
    /// It would end beyond the last position of a file.
    TooFar,
}

impl From<Errno> for Problem {
    fn from(e: Errno) -> Self {
        Problem::Errno(e)
    }
}

impl From<io::Error> for Problem {
    fn from(e: io::Error) -> Self {
        Problem::Errno(Errno::from_raw(e.raw_os_error().unwrap_or(libc::EINVAL)))
    }
}

const MISMATCH: &str = "Unix.map_file: file size doesn't match array dimensions";

/// Writes a byte at the end: unlike `ftruncate`, that never shortens a file, even if another process changes it.
fn grow(fd: &Fd, size: i64) -> Result<(), Errno> {
    match pwrite(fd, &[0], size - 1) {
        // Some files have a size but no positions.
        Err(Errno::ESPIPE) => ftruncate(fd, size),
        outcome => outcome.map(drop),
    }
}

/// A request to map a file.
struct Wanted {
    /// An element's size in bytes.
    element: usize,
    /// The dimensions; the file's size determines the one at `open`.
    dims: Vec<usize>,
    open: Option<usize>,
    from: i64,
    shared: bool,
    /// Whether the open dimension is 0 if the others have size 0.
    takes_empty: bool,
}

impl Wanted {
    /// Maps the file; also returns the dimensions.
    fn map(mut self, fd: &Fd) -> Result<(Vec<usize>, Option<MmapMut>), Problem> {
        let file_size = fstat(fd)?.st_size;
        let known = self.dims.iter().try_fold(self.element, |size, dim| size.checked_mul(*dim));
        let known = known.ok_or(Problem::TooLarge)?;
        let size = match self.open {
            Some(open) => {
                if file_size < self.from {
                    return Err(Problem::Failure("Unix.map_file: file position exceeds file size"));
                }
                // A negative position wraps here; it is refused below.
                let rest = file_size.wrapping_sub(self.from) as usize;
                if known == 0 && self.takes_empty {
                    self.dims[open] = 0;
                    0
                } else {
                    // If the known dimensions have size 0, the open one cannot be determined.
                    let dim = rest.checked_div(known).filter(|dim| dim * known == rest);
                    self.dims[open] = dim.ok_or(Problem::Failure(MISMATCH))?;
                    rest
                }
            }
            None => {
                let end = i64::try_from(known).ok().and_then(|known| self.from.checked_add(known));
                let end = end.ok_or(Problem::TooFar)?;
                if file_size < end {
                    grow(fd, end)?;
                }
                known
            }
        };
        let from = u64::try_from(self.from).map_err(|_| Errno::EINVAL)?;
        // An empty range cannot be mapped.
        let bytes = (size > 0).then(|| ffi::map::map(fd, from, size, self.shared)).transpose()?;
        Ok((self.dims, bytes))
    }
}

fn map_file<'m>(m: &'m mut Machine, slots: &[Slot]) -> Res<'m> {
    let &[f, kind, layout, shared, dims, from] = slots else { return Err(Raise::bounds()) };
    let (kind, layout) = (bigarray::kind_of(m, kind)?, bigarray::layout_of(m, layout)?);
    let (from, shared) = (m.int64(from)?, m.bool(shared));
    let count = m.val(dims).wosize()?;
    if !(1..=bigarray::MAX_DIMS).contains(&count) {
        return Err(Raise::invalid("Unix.map_file: bad number of dimensions"));
    }
    let major = layout.slowest(count);
    let tests_sizes = m.behaviour().map_file_tests_sizes;
    let (element, dims_of_1) = (kind.size(), vec![1; count]);
    let mut wanted = Wanted { element, dims: dims_of_1, open: None, from, shared, takes_empty: tests_sizes };
    for i in 0..count {
        match m.val(dims).field(i)?.int()? {
            -1 if i == major => wanted.open = Some(i),
            dim => {
                wanted.dims[i] =
                    usize::try_from(dim).map_err(|_| Raise::invalid("Unix.map_file: negative dimension"))?;
            }
        }
    }
    let fd = fd(m, f, "map_file")?;
    let (dims, bytes) = match m.blocking(|| wanted.map(&fd))? {
        Ok(mapped) => mapped,
        Err(Problem::Errno(e)) => check(m, "map_file", None, Err(e))?,
        Err(Problem::Failure(message)) => return Err(Raise::failure(message)),
        Err(Problem::TooLarge) if tests_sizes => {
            return Err(Raise::failure("Unix.map_file: array too big to fit in memory"));
        }
        Err(Problem::TooFar) if tests_sizes => {
            return Err(Raise::failure("Unix.map_file: array too big to fit in the file"));
        }
        Err(Problem::TooLarge | Problem::TooFar) => return Err(Raise::OutOfMemory),
    };
    match bytes {
        Some(bytes) => bigarray::new_mapped(m, kind, layout, &dims, bytes),
        None => bigarray::new_mapped(m, kind, layout, &dims, Vec::new()),
    }
}

prims! {
    "caml_unix_map_file_bytecode" Pn map_file,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::io::fds::Fds;

    #[test]
    fn dimensions_of_size_0_are_no_divisor() {
        let (r, _w) = io::pipe().unwrap();
        let mut fds = Fds::default();
        let r = fds.insert(r.into());
        let wanted = |dims: &[usize]| Wanted {
            element: 8,
            dims: dims.to_vec(),
            open: Some(0),
            from: 0,
            shared: false,
            takes_empty: false,
        };
        let fd = fds.get(r).unwrap();
        assert!(matches!(wanted(&[1, 0]).map(&fd), Err(Problem::Failure(MISMATCH))));
        assert!(matches!(wanted(&[1, 5]).map(&fd), Ok((dims, _)) if dims == [0, 5]));
        let empty = Wanted { takes_empty: true, ..wanted(&[1, 0]) };
        assert!(matches!(empty.map(&fd), Ok((dims, None)) if dims == [0, 0]));
        let before = Wanted { from: i64::MIN, ..wanted(&[1]) };
        assert!(matches!(before.map(&fd), Err(Problem::Errno(Errno::EINVAL))));
        assert!(matches!(wanted(&[1, usize::MAX]).map(&fd), Err(Problem::TooLarge)));
    }
}
