//! Marshalling (`extern.c`): walks the heap depth first with an explicit stack, and allocates nothing in it meanwhile,
//! so that addresses identify blocks.

use spelter_bytecode::marshal::{BlockColour, CodePointer, CustomSizes, Encoder, HeaderBytes};
use spelter_heap::raw::tag;
use spelter_interp::prim::custom::behaviour;
use spelter_interp::prim::unmarshal::enclosing_closure;
use spelter_interp::{Machine, PIECE_BYTES, Raise, Res, Slot, Val, fallible, prims};

use crate::UNIT;
use crate::boolean;
use crate::io::channels;
use crate::marshal::intern::Decompresses;
use crate::values::bigarray;

/// `Marshal.extern_flags`
#[derive(Clone, Copy, Default)]
struct Flags {
    no_sharing: bool,
    closures: bool,
    compat_32: bool,
}

fn flags(m: &Machine, s: Slot) -> Result<Flags, Raise> {
    m.list_len(s)?;
    let mut flags = Flags::default();
    let mut list = m.val(s);
    while list.is_block() {
        match list.field(0)?.int()? {
            flag if flag >= m.behaviour().marshal_flags => return Err(Raise::bounds()),
            0 => flags.no_sharing = true,
            1 => flags.closures = true,
            2 => flags.compat_32 = true,
            // Compression, which the program cannot expect to be available (`caml_zstd_initialize`).
            3 => {}
            _ => return Err(Raise::bounds()),
        }
        list = list.field(1)?;
    }
    Ok(flags)
}

// ---- objects seen ----------------------------------------------------------------------------------

/// The size of a group of blocks in bytes.
const GROUP_BYTES: u64 = 256;

/// Numbers of blocks by address. Blocks that are written together are often adjacent, so blocks are looked up by
/// groups, and a group's numbers fill a line of the processor's cache.
struct Seen {
    /// Groups, by open addressing: the number of the group (0 for a free place, since no block has so low an address),
    /// and its line.
    places: Vec<(u64, usize)>,
    /// One more than the number of each block, or 0. Blocks have at least 16 bytes.
    lines: Vec<[u32; GROUP_BYTES as usize / 16]>,
    /// How far to shift a 64-bit product to get an index.
    shift: u32,
}

/// Knuth's multiplier for Fibonacci hashing.
const FIBONACCI: u64 = 0x9E37_79B9_7F4A_7C15;

impl Seen {
    fn new() -> Self {
        // Small at first, since most values are small.
        Seen { places: vec![(0, 0); 1 << 4], lines: Vec::new(), shift: 64 - 4 }
    }

    /// The number of the block at an address, plus one; 0 if it has none yet.
    #[inline]
    fn number(&mut self, m: &Machine, address: u64) -> Result<&mut u32, Raise> {
        let group = address / GROUP_BYTES;
        let line = match self.find(group) {
            Ok(line) => line,
            Err(place) => self.add(m, place, group)?,
        };
        Ok(&mut self.lines[line][(address % GROUP_BYTES / 16) as usize])
    }

    /// The line of a group, or the place to insert it.
    #[inline]
    fn find(&self, group: u64) -> Result<usize, usize> {
        let mask = self.places.len() - 1;
        let mut i = (group.wrapping_mul(FIBONACCI) >> self.shift) as usize & mask;
        loop {
            match self.places[i] {
                (0, _) => return Err(i),
                (g, line) if g == group => return Ok(line),
                _ => i = (i + 1) & mask,
            }
        }
    }

    fn add(&mut self, m: &Machine, place: usize, group: u64) -> Result<usize, Raise> {
        let line = self.lines.len();
        fallible::push(&mut self.lines, [0; _])?;
        self.places[place] = (group, line);
        // At most two thirds full.
        if self.lines.len() * 3 > self.places.len() * 2 {
            self.grow(m)?;
        }
        Ok(line)
    }

