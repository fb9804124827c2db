//! Identifiers and paths.

use super::too_deep;
use crate::cmi::{Path, Root};
use crate::error::Result;
use crate::marshal::Item;
use crate::room;
use crate::view::View;

/// How many applications of functors a path may nest.
const DEEPEST: usize = 20;

/// An `Ident.t`.
pub(super) struct Identifier {
    pub(super) name: String,
    pub(super) kind: IdentifierKind,
}

pub(super) enum IdentifierKind {
    Local(i64),
    Unit,
    Predefined,
}

impl Identifier {
    pub(super) fn stamp(&self) -> Option<i64> {
        match self.kind {
            IdentifierKind::Local(stamp) => Some(stamp),
            IdentifierKind::Unit | IdentifierKind::Predefined => None,
        }
    }
}

pub(super) fn identifier(view: View<'_>) -> Result<Identifier> {
    let (kind, name) = match view.block()? {
        (0, [name, stamp]) | (1, [name, stamp, _]) => {
            (IdentifierKind::Local(view.of(*stamp, "stamp of a name").int()?), name)
        }
        (2, [name]) => (IdentifierKind::Unit, name),
        (3, [name, _stamp]) => (IdentifierKind::Predefined, name),
        (4, [unscoped]) => return unscoped_name(view.of(*unscoped, "name of a module parameter")),
        _ => return Err(view.not("an identifier")),
    };
    Ok(Identifier { name: view.of(*name, "name").name()?, kind })
}

/// The parameter of a module-dependent function (from 5.5): a chain of links.
pub(super) fn unscoped_name(view: View<'_>) -> Result<Identifier> {
    let mut next = view;
    for _ in 0..=view.graph.len() {
        let (0, [state]) = next.block()? else { return Err(next.not("a module parameter")) };
        let state = next.of(*state, "name of a module parameter");
        match state.block()? {
            (0, [name]) => {
                let [name, stamp] = *state.of(*name, "name of a module parameter").tuple()?;
                let stamp = state.of(stamp, "stamp of a name").int()?;
                let name = state.of(name, "name of a module parameter").name()?;
                return Ok(Identifier { name, kind: IdentifierKind::Local(stamp) });
            }
            (1, [link]) => next = state.of(*link, "name of a module parameter"),
            _ => return Err(state.not("a module parameter")),
        }
    }
    Err(view.not("finite"))
}

/// A `Path.t`.
pub(super) fn path(view: View<'_>) -> Result<Path> {
    path_within(view, DEEPEST)
}

fn path_within(view: View<'_>, depth: usize) -> Result<Path> {
    let mut names = Vec::new();
    let mut next = view;
    let root = loop {
        view.charge(1)?;
        match next.block()? {
            (0, [ident]) => {
                let Identifier { name, kind } = identifier(view.of(*ident, "identifier"))?;
                break match kind {
                    IdentifierKind::Local(stamp) => Root::Local { name, stamp },
                    IdentifierKind::Unit => Root::Unit(name),
                    IdentifierKind::Predefined => Root::Predefined(name),
                };
            }
            (1, [prefix, name]) => {
                room::push(&mut names, view.of(*name, "name").name()?)?;
                next = view.of(*prefix, "path");
            }
            (2, [functor, argument]) => {
                let depth = depth.checked_sub(1).ok_or_else(|| too_deep("applications of functors"))?;
                let functor = path_within(view.of(*functor, "path of a functor"), depth)?;
                let argument = path_within(view.of(*argument, "path of an argument"), depth)?;
                break Root::Application(Box::new((functor, argument)));
            }
            // The type of an inline record.
            (3, [prefix, extra]) => {
                if *extra != Item::Int(0) {
                    let extra = view.of(*extra, "constructor of an inline record");
                    let (0, [name]) = extra.block()? else { return Err(extra.not("a constructor")) };
                    room::push(&mut names, view.of(*name, "name").name()?)?;
                }
                next = view.of(*prefix, "path");
            }
            _ => return Err(next.not("a path")),
        }
    };
    names.reverse();
    Ok(Path { root, names })
}
