//! Unmarshalling (`intern.c`).

use spelter_bytecode::marshal::Header;
use spelter_bytecode::{Error, ErrorKind};
use spelter_interp::prim::unmarshal::{Failed, find_code};
use spelter_interp::{Machine, PIECE_BYTES, Raise, Res, Slot, Val, fallible, prims};

use crate::io::channels;

/// The name of the channels' entry point, which is in the machine's own messages, too.
const FROM_CHANNEL: &str = "input_value";
/// The name of the other entry points.
const FROM_STRING: &str = "input_val_from_string";

const TOO_LARGE: &str = "object too large to be read back on this platform";
const INVALID_READ: &str = "input_value: invalid read";

/// Whether the program has asked for compressed data to be read (`caml_zstd_initialize`).
#[derive(Default)]
pub(super) struct Decompresses(pub(super) bool);

fn failure(reader: &str, what: &str) -> Raise {
    Raise::failure(format!("{reader}: {what}"))
}

/// OCaml's exception for a header that it cannot read. `cut` is what it says if the data end before it, unless it
/// tests every step.
#[cold]
fn bad_header(m: &Machine, bytes: &[u8], reader: &str, e: &Error, cut: &str) -> Raise {
    match e.kind() {
        ErrorKind::NotThisKind { .. } => failure(reader, "bad object"),
        ErrorKind::Malformed(_) if Header::is_too_large(bytes) => failure(reader, TOO_LARGE),
        _ if m.behaviour().marshal_validates => Raise::failure(INVALID_READ),
        _ => failure(reader, cut),
    }
}

/// Reads the header at the start of some bytes.
fn header(m: &Machine, bytes: &[u8], reader: &str, cut: &str) -> Result<Header, Raise> {
    let header = Header::parse(bytes).map_err(|e| bad_header(m, bytes, reader, &e, cut))?;
    if header.decompressed_len.is_some() && !m.behaviour().reads_compressed {
        return Err(failure(reader, "bad object"));
    }
    if m.behaviour().marshal_checks_closures && header.total_len() == u64::MAX {
        return Err(failure(reader, TOO_LARGE));
    }
    Ok(header)
}

/// Builds the value of some bytes that `reader` has read.
fn build<'m>(m: &'m mut Machine, bytes: Vec<u8>, reader: &'static str) -> Res<'m> {
    let reader = if m.behaviour().marshal_errors_name_function { reader } else { FROM_CHANNEL };
    let is_compressed = Header::parse(&bytes).is_ok_and(|header| header.decompressed_len.is_some());
    if is_compressed && m.behaviour().decompresses_on_request && !m.ext::<Decompresses>().0 {
        m.give_back(bytes.len(), bytes);
        return Err(failure(reader, "compressed object, cannot decompress"));
    }
    let outcome = m.unmarshal(&bytes, find_code, reader).map_err(|failed| refused(m, &bytes, failed, reader));
    m.give_back(bytes.len(), bytes);
    let (root, _) = outcome?;
    m.process_pending_actions()?;
    Ok(m.val(root))
}

/// OCaml's exception for data that it cannot read.
#[cold]
fn refused(m: &mut Machine, bytes: &[u8], failed: Failed, reader: &'static str) -> Raise {
    let closure = matches!(&failed, Failed::Closure(_)) && m.behaviour().marshal_checks_closures;
    let raise = match failed {
        Failed::Raise(raise @ Raise::Failure(_)) => raise,
        Failed::Raise(raise) => return raise,
        Failed::Data(e) if let ErrorKind::Compressed(_) = e.kind() => {
            return failure(reader, "decompression error");
        }
        Failed::Closure(_) if closure => failure(reader, "ill-formed function closure"),
        Failed::Data(_) | Failed::Closure(_) | Failed::Rooted => failure(reader, "ill-formed message"),
    };
    match m.behaviour().marshal_validates {
        true => m.why_refused(bytes, find_code, reader).unwrap_or(raise),
        false => raise,
    }
}

/// How much of the size in a header to read at a time, so that a damaged header does not take all memory.
const READ_AHEAD: usize = 1 << 20;
/// The size of data for which there is certainly no memory, which OCaml asks for before it reads them.
const NO_MEMORY: usize = 1 << 46;

