//! Structural comparison (OCaml's `compare.c`), without recursion, so values may be arbitrarily deep.

use std::cmp::Ordering;
use std::ptr;

use spelter_heap::raw::{CustomOps, tag};
use spelter_interp::prim::custom::{Compare, Compared, behaviour};
use spelter_interp::{Machine, Raise, ReadRes, Val, prims};

use crate::boolean;
use crate::values::str::order_bytes;

/// Pending pairs of blocks beyond which OCaml's runtime gives up.
const MAX_PENDING: usize = 1024 * 1024 / 2 - 1;

/// The number of fields compared between two checks for an interrupt.
const STEPS: u32 = 1 << 16;

/// The remaining fields of two blocks, equally many of each.
type Fields<'m> = (&'m [Val<'m>], &'m [Val<'m>]);

/// A stack that needs no allocation while it is small.
struct Stack<'m> {
    low: [Fields<'m>; 4],
    depth: usize,
    high: Vec<Fields<'m>>,
}

impl<'m> Stack<'m> {
    fn new() -> Self {
        Stack { low: [(&[], &[]); 4], depth: 0, high: Vec::new() }
    }

    #[inline(always)]
    fn push(&mut self, fields: Fields<'m>) -> Result<(), Box<Raise>> {
        match self.low.get_mut(self.depth) {
            Some(place) => *place = fields,
            // The pairs being compared count, too.
            None if self.depth + 1 >= MAX_PENDING => return Err(Raise::OutOfMemory.into()),
            None => self.high.push(fields),
        }
        self.depth += 1;
        Ok(())
    }

    fn pop(&mut self) -> Option<Fields<'m>> {
        self.depth = self.depth.checked_sub(1)?;
        self.low.get(self.depth).copied().or_else(|| self.high.pop())
    }
}

/// An order, or `None` for unordered.
type Found = Option<Ordering>;

/// The order of two floats: the total order, or else `None` if one is a NaN.
fn order_floats(x: f64, y: f64, total: bool) -> Found {
    match x.partial_cmp(&y) {
        // NaN equals itself and is below all others.
        None if total => Some(y.is_nan().cmp(&x.is_nan())),
        order => order,
    }
}

/// The result of a custom comparison: `None` for unordered, unless the total order is requested.
fn order_customs(c: Compared, total: bool) -> Found {
    if c.unordered && !total { None } else { Some(c.order) }
}

/// The comparison that two kinds share, or that they both have none. `None` if they differ in it. Kinds of C share it if
/// they name the same function; kinds of ours do if they have the same behaviour, as big arrays have, also mapped ones.
fn compare_of(a: &'static CustomOps, b: &'static CustomOps) -> Option<Option<Compare>> {
    let of = |ops| behaviour(ops).and_then(|b| b.compare);
    if ptr::eq(a, b) || ptr::addr_eq(a.behaviour, b.behaviour) {
        return Some(of(a));
    }
    let is_shared = match (of(a), of(b)) {
        (Some(_), Some(_)) => match (a.foreign_compare(), b.foreign_compare()) {
            (0, 0) => false,
            (a, b) => a == b,
        },
        (None, None) => true,
        _ => false,
    };
    is_shared.then(|| of(a))
}

/// The order of an integer and a block, as the block's kind defines it; integers are smaller than most blocks.
fn order_with_int(m: &Machine, block: Val<'_>, int: i64, total: bool) -> Result<Found, Box<Raise>> {
    if block.tag()? == tag::CUSTOM
        && let Some(ext) = behaviour(block.custom_ops()?).and_then(|b| b.compare_ext)
    {
        return Ok(order_customs(ext(m, block, int)?, total));
    }
    Ok(Some(Ordering::Greater))
}

/// Compares two values. `None` means unordered, which happens only if the total order is not requested.
///
/// The total order is that of `compare`: a block equals itself, without a look at its content. The other order is that
/// of `=` and `<`, in which NaN is not comparable.
fn order<'m>(m: &'m Machine, a: Val<'m>, b: Val<'m>, total: bool) -> Result<Found, Box<Raise>> {
    if m.heap().has_naked_pointers() {
        return order_naked(m, a, b, total);
    }
    order_from::<false>(m, a, b, total)
}

/// The same, in machines whose values may be pointers to anything.
#[cold]
#[inline(never)]
fn order_naked<'m>(m: &'m Machine, a: Val<'m>, b: Val<'m>, total: bool) -> Result<Found, Box<Raise>> {
    order_from::<true>(m, a, b, total)
}

