//! Type expressions: `Types.type_expr`.

use super::names::{path, unscoped_name};
use super::{Reader, Todo};
use crate::cmi::types::{Node, PackageNode, RowNode, TagNode};
use crate::cmi::{Label, Path, TypeId};
use crate::dialect::Release;
use crate::error::Result;
use crate::marshal::Item;
use crate::room;
use crate::view::View;

/// The tags of `Types.type_desc`.
const VAR: u8 = 0;
const ARROW: u8 = 1;
const TUPLE: u8 = 2;
const CONSTR: u8 = 3;
const OBJECT: u8 = 4;
const FIELD: u8 = 5;
const LINK: u8 = 6;
const SUBST: u8 = 7;
const VARIANT: u8 = 8;
const UNIVAR: u8 = 9;
const POLY: u8 = 10;
const PACKAGE: u8 = 11;
const FUNCTOR: u8 = 12;

impl Reader {
    /// The type of a node, to be read later if it is new.
    pub(super) fn ty<'g>(&mut self, view: View<'g>, todo: &mut Todo<'g>) -> Result<TypeId> {
        let view = target(view)?;
        let Item::Obj(node) = view.item else { return Err(view.not("a type")) };
        if let Some(id) = self.known.get(&node) {
            return Ok(*id);
        }
        let id = TypeId(self.types.len() as u32);
        room::push(&mut self.types, Node::Nil)?;
        room::insert(&mut self.known, node, id)?;
        room::push(todo, (view, id))?;
        Ok(id)
    }

    pub(super) fn ty_option<'g>(&mut self, view: View<'g>, todo: &mut Todo<'g>) -> Result<Option<TypeId>> {
        option(view, "type")?.map(|ty| self.ty(ty, todo)).transpose()
    }

    pub(super) fn tys<'g>(&mut self, view: View<'g>, todo: &mut Todo<'g>) -> Result<Vec<TypeId>> {
        room::collect(view.list()?.iter().map(|ty| self.ty(*ty, todo)))
    }

    /// Reads what a type is.
    pub(super) fn node<'g>(&mut self, view: View<'g>, todo: &mut Todo<'g>) -> Result<Node> {
        let desc = desc(view)?;
        if desc.item == Item::Int(0) {
            return Ok(Node::Nil);
        }
        let of = |item: &Item<_>, what| desc.of(*item, what);
        Ok(match desc.block()? {
            (VAR, [name]) => Node::Var(string_option(of(name, "name of a variable"))?),
            (UNIVAR, [name]) => Node::Univar(string_option(of(name, "name of a variable"))?),
            (ARROW, [label, argument, result, _]) => Node::Arrow(
                read_label(of(label, "label"))?,
                self.ty(of(argument, "type"), todo)?,
                self.ty(of(result, "type"), todo)?,
            ),
            (TUPLE, [parts]) => Node::Tuple(self.tuple(of(parts, "type"), todo)?),
            (CONSTR, [name, arguments, _]) => {
                Node::Constr(path(of(name, "path"))?, self.tys(of(arguments, "type"), todo)?)
            }
            (OBJECT, [fields, name]) => {
                let (0, [name]) = of(name, "name of an object type").block()? else {
                    return Err(desc.not("an object type"));
                };
                let name = self.abbreviation(of(name, "name of an object type"), todo)?;
                Node::Object(self.ty(of(fields, "type"), todo)?, name)
            }
            (FIELD, [name, kind, ty, rest]) => Node::Field {
                name: of(name, "name of a method").name()?,
                public: self.is_public(of(kind, "kind of a method"))?,
                ty: self.ty(of(ty, "type"), todo)?,
                rest: self.ty(of(rest, "type"), todo)?,
            },
            (VARIANT, [row]) => Node::Variant(self.row(of(row, "polymorphic variant"), todo)?),
            (POLY, [body, variables]) => {
                Node::Poly(self.ty(of(body, "type"), todo)?, self.tys(of(variables, "type"), todo)?)
            }
            (PACKAGE, [package]) if self.dialect.release >= Release::V5_4 => {
                let [name, constraints] = *of(package, "package type").tuple()?;
                Node::Package(self.package(of(&name, "path"), of(&constraints, "constraint"), todo)?)
            }
            (PACKAGE, [name, constraints]) => {
                Node::Package(self.package(of(name, "path"), of(constraints, "constraint"), todo)?)
            }
            (FUNCTOR, [label, name, package, result]) => {
                let [module_type, constraints] = *of(package, "package type").tuple()?;
                Node::Functor(
                    read_label(of(label, "label"))?,
                    unscoped_name(of(name, "name of a module parameter"))?.name,
                    self.package(of(&module_type, "path"), of(&constraints, "constraint"), todo)?,
                    self.ty(of(result, "type"), todo)?,
                )
            }
            _ => return Err(desc.not("of a known kind")),
        })
    }

    fn tuple<'g>(&mut self, view: View<'g>, todo: &mut Todo<'g>) -> Result<Vec<(Option<String>, TypeId)>> {
        let labelled = self.dialect.release >= Release::V5_4;
        room::collect(view.list()?.iter().map(|part| {
            if !labelled {
                return Ok((None, self.ty(*part, todo)?));
            }
            let [label, ty] = *part.tuple()?;
            let label = string_option(part.of(label, "label of a tuple's part"))?;
            Ok((label, self.ty(part.of(ty, "type"), todo)?))
        }))
    }

    /// The class type or the variant type that a type was written as.
    fn abbreviation<'g>(
        &mut self,
        view: View<'g>,
        todo: &mut Todo<'g>,
    ) -> Result<Option<(Path, Vec<TypeId>)>> {
        let Some(pair) = option(view, "abbreviation")? else { return Ok(None) };
        let [name, arguments] = *pair.tuple()?;
        Ok(Some((path(view.of(name, "path"))?, self.tys(view.of(arguments, "type"), todo)?)))
    }

    fn package<'g>(
        &mut self,
        name: View<'g>,
        constraints: View<'g>,
        todo: &mut Todo<'g>,
    ) -> Result<PackageNode> {
        let lists = self.dialect.release >= Release::V5_4;
        let constraints = room::collect(constraints.list()?.iter().map(|constraint| {
            let [name, ty] = *constraint.tuple()?;
            let name = constraint.of(name, "name of a constrained type");
            let names = if lists { name.strings()? } else { long_name(name)? };
            Ok((names, self.ty(constraint.of(ty, "type"), todo)?))
        }))?;
        Ok(PackageNode { path: path(name)?, constraints })
    }

    /// A row, with those that it goes on with.
    fn row<'g>(&mut self, view: View<'g>, todo: &mut Todo<'g>) -> Result<RowNode> {
        let old = self.dialect.release == Release::V4_13;
        let mut tags = Vec::new();
        let mut row = view;
        loop {
            let [fields, more, closed, name] = match (old, row.block()?) {
                (true, (0, [fields, more, _bound, closed, _fixed, name])) => [fields, more, closed, name],
                (false, (0, [fields, more, closed, _fixed, name])) => [fields, more, closed, name],
                _ => return Err(row.not("a row")),
            };
            for field in view.of(*fields, "tag of a polymorphic variant").list()? {
                let [name, tag] = *field.tuple()?;
                let name = field.of(name, "name of a tag").name()?;
                room::push(
                    &mut tags,
                    (name, self.tag(field.of(tag, "tag of a polymorphic variant"), todo)?),
                )?;
            }
            let more = target(view.of(*more, "type"))?;
            view.charge(1)?;
            match desc(more)?.node() {
                Some(crate::marshal::Node::Block { tag: VARIANT, fields: [inner] }) => {
                    row = view.of(*inner, "polymorphic variant");
                }
                _ => {
                    // The compiler shows them in this order, too.
                    room::afford::<(String, TagNode)>(tags.len())?;
                    tags.sort_by(|(a, _), (b, _)| a.cmp(b));
                    return Ok(RowNode {
                        tags,
                        more: self.ty(more, todo)?,
                        closed: view.of(*closed, "flag of a row").bool()?,
                        name: self.abbreviation(view.of(*name, "name of a row"), todo)?,
                    });
                }
            }
        }
    }

    fn tag<'g>(&mut self, view: View<'g>, todo: &mut Todo<'g>) -> Result<TagNode> {
        let mut arguments = Vec::new();
        let mut next = view;
        loop {
            view.charge(1)?;
            if next.item == Item::Int(0) {
                return Ok(TagNode::Absent);
            }
            match next.block()? {
                (0, [argument]) => {
                    let argument = self.ty_option(view.of(*argument, "argument of a tag"), todo)?;
                    return Ok(TagNode::Present(match (argument, arguments.first()) {
                        (Some(_), Some(first)) => Some(*first),
                        (argument, _) => argument,
                    }));
                }
                (1, [constant, types, _, cell]) => {
                    room::extend(&mut arguments, &self.tys(view.of(*types, "type"), todo)?)?;
                    // The rest of what is known about it: nothing up to 4.13, or from 4.14 a constant that says so.
                    let (0, [rest]) = view.of(*cell, "tag of a polymorphic variant").block()? else {
                        return Err(next.not("a tag"));
                    };
                    let rest = view.of(*rest, "tag of a polymorphic variant");
                    let rest = match self.dialect.release {
                        Release::V4_13 => option(rest, "tag of a polymorphic variant")?,
                        _ => Some(rest).filter(|rest| rest.item != Item::Int(1)),
                    };
                    match rest {
                        Some(rest) => next = rest,
                        None => {
                            let constant = view.of(*constant, "flag of a tag").bool()?;
                            return Ok(TagNode::Either(constant, arguments));
                        }
                    }
                }
                _ => return Err(next.not("a tag")),
            }
        }
    }

    /// Whether a method is public: its kind may be a chain of variables.
    fn is_public(&self, view: View<'_>) -> Result<bool> {
        let old = self.dialect.release == Release::V4_13;
        let mut next = view;
        for _ in 0..=view.graph.len() {
            match next.item {
                Item::Int(kind) => return Ok(if old { kind == 0 } else { kind == 1 }),
                _ => {
                    let (0, [cell]) = next.block()? else { return Err(next.not("a kind of method")) };
                    next = view.of(*cell, "kind of a method");
                    if old {
                        let (0, [content]) = next.block()? else { return Err(next.not("a kind of method")) };
                        match option(view.of(*content, "kind of a method"), "kind of a method")? {
                            Some(kind) => next = kind,
                            None => return Ok(false),
                        }
                    }
                }
            }
        }
        Err(view.not("finite"))
    }
}

