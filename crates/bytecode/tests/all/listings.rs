//! Listings of real code.

use insta::assert_snapshot;
use spelter_bytecode::disasm::{Listing, ProgramNames, UnitNames};
use spelter_bytecode::opcode::OpcodeSet;
use spelter_bytecode::{CompilationUnit, Executable};

use crate::fixtures::*;

#[test]
fn a_program() {
    let exe = Executable::read(TINY_BYTE).expect("a fixture");
    let names = ProgramNames::new(&exe).expect("names");
    let code = exe.code().expect("whole words");
    assert_snapshot!(Listing::new(&code, exe.dialect().opcodes, &names));
}

#[test]
fn a_unit_with_relocations() {
    let unit = CompilationUnit::read(SHAPES_CMO).expect("a fixture");
    let words = unit.words().expect("whole words");
    assert_snapshot!(Listing::new(&words, unit.dialect.opcodes, &UnitNames::new(&unit)));
}

#[test]
fn what_does_not_decode_ends_the_listing() {
    let listing = Listing::new(&[84, -100, 1000, 9], OpcodeSet::V4, &());
    assert_snapshot!(listing, @r"
        @0  BRANCH @-18c
    *** byte offset 0x8: 1000 is not an instruction allowed here
    ");
}