fn input_value(m: &mut Machine, [chan]: [Slot; 1]) -> Res<'_> {
    let channel = channels::lock(m, chan)?;
    let truncated = || Raise::failure("input_value: truncated object");
    let mut bytes = vec![0; Header::SMALL_LEN];
    match channels::get_all(m, &channel, &mut bytes)? {
        0 => return Err(Raise::EndOfFile),
        Header::SMALL_LEN => {}
        _ => return Err(truncated()),
    }
    if let Err(e) = Header::parse(&bytes)
        && let ErrorKind::Truncated { needed } = *e.kind()
    {
        // A longer header: read the rest of it.
        let len = (Header::SMALL_LEN + needed as usize).min(Header::MAX_LEN);
        bytes.resize(len, 0);
        if channels::get_all(m, &channel, &mut bytes[Header::SMALL_LEN..])? < len - Header::SMALL_LEN {
            return Err(truncated());
        }
    }
    let header = header(m, &bytes, FROM_CHANNEL, "truncated object")?;
    // The header of compressed data may be shorter than what has been read.
    let left = header.total_len().saturating_sub(bytes.len() as u64);
    let mut left = usize::try_from(left).ok().filter(|left| *left < NO_MEMORY).ok_or(Raise::OutOfMemory)?;
    while left > 0 {
        let (at, n) = (bytes.len(), left.min(READ_AHEAD));
        m.with_room(|_| Ok(fallible::reserve(&mut bytes, n)?))?;
        bytes.resize(at + n, 0);
        if channels::get_all(m, &channel, &mut bytes[at..])? < n {
            return Err(truncated());
        }
        left -= n;
    }
    build(m, bytes, FROM_CHANNEL)
}

/// The bytes of the string in `s` from an offset on.
fn from_offset(m: &Machine, s: Slot, offset: Slot) -> Result<&[u8], Raise> {
    let offset = m.index(offset)?;
    m.bytes(s)?.get(offset..).ok_or_else(Raise::bounds)
}

fn input_value_from_bytes(m: &mut Machine, [s, offset]: [Slot; 2]) -> Res<'_> {
    let bytes = from_offset(m, s, offset)?;
    let header = header(m, bytes, FROM_STRING, "bad length")?;
    let bytes = usize::try_from(header.total_len()).ok().and_then(|len| bytes.get(..len));
    let bytes = bytes.ok_or_else(|| failure(FROM_STRING, "bad length"))?;
    // A copy, since building may collect and so move the string.
    let len = bytes.len();
    let mut copy = m.with_room(|_| Ok(fallible::with_capacity(len)?))?;
    let bytes = from_offset(m, s, offset)?.get(..len).ok_or_else(Raise::bounds)?;
    for piece in bytes.chunks(PIECE_BYTES) {
        if let Err(raise) = m.check_interrupt() {
            m.give_back(copy.len(), copy);
            return Err(raise);
        }
        copy.extend_from_slice(piece);
    }
    build(m, copy, FROM_STRING)
}

/// Reads a value from the bytes at the start of a block of C's memory, for a function of this name.
pub(crate) fn input_value_from_block<'m>(m: &'m mut Machine, bytes: &[u8], reader: &'static str) -> Res<'m> {
    let header = header(m, bytes, reader, "bad length")?;
    let bytes = usize::try_from(header.total_len()).ok().and_then(|len| bytes.get(..len));
    let Some(bytes) = bytes else {
        let name = if m.behaviour().marshal_validates { reader } else { "input_val_from_block" };
        return Err(failure(name, "bad length"));
    };
    let copy = fallible::to_vec(bytes)?;
    build(m, copy, reader)
}

/// The number of bytes that a header says. `first` returns as many bytes as it is asked for.
pub(crate) fn marshalled_len<'a>(
    m: &Machine,
    first: impl Fn(usize) -> &'a [u8],
    reader: &str,
) -> Result<usize, Raise> {
    let len = match Header::parse(first(Header::SMALL_LEN)) {
        Err(e) if let ErrorKind::Truncated { needed } = *e.kind() => {
            (Header::SMALL_LEN + needed as usize).min(Header::MAX_LEN)
        }
        _ => Header::SMALL_LEN,
    };
    let header = header(m, first(len), reader, "bad object")?;
    usize::try_from(header.total_len()).map_err(|_| failure(reader, TOO_LARGE))
}

