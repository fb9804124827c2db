//! Marshalling (`extern.c`): the heap is walked depth first with an explicit stack, and nothing is allocated in it
//! meanwhile, so that addresses can stand for identities.

use spelter_bytecode::marshal::{BlockColour, CodePointer, CustomSizes, Encoder, HeaderBytes};
use spelter_heap::raw::tag;
use spelter_interp::boxed::behaviour;
use spelter_interp::build::enclosing_closure;
use spelter_interp::{Machine, Raise, Res, Slot, Val, prims};

use crate::UNIT;
use crate::channels;

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
            0 => flags.no_sharing = true,
            1 => flags.closures = true,
            2 => flags.compat_32 = true,
            _ => return Err(Raise::bounds()),
        }
        list = list.field(1)?;
    }
    Ok(flags)
}

// ---- objects seen ----------------------------------------------------------------------------------

/// Numbers of blocks by address: open addressing, as the walk asks once per block.
struct Seen {
    /// Address (0 for a free place) and number.
    places: Vec<(u64, u64)>,
    used: usize,
    /// How far to shift a 64-bit product to have an index.
    shift: u32,
}

/// Knuth's multiplier for Fibonacci hashing.
const FIBONACCI: u64 = 0x9E37_79B9_7F4A_7C15;

impl Seen {
    fn new() -> Self {
        // Most values are small, and so is this.
        Seen { places: vec![(0, 0); 1 << 6], used: 0, shift: 64 - 6 }
    }

    /// The number of an address, or the place to put it.
    #[inline]
    fn find(&self, address: u64) -> Result<u64, usize> {
        let mask = self.places.len() - 1;
        let mut i = (address.wrapping_mul(FIBONACCI) >> self.shift) as usize;
        loop {
            match self.places[i] {
                (0, _) => return Err(i),
                (a, number) if a == address => return Ok(number),
                _ => i = (i + 1) & mask,
            }
        }
    }

    #[inline]
    fn put(&mut self, place: usize, address: u64, number: u64) {
        self.places[place] = (address, number);
        self.used += 1;
        // Two thirds full at most.
        if self.used * 3 > self.places.len() * 2 {
            self.grow();
        }
    }

    #[cold]
    fn grow(&mut self) {
        let larger = vec![(0, 0); 2 * self.places.len()];
        let old = std::mem::replace(&mut self.places, larger);
        self.shift -= 1;
        for (address, number) in old {
            if let (1.., Err(place)) = (address, self.find(address)) {
                self.places[place] = (address, number);
            }
        }
    }
}

// ---- the walk --------------------------------------------------------------------------------------

/// A block with fields still to be written.
struct Rest<'m> {
    block: Val<'m>,
    next: usize,
    end: usize,
}

struct Writer<'m> {
    m: &'m Machine,
    out: Encoder,
    flags: Flags,
    seen: Seen,
    stack: Vec<Rest<'m>>,
    payload: Vec<u8>,
}

fn cannot_be_read_back<T>(what: &str) -> Result<T, Raise> {
    Err(Raise::failure(format!("output_value: {what} cannot be read back on 32-bit platform")))
}

/// Whether a forced suspension stands for its content, as it does unless that could be taken for something else.
fn stands_for_content(content: Val<'_>) -> bool {
    !matches!(content.tag(), Ok(tag::FORWARD | tag::LAZY | tag::DOUBLE))
}

impl<'m> Writer<'m> {
    fn run(&mut self, root: Val<'m>) -> Result<(), Raise> {
        let mut v = root;
        loop {
            if let Some(first) = self.item(v)? {
                v = first;
                continue;
            }
            // Without sharing, what leads back to itself has no end.
            self.m.check_interrupt()?;
            let Some(rest) = self.stack.last_mut() else { return Ok(()) };
            v = rest.block.field(rest.next)?;
            rest.next += 1;
            if rest.next == rest.end {
                self.stack.pop();
            }
        }
    }

