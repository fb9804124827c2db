//! The machine's own instructions, which exist only in cells: code words never contain them. Tail dispatch uses them.
//! The loop runs the code words one by one, and so serves as the reference.
//!
//! Two tables declare them. An instruction of this file replaces another one and its operands; those of
//! [`chains`](super::chains) run several. Nothing else changes: neither frames nor offsets.

use spelter_bytecode::Opcode;

use super::chains::INDEX;

/// Passes the instructions that replace primitives to the macro `$callback`: each with the names of the primitives with
/// that number of arguments that its handler replaces. The handler calls the primitive in all cases that it does not
/// cover.
macro_rules! for_each_inline {
    ($callback:ident) => {
        $callback! {
            0 C_CALL1 NEG_FLOAT "caml_neg_float";
            1 C_CALL1 ABS_FLOAT "caml_abs_float";
            2 C_CALL1 SQRT_FLOAT "caml_sqrt_float";
            3 C_CALL1 FLOAT_OF_INT "caml_float_of_int";
            4 C_CALL1 INT_OF_FLOAT "caml_int_of_float";
            5 C_CALL2 ADD_FLOAT "caml_add_float";
            6 C_CALL2 SUB_FLOAT "caml_sub_float";
            7 C_CALL2 MUL_FLOAT "caml_mul_float";
            8 C_CALL2 DIV_FLOAT "caml_div_float";
            9 C_CALL2 EQ_FLOAT "caml_eq_float";
            10 C_CALL2 NEQ_FLOAT "caml_neq_float";
            11 C_CALL2 LT_FLOAT "caml_lt_float";
            12 C_CALL2 LE_FLOAT "caml_le_float";
            13 C_CALL2 GT_FLOAT "caml_gt_float";
            14 C_CALL2 GE_FLOAT "caml_ge_float";
            15 C_CALL2 ARRAY_GET "caml_array_get" "caml_array_unsafe_get";
            16 C_CALL2 ARRAY_GET_ADDR "caml_array_get_addr";
            17 C_CALL2 ARRAY_GET_FLOAT "caml_array_get_float" "caml_array_unsafe_get_float" "caml_floatarray_get" "caml_floatarray_unsafe_get";
            18 C_CALL3 ARRAY_SET "caml_array_set" "caml_array_unsafe_set";
            19 C_CALL3 ARRAY_SET_ADDR "caml_array_set_addr" "caml_array_unsafe_set_addr";
            20 C_CALL3 ARRAY_SET_FLOAT "caml_array_set_float" "caml_array_unsafe_set_float" "caml_floatarray_set" "caml_floatarray_unsafe_set";
            21 C_CALL1 STRING_LENGTH "caml_ml_string_length" "caml_ml_bytes_length";
            22 C_CALL2 STRING_GET "caml_string_get" "caml_bytes_get";
            23 C_CALL3 BYTES_SET "caml_bytes_set";
            24 C_CALL2 EQUAL "caml_equal";
            25 C_CALL2 NOTEQUAL "caml_notequal";
            26 C_CALL2 LESSTHAN "caml_lessthan";
            27 C_CALL2 LESSEQUAL "caml_lessequal";
            28 C_CALL2 GREATERTHAN "caml_greaterthan";
            29 C_CALL2 GREATEREQUAL "caml_greaterequal";
            30 C_CALL2 COMPARE "caml_compare" "caml_int_compare";
            31 C_CALL2 INT64_ADD "caml_int64_add";
            32 C_CALL2 INT64_SUB "caml_int64_sub";
            33 C_CALL2 INT64_MUL "caml_int64_mul";
            34 C_CALL2 INT64_AND "caml_int64_and";
            35 C_CALL2 INT64_OR "caml_int64_or";
            36 C_CALL2 INT64_XOR "caml_int64_xor";
            37 C_CALL2 INT64_SHIFT_LEFT "caml_int64_shift_left";
            38 C_CALL2 INT64_SHIFT_RIGHT "caml_int64_shift_right";
            39 C_CALL2 INT64_SHIFT_RIGHT_UNSIGNED "caml_int64_shift_right_unsigned";
            40 C_CALL1 INT64_OF_INT "caml_int64_of_int";
            41 C_CALL1 INT64_TO_INT "caml_int64_to_int";
            42 C_CALL1 INT64_TO_INT32 "caml_int64_to_int32";
            43 C_CALL1 INT64_OF_INT32 "caml_int64_of_int32";
            44 C_CALL2 INT32_ADD "caml_int32_add";
            45 C_CALL2 INT32_SUB "caml_int32_sub";
            46 C_CALL2 INT32_MUL "caml_int32_mul";
            47 C_CALL2 INT32_AND "caml_int32_and";
            48 C_CALL2 INT32_OR "caml_int32_or";
            49 C_CALL2 INT32_XOR "caml_int32_xor";
            50 C_CALL2 INT32_SHIFT_LEFT "caml_int32_shift_left";
            51 C_CALL2 INT32_SHIFT_RIGHT "caml_int32_shift_right";
            52 C_CALL2 INT32_SHIFT_RIGHT_UNSIGNED "caml_int32_shift_right_unsigned";
            53 C_CALL1 INT32_OF_INT "caml_int32_of_int";
            54 C_CALL1 INT32_TO_INT "caml_int32_to_int";
            55 C_CALL2 NATIVEINT_ADD "caml_nativeint_add";
            56 C_CALL2 NATIVEINT_SUB "caml_nativeint_sub";
            57 C_CALL2 NATIVEINT_MUL "caml_nativeint_mul";
            58 C_CALL2 NATIVEINT_AND "caml_nativeint_and";
            59 C_CALL2 NATIVEINT_OR "caml_nativeint_or";
            60 C_CALL2 NATIVEINT_XOR "caml_nativeint_xor";
            61 C_CALL2 NATIVEINT_SHIFT_LEFT "caml_nativeint_shift_left";
            62 C_CALL2 NATIVEINT_SHIFT_RIGHT "caml_nativeint_shift_right";
            63 C_CALL2 NATIVEINT_SHIFT_RIGHT_UNSIGNED "caml_nativeint_shift_right_unsigned";
            64 C_CALL1 NATIVEINT_OF_INT "caml_nativeint_of_int";
            65 C_CALL1 NATIVEINT_TO_INT "caml_nativeint_to_int";
            66 C_CALL2 READ_ONLY2 "caml_string_lessthan" "caml_string_lessequal" "caml_string_greaterthan" "caml_string_greaterequal" "caml_bytes_lessthan" "caml_bytes_lessequal" "caml_bytes_greaterthan" "caml_bytes_greaterequal";
            67 C_CALL4 READ_ONLY4 "caml_hash";
            68 C_CALL1 CREATE_BYTES "caml_create_bytes" "caml_create_string";
            69 C_CALL5 BLIT_BYTES "caml_blit_bytes" "caml_blit_string";
            70 C_CALL1 IDENTITY "caml_string_of_bytes" "caml_bytes_of_string";
            71 C_CALL2 BIGARRAY_GET1 "caml_ba_get_1";
            72 C_CALL3 BIGARRAY_GET2 "caml_ba_get_2";
            73 C_CALL4 BIGARRAY_GET3 "caml_ba_get_3";
            74 C_CALL3 BIGARRAY_SET1 "caml_ba_set_1";
            75 C_CALL4 BIGARRAY_SET2 "caml_ba_set_2";
            76 C_CALL5 BIGARRAY_SET3 "caml_ba_set_3";
            77 C_CALL1 OBJ_TAG "caml_obj_tag";
            78 C_CALL2 MAKE_FORWARD "caml_obj_make_forward";
            79 C_CALL2 STRING_EQUAL "caml_string_equal" "caml_bytes_equal";
            80 C_CALL2 STRING_NOTEQUAL "caml_string_notequal" "caml_bytes_notequal";
            81 C_CALL2 STRING_COMPARE "caml_string_compare" "caml_bytes_compare";
            82 C_CALL1 ATOMIC_LOAD "caml_atomic_load";
            83 C_CALL2 ATOMIC_LOAD_FIELD "caml_atomic_load_field";
            84 C_CALL2 ATOMIC_EXCHANGE "caml_atomic_exchange";
            85 C_CALL3 ATOMIC_EXCHANGE_FIELD "caml_atomic_exchange_field";
            86 C_CALL3 ATOMIC_CAS "caml_atomic_cas";
            87 C_CALL4 ATOMIC_CAS_FIELD "caml_atomic_cas_field";
            88 C_CALL2 ATOMIC_FETCH_ADD "caml_atomic_fetch_add";
            89 C_CALL3 ATOMIC_FETCH_ADD_FIELD "caml_atomic_fetch_add_field";
            90 C_CALL1 CONTINUATION_USE "caml_continuation_use_noexc";
            // Any primitive of a foreign library ([`Inline::foreign`]); the name is no primitive's.
            91 C_CALL1 FOREIGN1 "(foreign 1)";
            92 C_CALL2 FOREIGN2 "(foreign 2)";
            93 C_CALL3 FOREIGN3 "(foreign 3)";
            94 C_CALL4 FOREIGN4 "(foreign 4)";
            95 C_CALL5 FOREIGN5 "(foreign 5)";
        }
    };
}
pub(crate) use for_each_inline;

