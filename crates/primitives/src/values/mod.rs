//! Primitives that only depend on their arguments: numbers, strings, arrays, comparison, the engines of parsers.

pub(crate) mod alloc;
pub(crate) mod array;
pub(crate) mod atomic;
pub(crate) mod bigarray;
pub(crate) mod blake2;
pub(crate) mod compare;
pub(crate) mod decimal;
pub(crate) mod directive;
pub(crate) mod floats;
pub(crate) mod hash;
pub(crate) mod ints;
pub(crate) mod lexing;
pub(crate) mod md5;
pub(crate) mod padded;
pub(crate) mod parsing;
pub(crate) mod prng;
pub(crate) mod str;