    /// Writes a value without its fields; what comes next where that is not on the stack.
    #[inline]
    fn item(&mut self, v: Val<'m>) -> Result<Option<Val<'m>>, Raise> {
        if v.is_int() {
            self.int(v.int()?)?;
            return Ok(None);
        }
        let (tag, wosize) = (v.tag()?, v.wosize()?);
        if tag == tag::FORWARD {
            let content = v.field(0)?;
            if stands_for_content(content) {
                return Ok(Some(content));
            }
        }
        if wosize == 0 {
            self.out.block(tag, 0);
            return Ok(None);
        }
        if tag == tag::INFIX {
            let (block, offset) = enclosing_closure(v)?;
            self.out.infix(offset);
            return Ok(Some(block));
        }
        let address = v.raw().bits();
        let place = if self.flags.no_sharing {
            0
        } else {
            match self.seen.find(address) {
                Ok(number) => {
                    self.out.shared(number);
                    return Ok(None);
                }
                Err(place) => place,
            }
        };
        let number = match tag {
            tag::STRING => self.string(v)?,
            tag::DOUBLE => self.out.double(v.float()?),
            tag::DOUBLE_ARRAY => self.double_array(v, wosize)?,
            tag::ABSTRACT => return Err(Raise::invalid("output_value: abstract value (Abstract)")),
            tag::CUSTOM => self.custom(v)?,
            tag::CLOSURE => {
                let number = self.closure(v, address, place)?;
                debug_assert!(self.flags.no_sharing || self.seen.find(address) == Ok(number));
                return Ok(None);
            }
            _ => {
                let number = self.block(tag, wosize)?;
                self.record(place, address, number);
                if wosize > 1 {
                    self.stack.push(Rest { block: v, next: 1, end: wosize });
                }
                return Ok(Some(v.field(0)?));
            }
        };
        self.record(place, address, number);
        Ok(None)
    }

    #[inline]
    fn record(&mut self, place: usize, address: u64, number: u64) {
        if !self.flags.no_sharing {
            self.seen.put(place, address, number);
        }
    }

    #[inline]
    fn int(&mut self, n: i64) -> Result<(), Raise> {
        if self.flags.compat_32 && !(-(1 << 30)..1 << 30).contains(&n) {
            return cannot_be_read_back("integer");
        }
        self.out.int(n);
        Ok(())
    }

    fn block(&mut self, tag: u8, wosize: usize) -> Result<u64, Raise> {
        if self.flags.compat_32 && wosize > 0x3F_FFFF {
            return cannot_be_read_back("array");
        }
        Ok(self.out.block(tag, wosize))
    }

    fn string(&mut self, v: Val<'m>) -> Result<u64, Raise> {
        let bytes = v.bytes()?;
        if self.flags.compat_32 && bytes.len() > 0xFF_FFFB {
            return cannot_be_read_back("string");
        }
        Ok(self.out.string(bytes))
    }

    fn double_array(&mut self, v: Val<'m>, len: usize) -> Result<u64, Raise> {
        if self.flags.compat_32 && len > 0x1F_FFFF {
            return cannot_be_read_back("float array");
        }
        Ok(self.out.double_array((0..len).map(|i| v.float_field(i).unwrap_or_default())))
    }

    fn custom(&mut self, v: Val<'m>) -> Result<u64, Raise> {
        let ops = v.custom_ops()?;
        let known = behaviour(ops).and_then(|b| Some((b.serialize?, b.fixed_length)));
        let Some((serialize, fixed)) = known else {
            return Err(Raise::invalid("output_value: abstract value (Custom)"));
        };
        self.payload.clear();
        let (bytes32, bytes64) = serialize(v, &mut self.payload);
        let sizes = CustomSizes { bytes32, bytes64 };
        Ok(match fixed {
            Some(_) => self.out.custom_fixed(ops.name.as_bytes(), sizes, &self.payload),
            None => self.out.custom_sized(ops.name.as_bytes(), sizes, &self.payload),
        })
    }

    /// A closure as stock OCaml would write it, without what ours have at the end.
    fn closure(&mut self, v: Val<'m>, address: u64, place: usize) -> Result<u64, Raise> {
        let Some(view) = self.m.closure_view(v) else {
            return Err(Raise::invalid("output_value: abstract value (outside heap)"));
        };
        let number = self.block(tag::CLOSURE, view.wosize)?;
        self.record(place, address, number);
        if !self.flags.closures {
            return Err(Raise::invalid("output_value: functional value"));
        }
        let digest = view.unit.digest();
        let mut field = 0;
        for (at, offset) in view.functions {
            // Headers between functions and the distances to the variables are integers to the format.
            for i in field..at {
                self.int(v.field(i)?.int()?)?;
            }
            let offset = offset as u32;
            self.out.code_pointer(&CodePointer { offset, digest });
            self.int(v.field(at + 1)?.int()?)?;
            field = at + 2;
        }
        if field < view.wosize {
            self.stack.push(Rest { block: v, next: field, end: view.wosize });
        }
        Ok(number)
    }
}

/// A value's bytes, header and all.
pub(crate) fn marshalled(m: &Machine, v: Slot, closures: bool) -> Result<Vec<u8>, Raise> {
    let (header, data) = marshal_with(m, v, Flags { closures, ..Flags::default() })?;
    Ok([header.as_ref(), &data].concat())
}

fn marshal(m: &Machine, v: Slot, flags_list: Slot) -> Result<(HeaderBytes, Vec<u8>), Raise> {
    marshal_with(m, v, flags(m, flags_list)?)
}

fn marshal_with(m: &Machine, v: Slot, flags: Flags) -> Result<(HeaderBytes, Vec<u8>), Raise> {
    let colour = BlockColour::White;
    let out = if flags.no_sharing { Encoder::without_sharing(colour) } else { Encoder::new(colour) };
    let mut writer = Writer { m, out, flags, seen: Seen::new(), stack: Vec::new(), payload: Vec::new() };
    writer.run(m.val(v))?;
    let (header, data) = writer.out.finish_parts();
    if flags.compat_32 && header.as_ref().len() > 20 {
        return Err(Raise::failure("output_value: object too big to be read back on 32-bit platform"));
    }
    Ok((header, data))
}

// ---- primitives ------------------------------------------------------------------------------------

fn output_value(m: &mut Machine, [chan, v, flags]: [Slot; 3]) -> Res<'_> {
    let channel = channels::lock(m, chan)?;
    let (header, data) = marshal(m, v, flags)?;
    channels::put_all(m, &channel, header.as_ref())?;
    channels::put_all(m, &channel, &data)?;
    Ok(UNIT)
}

