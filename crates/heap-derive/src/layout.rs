//! How types are laid out: as OCaml does it, unless attributes say otherwise.

use std::collections::HashSet;

use syn::{Attribute, DataEnum, Error, Fields, Ident, LitInt, Result};

/// Tags from here on have a meaning of their own.
const FIRST_SPECIAL: u8 = 244;

/// What stands for a variant on the heap.
pub(crate) enum Layout {
    /// This integer.
    Constant(i64),
    /// Any integer: the content of its only field.
    Integers,
    /// A block with this tag, and the variant's fields.
    Block(u8),
}

/// A variant of an enum, or a whole struct.
pub(crate) struct Variant<'a> {
    /// `None` for a struct.
    pub(crate) name: Option<&'a Ident>,
    pub(crate) fields: &'a Fields,
    pub(crate) layout: Layout,
}

/// The attributes of one type or variant.
#[derive(Default)]
struct Attributes {
    tag: Option<u8>,
    int: bool,
}

pub(crate) fn of_struct<'a>(attributes: &[Attribute], fields: &'a Fields) -> Result<Variant<'a>> {
    let attributes = Attributes::parse(attributes, false)?;
    Ok(Variant { name: None, fields, layout: Layout::Block(attributes.tag.unwrap_or(0)) })
}

pub(crate) fn of_enum(data: &DataEnum) -> Result<Vec<Variant<'_>>> {
    let (mut constants, mut tags) = (0, 0u8..FIRST_SPECIAL);
    let mut taken = HashSet::new();
    let mut integers = false;
    let mut variants = Vec::new();
    for variant in &data.variants {
        let attributes = Attributes::parse(&variant.attrs, true)?;
        let layout = if attributes.int {
            if variant.fields.len() != 1 || attributes.tag.is_some() || integers {
                return Err(Error::new_spanned(
                    variant,
                    "one variant, with one field, stands for all integers",
                ));
            }
            integers = true;
            Layout::Integers
        } else if let Some(tag) = attributes.tag {
            Layout::Block(tag)
        } else if variant.fields.is_empty() {
            constants += 1;
            Layout::Constant(constants - 1)
        } else {
            let tag = tags.next();
            Layout::Block(tag.ok_or_else(|| Error::new_spanned(variant, "there are no more tags"))?)
        };
        if let Layout::Block(tag) = layout
            && !taken.insert((tag, variant.fields.len()))
        {
            let text = format!("another variant is a block with tag {tag} and this number of fields, too");
            return Err(Error::new_spanned(variant, text));
        }
        variants.push(Variant { name: Some(&variant.ident), fields: &variant.fields, layout });
    }
    if integers && constants > 0 {
        let text = "a variant stands for all integers, so those without fields need `#[view(tag = …)]`";
        return Err(Error::new_spanned(&data.variants, text));
    }
    Ok(variants)
}

impl Attributes {
    fn parse(attributes: &[Attribute], of_variant: bool) -> Result<Attributes> {
        let mut parsed = Attributes::default();
        for attribute in attributes.iter().filter(|it| it.path().is_ident("view")) {
            attribute.parse_nested_meta(|meta| {
                if meta.path.is_ident("tag") {
                    let tag: LitInt = meta.value()?.parse()?;
                    let number = tag.base10_parse().ok().filter(|&number| number < FIRST_SPECIAL);
                    let text = format!("a tag is a number below {FIRST_SPECIAL}");
                    parsed.tag = Some(number.ok_or_else(|| Error::new_spanned(tag, text))?);
                    Ok(())
                } else if meta.path.is_ident("int") && of_variant {
                    parsed.int = true;
                    Ok(())
                } else {
                    Err(meta.error("expected `tag = …`, or `int` for a variant"))
                }
            })?;
        }
        Ok(parsed)
    }
}