/// The same; `NAKED` if values may be pointers to anything.
#[inline(always)] // A call would cost more than most comparisons.
fn order_from<'m, const NAKED: bool>(
    m: &'m Machine,
    mut a: Val<'m>,
    mut b: Val<'m>,
    total: bool,
) -> Result<Found, Box<Raise>> {
    // The remaining fields of the blocks that contain `a` and `b`, and of the blocks around those.
    let mut rest: Fields = (&[], &[]);
    let mut outer = None;
    let mut steps = 0u32;
    loop {
        // Comparing cyclic values may not end.
        steps = steps.wrapping_add(1);
        if steps.is_multiple_of(STEPS) {
            m.check_interrupt()?;
        }
        let found = match (a.int(), b.int()) {
            (Ok(i), Ok(j)) => Some(i.cmp(&j)),
            _ if total && a.same(b) => Some(Ordering::Equal),
            _ if NAKED && (m.is_outside(a) || m.is_outside(b)) => order_outside(a, b),
            (Err(_), Err(_)) => match order_blocks(m, a, b, total)? {
                Blocks::Ordered(found) => found,
                Blocks::Fields(x, xs, y, ys) => {
                    if !xs.is_empty() {
                        if !rest.0.is_empty() {
                            outer.get_or_insert_with(Stack::new).push(rest)?;
                        }
                        rest = (xs, ys);
                    }
                    (a, b) = (x, y);
                    continue;
                }
                Blocks::Instead(x, y) => {
                    (a, b) = (x, y);
                    continue;
                }
            },
            (Ok(i), Err(_)) => {
                if b.tag()? == tag::FORWARD {
                    m.check_interrupt()?;
                    b = b.field(0)?;
                    continue;
                }
                order_with_int(m, b, i, total)?.map(Ordering::reverse)
            }
            (Err(_), Ok(j)) => {
                if a.tag()? == tag::FORWARD {
                    m.check_interrupt()?;
                    a = a.field(0)?;
                    continue;
                }
                order_with_int(m, a, j, total)?
            }
        };
        if found != Some(Ordering::Equal) {
            return Ok(found);
        }
        if rest.0.is_empty() {
            match outer.as_mut().and_then(Stack::pop) {
                Some(fields) => rest = fields,
                None => return Ok(found),
            }
        }
        if let ([x, xs @ ..], [y, ys @ ..]) = rest {
            (a, b, rest) = (*x, *y, (xs, ys));
        }
    }
}

/// The order of two values of which at least one leads outside the heap: by address, after all integers.
fn order_outside(a: Val<'_>, b: Val<'_>) -> Found {
    Some(b.is_int().cmp(&a.is_int()).then(a.raw().bits().cmp(&b.raw().bits())))
}

/// The result of comparing two blocks without their fields.
enum Blocks<'m> {
    /// The result is known: an order, or unordered.
    Ordered(Found),
    /// Their fields decide: the first ones, and equally many others.
    Fields(Val<'m>, &'m [Val<'m>], Val<'m>, &'m [Val<'m>]),
    /// These values must be compared instead.
    Instead(Val<'m>, Val<'m>),
}

#[inline(always)] // There are two copies of its caller.
fn order_blocks<'m>(m: &Machine, a: Val<'m>, b: Val<'m>, total: bool) -> Result<Blocks<'m>, Box<Raise>> {
    let (a_tag, b_tag) = (a.tag()?, b.tag()?);
    if a_tag == b_tag && a_tag < tag::CONT {
        return order_plain(a, b);
    }
    if a_tag != b_tag && a_tag.max(b_tag) < tag::CLOSURE {
        return Ok(Blocks::Ordered(Some(a_tag.cmp(&b_tag))));
    }
    order_special(m, a, b, total)
}

/// As [`order_blocks`], for blocks with the same tag that has no special meaning.
#[inline(always)]
fn order_plain<'m>(a: Val<'m>, b: Val<'m>) -> Result<Blocks<'m>, Box<Raise>> {
    let (a, b) = (a.fields()?, b.fields()?);
    Ok(match (a, b) {
        ([x, xs @ ..], [y, ys @ ..]) if xs.len() == ys.len() => Blocks::Fields(*x, xs, *y, ys),
        _ => Blocks::Ordered(Some(a.len().cmp(&b.len()))),
    })
}

/// The order of two custom blocks.
#[inline(never)] // It may call C, for which the others need not prepare.
fn order_custom_blocks(m: &Machine, a: Val<'_>, b: Val<'_>, total: bool) -> Result<Found, Box<Raise>> {
    let (a_ops, b_ops) = (a.custom_ops()?, b.custom_ops()?);
    match compare_of(a_ops, b_ops) {
        Some(Some(compare)) => Ok(order_customs(compare(m, a, b)?, total)),
        Some(None) => Err(Raise::invalid("compare: abstract value").into()),
        // Of different types: by name. No two of these are equal.
        None => Ok(Some(a_ops.name.cmp(b_ops.name).then(Ordering::Greater))),
    }
}