/// The size of the data after a header of the size `Marshal.header_size`.
fn marshal_data_size(m: &mut Machine, [s, offset]: [Slot; 2]) -> Res<'_> {
    const READER: &str = "Marshal.data_size";
    let bytes = from_offset(m, s, offset)?;
    let parsed = match Header::parse(bytes) {
        // Callers may have read only the size of a small header, which has all that is needed.
        Err(e) if matches!(e.kind(), ErrorKind::Truncated { .. }) && bytes.len() >= 16 => {
            let mut padded = [0; Header::MAX_LEN];
            let len = bytes.len().min(padded.len());
            padded[..len].copy_from_slice(&bytes[..len]);
            header(m, &padded, READER, "bad object")?
        }
        // Of the numbers of compressed data, only the first one is needed.
        Err(e) if matches!(e.kind(), ErrorKind::Malformed(_)) => {
            let rest = bytes.get(5..).unwrap_or_default();
            let len = rest.iter().position(|byte| byte & 0x80 == 0).map_or(rest.len(), |last| last + 1);
            let mut padded = [0; Header::MAX_LEN];
            let len = (5 + len).min(padded.len());
            padded[..len].copy_from_slice(&bytes[..len]);
            padded[4] = Header::MAX_LEN as u8;
            Header { header_len: usize::from(bytes[4] & 0x3F), ..header(m, &padded, READER, "bad object")? }
        }
        _ => header(m, bytes, READER, "bad object")?,
    };
    let size = parsed.total_len().wrapping_sub(m.behaviour().marshal_header_size as u64);
    if m.behaviour().marshal_checks_closures && parsed.total_len() > MAX_DATA_SIZE {
        return Err(failure(READER, TOO_LARGE));
    }
    Ok(Val::from_int(size as i64))
}

/// The greatest size that `Marshal.data_size` returns, if it tests it.
const MAX_DATA_SIZE: u64 = (1 << 62) - 1 + 20;

prims! {
    "caml_input_value" P1 input_value,
    "caml_input_value_to_outside_heap" P1 input_value => since(V5_0),
    "caml_input_value_from_bytes" P2 input_value_from_bytes,
    "caml_marshal_data_size" P2 marshal_data_size,
}

#[cfg(test)]
mod tests {
    use super::*;
    use spelter_bytecode::Dialect;
    use spelter_heap::{Config, Mode};
    use spelter_interp::{Prim, Release, Settings};

    /// Data written by OCaml 4.13.1.
    const WRITTEN: &[(&str, &str)] = &[
        ("int", "8495a6be000000010000000000000000000000006a"),
        (
            "ints",
            concat!(
                "8495a6be000000430000000d0000002700000027a040a07fa00040a000ffa0007fa00080a0017fffa0018000a002",
                "3fffffffa002c0000000a0030000000040000000a0033fffffffffffffffa003c00000000000000040",
            ),
        ),
        (
            "shared",
            concat!(
                "8495a6be0000016d000000090000006e00000042b026736861726564a00402a00928787878787878787878787878",
                "78787878787878787878787878787878787878787878787878787878a00a0000012c797979797979797979797979",
                "79797979797979797979797979797979797979797979797979797979797979797979797979797979797979797979",
                "79797979797979797979797979797979797979797979797979797979797979797979797979797979797979797979",
                "79797979797979797979797979797979797979797979797979797979797979797979797979797979797979797979",
                "79797979797979797979797979797979797979797979797979797979797979797979797979797979797979797979",
                "79797979797979797979797979797979797979797979797979797979797979797979797979797979797979797979",
                "79797979797979797979797979797979797979797979797979797979797979797979797979797979797979797979",
                "797979797979797979797979a020400408",
            ),
        ),
        (
            "boxed",
            concat!(
                "8495a6be00000039000000070000001a00000018d0195f690000000001195f6a00fffffffffffffffe195f6e0001",
                "00000003195f6e00020000000100000000a0195f6a00000000000000000140",
            ),
        ),
        ("cycle", "8495a6be00000006000000020000000600000006a041a0420402"),
        (
            "variants",
            concat!(
                "8495a6be000000270000000e0000002700000025a040a09043a0a121780c9a9999999999b93fa092a040a04040a0",
                "a3400e01010000000000f07f40",
            ),
        ),
        (
            "big block",
            concat!(
                "8495a6be000000410000001500000051000000510800005000a04040a04141a04242a04343a04444a04545a04646",
                "a04747a04848a04949a04a4aa04b4ba04c4ca04d4da04e4ea04f4fa05050a05151a05252a05353",
            ),
        ),
        ("lazy", "8495a6be00000012000000040000000b0000000aa0a0414008000004fa0c0000000000000440"),
    ];

    fn machine(mode: Mode) -> Machine {
        let mut m = Machine::new(Settings {
            heap: Config { mode, nursery_words: 4096, ..Config::default() },
            ..Settings::default()
        });
        crate::install(&mut m);
        m
    }

    fn bytes_of_hex(hex: &str) -> Vec<u8> {
        (0..hex.len()).step_by(2).map(|i| u8::from_str_radix(&hex[i..i + 2], 16).unwrap()).collect()
    }

