//! Elements of big arrays, as instructions. Cases that raise, and complex numbers, are left to the primitives.

use std::marker::PhantomData;

use spelter_heap::WrongType;
use spelter_heap::raw::{CustomOps, Value};

use super::call::c_call;
use super::handlers;
use super::inline::{put_boxed, put_float};
use crate::Machine;
use crate::exec::exit::{Flow, NEXT};
use crate::exec::regs::{Regs, Trust, boxed_word, double, int};
use crate::prim::bigarray::{self, Element, Source};

/// The indices on the stack.
#[inline(always)]
fn indices<T: Trust, const N: usize>(r: &Regs) -> Option<[i64; N]> {
    let mut all = [0; N];
    for (i, index) in all.iter_mut().enumerate() {
        *index = int::<T>(r.peek(i)).ok()?;
    }
    Some(all)
}

/// The element of the array in accu.
#[inline(always)]
fn element<T: Trust, const N: usize>(r: &Regs) -> Option<Element> {
    let indices = indices::<T, N>(r)?;
    bigarray::element::<T>(r.accu, &indices)
}

#[inline(always)]
fn get<T: Trust, const N: usize>(r: &mut Regs, m: &mut Machine) -> Flow {
    let p = r.operand_usize();
    match element::<T, N>(r) {
        Some(Element::Int(n)) => {
            r.accu = Value::int(n);
            r.drop(N);
            NEXT
        }
        Some(Element::Float(x)) => put_float::<T>(r, m, N, x),
        Some(Element::Boxed(kind, n)) => put_boxed::<T>(r, m, N, kind, n),
        Some(Element::Complex(..)) | None => c_call::<T>(r, m, 1 + N, p),
    }
}

/// A value that code of this grade claims to be of the right kind.
struct From<T>(Value, PhantomData<T>);

impl<T> Clone for From<T> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<T> Copy for From<T> {}

/// Never shown: the primitive is called instead, and finds the error itself.
const OTHER: WrongType = WrongType { expected: "another kind" };

impl<T: Trust> Source for From<T> {
    #[inline(always)]
    fn int(self) -> Result<i64, WrongType> {
        int::<T>(self.0).map_err(|_| OTHER)
    }
    #[inline(always)]
    fn float(self) -> Result<f64, WrongType> {
        double::<T>(self.0).map_err(|_| OTHER)
    }
    #[inline(always)]
    fn boxed(self, kind: &'static CustomOps) -> Result<i64, WrongType> {
        boxed_word::<T>(self.0, kind).map_err(|_| OTHER)
    }
    #[inline(always)]
    fn complex(self) -> Result<(f64, f64), WrongType> {
        Err(OTHER)
    }
}

/// The element of the array in accu ← the value above its indices.
#[inline(always)]
fn set_element<T: Trust, const N: usize>(r: &Regs) -> Option<()> {
    let indices = indices::<T, N>(r)?;
    let from = From::<T>(r.peek(N), PhantomData);
    bigarray::set_element::<T>(r.accu, &indices, from)
}

#[inline(always)]
fn set<T: Trust, const N: usize>(r: &mut Regs, m: &mut Machine) -> Flow {
    let p = r.operand_usize();
    match set_element::<T, N>(r) {
        Some(()) => {
            r.drop(N + 1);
            r.accu = Value::UNIT;
            NEXT
        }
        None => c_call::<T>(r, m, 2 + N, p),
    }
}

handlers! {
    BIGARRAY_GET1(r, m) { return get::<T, 1>(r, m); }
    BIGARRAY_GET2(r, m) { return get::<T, 2>(r, m); }
    BIGARRAY_GET3(r, m) { return get::<T, 3>(r, m); }
    BIGARRAY_SET1(r, m) { return set::<T, 1>(r, m); }
    BIGARRAY_SET2(r, m) { return set::<T, 2>(r, m); }
    BIGARRAY_SET3(r, m) { return set::<T, 3>(r, m); }
}
