//! Turns a unit's literals into values.

use spelter_bytecode::obj::{Constant, LiteralId, Literals};
use spelter_interp::{Machine, Raise, Res, Slot, Val, fallible};

/// The literals of one unit as values, each in a stack slot; the parts of a literal come before the whole.
pub(crate) struct Values(Vec<Slot>);

impl Values {
    pub(crate) fn slot(&self, id: LiteralId) -> Slot {
        self.0[id.index()]
    }
}

/// Builds all literals, in new slots.
pub(crate) fn push_all(m: &mut Machine, literals: &Literals) -> Result<Values, Raise> {
    let mut slots = fallible::with_capacity(literals.all().len())?;
    for constant in literals.all() {
        let slot = m.push(|m| make(m, constant, &slots))?;
        slots.push(slot);
    }
    Ok(Values(slots))
}

/// Bytes that the literals take in the heap, headers included.
pub(crate) fn bytes(literals: &Literals) -> usize {
    let words = |constant: &Constant| match constant {
        Constant::Int(_) | Constant::Char(_) => 0,
        Constant::String(s) | Constant::ImmString(s) => 1 + s.len() / 8 + 1,
        Constant::Float { .. } => 1 + 1,
        Constant::Int32(_) | Constant::Int64(_) | Constant::Nativeint(_) => 1 + 2,
        Constant::Block { fields, .. } if fields.is_empty() => 0,
        Constant::Block { fields, .. } => 1 + fields.len(),
        Constant::FloatArray { values, .. } if values.is_empty() => 0,
        Constant::FloatArray { values, .. } => 1 + values.len(),
    };
    8 * literals.all().iter().map(words).sum::<usize>()
}

fn make<'m>(m: &'m mut Machine, constant: &Constant, made: &[Slot]) -> Res<'m> {
    match constant {
        Constant::Int(i) => Ok(Val::from_int(*i)),
        Constant::Char(c) => Ok(Val::from_int(i64::from(*c))),
        Constant::String(s) | Constant::ImmString(s) => m.new_string(s),
        Constant::Float { value, .. } => m.new_float(*value),
        Constant::Int32(i) => m.new_int32(*i),
        Constant::Int64(i) => m.new_int64(*i),
        Constant::Nativeint(i) => m.new_nativeint(*i),
        Constant::Block { tag, fields } => {
            let fields: Vec<Slot> = fallible::collect(fields.iter().map(|id| made[id.index()]))?;
            m.new_block(*tag, &fields)
        }
        Constant::FloatArray { values, .. } => {
            let array = m.push(|m| m.new_float_array(values.len()))?;
            for (i, f) in values.iter().enumerate() {
                m.set_float_field(array, i, *f)?;
            }
            Ok(m.val(array))
        }
    }
}