    fn find(name: &str) -> Prim {
        find_in(name, Release::V4_13)
    }

    fn find_in(name: &str, release: Release) -> Prim {
        crate::PRIMITIVES.find(name, release).unwrap().prim
    }

    fn marshal(m: &mut Machine, v: Slot) -> Result<Vec<u8>, Raise> {
        let flags = m.push_int(0);
        let Prim::P2(f) = find("caml_output_value_to_bytes") else { unreachable!() };
        let s = m.push(|m| f(m, [v, flags]))?;
        Ok(m.bytes(s)?.to_vec())
    }

    fn unmarshal(m: &mut Machine, bytes: &[u8]) -> Result<Slot, Raise> {
        let s = m.push(|m| m.new_string(bytes))?;
        let zero = m.push_int(0);
        m.push(|m| input_value_from_bytes(m, [s, zero]))
    }

    #[test]
    fn same_bytes_after_a_round_trip() {
        for mode in [Mode::Plain, Mode::Never, Mode::Torture] {
            let mut m = machine(mode);
            for round in 0..50 {
                for (name, hex) in WRITTEN {
                    let bytes = bytes_of_hex(hex);
                    let mark = m.mark();
                    let v = unmarshal(&mut m, &bytes).unwrap();
                    m.collect_minor();
                    if round % 10 == 0 {
                        m.collect_full();
                    }
                    assert_eq!(marshal(&mut m, v).unwrap(), bytes, "{name}");
                    m.release(mark);
                }
            }
        }
    }

    /// A list of blocks of all kinds, including arrays that are old from the start and refer to blocks that may be
    /// young.
    fn mixture(m: &mut Machine, length: i64) -> Vec<u8> {
        let mut list = m.push_int(0);
        for n in 0..length {
            let name = m.push(|m| m.new_string(format!("item {n}").as_bytes())).unwrap();
            let weight = m.push(|m| m.new_float(n as f64 / 7.0)).unwrap();
            let id = m.push_int(n * 1000);
            let boxed = m.push(|m| m.new_int64(n)).unwrap();
            let item = m.push(|m| m.new_block(3, &[name, weight, id, boxed, name])).unwrap();
            let array = m.push(|m| m.new_block(0, &[item; 300])).unwrap();
            let first = if n % 20 == 0 { array } else { item };
            list = m.push(|m| m.new_block(0, &[first, list])).unwrap();
        }
        marshal(m, list).unwrap()
    }

    /// Reads data that may be damaged. If the result is a value, it must be valid for the collector, too; if reading
    /// fails, it must leave nothing invalid in the heap.
    fn survives(m: &mut Machine, bytes: &[u8]) {
        let mark = m.mark();
        match unmarshal(m, bytes) {
            Ok(v) => {
                m.collect_minor();
                let _ = marshal(m, v);
            }
            Err(Raise::Failure(_)) => m.collect_minor(),
            Err(other) => panic!("{other:?}"),
        }
        m.release(mark);
    }

    #[test]
    fn damage_is_a_failure() {
        // 5.5 looks for the reason in another pass.
        for (mode, dialect) in
            [(Mode::Plain, Dialect::V4_13), (Mode::Torture, Dialect::V4_13), (Mode::Plain, Dialect::V5_5)]
        {
            let mut m = machine(mode);
            m.adopt(dialect);
            for (_, hex) in WRITTEN {
                let bytes = bytes_of_hex(hex);
                for i in 0..bytes.len() {
                    for value in [0, 4, 0x10, 0x11, 0x12, 0xff, bytes[i] ^ 1] {
                        let mut damaged = bytes.clone();
                        damaged[i] = value;
                        survives(&mut m, &damaged);
                    }
                }
                let error = unmarshal(&mut m, &bytes[..bytes.len() - 1]).unwrap_err();
                assert_eq!(error, Raise::failure("input_val_from_string: bad length"));
            }
            m.collect_full();
            let error = unmarshal(&mut m, &[0; 40]).unwrap_err();
            assert_eq!(error, Raise::failure("input_val_from_string: bad object"));
        }
    }

    #[test]
    fn damage_in_young_and_in_old_values_is_a_failure() {
        for mode in [Mode::Plain, Mode::Torture] {
            let mut m = machine(mode);
            // The shorter list fits into the share of the nursery for one value; the longer one is read into the old
            // generation.
            for length in [21, 100] {
                let mark = m.mark();
                let bytes = mixture(&mut m, length);
                m.release(mark);
                for i in Header::SMALL_LEN..bytes.len() {
                    let mut damaged = bytes.clone();
                    // An invalid code, one that needs more bytes than there are, a block in place of something else.
                    damaged[i] = [0x1A, 0x15, 0xB0, 0x05][i % 4];
                    survives(&mut m, &damaged);
                }
                m.collect_full();
                let v = unmarshal(&mut m, &bytes).unwrap();
                m.collect_full();
                assert_eq!(marshal(&mut m, v).unwrap(), bytes);
            }
        }
    }

