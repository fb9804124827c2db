//! Makes a unit's literals into values.

use spelter_bytecode::obj::{Constant, LiteralId, Literals};
use spelter_interp::{Machine, Raise, Res, Slot, Val};

/// The literals of one unit as values: each in a slot of the machine's, parts before the whole.
pub(crate) struct Values(Vec<Slot>);

impl Values {
    pub(crate) fn slot(&self, id: LiteralId) -> Slot {
        self.0[id.index()]
    }
}

/// Makes all literals, in new slots.
pub(crate) fn push_all(m: &mut Machine, literals: &Literals) -> Result<Values, Raise> {
    let mut slots = Vec::with_capacity(literals.all().len());
    for constant in literals.all() {
        let slot = m.push(|m| make(m, constant, &slots))?;
        slots.push(slot);
    }
    Ok(Values(slots))
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
            let fields: Vec<Slot> = fields.iter().map(|id| made[id.index()]).collect();
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
