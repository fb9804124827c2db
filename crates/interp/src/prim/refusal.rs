//! What OCaml raises for marshalled data that cannot be read, since 5.4: its own reason.

use std::borrow::Cow;

use spelter_bytecode::marshal::{CodePointer, Kinds, Refusal, Rules, refusal};

use spelter_heap::raw::CustomOps;

use crate::Machine;
use crate::fallible;
use crate::prim::Raise;
use crate::prim::custom;
use crate::prim::unmarshal::FindCode;

const INVALID_READ: &str = "input_value: invalid read";

/// What a program knows, for the pass that looks for the reason.
struct Known<'m> {
    m: &'m mut Machine,
    find_code: FindCode,
}

impl Known<'_> {
    fn kind(&self, name: &[u8]) -> Option<(&'static CustomOps, &'static custom::Behaviour)> {
        let ops = self.m.customs.find(name)?;
        Some((ops, custom::behaviour(ops)?))
    }
}

impl Kinds for Known<'_> {
    type Error = Raise;

    fn custom(&mut self, name: &[u8]) -> Option<Option<u64>> {
        Some(self.kind(name)?.1.fixed_length.map(|(_, size)| size))
    }

    fn payload(&mut self, name: &[u8], data: &[u8], recorded: u64) -> Result<(usize, u64), Raise> {
        let Some((ops, behaviour)) = self.kind(name) else { return Err(Raise::bounds()) };
        let Some(deserialize) = behaviour.deserialize else { return Err(Raise::bounds()) };
        let mut left = data;
        let v = deserialize(self.m, ops, &mut left, recorded);
        let v =
            v.map_err(|raise| if raise == custom::cut() { Raise::failure(INVALID_READ) } else { raise })?;
        let size = behaviour.block_size(v).unwrap_or(recorded);
        Ok((data.len() - left.len(), size))
    }

    fn code(&mut self, pointer: &CodePointer) -> Result<(), Raise> {
        (self.find_code)(self.m, pointer).map(drop)
    }
}

impl Machine {
    /// What OCaml raises for the marshalled value at the start of `bytes`, which [`unmarshal`](Self::unmarshal) has
    /// refused, if it would refuse the value, too. Messages name `reader`.
    pub fn why_refused(&mut self, bytes: &[u8], find_code: FindCode, reader: &'static str) -> Option<Raise> {
        let rules = Rules { checks_closures: self.behaviour().marshal_checks_closures };
        let mark = self.mark();
        let refused = refusal(bytes, rules, &mut Known { m: self, find_code });
        self.release(mark);
        let text: Cow<'static, str> = match refused {
            Ok(None) => return None,
            Ok(Some(Refusal::Data(what))) => format!("input_value: {what}").into(),
            Ok(Some(Refusal::Named(what))) => format!("{reader}: {what}").into(),
            Ok(Some(Refusal::Custom(what, name))) => match fallible::lossy(&name) {
                Ok(name) => format!("{reader}: {what} {name}").into(),
                Err(none) => return Some(none.into()),
            },
            Ok(Some(Refusal::Raised(raise))) => return Some(raise),
            Ok(Some(Refusal::OutOfMemory)) => return Some(Raise::OutOfMemory),
            Err(e) if e.is_out_of_memory() => return Some(Raise::OutOfMemory),
            Err(_) => return None,
        };
        Some(Raise::Failure(text))
    }
}
