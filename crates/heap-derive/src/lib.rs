//! The derive macro of `spelter-heap`, which re-exports it with its feature `derive`. The trait `View` documents it.

#![forbid(unsafe_code)]

mod layout;

use proc_macro2::{Ident, TokenStream};
use quote::{format_ident, quote};
use syn::{Data, DeriveInput, Error, Fields, GenericParam, Lifetime, Result, parse_quote};

use layout::{Layout, Variant};

/// Implements `spelter_heap::View` for a struct or an enum: its documentation describes the layout and the attributes.
#[proc_macro_derive(View, attributes(view))]
pub fn derive_view(input: proc_macro::TokenStream) -> proc_macro::TokenStream {
    let input = syn::parse_macro_input!(input as DeriveInput);
    view(&input).unwrap_or_else(Error::into_compile_error).into()
}

fn view(input: &DeriveInput) -> Result<TokenStream> {
    let variants = match &input.data {
        Data::Struct(data) => vec![layout::of_struct(&input.attrs, &data.fields)?],
        Data::Enum(data) => layout::of_enum(data)?,
        Data::Union(_) => return Err(Error::new_spanned(input, "a union has no view")),
    };
    let mut generics = input.generics.clone();
    let mut lifetimes: Vec<Lifetime> = generics.lifetimes().map(|it| it.lifetime.clone()).collect();
    // The lifetime of peeking is called 'p, any other is that of the scope.
    let peek = lifetimes.extract_if(.., |it| it.ident == "p").next();
    let scope = match lifetimes.as_slice() {
        [] => None,
        [scope] => Some(scope.clone()),
        [_, second, ..] => {
            return Err(Error::new_spanned(
                second,
                "a view has one lifetime of its scope, and one called 'p",
            ));
        }
    };
    let mut lifetime_or = |lifetime: Option<Lifetime>, default: Lifetime| {
        lifetime.unwrap_or_else(|| {
            generics.params.insert(0, parse_quote!(#default));
            default
        })
    };
    let scope = lifetime_or(scope, parse_quote!('view_scope));
    let peek = lifetime_or(peek, parse_quote!('view_peek));
    for param in &mut generics.params {
        if let GenericParam::Type(param) = param {
            param.bounds.push(parse_quote!(::spelter_heap::View<#peek, #scope>));
        }
    }
    let (name, (implemented, _, bounds)) = (&input.ident, generics.split_for_impl());
    let (_, arguments, _) = input.generics.split_for_impl();
    let expected = format!("a value laid out as {name}");
    let read = match variants.as_slice() {
        [Variant { name: None, layout: Layout::Block(tag), .. }] => read_struct(&variants[0], *tag),
        _ => {
            let read = variants.iter().map(read);
            quote! {
                match value.shape() {
                    #(#read)*
                    _ => ::core::result::Result::Err(::spelter_heap::WrongType { expected: #expected }),
                }
            }
        }
    };
    let write = variants.iter().map(write);
    Ok(quote! {
        #[automatically_derived]
        impl #implemented ::spelter_heap::View<#peek, #scope> for #name #arguments #bounds {
            #[inline(always)]
            fn read(
                value: ::spelter_heap::Peek<#peek, #scope>,
            ) -> ::core::result::Result<Self, ::spelter_heap::WrongType> {
                #read
            }

            #[inline]
            fn write(
                self,
                scope: &mut ::spelter_heap::Scope<#scope>,
            ) -> ::core::result::Result<::spelter_heap::Handle<#scope>, ::spelter_heap::OutOfMemory> {
                match self {
                    #(#write)*
                }
            }
        }
    })
}

/// Names for the fields of a variant.
fn locals(variant: &Variant) -> Vec<Ident> {
    (0..variant.fields.len()).map(|i| format_ident!("field_{i}")).collect()
}

/// The pattern, or the expression, of a variant whose fields have these names.
fn shape(variant: &Variant, locals: &[Ident]) -> TokenStream {
    let path = match &variant.name {
        Some(name) => quote!(Self::#name),
        None => quote!(Self),
    };
    match variant.fields {
        Fields::Named(fields) => {
            let names = fields.named.iter().map(|field| &field.ident);
            quote!(#path { #(#names: #locals),* })
        }
        Fields::Unnamed(_) => quote!(#path(#(#locals),*)),
        Fields::Unit => path,
    }
}

/// The body that reads a struct, with a single comparison.
fn read_struct(variant: &Variant, tag: u8) -> TokenStream {
    let locals = locals(variant);
    let (shape, size) = (shape(variant, &locals), locals.len());
    quote! {
        let [#(#locals),*] = value.block::<#size>(#tag)?;
        #(let #locals = ::spelter_heap::View::read(#locals)?;)*
        ::core::result::Result::Ok(#shape)
    }
}

/// The arm that reads a variant.
fn read(variant: &Variant) -> TokenStream {
    let locals = locals(variant);
    let shape = shape(variant, &locals);
    match variant.layout {
        Layout::Constant(n) => quote! {
            ::spelter_heap::Shape::Int(#n) => ::core::result::Result::Ok(#shape),
        },
        Layout::Integers => quote! {
            ::spelter_heap::Shape::Int(field_0) => ::core::result::Result::Ok(#shape),
        },
        Layout::Block(tag) => {
            let size = locals.len();
            quote! {
                ::spelter_heap::Shape::Block { tag: #tag, size: #size } => {
                    let [#(#locals),*] = value.block::<#size>(#tag)?;
                    #(let #locals = ::spelter_heap::View::read(#locals)?;)*
                    ::core::result::Result::Ok(#shape)
                }
            }
        }
    }
}

/// The arm that writes a variant.
fn write(variant: &Variant) -> TokenStream {
    let locals = locals(variant);
    let shape = shape(variant, &locals);
    match variant.layout {
        Layout::Constant(n) => quote! {
            #shape => ::core::result::Result::Ok(::spelter_heap::Handle::int(#n)),
        },
        Layout::Integers => quote! {
            #shape => ::core::result::Result::Ok(::spelter_heap::Handle::int(field_0)),
        },
        Layout::Block(tag) => quote! {
            #shape => {
                #(let #locals = ::spelter_heap::View::write(#locals, scope)?;)*
                scope.block(#tag, [#(#locals),*])
            }
        },
    }
}