/// Follows links, and looks into types that quantify nothing (from 5.5 all arguments are such).
fn target(view: View<'_>) -> Result<View<'_>> {
    let mut next = view;
    for _ in 0..=view.graph.len() {
        match desc(next)?.node() {
            Some(crate::marshal::Node::Block { tag: LINK, fields: [to] })
            | Some(crate::marshal::Node::Block { tag: SUBST, fields: [to, _] })
            | Some(crate::marshal::Node::Block { tag: POLY, fields: [to, Item::Int(0)] }) => {
                next = view.of(*to, "type")
            }
            _ => return Ok(next),
        }
    }
    Err(view.not("finite (its links lead in a circle)"))
}

fn desc(view: View<'_>) -> Result<View<'_>> {
    let [desc, _level, _scope, _id] = *view.tuple()?;
    Ok(view.of(desc, "type"))
}

pub(super) fn option<'g>(view: View<'g>, what: &'static str) -> Result<Option<View<'g>>> {
    match view.item {
        Item::Int(0) => Ok(None),
        _ => match view.block()? {
            (0, [content]) => Ok(Some(view.of(*content, what))),
            _ => Err(view.not("an option")),
        },
    }
}

pub(super) fn string_option(view: View<'_>) -> Result<Option<String>> {
    option(view, "name")?.map(View::name).transpose()
}

fn read_label(view: View<'_>) -> Result<Label> {
    if view.item == Item::Int(0) {
        return Ok(Label::None);
    }
    match view.block()? {
        (0, [name]) => Ok(Label::Labelled(view.of(*name, "label").name()?)),
        (1, [name]) => Ok(Label::Optional(view.of(*name, "label").name()?)),
        _ => Err(view.not("a label")),
    }
}

/// A `Longident.t` without applications.
fn long_name(view: View<'_>) -> Result<Vec<String>> {
    let mut names = Vec::new();
    let mut next = view;
    loop {
        view.charge(1)?;
        match next.block()? {
            (0, [name]) => {
                room::push(&mut names, view.of(*name, "name").name()?)?;
                names.reverse();
                return Ok(names);
            }
            (1, [prefix, name]) => {
                room::push(&mut names, view.of(*name, "name").name()?)?;
                next = view.of(*prefix, "name of a constrained type");
            }
            _ => return Err(next.not("a name")),
        }
    }
}