    #[cold]
    fn grow(&mut self, m: &Machine) -> Result<(), Raise> {
        let len = 2 * self.places.len();
        let mut larger = fallible::with_capacity(len)?;
        while larger.len() < len {
            m.check_interrupt()?;
            larger.resize(len.min(larger.len() + MOVED), (0, 0));
        }
        let old = std::mem::replace(&mut self.places, larger);
        self.shift -= 1;
        for (i, (group, line)) in old.iter().enumerate() {
            if i % MOVED == 0 {
                m.check_interrupt()?;
            }
            if let (1.., Err(place)) = (*group, self.find(*group)) {
                self.places[place] = (*group, *line);
            }
        }
        m.give_back(old.len() * size_of::<(u64, usize)>(), old);
        Ok(())
    }

    /// The bytes of memory that it takes.
    fn bytes(&self) -> usize {
        size_of_val(&self.lines[..]) + size_of_val(&self.places[..])
    }
}

/// The most bytes that are written between two checks for an interrupt, not counting strings.
const UNCHECKED: usize = 1 << 16;
/// Bytes that are always free: no value but strings and custom blocks takes as many.
const CODES: usize = 64;
/// The number of groups moved between two such checks when the table grows.
const MOVED: usize = 1 << 13;
/// Strings of at least this many bytes count as more than one step.
const COUNTED: usize = 1 << 12;

// ---- the walk --------------------------------------------------------------------------------------

/// Fields still to be written.
type Fields<'m> = std::slice::Iter<'m, Val<'m>>;

struct Writer<'m> {
    m: &'m Machine,
    out: Encoder,
    flags: Flags,
    /// Where in the output to check again for an interrupt and for room.
    limit: usize,
    seen: Seen,
    stack: Vec<Fields<'m>>,
    payload: Vec<u8>,
    /// Values may be pointers to anything.
    naked: bool,
}

fn cannot_be_read_back<T>(what: &str) -> Result<T, Raise> {
    Err(Raise::failure(format!("output_value: {what} cannot be read back on 32-bit platform")))
}

/// Whether a forced suspension is written as its content, which is the case unless the content would then be ambiguous.
fn stands_for_content(m: &Machine, content: Val<'_>) -> bool {
    if m.heap().has_naked_pointers() && m.is_outside(content) {
        return false;
    }
    match content.tag() {
        Ok(tag::FORWARD | tag::LAZY | tag::DOUBLE) => false,
        Ok(tag::FORCING) => !m.behaviour().forcing_and_continuations,
        _ => true,
    }
}

impl<'m> Writer<'m> {
    fn run(&mut self, root: Val<'m>) -> Result<(), Raise> {
        let mut v = root;
        let mut fields = Fields::default();
        loop {
            if self.out.data_len() >= self.limit {
                self.extend_limit()?;
            }
            if v.is_int() {
                self.int(v.int()?)?;
            } else {
                let inner = self.item(v)?;
                if inner.len() > 0 {
                    // Completed fields are not kept, so that the stack stays flat for lists.
                    let outer = std::mem::replace(&mut fields, inner);
                    if outer.len() > 0 {
                        fallible::push(&mut self.stack, outer)?;
                    }
                }
            }
            v = match fields.next() {
                Some(next) => *next,
                None => {
                    let Some(outer) = self.stack.pop() else { return Ok(()) };
                    fields = outer;
                    // Entries on the stack have more fields.
                    *fields.next().ok_or_else(Raise::bounds)?
                }
            };
        }
    }

    /// Checks for an interrupt, since a cyclic value written without sharing has no end, and makes room for the next values.
    #[cold]
    fn extend_limit(&mut self) -> Result<(), Raise> {
        self.m.check_interrupt()?;
        self.room(0)?;
        self.limit = self.out.data_len() + (self.out.spare() - CODES).clamp(1, UNCHECKED);
        Ok(())
    }

    /// Makes room for this many bytes, and for their codes.
    #[inline(always)]
    fn room(&mut self, bytes: usize) -> Result<(), Raise> {
        let bytes = bytes.saturating_add(CODES);
        if self.out.spare() < bytes {
            self.borrow_for(bytes)?;
        }
        if self.out.has_room(bytes) { Ok(()) } else { Err(Raise::OutOfMemory) }
    }

