//! Disassembly listings: one instruction per line, with targets as absolute byte offsets, and names where known.

use std::collections::HashMap;
use std::fmt;

use crate::code::{Instr, Instructions, WORD};
use crate::exe::Executable;
use crate::obj::{CompilationUnit, Constant, LiteralId, Reloc};
use crate::opcode::{Flow, OpcodeSet, OperandKind};

/// Translates the numbers in code to names.
pub trait Names {
    /// The text for an operand, given its kind, its value and its byte offset in the code; `None` to show the number.
    fn operand(&self, kind: OperandKind, value: i32, offset: usize) -> Option<String>;
}

/// No names.
impl Names for () {
    fn operand(&self, _kind: OperandKind, _value: i32, _offset: usize) -> Option<String> {
        None
    }
}

/// The names of a linked program.
#[derive(Debug, Clone, Default)]
pub struct ProgramNames {
    prims: Vec<String>,
    globals: HashMap<usize, String>,
}

impl ProgramNames {
    /// Reads the names from an executable.
    ///
    /// # Errors
    ///
    /// When its sections of names are malformed.
    pub fn new(exe: &Executable) -> crate::Result<ProgramNames> {
        let symbols = exe.symbols()?.unwrap_or_default();
        let globals = symbols.slots.iter().map(|(ident, slot)| (*slot, ident.name().to_owned())).collect();
        let prims = exe.prims()?.into_iter().map(str::to_owned).collect();
        Ok(ProgramNames { prims, globals })
    }
}

impl Names for ProgramNames {
    fn operand(&self, kind: OperandKind, value: i32, _offset: usize) -> Option<String> {
        let index = usize::try_from(value).ok()?;
        match kind {
            OperandKind::Prim => self.prims.get(index).cloned(),
            OperandKind::Global => self.globals.get(&index).cloned(),
            _ => None,
        }
    }
}

/// The names of a unit that is not linked yet, from its relocations.
#[derive(Debug, Clone)]
pub struct UnitNames<'a> {
    unit: &'a CompilationUnit,
    relocs: HashMap<usize, &'a Reloc>,
}

impl<'a> UnitNames<'a> {
    /// Reads the names from a unit.
    pub fn new(unit: &'a CompilationUnit) -> UnitNames<'a> {
        let relocs = unit.relocs.iter().map(|(reloc, offset)| (*offset, reloc)).collect();
        UnitNames { unit, relocs }
    }

    /// Appends a literal while the text is short enough for a line. More than three levels of nesting are left out.
    fn literal(&self, id: LiteralId, depth: usize, text: &mut String) {
        const ENOUGH: usize = 200;
        let shown = |bytes: &[u8]| match bytes.get(..ENOUGH) {
            Some(start) => format!("\"{}…\"", start.escape_ascii()),
            None => format!("\"{}\"", bytes.escape_ascii()),
        };
        if text.len() > ENOUGH {
            return text.push('…');
        }
        let last = match self.unit.literals.get(id) {
            Constant::Int(n) => n.to_string(),
            Constant::Char(c) => format!("'{}'", c.escape_ascii()),
            Constant::String(bytes) | Constant::ImmString(bytes) => shown(bytes),
            Constant::Float { text, .. } => text.chars().take(ENOUGH).collect(),
            Constant::Int32(n) => format!("{n}l"),
            Constant::Int64(n) => format!("{n}L"),
            Constant::Nativeint(n) => format!("{n}n"),
            Constant::FloatArray { values, .. } if values.len() > 8 => format!("[|{} floats|]", values.len()),
            Constant::FloatArray { values, .. } => {
                let values: Vec<_> = values.iter().map(|value| format!("{value:?}")).collect();
                format!("[|{}|]", values.join("; "))
            }
            Constant::Block { tag, fields } if fields.is_empty() => format!("<{tag}>"),
            Constant::Block { tag, .. } if depth == 0 => format!("<{tag}>(…)"),
            Constant::Block { tag, fields } => {
                *text += &format!("<{tag}>");
                let mut separator = "(";
                for field in fields {
                    text.push_str(separator);
                    if text.len() > ENOUGH {
                        text.push('…');
                        break;
                    }
                    self.literal(*field, depth - 1, text);
                    separator = ", ";
                }
                ")".to_owned()
            }
        };
        text.push_str(&last);
    }
}

impl Names for UnitNames<'_> {
    fn operand(&self, kind: OperandKind, _value: i32, offset: usize) -> Option<String> {
        if !matches!(kind, OperandKind::Global | OperandKind::Prim) {
            return None;
        }
        Some(match self.relocs.get(&offset)? {
            Reloc::Literal(id) => {
                let mut text = String::new();
                self.literal(*id, 3, &mut text);
                text
            }
            Reloc::GetGlobal(ident) | Reloc::SetGlobal(ident) => ident.name().to_owned(),
            Reloc::Primitive(name) => name.clone(),
        })
    }
}

/// A listing of code, printed with [`Display`](fmt::Display).
///
/// ```
/// use spelter_bytecode::disasm::Listing;
/// use spelter_bytecode::opcode::OpcodeSet;
/// let listing = Listing::new(&[99, 84, -1], OpcodeSet::V4, &());
/// assert_eq!(listing.to_string(), "    @0  CONST0\n    @4  BRANCH @4\n");
/// ```
pub struct Listing<'a> {
    words: &'a [i32],
    accepted: OpcodeSet,
    names: &'a dyn Names,
}

impl<'a> Listing<'a> {
    /// Lists `words`, which may contain the `accepted` instructions. If decoding fails, the listing ends with the
    /// error.
    pub fn new(words: &'a [i32], accepted: OpcodeSet, names: &'a dyn Names) -> Listing<'a> {
        Listing { words, accepted, names }
    }
}

impl fmt::Display for Listing<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for instr in Instructions::new(self.words, self.accepted) {
            match instr {
                Ok(instr) => self.line(&instr, f)?,
                Err(error) => writeln!(f, "*** {error}")?,
            }
        }
        Ok(())
    }
}

impl Listing<'_> {
    fn line(&self, instr: &Instr<'_>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:>6}  {}", label(instr.pos as i64), instr.op)?;
        let kinds = instr.op.operands();
        let fixed = instr.operands.len() - instr.table().len();
        let mut separator = " ";
        for (i, (&value, operand)) in instr.operands[..fixed].iter().zip(kinds).enumerate() {
            let text = match operand.kind {
                OperandKind::Offset => instr.targets().map(label).collect(),
                // The table of targets shows its value.
                OperandKind::TableSize => continue,
                kind => {
                    let offset = (instr.pos + 1 + i) * WORD;
                    self.names.operand(kind, value, offset).unwrap_or_else(|| value.to_string())
                }
            };
            write!(f, "{separator}{text}")?;
            separator = ", ";
        }
        match instr.op.facts().flow {
            Flow::Switch => {
                for (i, target) in instr.targets().enumerate() {
                    let (kind, case) = match i.checked_sub(instr.constant_cases()) {
                        None => ("int", i),
                        Some(tag) => ("tag", tag),
                    };
                    write!(f, "\n          {kind} {case} -> {}", label(target))?;
                }
            }
            Flow::ClosureRec => {
                for target in instr.targets() {
                    write!(f, "{separator}{}", label(target))?;
                }
            }
            _ => {}
        }
        writeln!(f)
    }
}

/// A code address as a byte offset in hexadecimal; targets outside the code may be negative.
fn label(pos: i64) -> String {
    let offset = pos * WORD as i64;
    if offset < 0 { format!("@-{:x}", -offset) } else { format!("@{offset:x}") }
}
