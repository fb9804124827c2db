//! `Hashtbl.hash` (OCaml's `hash.c`): MurmurHash 3's 32-bit steps over the meaningful leaves of a value, breadth
//! first, up to a limit.

use spelter_heap::raw::tag;
use spelter_interp::prim::custom::behaviour;
use spelter_interp::{Machine, PIECE_BYTES, Raise, ReadRes, Val, WrongType, prims};

/// The longest queue of values to visit.
const MAX_QUEUE: usize = 256;
/// Strings of at least this many bytes, and as many floats, are hashed in pieces.
const LONG: usize = 1 << 16;
/// How many forwarding blocks are followed in one step; they may form a cycle.
const MAX_FORWARD: usize = 1000;

/// Mixes 32 bits into a hash.
#[inline]
pub(crate) fn mix(h: u32, d: u32) -> u32 {
    let d = d.wrapping_mul(0xcc9e_2d51).rotate_left(15).wrapping_mul(0x1b87_3593);
    (h ^ d).rotate_left(13).wrapping_mul(5).wrapping_add(0xe654_6b64)
}

/// Mixes a native integer; those that fit into 32 bits hash as on 32-bit machines.
#[inline]
pub(crate) fn mix_native(h: u32, d: i64) -> u32 {
    mix(h, ((d >> 32) ^ (d >> 63) ^ d) as u32)
}

/// Mixes all 64 bits.
pub(crate) fn mix_int64(h: u32, d: i64) -> u32 {
    mix(mix(h, d as u32), (d >> 32) as u32)
}

/// Mixes a float; both zeros hash equally, and so do all NaNs.
#[inline]
pub(crate) fn mix_double(h: u32, x: f64) -> u32 {
    let bits = match x {
        _ if x.is_nan() => 0x7FF0_0000_0000_0001,
        0.0 => 0,
        _ => x.to_bits(),
    };
    mix_int64(h, bits as i64)
}

/// Mixes a float of single precision in the same way.
pub(crate) fn mix_float(h: u32, x: f32) -> u32 {
    let bits = match x {
        _ if x.is_nan() => 0x7F80_0001,
        0.0 => 0,
        _ => x.to_bits(),
    };
    mix(h, bits)
}

/// Mixes the bits of a float of half precision in the same way.
pub(crate) fn mix_half(h: u32, half: u16) -> u32 {
    let bits = match half & 0x7FFF {
        0x7C01.. => 0x7C01,
        0 => 0,
        _ => half,
    };
    mix(h, bits.into())
}

/// Mixes bytes, four at a time, little-endian; the rest is padded with zeros.
pub(crate) fn mix_bytes(mut h: u32, bytes: &[u8]) -> u32 {
    let (groups, rest) = bytes.as_chunks::<4>();
    for group in groups {
        h = mix(h, u32::from_le_bytes(*group));
    }
    if !rest.is_empty() {
        h = mix(h, rest.iter().rev().fold(0, |last, byte| last << 8 | u32::from(*byte)));
    }
    h
}

/// Mixes a string: its bytes and its length.
fn mix_string(h: u32, s: &[u8]) -> u32 {
    mix_bytes(h, s) ^ s.len() as u32
}

/// The same for a long string, with checks for an interrupt.
#[cold]
fn mix_long_string(m: &Machine, mut h: u32, s: &[u8]) -> Result<u32, Box<Raise>> {
    // Pieces consist of whole groups of four bytes.
    for piece in s.chunks(PIECE_BYTES) {
        m.check_interrupt()?;
        h = mix_bytes(h, piece);
    }
    Ok(h ^ s.len() as u32)
}

fn finish(mut h: u32) -> i64 {
    h ^= h >> 16;
    h = h.wrapping_mul(0x85eb_ca6b);
    h ^= h >> 13;
    h = h.wrapping_mul(0xc2b2_ae35);
    h ^= h >> 16;
    i64::from(h & 0x3FFF_FFFF)
}

