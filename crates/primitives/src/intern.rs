//! Unmarshalling (`intern.c`).

use spelter_bytecode::marshal::Header;
use spelter_bytecode::{Error, ErrorKind};
use spelter_interp::build::{Failed, find_code};
use spelter_interp::{Machine, Raise, Res, Slot, Val, prims};

use crate::io;

/// What OCaml says of data that it does not understand, where it says anything.
fn failure(function: &str, e: &Error) -> Raise {
    Raise::failure(match e.kind() {
        ErrorKind::Compressed => format!("{function}: compressed object, cannot decompress"),
        ErrorKind::NotThisKind { .. } => format!("{function}: bad object"),
        ErrorKind::Truncated { .. } => format!("{function}: truncated object"),
        _ => format!("{function}: ill-formed message"),
    })
}

fn build<'m>(m: &'m mut Machine, bytes: &[u8]) -> Res<'m> {
    let root = match m.unmarshal(bytes, find_code) {
        Ok((root, _)) => root,
        Err(Failed::Raise(raise)) => return Err(raise),
        Err(Failed::Data(e)) => return Err(failure("input_value", &e)),
        Err(Failed::Rooted) => return Err(Raise::failure("input_value: ill-formed message")),
    };
    m.process_pending_actions()?;
    Ok(m.val(root))
}

/// How much to read at a time of what a header announces, so that a damaged one does not take all memory.
const READ_AHEAD: usize = 1 << 20;

fn input_value(m: &mut Machine, [chan]: [Slot; 1]) -> Res<'_> {
    let channel = io::shared(m, chan)?;
    let truncated = || Raise::failure("input_value: truncated object");
    let mut bytes = vec![0; Header::SMALL_LEN];
    match io::get_all(m, &channel, &mut bytes)? {
        0 => return Err(Raise::EndOfFile),
        Header::SMALL_LEN => {}
        _ => return Err(truncated()),
    }
    let header = match Header::parse(&bytes) {
        // A big header: there is more of it.
        Err(e) if matches!(e.kind(), ErrorKind::Truncated { .. }) => {
            bytes.resize(Header::BIG_LEN, 0);
            if io::get_all(m, &channel, &mut bytes[Header::SMALL_LEN..])?
                < Header::BIG_LEN - Header::SMALL_LEN
            {
                return Err(truncated());
            }
            Header::parse(&bytes)
        }
        parsed => parsed,
    };
    let header = header.map_err(|e| failure("input_value", &e))?;
    let mut left = usize::try_from(header.data_len).map_err(|_| Raise::OutOfMemory)?;
    while left > 0 {
        let (at, n) = (bytes.len(), left.min(READ_AHEAD.max(bytes.len())));
        bytes.resize(at + n, 0);
        if io::get_all(m, &channel, &mut bytes[at..])? < n {
            return Err(truncated());
        }
        left -= n;
    }
    build(m, &bytes)
}

/// The bytes of the string in `s` from an offset on.
fn from_offset(m: &Machine, s: Slot, offset: Slot) -> Result<&[u8], Raise> {
    let offset = m.index(offset)?;
    m.bytes(s)?.get(offset..).ok_or_else(Raise::bounds)
}

fn input_value_from_bytes(m: &mut Machine, [s, offset]: [Slot; 2]) -> Res<'_> {
    let bytes = from_offset(m, s, offset)?;
    let header = Header::parse(bytes).map_err(|e| failure("input_val_from_string", &e))?;
    let bytes = usize::try_from(header.total_len()).ok().and_then(|len| bytes.get(..len));
    // A copy, since building may collect and so move the string.
    let bytes = bytes.ok_or_else(|| Raise::failure("input_val_from_string: bad length"))?.to_vec();
    build(m, &bytes)
}

/// What follows a header of the size that `Marshal.header_size` tells.
fn marshal_data_size(m: &mut Machine, [s, offset]: [Slot; 2]) -> Res<'_> {
    let bytes = from_offset(m, s, offset)?;
    let header = match Header::parse(bytes) {
        Ok(header) => header,
        // Callers may have read no more than the size of a small header, which has all that is asked for.
        Err(e) if matches!(e.kind(), ErrorKind::Truncated { .. }) && bytes.len() >= 16 => {
            let mut padded = [0; Header::BIG_LEN];
            let len = bytes.len().min(padded.len());
            padded[..len].copy_from_slice(&bytes[..len]);
            Header::parse(&padded).map_err(|e| failure("Marshal.data_size", &e))?
        }
        Err(e) => return Err(failure("Marshal.data_size", &e)),
    };
    Ok(Val::from_int((header.header_len - Header::SMALL_LEN) as i64 + header.data_len as i64))
}

prims! {
    "caml_input_value" P1 input_value,
    "caml_input_value_from_bytes" P2 input_value_from_bytes,
    "caml_marshal_data_size" P2 marshal_data_size,
}