/// As [`order_blocks`], for tags with a special meaning.
#[inline(always)] // It has a caller for each of the two loops.
fn order_special<'m>(m: &Machine, a: Val<'m>, b: Val<'m>, total: bool) -> Result<Blocks<'m>, Box<Raise>> {
    let (mut a_tag, b_tag) = (a.tag()?, b.tag()?);
    // Only trusted code sees values outside the heap. Here they have headers.
    if (a.is_outside() || b.is_outside()) && m.behaviour().sees_outside {
        return Ok(Blocks::Ordered(order_outside(a, b)));
    }
    if a_tag != b_tag {
        if a_tag == tag::FORWARD {
            return Ok(Blocks::Instead(a.field(0)?, b));
        }
        if b_tag == tag::FORWARD {
            return Ok(Blocks::Instead(a, b.field(0)?));
        }
        let outer = |t| if t == tag::INFIX { tag::CLOSURE } else { t };
        if outer(a_tag) != outer(b_tag) {
            return Ok(Blocks::Ordered(Some(outer(a_tag).cmp(&outer(b_tag)))));
        }
        a_tag = tag::CLOSURE;
    }
    let found = match a_tag {
        tag::CONT if m.behaviour().forcing_and_continuations => {
            return Err(Raise::invalid("compare: continuation value").into());
        }
        tag::FORWARD => return Ok(Blocks::Instead(a.field(0)?, b.field(0)?)),
        tag::STRING => Some(order_bytes(m, a.bytes()?, b.bytes()?)?),
        tag::DOUBLE => order_floats(a.float()?, b.float()?, total),
        tag::DOUBLE_ARRAY => {
            let len = a.float_len()?;
            let mut found = Some(len.cmp(&b.float_len()?));
            let mut i = 0;
            while found == Some(Ordering::Equal) && i < len {
                if i % STEPS as usize == 0 {
                    m.check_interrupt()?;
                }
                found = order_floats(a.float_field(i)?, b.float_field(i)?, total);
                i += 1;
            }
            found
        }
        tag::ABSTRACT => return Err(Raise::invalid("compare: abstract value").into()),
        tag::CLOSURE | tag::INFIX => return Err(Raise::invalid("compare: functional value").into()),
        tag::OBJECT => Some(a.field(1)?.int()?.cmp(&b.field(1)?.int()?)),
        tag::CUSTOM => order_custom_blocks(m, a, b, total)?,
        // The rest has been compared before.
        _ => return order_plain(a, b),
    };
    Ok(Blocks::Ordered(found))
}

fn compare<'m>(m: &'m Machine, a: Val<'m>, b: Val<'m>) -> ReadRes<'m> {
    let order = order(m, a, b, true)?;
    Ok(Val::from_int(order.map_or(0, |o| o as i64)))
}

fn equal<'m>(m: &'m Machine, a: Val<'m>, b: Val<'m>) -> ReadRes<'m> {
    Ok(boolean(order(m, a, b, false)? == Some(Ordering::Equal)))
}

fn notequal<'m>(m: &'m Machine, a: Val<'m>, b: Val<'m>) -> ReadRes<'m> {
    Ok(boolean(order(m, a, b, false)? != Some(Ordering::Equal)))
}

fn lessthan<'m>(m: &'m Machine, a: Val<'m>, b: Val<'m>) -> ReadRes<'m> {
    Ok(boolean(order(m, a, b, false)?.is_some_and(Ordering::is_lt)))
}

fn lessequal<'m>(m: &'m Machine, a: Val<'m>, b: Val<'m>) -> ReadRes<'m> {
    Ok(boolean(order(m, a, b, false)?.is_some_and(Ordering::is_le)))
}

fn greaterthan<'m>(m: &'m Machine, a: Val<'m>, b: Val<'m>) -> ReadRes<'m> {
    Ok(boolean(order(m, a, b, false)?.is_some_and(Ordering::is_gt)))
}

fn greaterequal<'m>(m: &'m Machine, a: Val<'m>, b: Val<'m>) -> ReadRes<'m> {
    Ok(boolean(order(m, a, b, false)?.is_some_and(Ordering::is_ge)))
}

prims! {
    "caml_compare" V2 compare,
    "caml_equal" V2 equal,
    "caml_greaterequal" V2 greaterequal,
    "caml_greaterthan" V2 greaterthan,
    "caml_lessequal" V2 lessequal,
    "caml_lessthan" V2 lessthan,
    "caml_notequal" V2 notequal,
}