/// The values to visit, which need no allocation while they are few.
struct Queue<'m> {
    low: [Val<'m>; 24],
    len: usize,
    read: usize,
    high: Vec<Val<'m>>,
}

impl<'m> Queue<'m> {
    fn new() -> Self {
        Queue { low: [Val::from_int(0); 24], len: 0, read: 0, high: Vec::new() }
    }

    fn push(&mut self, v: Val<'m>) {
        match self.low.get_mut(self.len) {
            Some(place) => *place = v,
            None => self.high.push(v),
        }
        self.len += 1;
    }

    fn pop(&mut self) -> Option<Val<'m>> {
        let at = self.read;
        if at >= self.len {
            return None;
        }
        self.read += 1;
        Some(self.low.get(at).copied().unwrap_or_else(|| self.high[at - self.low.len()]))
    }
}

/// Mixes a closure's code, and returns its variables. Code is hashed by its position in its unit; OCaml's runtime uses
/// addresses, which programs should not see.
fn mix_code<'m>(m: &Machine, mut h: u32, v: Val<'m>) -> Result<(u32, &'m [Val<'m>]), WrongType> {
    let words = v.scanned_fields()?;
    let Some(view) = m.closure_view(v) else { return Ok((mix(h, u32::from(tag::CLOSURE)), &[])) };
    h = mix(h, (view.wosize as u32) << 10 | u32::from(tag::CLOSURE));
    h = mix_int64(h, view.unit.id.0 as i64);
    let mut end = 0;
    for (at, offset) in view.functions {
        h = mix_native(h, offset as i64);
        end = at + 2;
    }
    Ok((h, words.get(end..view.wosize).unwrap_or_default()))
}

/// The hash state, before it is finished, of up to `count` leaves of `v`, with at most `limit` values queued.
fn mix_value(m: &Machine, mut h: u32, v: Val<'_>, mut count: i64, limit: usize) -> Result<u32, Box<Raise>> {
    let mut queue = None;
    let naked = m.heap().has_naked_pointers();
    let mut v = v;
    while count > 0 {
        // One value, which counts if it is a meaningful leaf.
        loop {
            if v.is_int() || naked && m.is_outside(v) {
                h = mix_native(h, v.raw().bits() as i64);
                count -= 1;
                break;
            }
            match v.tag()? {
                tag::STRING => {
                    let bytes = v.bytes()?;
                    h = if bytes.len() < LONG { mix_string(h, bytes) } else { mix_long_string(m, h, bytes)? };
                    count -= 1;
                }
                tag::DOUBLE => {
                    h = mix_double(h, v.float()?);
                    count -= 1;
                }
                tag::DOUBLE_ARRAY => {
                    for i in 0..v.float_len()? {
                        h = mix_double(h, v.float_field(i)?);
                        count -= 1;
                        if count <= 0 {
                            break;
                        }
                        if i % LONG == LONG - 1 {
                            m.check_interrupt()?;
                        }
                    }
                }
                tag::ABSTRACT if v.is_outside() && m.behaviour().sees_outside => {
                    h = mix_native(h, v.raw().bits() as i64);
                    count -= 1;
                }
                tag::ABSTRACT => {}
                tag::INFIX => {
                    // The distance distinguishes the functions of one definition.
                    h = mix(h, v.wosize()? as u32 * 8);
                    v = m.enclosing(v);
                    continue;
                }
                tag::FORWARD => {
                    let mut links = 0;
                    while links < MAX_FORWARD && !(naked && m.is_outside(v)) && v.tag() == Ok(tag::FORWARD) {
                        v = v.field(0)?;
                        links += 1;
                    }
                    if naked && m.is_outside(v) || v.tag() != Ok(tag::FORWARD) {
                        continue;
                    }
                }
                tag::OBJECT => {
                    h = mix_native(h, v.field(1)?.int()?);
                    count -= 1;
                }
                tag::CUSTOM => {
                    if let Some(hash) = behaviour(v.custom_ops()?).and_then(|b| b.hash) {
                        h = mix(h, hash(m, v)? as u32);
                        count -= 1;
                    }
                }
                tag::CLOSURE => {
                    let (mixed, variables) = mix_code(m, h, v)?;
                    h = mixed;
                    let queue = queue.get_or_insert_with(Queue::new);
                    let room = limit.saturating_sub(queue.len + 1);
                    variables.iter().take(room).for_each(|field| queue.push(*field));
                }
                // Nothing distinguishes continuations.
                tag::CONT if m.behaviour().forcing_and_continuations => {}
                tag => {
                    let all = v.fields()?;
                    let fields = match tag {
                        tag::CLOSURE => closure_variables(m, &mut h, v, all),
                        _ => all,
                    };
                    h = mix(h, (fields.len() as u32) << 10 | u32::from(tag));
                    let queue = queue.get_or_insert_with(Queue::new);
                    // The hashed value itself takes the first place.
                    let room = limit.saturating_sub(queue.len + 1);
                    fields.iter().take(room).for_each(|field| queue.push(*field));
                }
            }
            break;
        }
        match queue.as_mut().and_then(Queue::pop) {
            Some(next) => v = next,
            None => break,
        }
    }
    Ok(h)
}