/// An instruction that replaces a primitive, and the instruction that calls it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Inline {
    call: Opcode,
    number: u16,
}

macro_rules! inline {
    ($($number:literal $call:ident $name:ident $($primitive:literal)+;)*) => {
        impl Inline {
            /// The instruction for the primitive with that name, if there is one.
            pub(crate) fn find(name: &str) -> Option<Inline> {
                match name {
                    $($($primitive)|+ => Some(Inline { call: Opcode::$call, number: $number }),)*
                    _ => None,
                }
            }
        }

        /// The names of the instructions that replace primitives, by their numbers.
        const INLINE_NAMES: &[&str] = &[$(stringify!($name)),*];

        /// The numbers by which chains are looked up: of instructions in code words, followed by those that replace
        /// primitives.
        #[allow(non_upper_case_globals, dead_code, reason = "named as their instructions; chains name some")]
        pub(super) mod code {
            pub(crate) use super::op_code::*;
            $(pub(crate) const $name: u16 = super::FIRST_INLINE + $number;)*
        }
    };
}
for_each_inline!(inline);

impl Inline {
    /// The instruction for primitives of foreign libraries with as many arguments as `call` passes.
    pub(crate) fn foreign(call: Opcode) -> Option<Inline> {
        let code = match call {
            Opcode::C_CALL1 => code::FOREIGN1,
            Opcode::C_CALL2 => code::FOREIGN2,
            Opcode::C_CALL3 => code::FOREIGN3,
            Opcode::C_CALL4 => code::FOREIGN4,
            Opcode::C_CALL5 => code::FOREIGN5,
            _ => return None,
        };
        Some(Inline { call, number: code - FIRST_INLINE })
    }
}

