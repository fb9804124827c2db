//! What a Rust declaration is in OCaml.

use proc_macro2::{TokenStream, TokenTree};
use quote::{ToTokens, quote};
use syn::ext::IdentExt;
use syn::{Data, DeriveInput, Error, Fields, Generics, Ident, Index, Member, Result, Type};

use crate::attributes::{Attributes, On};

/// A declared type.
pub(crate) struct Shape {
    pub(crate) ident: Ident,
    pub(crate) generics: Generics,
    /// OCaml's name for it.
    pub(crate) name: String,
    pub(crate) kind: Kind,
}

pub(crate) enum Kind {
    /// `()`
    Unit,
    /// The same as its only field.
    Transparent(Box<Part>),
    Tuple(Vec<Part>),
    Record {
        fields: Vec<Part>,
        unboxed: bool,
    },
    Variant {
        constructors: Vec<Constructor>,
        unboxed: bool,
    },
    Polymorphic(Vec<Constructor>),
}

/// A field of a record or tuple, or an argument of a constructor.
pub(crate) struct Part {
    pub(crate) member: Member,
    pub(crate) ty: Type,
    /// OCaml's name for it, if it has one.
    pub(crate) name: String,
    /// Whether its type mentions a parameter of the declaration.
    is_generic: bool,
}

pub(crate) struct Constructor {
    pub(crate) ident: Ident,
    pub(crate) name: String,
    pub(crate) is_record: bool,
    pub(crate) parts: Vec<Part>,
}

/// Constructors with arguments are told apart by tags below those of the runtime.
const MOST_TAGS: usize = 246;

impl Shape {
    pub(crate) fn of(input: DeriveInput) -> Result<Shape> {
        let attributes = Attributes::of(&input.attrs, On::Type)?;
        let name = attributes.rename.clone().unwrap_or_else(|| snake_case(&input.ident.unraw().to_string()));
        let parameters: Vec<Ident> = input.generics.type_params().map(|it| it.ident.clone()).collect();
        let refuse = |what: &str| Err(Error::new(input.ident.span(), what));
        if attributes.poly && !matches!(input.data, Data::Enum(_)) {
            return refuse("`poly` is for enums");
        }
        let kind = match input.data {
            Data::Struct(data) => of_struct(data.fields, &attributes, &parameters, &input.ident)?,
            Data::Enum(data) => {
                let constructors = data
                    .variants
                    .into_iter()
                    .map(|variant| Constructor::of(variant, &parameters))
                    .collect::<Result<Vec<_>>>()?;
                of_enum(constructors, &attributes, &input.ident)?
            }
            Data::Union(_) => return refuse("OCaml has no unions"),
        };
        Ok(Shape { ident: input.ident, generics: input.generics, name, kind })
    }

