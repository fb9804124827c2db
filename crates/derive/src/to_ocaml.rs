//! `#[derive(ToOcaml)]`

use proc_macro2::TokenStream;
use quote::quote;

use crate::describe;
use crate::shape::{Constructor, Kind, Part, Shape, numbered};

pub(crate) fn implementation(shape: &Shape) -> TokenStream {
    let trait_name = quote! { ToOcaml };
    let (is_float, is_flat) = (shape.is_float(&trait_name), shape.is_flat(&trait_name));
    let ocaml_type = describe::function(shape, &trait_name);
    let name = &shape.name;
    let body = match &shape.kind {
        Kind::Unit => quote! { ::core::result::Result::Ok(cx.unit()) },
        Kind::Transparent(part) => own(part),
        Kind::Record { fields, unboxed: true } => fields.iter().map(own).collect(),
        Kind::Tuple(parts) => {
            let parts = parts.iter().map(own);
            quote! { let fields = [#(#parts?),*]; cx.block(0, &fields) }
        }
        Kind::Record { fields, unboxed: false } => {
            let fields = fields.iter().map(own);
            quote! {
                let fields = [#(#fields?),*];
                if #is_flat { ::spelter::__support::float_record(cx, &fields) } else { cx.block(0, &fields) }
            }
        }
        Kind::Variant { constructors, unboxed: true } => {
            let arms = constructors.iter().map(|constructor| {
                let pattern = constructor.pattern();
                let made = constructor.parts.iter().enumerate().map(|(i, part)| bound(part, i));
                quote! { #pattern => #(#made)*, }
            });
            quote! { match self { #(#arms)* } }
        }
        Kind::Variant { constructors, unboxed: false } => {
            let arms = numbered(constructors).map(|(tag, constant, it)| arm(it, tag, constant));
            quote! { match self { #(#arms)* } }
        }
        Kind::Polymorphic(tags) => {
            let arms = tags.iter().map(tag_arm);
            quote! { match self { #(#arms)* } }
        }
    };
    let items = quote! {
        #is_float

        fn to_ocaml<'spelter_context>(
            &self,
            cx: &mut ::spelter::Context<'spelter_context>,
        ) -> ::core::result::Result<::spelter::Local<'spelter_context>, ::spelter::Raise> {
            ::spelter::__support::make(cx, #name, |cx| { #body })
        }

        #ocaml_type
    };
    shape.implement(&trait_name, &items)
}

/// Makes the value of a field of `self`.
fn own(part: &Part) -> TokenStream {
    let member = &part.member;
    quote! { ::spelter::ToOcaml::to_ocaml(&self.#member, cx) }
}

/// Makes the value of a part that a pattern has bound.
fn bound(part: &Part, i: usize) -> TokenStream {
    let variable = part.variable(i);
    quote! { ::spelter::ToOcaml::to_ocaml(#variable, cx) }
}

fn arm(constructor: &Constructor, tag: u8, constant: i64) -> TokenStream {
    let pattern = constructor.pattern();
    if constructor.parts.is_empty() {
        return quote! { #pattern => ::core::result::Result::Ok(cx.int(#constant)), };
    }
    let parts = constructor.parts.iter().enumerate().map(|(i, part)| bound(part, i));
    quote! { #pattern => { let parts = [#(#parts?),*]; cx.block(#tag, &parts) } }
}

fn tag_arm(tag: &Constructor) -> TokenStream {
    let (pattern, hash) = (tag.pattern(), tag.hash());
    let variables: Vec<_> = tag.parts.iter().enumerate().map(|(i, part)| part.variable(i)).collect();
    let argument = match variables.as_slice() {
        [] => return quote! { #pattern => ::core::result::Result::Ok(cx.int(#hash)), },
        [variable] => quote! { #variable },
        _ => quote! { &(#(#variables),*) },
    };
    quote! {
        #pattern => {
            let argument = ::spelter::ToOcaml::to_ocaml(#argument, cx)?;
            let tag = cx.int(#hash);
            cx.block(0, &[tag, argument])
        }
    }
}
