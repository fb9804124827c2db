//! `#[derive(FromOcaml)]`

use proc_macro2::TokenStream;
use quote::quote;

use crate::describe;
use crate::shape::{Constructor, Kind, Part, Shape, numbered};

pub(crate) fn implementation(shape: &Shape) -> TokenStream {
    let trait_name = quote! { FromOcaml };
    let (is_float, is_flat) = (shape.is_float(&trait_name), shape.is_flat(&trait_name));
    let ocaml_type = describe::function(shape, &trait_name);
    let name = &shape.name;
    let body = match &shape.kind {
        Kind::Unit => {
            quote! { <() as ::spelter::FromOcaml>::from_ocaml(cx, v).map(|()| Self {}) }
        }
        Kind::Transparent(part) => whole(&quote! { Self }, part),
        Kind::Record { fields, unboxed: true } => {
            fields.iter().map(|it| whole(&quote! { Self }, it)).collect()
        }
        Kind::Tuple(parts) => {
            let at = |_: &Part| quote! { ::spelter::__support::At::Tuple };
            let what = format!("a tuple {name}");
            block(&quote! { Self }, parts, &what, &is_flat, at)
        }
        Kind::Record { fields, unboxed: false } => {
            let what = format!("a record {name}");
            block(&quote! { Self }, fields, &what, &is_flat, |field| named(field, name))
        }
        Kind::Variant { constructors, unboxed: true } => constructors
            .iter()
            .flat_map(|it| {
                let ident = &it.ident;
                it.parts.iter().map(move |part| whole(&quote! { Self::#ident }, part))
            })
            .collect(),
        Kind::Variant { constructors, unboxed: false } => {
            let arms = numbered(constructors).map(|(tag, constant, it)| arm(it, tag, constant));
            quote! {
                match ::spelter::__support::form(cx, v) {
                    #(#arms)*
                    _ => ::core::result::Result::Err(::spelter::__support::wrong_constructor(cx, v, #name)),
                }
            }
        }
        Kind::Polymorphic(tags) => {
            let arms = tags.iter().map(tag_arm);
            quote! {
                match ::spelter::__support::tag_of(cx, v, #name)? {
                    #(#arms)*
                    _ => ::core::result::Result::Err(::spelter::__support::wrong_constructor(cx, v, #name)),
                }
            }
        }
    };
    let items = quote! {
        #is_float

        fn from_ocaml<'spelter_context>(
            cx: &mut ::spelter::Context<'spelter_context>,
            v: ::spelter::Local<'spelter_context>,
        ) -> ::core::result::Result<Self, ::spelter::WrongType> {
            ::spelter::__support::read(cx, v, #name, |cx| { #body })
        }

        #ocaml_type
    };
    shape.implement(&trait_name, &items)
}

/// Reads the only part from the value itself.
fn whole(made: &TokenStream, part: &Part) -> TokenStream {
    let member = &part.member;
    quote! { ::spelter::FromOcaml::from_ocaml(cx, v).map(|part| #made { #member: part }) }
}

/// Checks that the value is a block of the parts, and reads them.
fn block(
    made: &TokenStream,
    parts: &[Part],
    what: &str,
    is_flat: &TokenStream,
    at: impl Fn(&Part) -> TokenStream,
) -> TokenStream {
    let size = parts.len();
    let parts = read(parts, is_flat, at);
    quote! {
        ::spelter::__support::expect_record(cx, v, #what, #size, #is_flat)?;
        ::core::result::Result::Ok(#made { #(#parts),* })
    }
}

/// `member: value` for each part of a block.
fn read(parts: &[Part], is_flat: &TokenStream, at: impl Fn(&Part) -> TokenStream) -> Vec<TokenStream> {
    let one = |(i, part): (usize, &Part)| {
        let (member, at) = (&part.member, at(part));
        quote! { #member: ::spelter::__support::field(cx, v, #i, #is_flat, #at)? }
    };
    parts.iter().enumerate().map(one).collect()
}

fn named(field: &Part, of: &str) -> TokenStream {
    let name = &field.name;
    quote! { ::spelter::__support::At::Field(#name, #of) }
}

fn arm(constructor: &Constructor, tag: u8, constant: i64) -> TokenStream {
    let (ident, name, size) = (&constructor.ident, &constructor.name, constructor.parts.len());
    if size == 0 {
        return quote! {
            ::spelter::__support::Form::Constant(#constant) => ::core::result::Result::Ok(Self::#ident {}),
        };
    }
    let parts = read(&constructor.parts, &quote! { false }, |part| match constructor.is_record {
        true => named(part, name),
        false => quote! { ::spelter::__support::At::Argument(#name) },
    });
    quote! {
        ::spelter::__support::Form::Block(#tag, #size) => {
            ::core::result::Result::Ok(Self::#ident { #(#parts),* })
        }
    }
}

fn tag_arm(tag: &Constructor) -> TokenStream {
    let (ident, hash) = (&tag.ident, tag.hash());
    let name = format!("`{}", tag.name);
    let variables: Vec<_> = tag.parts.iter().enumerate().map(|(i, part)| part.variable(i)).collect();
    let types = tag.parts.iter().map(|part| &part.ty);
    let (pattern, ty) = match variables.as_slice() {
        [] => return quote! { (#hash, false) => ::core::result::Result::Ok(Self::#ident {}), },
        [variable] => (quote! { #variable }, quote! { #(#types)* }),
        _ => (quote! { (#(#variables),*) }, quote! { (#(#types),*) }),
    };
    quote! {
        (#hash, true) => {
            let #pattern: #ty = ::spelter::__support::field(cx, v, 1, false, ::spelter::__support::At::Tag(#name))?;
            ::core::result::Result::Ok(Self::#ident(#(#variables),*))
        }
    }
}