    #[test]
    fn reading_lets_the_collector_work() {
        let mut m = machine(Mode::Plain);
        let bytes = mixture(&mut m, 1000);
        let s = m.push(|m| m.new_string(&bytes)).unwrap();
        let zero = m.push_int(0);
        let mark = m.mark();
        for _ in 0..200 {
            m.push(|m| input_value_from_bytes(m, [s, zero])).unwrap();
            m.release(mark);
        }
        let words = Header::parse(&bytes).unwrap().words64 as usize;
        let top = m.heap().quick_stats().top_heap_words;
        assert!(top < 40 * words, "{top} words for values of {words}");
    }

    #[test]
    fn objects_get_fresh_ids() {
        let mut m = machine(Mode::Plain);
        let (name, minus, five) = (m.push_int(0), m.push_int(-3), m.push_int(5));
        for (id, kept) in [(minus, true), (five, false)] {
            let object = m.push(|m| m.new_block(248, &[name, id])).unwrap();
            let bytes = marshal(&mut m, object).unwrap();
            let fresh = m.fresh_oo_id() + 1;
            let copy = unmarshal(&mut m, &bytes).unwrap();
            let id = m.val(copy).field(1).unwrap().int().unwrap();
            assert_eq!(id, if kept { -3 } else { fresh });
        }
    }

    #[test]
    fn no_id_is_lost_when_reading_restarts() {
        let mut m = machine(Mode::Plain);
        let (int8, c_layout, n) = (m.push_int(2), m.push_int(0), m.push_int(5));
        let dims = m.push(|m| m.new_block(0, &[n])).unwrap();
        let Prim::P3(create) = find("caml_ba_create") else { unreachable!() };
        let numbers = m.push(|m| create(m, [int8, c_layout, dims])).unwrap();
        let object = m.push(|m| m.new_block(248, &[c_layout, n])).unwrap();
        let both = m.push(|m| m.new_block(0, &[object, numbers])).unwrap();
        let bytes = marshal(&mut m, both).unwrap();
        let before = m.fresh_oo_id();
        unmarshal(&mut m, &bytes).unwrap();
        assert_eq!(m.fresh_oo_id(), before + 2);
    }

    /// An array of 100,000 times the same integer, compressed by OCaml 5.3.
    const COMPRESSED: &str =
        concat!("8495a6bd1017868d2501868d21868d2128b52ffd00587500003008061a830045", "01009c86392802");

    #[test]
    fn compressed_data_are_read_on_request() {
        let mut m = machine(Mode::Plain);
        let bytes = bytes_of_hex(COMPRESSED);
        let raised = |m: &mut Machine, bytes: &[u8]| match unmarshal(m, bytes) {
            Err(Raise::Failure(text)) => text.into_owned(),
            other => panic!("{other:?}"),
        };
        assert_eq!(raised(&mut m, &bytes), "input_val_from_string: bad object");
        m.adopt(Dialect::V5_3);
        assert_eq!(raised(&mut m, &bytes), "input_val_from_string: compressed object, cannot decompress");
        let Prim::P1(initialize) = find_in("caml_zstd_initialize", Release::V5_3) else { unreachable!() };
        let unit = m.push_int(0);
        initialize(&mut m, [unit]).unwrap();
        let array = unmarshal(&mut m, &bytes).unwrap();
        assert_eq!(m.val(array).wosize(), Ok(100_000));
        assert!(m.val(array).fields().unwrap().iter().all(|n| n.int() == Ok(5)));
        // The frame's magic number, the length of the content, a block.
        for at in [16, 20, 24, 32] {
            let mut damaged = bytes.clone();
            damaged[at] ^= 0x55;
            assert_eq!(raised(&mut m, &damaged), "input_val_from_string: decompression error", "{at}");
        }
    }

    #[test]
    fn data_size_without_the_header() {
        let mut m = machine(Mode::Plain);
        let bytes = bytes_of_hex(WRITTEN[1].1);
        let s = m.push(|m| m.new_string(&bytes[..20])).unwrap();
        let zero = m.push_int(0);
        let size = marshal_data_size(&mut m, [s, zero]).unwrap().int().unwrap();
        assert_eq!(size, bytes.len() as i64 - 20);
    }
}
