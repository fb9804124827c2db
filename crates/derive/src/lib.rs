//! The derive macros of [`spelter`], which exports and describes them: conversions between Rust types and OCaml's
//! records, tuples, variants and polymorphic variants.
//!
//! [`spelter`]: https://github.com/spelter/spelter
#![forbid(unsafe_code)]

mod attributes;
mod describe;
mod from_ocaml;
mod shape;
mod to_ocaml;

use proc_macro::TokenStream;
use syn::{DeriveInput, parse_macro_input};

use crate::shape::Shape;

/// Derives `ToOcaml`.
#[proc_macro_derive(ToOcaml, attributes(ocaml))]
pub fn to_ocaml(input: TokenStream) -> TokenStream {
    derive(parse_macro_input!(input as DeriveInput), to_ocaml::implementation)
}

/// Derives `FromOcaml`.
#[proc_macro_derive(FromOcaml, attributes(ocaml))]
pub fn from_ocaml(input: TokenStream) -> TokenStream {
    derive(parse_macro_input!(input as DeriveInput), from_ocaml::implementation)
}

fn derive(input: DeriveInput, implementation: fn(&Shape) -> proc_macro2::TokenStream) -> TokenStream {
    match Shape::of(input) {
        Ok(shape) => implementation(&shape).into(),
        Err(error) => error.into_compile_error().into(),
    }
}