    /// Counts what `out` grows to for `bytes` more, in a machine whose memory is limited.
    #[cold]
    fn borrow_for(&self, bytes: usize) -> Result<(), Raise> {
        Ok(fallible::borrow(
            self.out.data_len().saturating_mul(2).max(self.out.data_len().saturating_add(bytes)),
        )?)
    }

    /// Writes a value without its fields, which come next.
    #[inline(always)]
    fn item(&mut self, mut v: Val<'m>) -> Result<Fields<'m>, Raise> {
        loop {
            if v.is_int() {
                self.int(v.int()?)?;
                return Ok(Fields::default());
            }
            if self.naked && self.m.is_outside(v) {
                return Err(Raise::invalid("output_value: abstract value (outside heap)"));
            }
            let (tag, wosize) = (v.tag()?, v.wosize()?);
            if tag == tag::FORWARD && stands_for_content(self.m, v.field(0)?) {
                v = v.field(0)?;
                continue;
            }
            if wosize == 0 {
                self.out.block(tag, 0);
                return Ok(Fields::default());
            }
            if tag == tag::INFIX {
                let (block, offset) = enclosing_closure(v)?;
                self.out.infix(offset);
                v = block;
                continue;
            }
            if self.flags.no_sharing || self.is_new(v)? {
                return self.object(v, tag, wosize);
            }
            return Ok(Fields::default());
        }
    }

    /// Gives a block the next object number; if it has a number already, writes a reference to it.
    #[inline]
    fn is_new(&mut self, v: Val<'m>) -> Result<bool, Raise> {
        let number = self.seen.number(self.m, v.raw().bits())?;
        if *number > 0 {
            self.out.shared(u64::from(*number) - 1);
            return Ok(false);
        }
        *number = u32::try_from(self.out.objects() + 1).map_err(|_| Raise::OutOfMemory)?;
        Ok(true)
    }

    /// Writes a block that has not been written before.
    #[inline(always)]
    fn object(&mut self, v: Val<'m>, tag: u8, wosize: usize) -> Result<Fields<'m>, Raise> {
        match tag {
            tag::STRING => self.string(v)?,
            tag::DOUBLE => self.out.double(v.float()?),
            tag::DOUBLE_ARRAY => self.double_array(v, wosize)?,
            tag::ABSTRACT if v.is_outside() && self.m.behaviour().sees_outside => {
                return Err(Raise::invalid("output_value: abstract value (outside heap)"));
            }
            tag::ABSTRACT => return Err(Raise::invalid("output_value: abstract value (Abstract)")),
            tag::CUSTOM => self.custom(v)?,
            tag::CLOSURE => return self.closure(v),
            tag::CONT if self.m.behaviour().refuses_continuations => {
                return Err(Raise::invalid("output_value: continuation value"));
            }
            _ => {
                self.block(tag, wosize)?;
                return Ok(v.fields()?.iter());
            }
        };
        Ok(Fields::default())
    }

    #[inline]
    fn int(&mut self, n: i64) -> Result<(), Raise> {
        if self.flags.compat_32 && !(-(1 << 30)..1 << 30).contains(&n) {
            return cannot_be_read_back("integer");
        }
        self.out.int(n);
        Ok(())
    }

    #[inline]
    fn block(&mut self, tag: u8, wosize: usize) -> Result<u64, Raise> {
        if self.flags.compat_32 && wosize > 0x3F_FFFF {
            return cannot_be_read_back("array");
        }
        Ok(self.out.block(tag, wosize))
    }

    #[inline]
    fn string(&mut self, v: Val<'m>) -> Result<u64, Raise> {
        let bytes = v.bytes()?;
        if self.flags.compat_32 && bytes.len() > 0xFF_FFFB {
            return cannot_be_read_back("string");
        }
        self.room(bytes.len())?;
        if bytes.len() < COUNTED {
            return Ok(self.out.string(bytes));
        }
        let number = self.out.start_string(bytes.len());
        for piece in bytes.chunks(PIECE_BYTES) {
            self.m.check_interrupt()?;
            self.out.go_on(piece);
        }
        Ok(number)
    }

    #[inline(never)]
    fn double_array(&mut self, v: Val<'m>, len: usize) -> Result<u64, Raise> {
        if self.flags.compat_32 && len > 0x1F_FFFF {
            return cannot_be_read_back("float array");
        }
        self.room(len.saturating_mul(8))?;
        let number = self.out.start_double_array(len);
        for i in 0..len {
            if i % (UNCHECKED / 8) == 0 {
                self.m.check_interrupt()?;
            }
            self.out.go_on(&v.float_field(i)?.to_le_bytes());
        }
        Ok(number)
    }

    #[inline(never)]
    fn custom(&mut self, v: Val<'m>) -> Result<u64, Raise> {
        let ops = v.custom_ops()?;
        let known = behaviour(ops).and_then(|b| Some((b.serialize?, b.fixed_length)));
        let Some((serialize, fixed)) = known else {
            return Err(Raise::invalid("output_value: abstract value (Custom)"));
        };
        self.payload.clear();
        // The elements of a big array are copied twice.
        let bytes = bigarray::size_outside(v);
        fallible::reserve(&mut self.payload, bytes)?;
        fallible::afford(bytes)?;
        let (bytes32, bytes64) = serialize(self.m, v, &mut self.payload)?;
        let sizes = CustomSizes { bytes32, bytes64 };
        self.room(self.payload.len() + ops.name.len())?;
        let name = ops.name.as_bytes();
        if fixed.is_some() {
            return Ok(self.out.custom_fixed(name, sizes, &self.payload));
        }
        if self.payload.len() <= PIECE_BYTES {
            return Ok(self.out.custom_sized(name, sizes, &self.payload));
        }
        let number = self.out.custom_sized(name, sizes, &[]);
        for piece in self.payload.chunks(PIECE_BYTES) {
            self.m.check_interrupt()?;
            self.out.go_on(piece);
        }
        Ok(number)
    }

    /// Writes a closure as stock OCaml would, without the extra fields at the end of ours.
    #[inline(never)]
    fn closure(&mut self, v: Val<'m>) -> Result<Fields<'m>, Raise> {
        let Some(view) = self.m.closure_view(v) else {
            return Err(Raise::invalid("output_value: abstract value (outside heap)"));
        };
        self.block(tag::CLOSURE, view.wosize)?;
        if !self.flags.closures {
            return Err(Raise::invalid("output_value: functional value"));
        }
        let digest = view.unit.digest();
        let mut field = 0;
        for (at, offset) in view.functions {
            // The format treats headers between functions, and the distances to the variables, as integers.
            for i in field..at {
                self.room(0)?;
                self.int(v.scanned_field(i)?.int()?)?;
            }
            self.room(0)?;
            let offset = offset as u32;
            self.out.code_pointer(&CodePointer { offset, digest });
            self.room(0)?;
            self.int(v.scanned_field(at + 1)?.int()?)?;
            field = at + 2;
        }
        Ok(v.scanned_fields()?.get(field..view.wosize).unwrap_or_default().iter())
    }
}

/// The marshalled bytes of a value, with the header.
pub(crate) fn marshalled(m: &Machine, v: Slot, closures: bool) -> Result<Vec<u8>, Raise> {
    let (header, data) = marshal_with(m, v, Flags { closures, ..Flags::default() })?;
    let mut all = fallible::with_capacity(header.as_ref().len() + data.len())?;
    fallible::extend(&mut all, header.as_ref())?;
    fallible::extend(&mut all, &data)?;
    Ok(all)
}

fn marshal(m: &Machine, v: Slot, flags_list: Slot) -> Result<(HeaderBytes, Vec<u8>), Raise> {
    marshal_with(m, v, flags(m, flags_list)?)
}

fn marshal_with(m: &Machine, v: Slot, flags: Flags) -> Result<(HeaderBytes, Vec<u8>), Raise> {
    let colour = if m.behaviour().marshals_static_headers { BlockColour::Black } else { BlockColour::White };
    let out = if flags.no_sharing { Encoder::without_sharing(colour) } else { Encoder::new(colour) };
    let (seen, stack, payload) = (Seen::new(), Vec::new(), Vec::new());
    let naked = m.heap().has_naked_pointers();
    let mut writer = Writer { m, out, flags, limit: 0, seen, stack, payload, naked };
    let outcome = writer.run(m.val(v));
    let Writer { out, seen, payload, .. } = writer;
    m.give_back(seen.bytes() + payload.capacity(), (seen, payload));
    if let Err(raise) = outcome {
        m.give_back(out.data_len(), out);
        return Err(raise);
    }
    let (header, data) = out.finish_parts();
    if flags.compat_32 && header.as_ref().len() > 20 {
        return Err(Raise::failure("output_value: object too big to be read back on 32-bit platform"));
    }
    Ok((header, data))
}

/// Copies bytes from outside the heap into a string in the heap.
fn put(m: &mut Machine, into: Slot, at: usize, bytes: &[u8]) -> Result<(), Raise> {
    m.in_pieces(bytes.len(), PIECE_BYTES, |m, part| {
        let into = m.bytes_mut(into)?.get_mut(at..).and_then(|rest| rest.get_mut(part.clone()));
        into.ok_or_else(Raise::bounds)?.copy_from_slice(&bytes[part]);
        Ok(())
    })
}

// ---- primitives ------------------------------------------------------------------------------------

fn output_value(m: &mut Machine, [chan, v, flags]: [Slot; 3]) -> Res<'_> {
    let channel = channels::lock(m, chan)?;
    let (header, data) = m.with_room(|m| marshal(m, v, flags))?;
    channels::put_all(m, &channel, header.as_ref())?;
    let outcome = channels::put_all(m, &channel, &data);
    m.give_back(data.len(), data);
    outcome?;
    Ok(UNIT)
}

fn output_value_to_bytes(m: &mut Machine, [v, flags]: [Slot; 2]) -> Res<'_> {
    let (header, data) = m.with_room(|m| marshal(m, v, flags))?;
    let header = header.as_ref();
    let bytes = m.push(|m| m.new_bytes(header.len() + data.len()))?;
    put(m, bytes, 0, header)?;
    let outcome = put(m, bytes, header.len(), &data);
    m.give_back(data.len(), data);
    outcome?;
    Ok(m.val(bytes))
}

fn output_value_to_buffer(m: &mut Machine, [buf, at, len, v, flags]: [Slot; 5]) -> Res<'_> {
    let (at, len) = (m.index(at)?, m.index(len)?);
    let (header, data) = m.with_room(|m| marshal(m, v, flags))?;
    let header = header.as_ref();
    let total = header.len() + data.len();
    if total > len {
        return Err(Raise::failure("Marshal.to_buffer: buffer overflow"));
    }
    let room = m.bytes(buf)?.len();
    at.checked_add(total).filter(|end| *end <= room).ok_or_else(Raise::bounds)?;
    put(m, buf, at, header)?;
    let outcome = put(m, buf, at + header.len(), &data);
    m.give_back(data.len(), data);
    outcome?;
    Ok(Val::from_int(total as i64))
}

/// Asks for compressed data to be read from now on. The result is whether the flag for compression has an effect.
fn zstd_initialize(m: &mut Machine, _: [Slot; 1]) -> Res<'_> {
    m.ext::<Decompresses>().0 = true;
    Ok(boolean(false))
}

prims! {
    "caml_zstd_initialize" P1 zstd_initialize => since(V5_1),
    "caml_output_value" P3 output_value,
    "caml_output_value_to_bytes" P2 output_value_to_bytes,
    "caml_output_value_to_string" P2 output_value_to_bytes,
    "caml_output_value_to_buffer" P5 output_value_to_buffer,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_found_again() {
        // Adjacent blocks of the minimum size, and blocks far apart.
        for distance in [16, 24, 40, 256, 4096, 32768 + 16] {
            let m = Machine::new(spelter_interp::Settings::default());
            let mut seen = Seen::new();
            let address = |n: u32| 0x7f00_0000_0008 + distance * u64::from(n);
            for n in 0..10_000 {
                let number = seen.number(&m, address(n)).unwrap();
                assert_eq!(*number, 0);
                *number = n + 1;
            }
            for n in 0..10_000 {
                assert_eq!(*seen.number(&m, address(n)).unwrap(), n + 1);
            }
        }
    }
}