macro_rules! ops {
    ($($number:literal $name:ident ($($operand:ident: $kind:ident),*) $facts:tt $doc:literal;)*) => {
        #[allow(dead_code, reason = "chains name some")]
        mod op_code {
            $(pub(crate) const $name: u16 = $number;)*
        }
    };
}
spelter_bytecode::for_each_op!(ops);

/// The number of the first instruction that replaces a primitive.
pub(super) const FIRST_INLINE: u16 = 256;

/// The name of an instruction, or of one that replaces a primitive, by its number in chains.
pub(crate) fn name(code: u16) -> Option<&'static str> {
    match code.checked_sub(FIRST_INLINE) {
        Some(inline) => INLINE_NAMES.get(usize::from(inline)).copied(),
        None => Opcode::from_word(i32::from(code)).map(Opcode::name),
    }
}

/// In cells of the profiling loop, the bits from here on hold the number of the instruction that tail dispatch would
/// run, if it is another one.
const STAND_IN_SHIFT: u32 = 16;

/// The instruction's number in a cell of the profiling loop, and its number in chains.
#[inline(always)]
pub(crate) fn counted(cell: i64) -> (i64, u16) {
    let op = cell & ((1 << STAND_IN_SHIFT) - 1);
    let stand_in = (cell >> STAND_IN_SHIFT) as u16;
    (op, if stand_in == 0 { op as u16 } else { stand_in })
}

/// The functions of the machine's own instructions for one engine: those for primitives by their numbers, those of
/// chains in the order of their table. Empty if the engine has no such instructions.
#[derive(Clone, Copy, Default)]
pub(crate) struct Cells {
    pub(super) inline: &'static [*const ()],
    pub(super) chains: &'static [*const ()],
    /// Whether no cell of the engine is zero, so that zero can mark code that has not been translated yet.
    pub(crate) lazy: bool,
    /// Whether the loop counts the instructions that it runs: see [`counted`].
    pub(super) counts: bool,
}

impl Cells {
    /// The number and the cell of the instruction that replaces a call of the primitive.
    pub(crate) fn inline(&self, primitive: Inline, call: Opcode) -> Option<(u16, u64)> {
        let number = FIRST_INLINE + primitive.number;
        if primitive.call != call {
            return None;
        }
        if self.counts {
            return Some((number, u64::from(number) << STAND_IN_SHIFT | call.word() as u64));
        }
        let function = self.inline.get(usize::from(primitive.number))?;
        Some((number, *function as usize as u64))
    }

    /// The cell for the longest chain that is a prefix of these instructions, which come with their positions.
    pub(crate) fn chain(&self, codes: &[(usize, u16)]) -> Option<u64> {
        if self.chains.is_empty() {
            return None;
        }
        INDEX.find(codes).map(|chain| self.chains[chain] as usize as u64)
    }
}
