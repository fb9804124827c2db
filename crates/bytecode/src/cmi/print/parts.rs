//! What a type consists of when it is printed, and by what it is recognised.

use crate::cmi::Type;
use crate::cmi::types::{Node, RowNode, TagNode};

/// How many methods of an object are printed.
const METHODS: usize = 1000;

/// The name that the source gives a variable.
pub(super) fn ty_name<'i>(ty: &Type<'i>) -> Option<&'i str> {
    match ty.node() {
        Node::Var(name) | Node::Univar(name) => name.as_deref(),
        _ => None,
    }
}

/// The public methods of an object type, and what comes after its methods.
pub(super) fn methods<'i>(fields: &Type<'i>) -> (Vec<(&'i str, Type<'i>)>, Type<'i>) {
    let mut methods = Vec::new();
    let mut rest = fields.clone();
    for _ in 0..METHODS {
        let Node::Field { name, public, ty, rest: more } = rest.node() else { break };
        if *public {
            methods.push((name.as_str(), rest.beside(*ty)));
        }
        rest = rest.beside(*more);
    }
    (methods, rest)
}

/// The type by whose identity a type is recognised: of an open variant or object the variable of its row.
pub(super) fn proxy<'i>(ty: &Type<'i>) -> Type<'i> {
    match ty.node() {
        Node::Variant(row) if !is_static(row) => ty.beside(row.more),
        Node::Object(fields, _) => match methods(&ty.beside(*fields)).1 {
            rest if matches!(rest.node(), Node::Nil) => ty.clone(),
            rest => rest,
        },
        _ => ty.clone(),
    }
}

pub(super) fn is_static(row: &RowNode) -> bool {
    row.closed && !row.tags.iter().any(|(_, tag)| matches!(tag, TagNode::Either(..)))
}

pub(super) fn is_open(ty: &Type<'_>) -> bool {
    match ty.node() {
        Node::Variant(row) => !is_static(row),
        Node::Object(fields, _) => !matches!(methods(&ty.beside(*fields)).1.node(), Node::Nil),
        _ => false,
    }
}

pub(super) fn is_nameable(row: &RowNode) -> bool {
    row.tags.iter().all(|(_, tag)| match tag {
        TagNode::Either(true, arguments) => row.closed && arguments.is_empty(),
        TagNode::Either(false, arguments) => row.closed && arguments.len() == 1,
        _ => true,
    })
}

pub(super) fn is_aliasable(ty: &Type<'_>) -> bool {
    !matches!(ty.node(), Node::Var(_) | Node::Univar(_) | Node::Poly(..))
}

/// The parts of a type that are printed, in the order of the compiler.
pub(super) fn printed_parts<'i>(ty: &Type<'i>) -> Vec<Type<'i>> {
    match ty.node() {
        Node::Var(_) | Node::Univar(_) | Node::Nil => Vec::new(),
        Node::Arrow(_, argument, result) => ty.each(&[*argument, *result]),
        Node::Tuple(parts) => parts.iter().map(|(_, part)| ty.beside(*part)).collect(),
        Node::Constr(_, arguments) => ty.each(arguments),
        Node::Variant(row) => match &row.name {
            Some((_, arguments)) if is_nameable(row) => ty.each(arguments),
            _ => {
                let tags = row.tags.iter().flat_map(|(_, tag)| match tag {
                    TagNode::Present(argument) => argument.as_slice(),
                    TagNode::Either(_, arguments) => arguments,
                    TagNode::Absent => &[],
                });
                // The variable of the row itself is not printed, but what a fixed row stands for is.
                tags.map(|argument| ty.beside(*argument)).collect()
            }
        },
        Node::Object(_, Some((_, arguments))) => ty.each(arguments.get(1..).unwrap_or_default()),
        Node::Object(fields, None) => methods(&ty.beside(*fields)).0.into_iter().map(|(_, ty)| ty).collect(),
        Node::Field { public, ty: method, rest, .. } => {
            let mut parts = if *public { ty.each(&[*method]) } else { Vec::new() };
            parts.push(ty.beside(*rest));
            parts
        }
        Node::Poly(body, variables) => {
            let mut parts = ty.each(&[*body]);
            parts.extend(ty.each(variables));
            parts
        }
        Node::Package(package) => {
            package.constraints.iter().map(|(_, constraint)| ty.beside(*constraint)).collect()
        }
        Node::Functor(_, _, package, result) => {
            let mut parts: Vec<_> =
                package.constraints.iter().map(|(_, constraint)| ty.beside(*constraint)).collect();
            parts.push(ty.beside(*result));
            parts
        }
    }
}