fn output_value_to_bytes(m: &mut Machine, [v, flags]: [Slot; 2]) -> Res<'_> {
    let (header, data) = marshal(m, v, flags)?;
    let header = header.as_ref();
    let bytes = m.push(|m| m.new_bytes(header.len() + data.len()))?;
    let (start, end) = m.bytes_mut(bytes)?.split_at_mut(header.len());
    start.copy_from_slice(header);
    end.copy_from_slice(&data);
    Ok(m.val(bytes))
}

fn output_value_to_buffer(m: &mut Machine, [buf, at, len, v, flags]: [Slot; 5]) -> Res<'_> {
    let (at, len) = (m.index(at)?, m.index(len)?);
    let (header, data) = marshal(m, v, flags)?;
    let header = header.as_ref();
    let total = header.len() + data.len();
    if total > len {
        return Err(Raise::failure("Marshal.to_buffer: buffer overflow"));
    }
    let buf = m.bytes_mut(buf)?;
    let buf = at.checked_add(total).and_then(|end| buf.get_mut(at..end)).ok_or_else(Raise::bounds)?;
    let (start, end) = buf.split_at_mut(header.len());
    start.copy_from_slice(header);
    end.copy_from_slice(&data);
    Ok(Val::from_int(total as i64))
}

prims! {
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
        let mut seen = Seen::new();
        for n in 0..10_000u64 {
            let address = 0x7f00_0000_0000 + 24 * n;
            let place = seen.find(address).unwrap_err();
            seen.put(place, address, n);
        }
        for n in 0..10_000 {
            assert_eq!(seen.find(0x7f00_0000_0000 + 24 * n), Ok(n));
            assert!(seen.find(0x7f00_0000_0008 + 24 * n).is_err());
        }
    }
}
