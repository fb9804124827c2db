//! Whether two Rust types have the same OCaml type: those that one type variable stands for.

use std::collections::HashSet;

use crate::convert::{ConstructorArguments, OcamlType, TypeOf};

/// Pairs of types that are the same, unless a difference is found elsewhere.
#[derive(Default)]
pub(super) struct Pairs(HashSet<(usize, usize)>);

impl Pairs {
    pub(super) fn same(&mut self, a: TypeOf, b: TypeOf) -> bool {
        // Functions of one address tell the same type.
        let (left, right) = (a as usize, b as usize);
        if left == right || !self.0.insert((left, right)) {
            return true;
        }
        match (a(), b()) {
            (OcamlType::Any, OcamlType::Any) => true,
            (OcamlType::Predefined(a, left), OcamlType::Predefined(b, right)) => {
                a == b && self.all(&left, &right)
            }
            (OcamlType::Tuple(left), OcamlType::Tuple(right)) => self.all(&left, &right),
            (OcamlType::Record(a), OcamlType::Record(b)) => {
                a.layout == b.layout && self.fields(&a.fields, &b.fields)
            }
            (OcamlType::Variant(a), OcamlType::Variant(b)) => {
                a.is_unboxed == b.is_unboxed
                    && a.constructors.len() == b.constructors.len()
                    && a.constructors
                        .iter()
                        .zip(&b.constructors)
                        .all(|(a, b)| a.name == b.name && self.arguments(&a.arguments, &b.arguments))
            }
            (OcamlType::Polymorphic(a), OcamlType::Polymorphic(b)) => {
                a.tags.len() == b.tags.len()
                    && a.tags.iter().all(|tag| {
                        let other = b.tags.iter().find(|other| other.name == tag.name);
                        other.is_some_and(|other| match (tag.argument, other.argument) {
                            (Some(a), Some(b)) => self.same(a, b),
                            (a, b) => a.is_none() && b.is_none(),
                        })
                    })
            }
            _ => false,
        }
    }

    fn all(&mut self, left: &[TypeOf], right: &[TypeOf]) -> bool {
        left.len() == right.len() && left.iter().zip(right).all(|(a, b)| self.same(*a, *b))
    }

    fn fields(&mut self, left: &[(&str, TypeOf)], right: &[(&str, TypeOf)]) -> bool {
        left.len() == right.len()
            && left.iter().zip(right).all(|((a, left), (b, right))| a == b && self.same(*left, *right))
    }

    fn arguments(&mut self, left: &ConstructorArguments, right: &ConstructorArguments) -> bool {
        match (left, right) {
            (ConstructorArguments::Tuple(left), ConstructorArguments::Tuple(right)) => self.all(left, right),
            (ConstructorArguments::Record(left), ConstructorArguments::Record(right)) => {
                self.fields(left, right)
            }
            _ => false,
        }
    }
}