    /// An implementation of this trait of `spelter`, which every parameter implements, too.
    pub(crate) fn implement(&self, trait_name: &TokenStream, items: &TokenStream) -> TokenStream {
        let mut generics = self.generics.clone();
        for parameter in generics.type_params_mut() {
            parameter.bounds.push(syn::parse_quote!(::spelter::#trait_name));
            parameter.default = None;
        }
        let (in_front, _, conditions) = generics.split_for_impl();
        let (_, arguments, _) = self.generics.split_for_impl();
        let ident = &self.ident;
        quote! {
            #[automatically_derived]
            impl #in_front ::spelter::#trait_name for #ident #arguments #conditions { #items }
        }
    }

    /// The part that values look like, if they look like one.
    fn only_part(&self) -> Option<&Part> {
        match &self.kind {
            Kind::Transparent(part) => Some(part),
            Kind::Record { fields, unboxed: true } => fields.first(),
            Kind::Variant { constructors, unboxed: true } => constructors.first()?.parts.first(),
            _ => None,
        }
    }

    /// The constant of the trait that says whether values are floats.
    pub(crate) fn is_float(&self, trait_name: &TokenStream) -> TokenStream {
        let Some(Part { ty, .. }) = self.only_part() else { return TokenStream::new() };
        quote! { const IS_FLOAT: bool = <#ty as ::spelter::#trait_name>::IS_FLOAT; }
    }

    /// An expression for whether values are flat, because they are records of floats. OCaml decides it at the
    /// declaration, where a parameter is no float.
    pub(crate) fn is_flat(&self, trait_name: &TokenStream) -> TokenStream {
        match &self.kind {
            Kind::Record { fields, unboxed: false } if fields.iter().all(|field| !field.is_generic) => {
                let types = fields.iter().map(|field| &field.ty);
                quote! { const { #(<#types as ::spelter::#trait_name>::IS_FLOAT)&&* } }
            }
            _ => quote! { false },
        }
    }
}

fn of_struct(fields: Fields, attributes: &Attributes, parameters: &[Ident], ident: &Ident) -> Result<Kind> {
    let refuse = |what: &str| Err(Error::new(ident.span(), what));
    let is_record = matches!(fields, Fields::Named(_));
    let mut parts = Part::all(fields, parameters)?;
    match (is_record, parts.len()) {
        (true, 0) => refuse("OCaml has no records without fields"),
        (true, 2..) if attributes.unboxed => refuse("an unboxed record has one field"),
        (true, _) => Ok(Kind::Record { fields: parts, unboxed: attributes.unboxed }),
        (false, _) if attributes.unboxed => refuse(
            "`unboxed` is for records and variants; a tuple struct of one field is the same as the field",
        ),
        (false, 0) => Ok(Kind::Unit),
        (false, 1) => Ok(Kind::Transparent(Box::new(parts.remove(0)))),
        (false, _) => Ok(Kind::Tuple(parts)),
    }
}

fn of_enum(constructors: Vec<Constructor>, attributes: &Attributes, ident: &Ident) -> Result<Kind> {
    let refuse = |what: &str| Err(Error::new(ident.span(), what));
    if constructors.is_empty() {
        return refuse("a variant without constructors has no values to convert");
    }
    if attributes.poly && attributes.unboxed {
        return refuse("polymorphic variants are not unboxed");
    }
    if attributes.poly {
        check_tags(&constructors)?;
        return Ok(Kind::Polymorphic(constructors));
    }
    if attributes.unboxed && (constructors.len() != 1 || constructors[0].parts.len() != 1) {
        return refuse("an unboxed variant has one constructor, with one argument");
    }
    if constructors.iter().filter(|it| !it.parts.is_empty()).count() > MOST_TAGS {
        return refuse("OCaml's variants have at most 246 constructors with arguments");
    }
    Ok(Kind::Variant { constructors, unboxed: attributes.unboxed })
}

/// Tags of polymorphic variants have no inline records, and different hashes.
fn check_tags(tags: &[Constructor]) -> Result<()> {
    for (i, tag) in tags.iter().enumerate() {
        if tag.is_record {
            let what = "a polymorphic variant has no inline records: give it a struct as its argument";
            return Err(Error::new(tag.ident.span(), what));
        }
        if let Some(other) = tags[..i].iter().find(|other| other.hash() == tag.hash()) {
            let what =
                format!("OCaml cannot tell `{} from `{}: they have the same hash", tag.name, other.name);
            return Err(Error::new(tag.ident.span(), what));
        }
    }
    Ok(())
}

impl Part {
    fn all(fields: Fields, parameters: &[Ident]) -> Result<Vec<Part>> {
        let part = |(i, field): (usize, syn::Field)| {
            let attributes = Attributes::of(&field.attrs, On::Part)?;
            let name = attributes.rename.or_else(|| Some(field.ident.as_ref()?.unraw().to_string()));
            Ok(Part {
                is_generic: mentions(field.ty.to_token_stream(), parameters),
                member: field.ident.map_or(Member::Unnamed(Index::from(i)), Member::Named),
                ty: field.ty,
                name: name.unwrap_or_default(),
            })
        };
        fields.into_iter().enumerate().map(part).collect()
    }

    /// A variable for it.
    pub(crate) fn variable(&self, i: usize) -> Ident {
        Ident::new(&format!("part_{i}"), proc_macro2::Span::mixed_site())
    }
}

impl Constructor {
    fn of(variant: syn::Variant, parameters: &[Ident]) -> Result<Constructor> {
        let attributes = Attributes::of(&variant.attrs, On::Part)?;
        Ok(Constructor {
            name: attributes.rename.unwrap_or_else(|| variant.ident.unraw().to_string()),
            is_record: matches!(variant.fields, Fields::Named(_)) && !variant.fields.is_empty(),
            parts: Part::all(variant.fields, parameters)?,
            ident: variant.ident,
        })
    }

    /// The number by which OCaml tells polymorphic variants apart: 31 bits with a sign.
    pub(crate) fn hash(&self) -> i64 {
        let step = |hash: u32, byte: u8| hash.wrapping_mul(223).wrapping_add(byte.into());
        let hash = self.name.bytes().fold(0, step);
        ((hash << 1) as i32 >> 1).into()
    }

    /// A pattern that binds each part to its variable.
    pub(crate) fn pattern(&self) -> TokenStream {
        let ident = &self.ident;
        let parts = self.parts.iter().enumerate().map(|(i, part)| {
            let (member, variable) = (&part.member, part.variable(i));
            quote! { #member: #variable }
        });
        quote! { Self::#ident { #(#parts),* } }
    }
}

/// The constructors of a variant, each with its number: constant ones are counted apart.
pub(crate) fn numbered(constructors: &[Constructor]) -> impl Iterator<Item = (u8, i64, &Constructor)> {
    let (mut tag, mut constant) = (0_u8, 0_i64);
    constructors.iter().map(move |constructor| {
        let numbers = (tag, constant, constructor);
        if constructor.parts.is_empty() {
            constant += 1
        } else {
            tag += 1
        }
        numbers
    })
}

fn mentions(tokens: TokenStream, parameters: &[Ident]) -> bool {
    tokens.into_iter().any(|token| match token {
        TokenTree::Group(group) => mentions(group.stream(), parameters),
        TokenTree::Ident(ident) => parameters.contains(&ident),
        _ => false,
    })
}

/// `PriceList` as OCaml writes the names of types: `price_list`.
fn snake_case(name: &str) -> String {
    let mut snake = String::new();
    let mut after_lower = false;
    for c in name.chars() {
        if c.is_uppercase() && after_lower {
            snake.push('_');
        }
        after_lower = c.is_lowercase() || c.is_numeric();
        snake.extend(c.to_lowercase());
    }
    snake
}
