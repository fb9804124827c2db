//! The attributes `#[ocaml(...)]`.

use syn::{Attribute, LitStr, Result};

/// What the attributes of a type, a variant or a field say.
#[derive(Default)]
pub(crate) struct Attributes {
    pub(crate) poly: bool,
    pub(crate) unboxed: bool,
    pub(crate) rename: Option<String>,
}

/// What an attribute may stand on.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum On {
    Type,
    Part,
}

impl Attributes {
    pub(crate) fn of(attributes: &[Attribute], on: On) -> Result<Attributes> {
        let mut found = Attributes::default();
        for attribute in attributes.iter().filter(|attribute| attribute.path().is_ident("ocaml")) {
            attribute.parse_nested_meta(|meta| {
                if meta.path.is_ident("rename") {
                    let name: LitStr = meta.value()?.parse()?;
                    if !is_name(&name.value()) {
                        return Err(syn::Error::new(name.span(), "this is not a name in OCaml"));
                    }
                    found.rename = Some(name.value());
                } else if meta.path.is_ident("poly") && on == On::Type {
                    found.poly = true;
                } else if meta.path.is_ident("unboxed") && on == On::Type {
                    found.unboxed = true;
                } else {
                    let known = match on {
                        On::Type => "`poly`, `unboxed` and `rename = \"...\"`",
                        On::Part => "`rename = \"...\"`",
                    };
                    return Err(meta.error(format!("unknown attribute: here `ocaml` takes {known}")));
                }
                Ok(())
            })?;
        }
        Ok(found)
    }
}

fn is_name(name: &str) -> bool {
    name.starts_with(|first: char| first.is_alphabetic() || first == '_')
        && name.chars().all(|c| c.is_alphanumeric() || matches!(c, '_' | '\''))
}