/// The variables of a block of closures. Its code is mixed as the functions' positions in their unit: the unit's
/// address should not be visible, and differs in each run.
fn closure_variables<'a, 'm>(m: &Machine, h: &mut u32, v: Val<'m>, all: &'a [Val<'m>]) -> &'a [Val<'m>] {
    let Some(view) = m.closure_view(v) else { return &[] };
    for (_, place) in &view.functions {
        *h = mix(*h, *place as u32);
    }
    all.get(3 * view.functions.len() - 1..view.wosize).unwrap_or_default()
}

fn hash<'m>(m: &'m Machine, count: Val<'m>, limit: Val<'m>, seed: Val<'m>, v: Val<'m>) -> ReadRes<'m> {
    let (count, seed) = (count.int()?, seed.int()? as u32);
    let limit = (limit.int()? as usize).min(MAX_QUEUE);
    Ok(Val::from_int(finish(mix_value(m, seed, v, count, limit)?)))
}

/// As `hash` with its usual limits, for strings only.
fn string_hash<'m>(m: &'m Machine, seed: Val<'m>, s: Val<'m>) -> ReadRes<'m> {
    let (seed, bytes) = (seed.int()? as u32, s.bytes()?);
    let h = if bytes.len() < LONG { mix_string(seed, bytes) } else { mix_long_string(m, seed, bytes)? };
    Ok(Val::from_int(finish(h)))
}

prims! {
    "caml_hash" V4 hash,
    "caml_string_hash" V2 string_hash => since(V5_0),
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Answers of ocamlrun 4.13.1's `Hashtbl.hash`.
    #[test]
    fn hashes_as_ocaml_does() {
        assert_eq!(finish(mix_native(0, 42 << 1 | 1)), 395_478_795);
        assert_eq!(finish(mix_native(0, -1)), 911_466_517);
        assert_eq!(finish(mix_native(0, i64::MIN | 1)), 69_827_754);
        assert_eq!(finish(mix_string(0, b"hello")), 840_920_576);
        assert_eq!(finish(mix_double(0, 1.5)), 819_188_451);
        assert_eq!(finish(mix(0, 3)), 883_721_435);
        assert_eq!(finish(mix_double(mix_double(0, 1.0), 2.0)), 332_890_686);
    }

    #[test]
    fn equal_floats_hash_equally() {
        assert_eq!(mix_double(1, 0.0), mix_double(1, -0.0));
        assert_eq!(mix_double(1, f64::NAN), mix_double(1, -f64::NAN));
        assert_eq!(mix_float(1, 0.0), mix_float(1, -0.0));
        assert_eq!(mix_float(1, f32::NAN), mix_float(1, -f32::NAN));
    }
}
