//! The function that tells the OCaml type.

use proc_macro2::TokenStream;
use quote::quote;

use crate::shape::{Constructor, Kind, Part, Shape};

pub(crate) fn function(shape: &Shape, trait_name: &TokenStream) -> TokenStream {
    let type_of = |part: &Part| {
        let ty = &part.ty;
        quote! { <#ty as ::spelter::#trait_name>::ocaml_type }
    };
    let named = |part: &Part| {
        let (name, ty) = (&part.name, type_of(part));
        quote! { (#name, #ty as ::spelter::TypeOf) }
    };
    let name = &shape.name;
    let parameters = shape.generics.type_params().map(|it| &it.ident);
    let arguments = quote! { ::std::vec![#(<#parameters as ::spelter::#trait_name>::ocaml_type),*] };
    let body = match &shape.kind {
        Kind::Unit => quote! { <() as ::spelter::#trait_name>::ocaml_type() },
        Kind::Transparent(part) => {
            let ty = type_of(part);
            quote! { #ty() }
        }
        Kind::Tuple(parts) => {
            let parts = parts.iter().map(type_of);
            quote! { ::spelter::OcamlType::Tuple(::std::vec![#(#parts),*]) }
        }
        Kind::Record { fields, unboxed } => {
            let (fields, is_flat) = (fields.iter().map(named), shape.is_flat(trait_name));
            let layout = match unboxed {
                true => quote! { ::spelter::RecordLayout::Unboxed },
                false => quote! {
                    if #is_flat { ::spelter::RecordLayout::Floats } else { ::spelter::RecordLayout::Block }
                },
            };
            quote! {
                ::spelter::OcamlType::Record(::spelter::RecordType {
                    name: #name,
                    arguments: #arguments,
                    fields: ::std::vec![#(#fields),*],
                    layout: #layout,
                })
            }
        }
        Kind::Variant { constructors, unboxed } => {
            let constructors = constructors.iter().map(|it| constructor(it, &type_of, &named));
            quote! {
                ::spelter::OcamlType::Variant(::spelter::VariantType {
                    name: #name,
                    arguments: #arguments,
                    constructors: ::std::vec![#(#constructors),*],
                    is_unboxed: #unboxed,
                })
            }
        }
        Kind::Polymorphic(tags) => {
            let tags = tags.iter().map(|it| tag(it, trait_name));
            quote! {
                ::spelter::OcamlType::Polymorphic(::spelter::PolymorphicType {
                    name: #name,
                    arguments: #arguments,
                    tags: ::std::vec![#(#tags),*],
                })
            }
        }
    };
    quote! { fn ocaml_type() -> ::spelter::OcamlType { #body } }
}

fn constructor(
    constructor: &Constructor,
    type_of: &impl Fn(&Part) -> TokenStream,
    named: &impl Fn(&Part) -> TokenStream,
) -> TokenStream {
    let name = &constructor.name;
    let arguments = if constructor.is_record {
        let fields = constructor.parts.iter().map(named);
        quote! { ::spelter::ConstructorArguments::Record(::std::vec![#(#fields),*]) }
    } else {
        let parts = constructor.parts.iter().map(type_of);
        quote! { ::spelter::ConstructorArguments::Tuple(::std::vec![#(#parts),*]) }
    };
    quote! { ::spelter::ConstructorType { name: #name, arguments: #arguments } }
}

fn tag(tag: &Constructor, trait_name: &TokenStream) -> TokenStream {
    let name = &tag.name;
    let types = tag.parts.iter().map(|part| &part.ty);
    let argument = match tag.parts.len() {
        0 => quote! { ::core::option::Option::None },
        1 => quote! { ::core::option::Option::Some(<#(#types)* as ::spelter::#trait_name>::ocaml_type) },
        _ => quote! { ::core::option::Option::Some(<(#(#types),*) as ::spelter::#trait_name>::ocaml_type) },
    };
    quote! { ::spelter::TagType { name: #name, argument: #argument } }
}
