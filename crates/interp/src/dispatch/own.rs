//! Instructions of the machine's own, which stand in cells only: code words never hold them. Tail dispatch has them; the
//! loop runs what the words say, one by one, and shows what the answer is.
//!
//! Two tables declare them. An instruction of the first takes the place of another one and its operands; those of the
//! second are chains of instructions: a chain's cell stands where that of its first instruction would, and all others
//! stay where they are, so that jumps may lead to any of them. Nothing else changes: not frames, not offsets.

use spelter_bytecode::Opcode;

/// Hands the primitives that are instructions to the macro `$callback`: the names of primitives with that number of
/// arguments, for which the handler stands in. It falls back on them where it does not do what they do.
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
            66 C_CALL2 LOOK2 "caml_string_lessthan" "caml_string_lessequal" "caml_string_greaterthan" "caml_string_greaterequal" "caml_bytes_lessthan" "caml_bytes_lessequal" "caml_bytes_greaterthan" "caml_bytes_greaterequal";
            67 C_CALL4 LOOK4 "caml_hash";
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
        }
    };
}
pub(crate) use for_each_inline;

/// Hands the chains to the macro `$callback`. All but the last of a chain go on to the next instruction.
macro_rules! for_each_chain {
    ($callback:ident) => {
        $callback! {
            // The ends of `for` loops, and what a loop begins with.
            [ACC1 PUSH OFFSETINT ASSIGN ACC1 NEQ BRANCHIF]
            [CHECK_SIGNALS ACC0]
            [CHECK_SIGNALS ACC1]
            [CHECK_SIGNALS ACC2]
            [CHECK_SIGNALS ACC3]
            [CHECK_SIGNALS ACC5]
            [CHECK_SIGNALS ACC]
            [CHECK_SIGNALS CONST0]
            [CHECK_SIGNALS CONST1]
            // Tests of integers, and the branch.
            [EQ BRANCHIF]
            [EQ BRANCHIFNOT]
            [NEQ BRANCHIF]
            [NEQ BRANCHIFNOT]
            [LTINT BRANCHIF]
            [LTINT BRANCHIFNOT]
            [LEINT BRANCHIF]
            [LEINT BRANCHIFNOT]
            [GTINT BRANCHIF]
            [GTINT BRANCHIFNOT]
            [GEINT BRANCHIF]
            [GEINT BRANCHIFNOT]
            [ULTINT BRANCHIF]
            [ULTINT BRANCHIFNOT]
            [UGEINT BRANCHIF]
            [UGEINT BRANCHIFNOT]
            [ISINT BRANCHIF]
            [ISINT BRANCHIFNOT]
            [PUSHACC0 EQ BRANCHIFNOT]
            [PUSHACC0 NEQ BRANCHIFNOT]
            [PUSHACC0 LTINT BRANCHIFNOT]
            [PUSHACC0 LEINT BRANCHIFNOT]
            [PUSHACC0 GTINT BRANCHIFNOT]
            [PUSHACC0 GEINT BRANCHIFNOT]
            [PUSHACC1 EQ BRANCHIFNOT]
            [PUSHACC1 NEQ BRANCHIFNOT]
            [PUSHACC1 LTINT BRANCHIFNOT]
            [PUSHACC1 LEINT BRANCHIFNOT]
            [PUSHACC1 GTINT BRANCHIFNOT]
            [PUSHACC1 GEINT BRANCHIFNOT]
            [PUSHACC2 EQ BRANCHIFNOT]
            [PUSHACC2 NEQ BRANCHIFNOT]
            [PUSHACC2 LTINT BRANCHIFNOT]
            [PUSHACC2 LEINT BRANCHIFNOT]
            [PUSHACC2 GTINT BRANCHIFNOT]
            [PUSHACC2 GEINT BRANCHIFNOT]
            [PUSHACC3 EQ BRANCHIFNOT]
            [PUSHACC3 NEQ BRANCHIFNOT]
            [PUSHACC3 LTINT BRANCHIFNOT]
            [PUSHACC3 LEINT BRANCHIFNOT]
            [PUSHACC3 GTINT BRANCHIFNOT]
            [PUSHACC3 GEINT BRANCHIFNOT]
            [PUSHACC4 EQ BRANCHIFNOT]
            [PUSHACC4 NEQ BRANCHIFNOT]
            [PUSHACC4 LTINT BRANCHIFNOT]
            [PUSHACC4 LEINT BRANCHIFNOT]
            [PUSHACC4 GTINT BRANCHIFNOT]
            [PUSHACC4 GEINT BRANCHIFNOT]
            [PUSHACC0 EQ BRANCHIF]
            [PUSHACC1 EQ BRANCHIF]
            [PUSHACC2 EQ BRANCHIF]
            [CONST0 EQ BRANCHIFNOT]
            [CONST0 LTINT BRANCHIFNOT]
            [CONST0 GTINT BRANCHIFNOT]
            [CONST1 EQ BRANCHIFNOT]
            [CONST1 LTINT BRANCHIFNOT]
            [CONST1 GTINT BRANCHIFNOT]
            // A stack word, and the branch.
            [ACC0 BRANCHIF]
            [ACC0 BRANCHIFNOT]
            [ACC1 BRANCHIF]
            [ACC1 BRANCHIFNOT]
            [ACC2 BRANCHIF]
            [ACC2 BRANCHIFNOT]
            [ACC3 BRANCHIF]
            [ACC3 BRANCHIFNOT]
            [ACC4 BRANCHIF]
            [ACC4 BRANCHIFNOT]
            [ACC0 BEQ]
            [ACC0 BNEQ]
            [ACC0 BLTINT]
            [ACC0 BLEINT]
            [ACC0 BGTINT]
            [ACC0 BGEINT]
            [ACC0 SWITCH]
            [ACC1 BEQ]
            [ACC1 BNEQ]
            [ACC1 BLTINT]
            [ACC1 BLEINT]
            [ACC1 BGTINT]
            [ACC1 BGEINT]
            [ACC1 SWITCH]
            [ACC2 BEQ]
            [ACC2 BNEQ]
            [ACC2 BLTINT]
            [ACC2 BLEINT]
            [ACC2 BGTINT]
            [ACC2 BGEINT]
            [ACC2 SWITCH]
            [ACC3 BEQ]
            [ACC3 BNEQ]
            [ACC3 BLTINT]
            [ACC3 BLEINT]
            [ACC3 BGTINT]
            [ACC3 BGEINT]
            [ACC3 SWITCH]
            [POP BRANCHIFNOT]
            [POP BRANCH]
            [GETFIELD0 SWITCH]
            [GETFIELD0 BRANCHIFNOT]
            [GETFIELD1 BRANCHIFNOT]
            [GETFIELD0 BNEQ]
            [GETFIELD1 SWITCH]
            [PUSH BRANCH]
            [ASSIGN BRANCH]
            // Function entry.
            [GRAB ACC0]
            [GRAB ACC1]
            [GRAB ACC2]
            [GRAB ACC3]
            [GRAB ACC4]
            [GRAB ACC0 BRANCHIFNOT]
            [GRAB ACC1 BRANCHIFNOT]
            [GRAB ACC0 SWITCH]
            [GRAB ACC1 SWITCH]
            [GRAB ACC0 GETFIELD0]
            [GRAB ACC1 GETFIELD0]
            [GRAB ACC0 BNEQ]
            [GRAB ACC1 BNEQ]
            [GRAB ACC0 PUSHACC2]
            [GRAB ACC1 PUSHACC1]
            [GRAB ACC1 PUSH]
            [GRAB CONST0]
            [GRAB ENVACC1]
            [RESTART GRAB]
            [GRAB GETGLOBALFIELD]
            // A field of a stack word.
            [ACC0 GETFIELD0]
            [ACC0 GETFIELD1]
            [ACC0 GETFIELD2]
            [ACC0 GETFIELD3]
            [ACC1 GETFIELD0]
            [ACC1 GETFIELD1]
            [ACC1 GETFIELD2]
            [ACC1 GETFIELD3]
            [ACC2 GETFIELD0]
            [ACC2 GETFIELD1]
            [ACC2 GETFIELD2]
            [ACC2 GETFIELD3]
            [ACC3 GETFIELD0]
            [ACC3 GETFIELD1]
            [ACC3 GETFIELD2]
            [ACC3 GETFIELD3]
            [ACC4 GETFIELD0]
            [ACC4 GETFIELD1]
            [ACC4 GETFIELD2]
            [ACC4 GETFIELD3]
            [PUSHACC0 GETFIELD0]
            [PUSHACC0 GETFIELD1]
            [PUSHACC0 GETFIELD2]
            [PUSHACC0 GETFIELD3]
            [PUSHACC1 GETFIELD0]
            [PUSHACC1 GETFIELD1]
            [PUSHACC1 GETFIELD2]
            [PUSHACC1 GETFIELD3]
            [PUSHACC2 GETFIELD0]
            [PUSHACC2 GETFIELD1]
            [PUSHACC2 GETFIELD2]
            [PUSHACC2 GETFIELD3]
            [PUSHACC3 GETFIELD0]
            [PUSHACC3 GETFIELD1]
            [PUSHACC3 GETFIELD2]
            [PUSHACC3 GETFIELD3]
            [PUSHACC4 GETFIELD0]
            [PUSHACC4 GETFIELD1]
            [PUSHACC4 GETFIELD2]
            [PUSHACC4 GETFIELD3]
            [PUSHACC5 GETFIELD0]
            [PUSHACC5 GETFIELD1]
            [PUSHACC5 GETFIELD2]
            [PUSHACC5 GETFIELD3]
            [PUSHACC6 GETFIELD0]
            [PUSHACC6 GETFIELD1]
            [PUSHACC6 GETFIELD2]
            [PUSHACC6 GETFIELD3]
            [PUSHACC7 GETFIELD0]
            [PUSHACC7 GETFIELD1]
            [PUSHACC7 GETFIELD2]
            [PUSHACC7 GETFIELD3]
            [ACC0 GETFIELD]
            [ACC1 GETFIELD]
            [ACC2 GETFIELD]
            [ACC3 GETFIELD]
            [PUSHACC0 GETFIELD]
            [PUSHACC1 GETFIELD]
            [PUSHACC2 GETFIELD]
            [PUSHACC3 GETFIELD]
            [ACC0 GETFIELD0 PUSHACC0]
            [ACC0 GETFIELD0 PUSHACC1]
            [ACC0 GETFIELD0 PUSHACC2]
            [ACC0 GETFIELD0 PUSHACC3]
            [ACC0 GETFIELD1 PUSHACC0]
            [ACC0 GETFIELD1 PUSHACC1]
            [ACC0 GETFIELD1 PUSHACC2]
            [ACC0 GETFIELD1 PUSHACC3]
            [ACC1 GETFIELD0 PUSHACC0]
            [ACC1 GETFIELD0 PUSHACC1]
            [ACC1 GETFIELD0 PUSHACC2]
            [ACC1 GETFIELD0 PUSHACC3]
            [ACC1 GETFIELD1 PUSHACC0]
            [ACC1 GETFIELD1 PUSHACC1]
            [ACC1 GETFIELD1 PUSHACC2]
            [ACC1 GETFIELD1 PUSHACC3]
            [ACC0 GETFIELD0 PUSH]
            [ACC0 GETFIELD1 PUSH]
            [ACC0 GETFIELD2 PUSH]
            [ACC1 GETFIELD0 PUSH]
            [ACC1 GETFIELD1 PUSH]
            [ACC1 GETFIELD2 PUSH]
            [ACC2 GETFIELD0 PUSH]
            [ACC2 GETFIELD1 PUSH]
            [ACC2 GETFIELD2 PUSH]
            [PUSHACC0 GETFIELD0 PUSHACC0]
            [PUSHACC0 GETFIELD0 PUSHACC1]
            [PUSHACC0 GETFIELD0 PUSHACC2]
            [PUSHACC0 GETFIELD0 PUSHACC3]
            [PUSHACC0 GETFIELD1 PUSHACC0]
            [PUSHACC0 GETFIELD1 PUSHACC1]
            [PUSHACC0 GETFIELD1 PUSHACC2]
            [PUSHACC0 GETFIELD1 PUSHACC3]
            [PUSHACC1 GETFIELD0 PUSHACC0]
            [PUSHACC1 GETFIELD0 PUSHACC1]
            [PUSHACC1 GETFIELD0 PUSHACC2]
            [PUSHACC1 GETFIELD0 PUSHACC3]
            [PUSHACC1 GETFIELD1 PUSHACC0]
            [PUSHACC1 GETFIELD1 PUSHACC1]
            [PUSHACC1 GETFIELD1 PUSHACC2]
            [PUSHACC1 GETFIELD1 PUSHACC3]
            [PUSHACC2 GETFIELD0 PUSHACC0]
            [PUSHACC2 GETFIELD0 PUSHACC1]
            [PUSHACC2 GETFIELD0 PUSHACC2]
            [PUSHACC2 GETFIELD0 PUSHACC3]
            [PUSHACC2 GETFIELD1 PUSHACC0]
            [PUSHACC2 GETFIELD1 PUSHACC1]
            [PUSHACC2 GETFIELD1 PUSHACC2]
            [PUSHACC2 GETFIELD1 PUSHACC3]
            [PUSHACC3 GETFIELD0 PUSHACC0]
            [PUSHACC3 GETFIELD0 PUSHACC1]
            [PUSHACC3 GETFIELD0 PUSHACC2]
            [PUSHACC3 GETFIELD0 PUSHACC3]
            [PUSHACC3 GETFIELD1 PUSHACC0]
            [PUSHACC3 GETFIELD1 PUSHACC1]
            [PUSHACC3 GETFIELD1 PUSHACC2]
            [PUSHACC3 GETFIELD1 PUSHACC3]
            [GETFIELD0 PUSHACC0]
            [GETFIELD0 PUSHACC1]
            [GETFIELD0 PUSHACC2]
            [GETFIELD0 PUSHACC3]
            [GETFIELD0 PUSHACC4]
            [GETFIELD1 PUSHACC0]
            [GETFIELD1 PUSHACC1]
            [GETFIELD1 PUSHACC2]
            [GETFIELD1 PUSHACC3]
            [GETFIELD1 PUSHACC4]
            [GETFIELD2 PUSHACC0]
            [GETFIELD2 PUSHACC1]
            [GETFIELD2 PUSHACC2]
            [GETFIELD2 PUSHACC3]
            [GETFIELD2 PUSHACC4]
            [GETFIELD0 PUSH]
            [GETFIELD1 PUSH]
            [GETFIELD2 PUSH]
            [GETFIELD3 PUSH]
            [ENVACC1 GETFIELD0]
            [ENVACC1 GETFIELD1]
            [ENVACC2 GETFIELD0]
            [ENVACC2 GETFIELD1]
            [ENVACC3 GETFIELD0]
            [ENVACC3 GETFIELD1]
            [PUSHENVACC1 GETFIELD0]
            [PUSHENVACC1 GETFIELD1]
            [PUSHENVACC2 GETFIELD0]
            [PUSHENVACC2 GETFIELD1]
            [PUSHENVACC3 GETFIELD0]
            [PUSHENVACC3 GETFIELD1]
            [GETFIELD0 GETFIELD0]
            [GETFIELD0 GETFIELD1]
            [GETFIELD0 GETFIELD2]
            [GETFIELD1 GETFIELD0]
            [GETFIELD1 GETFIELD1]
            [GETFIELD1 GETFIELD2]
            [GETFIELD2 GETFIELD0]
            [GETFIELD2 GETFIELD1]
            [GETFIELD2 GETFIELD2]
            // Words moved on the stack.
            [ACC0 PUSHACC0]
            [ACC0 PUSHACC1]
            [ACC0 PUSHACC2]
            [ACC0 PUSHACC3]
            [ACC0 PUSHACC4]
            [ACC1 PUSHACC0]
            [ACC1 PUSHACC1]
            [ACC1 PUSHACC2]
            [ACC1 PUSHACC3]
            [ACC1 PUSHACC4]
            [ACC2 PUSHACC0]
            [ACC2 PUSHACC1]
            [ACC2 PUSHACC2]
            [ACC2 PUSHACC3]
            [ACC2 PUSHACC4]
            [ACC3 PUSHACC0]
            [ACC3 PUSHACC1]
            [ACC3 PUSHACC2]
            [ACC3 PUSHACC3]
            [ACC3 PUSHACC4]
            [PUSHACC0 PUSHACC0]
            [PUSHACC0 PUSHACC1]
            [PUSHACC0 PUSHACC2]
            [PUSHACC0 PUSHACC3]
            [PUSHACC0 PUSHACC4]
            [PUSHACC0 PUSHACC5]
            [PUSHACC0 PUSHACC6]
            [PUSHACC0 PUSHACC7]
            [PUSHACC1 PUSHACC0]
            [PUSHACC1 PUSHACC1]
            [PUSHACC1 PUSHACC2]
            [PUSHACC1 PUSHACC3]
            [PUSHACC1 PUSHACC4]
            [PUSHACC1 PUSHACC5]
            [PUSHACC1 PUSHACC6]
            [PUSHACC1 PUSHACC7]
            [PUSHACC2 PUSHACC0]
            [PUSHACC2 PUSHACC1]
            [PUSHACC2 PUSHACC2]
            [PUSHACC2 PUSHACC3]
            [PUSHACC2 PUSHACC4]
            [PUSHACC2 PUSHACC5]
            [PUSHACC2 PUSHACC6]
            [PUSHACC2 PUSHACC7]
            [PUSHACC3 PUSHACC0]
            [PUSHACC3 PUSHACC1]
            [PUSHACC3 PUSHACC2]
            [PUSHACC3 PUSHACC3]
            [PUSHACC3 PUSHACC4]
            [PUSHACC3 PUSHACC5]
            [PUSHACC3 PUSHACC6]
            [PUSHACC3 PUSHACC7]
            [PUSHACC4 PUSHACC0]
            [PUSHACC4 PUSHACC1]
            [PUSHACC4 PUSHACC2]
            [PUSHACC4 PUSHACC3]
            [PUSHACC4 PUSHACC4]
            [PUSHACC4 PUSHACC5]
            [PUSHACC4 PUSHACC6]
            [PUSHACC4 PUSHACC7]
            [PUSHACC5 PUSHACC0]
            [PUSHACC5 PUSHACC1]
            [PUSHACC5 PUSHACC2]
            [PUSHACC5 PUSHACC3]
            [PUSHACC5 PUSHACC4]
            [PUSHACC5 PUSHACC5]
            [PUSHACC5 PUSHACC6]
            [PUSHACC5 PUSHACC7]
            [PUSHACC6 PUSHACC0]
            [PUSHACC6 PUSHACC1]
            [PUSHACC6 PUSHACC2]
            [PUSHACC6 PUSHACC3]
            [PUSHACC6 PUSHACC4]
            [PUSHACC6 PUSHACC5]
            [PUSHACC6 PUSHACC6]
            [PUSHACC6 PUSHACC7]
            [PUSHACC7 PUSHACC0]
            [PUSHACC7 PUSHACC1]
            [PUSHACC7 PUSHACC2]
            [PUSHACC7 PUSHACC3]
            [PUSHACC7 PUSHACC4]
            [PUSHACC7 PUSHACC5]
            [PUSHACC7 PUSHACC6]
            [PUSHACC7 PUSHACC7]
            [PUSHACC1 PUSHACC1 PUSHACC1]
            [PUSHACC2 PUSHACC2 PUSHACC2]
            [PUSHACC3 PUSHACC3 PUSHACC3]
            [PUSHACC4 PUSHACC4 PUSHACC4]
            [PUSHACC5 PUSHACC5 PUSHACC5]
            [PUSHACC6 PUSHACC6 PUSHACC6]
            [PUSHACC7 PUSHACC7 PUSHACC7]
            [PUSHACC PUSHACC]
            [ACC PUSHACC]
            [PUSHACC1 PUSHACC]
            [PUSHACC2 PUSHACC]
            [PUSHACC PUSH]
            [ACC1 PUSH]
            [ACC0 PUSH]
            [ACC2 PUSH]
            [PUSHCONST0 PUSHACC1]
            [PUSHCONST0 PUSHACC2]
            [PUSHCONST0 PUSHACC3]
            [PUSHCONST0 PUSHACC4]
            [PUSHCONST1 PUSHACC1]
            [PUSHCONST1 PUSHACC2]
            [PUSHCONST1 PUSHACC3]
            [PUSHCONST1 PUSHACC4]
            [PUSHENVACC1 PUSHACC1]
            [PUSHENVACC1 PUSHACC2]
            [PUSHENVACC2 PUSHACC1]
            [PUSHENVACC2 PUSHACC2]
            [PUSHACC1 PUSHENVACC1]
            [PUSHACC1 PUSHENVACC2]
            [PUSHACC1 PUSHENVACC3]
            [PUSHACC2 PUSHENVACC1]
            [PUSHACC2 PUSHENVACC2]
            [PUSHACC2 PUSHENVACC3]
            [PUSHACC3 PUSHENVACC1]
            [PUSHACC3 PUSHENVACC2]
            [PUSHACC3 PUSHENVACC3]
            [ENVACC1 PUSHACC0]
            [ENVACC1 PUSHACC1]
            [ENVACC1 PUSHACC2]
            [ENVACC2 PUSHACC0]
            [ENVACC2 PUSHACC1]
            [ENVACC2 PUSHACC2]
            [PUSHACC1 PUSHENVACC]
            [PUSHACC2 PUSHENVACC]
            [PUSHACC3 PUSHENVACC]
            [PUSHACC1 PUSHOFFSETCLOSURE0]
            [PUSHACC2 PUSHOFFSETCLOSURE0]
            [PUSHACC3 PUSHOFFSETCLOSURE0]
            [PUSHACC4 PUSHOFFSETCLOSURE0]
            [PUSHACC1 PUSHCONST0]
            [PUSHACC1 PUSHCONST1]
            // Arithmetic on stack words and constants.
            [PUSHACC0 ADDINT]
            [PUSHACC0 SUBINT]
            [PUSHACC0 MULINT]
            [PUSHACC1 ADDINT]
            [PUSHACC1 SUBINT]
            [PUSHACC1 MULINT]
            [PUSHACC2 ADDINT]
            [PUSHACC2 SUBINT]
            [PUSHACC2 MULINT]
            [PUSHACC3 ADDINT]
            [PUSHACC3 SUBINT]
            [PUSHACC3 MULINT]
            [PUSHACC4 ADDINT]
            [PUSHACC4 SUBINT]
            [PUSHACC4 MULINT]
            [PUSHACC5 ADDINT]
            [PUSHACC5 SUBINT]
            [PUSHACC5 MULINT]
            [PUSHACC6 ADDINT]
            [PUSHACC6 SUBINT]
            [PUSHACC6 MULINT]
            [PUSHACC7 ADDINT]
            [PUSHACC7 SUBINT]
            [PUSHACC7 MULINT]
            [ACC0 OFFSETINT]
            [ACC1 OFFSETINT]
            [ACC2 OFFSETINT]
            [ACC3 OFFSETINT]
            [PUSHACC0 OFFSETINT]
            [PUSHACC1 OFFSETINT]
            [PUSHACC2 OFFSETINT]
            [PUSHACC3 OFFSETINT]
            [PUSHACC4 OFFSETINT]
            [PUSHACC5 OFFSETINT]
            [OFFSETINT ASSIGN]
            [ADDINT ASSIGN]
            [OFFSETINT PUSHOFFSETCLOSURE0]
            [OFFSETINT PUSH]
            [ADDINT PUSH]
            [OFFSETINT PUSHACC1]
            [OFFSETINT PUSHACC2]
            [OFFSETINT PUSHACC3]
            [ADDINT OFFSETINT]
            [ADDINT PUSHACC1]
            [CONSTINT PUSHACC1]
            [CONSTINT PUSHACC2]
            [CONSTINT PUSHACC3]
            [CONSTINT PUSH]
            [CONST0 PUSHACC1]
            [CONST1 PUSHACC1]
            [CONST0 PUSH]
            [CONST1 PUSH]
            [CONST1 PUSHACC2]
            [CONST2 PUSHACC1]
            [ASSIGN ACC0]
            [ASSIGN ACC1]
            [ANDINT PUSH]
            [ANDINT ASSIGN]
            [PUSHCONSTINT ANDINT]
            [PUSHACC1 ANDINT]
            [ACC0 PUSHACC1 ADDINT]
            [ACC1 PUSHACC1 ADDINT]
            [CONSTINT PUSHACC1 ANDINT]
            [CONSTINT PUSHACC2 ANDINT]
            [CONSTINT PUSHACC1 MULINT]
            [CONSTINT PUSHACC2 MULINT]
            [CONSTINT PUSHACC1 MODINT]
            // A function from somewhere, and its call.
            [PUSHOFFSETCLOSURE0 APPLY1]
            [PUSHOFFSETCLOSURE0 APPLY2]
            [PUSHOFFSETCLOSURE0 APPLY3]
            [PUSHOFFSETCLOSURE0 APPTERM1]
            [PUSHOFFSETCLOSURE0 APPTERM2]
            [PUSHOFFSETCLOSURE0 APPTERM3]
            [OFFSETINT PUSHOFFSETCLOSURE0 APPLY1]
            [OFFSETINT PUSHOFFSETCLOSURE0 APPLY2]
            [OFFSETINT PUSHOFFSETCLOSURE0 APPLY3]
            [OFFSETINT PUSHOFFSETCLOSURE0 APPTERM1]
            [OFFSETINT PUSHOFFSETCLOSURE0 APPTERM2]
            [OFFSETINT PUSHOFFSETCLOSURE0 APPTERM3]
            [PUSHACC0 OFFSETINT PUSHOFFSETCLOSURE0 APPLY1]
            [PUSHACC0 OFFSETINT PUSHOFFSETCLOSURE0 APPLY2]
            [PUSHACC0 OFFSETINT PUSHOFFSETCLOSURE0 APPLY3]
            [PUSHACC0 OFFSETINT PUSHOFFSETCLOSURE0 APPTERM1]
            [PUSHACC0 OFFSETINT PUSHOFFSETCLOSURE0 APPTERM2]
            [PUSHACC0 OFFSETINT PUSHOFFSETCLOSURE0 APPTERM3]
            [PUSHACC1 OFFSETINT PUSHOFFSETCLOSURE0 APPLY1]
            [PUSHACC1 OFFSETINT PUSHOFFSETCLOSURE0 APPLY2]
            [PUSHACC1 OFFSETINT PUSHOFFSETCLOSURE0 APPLY3]
            [PUSHACC1 OFFSETINT PUSHOFFSETCLOSURE0 APPTERM1]
            [PUSHACC1 OFFSETINT PUSHOFFSETCLOSURE0 APPTERM2]
            [PUSHACC1 OFFSETINT PUSHOFFSETCLOSURE0 APPTERM3]
            [PUSHACC2 OFFSETINT PUSHOFFSETCLOSURE0 APPLY1]
            [PUSHACC2 OFFSETINT PUSHOFFSETCLOSURE0 APPLY2]
            [PUSHACC2 OFFSETINT PUSHOFFSETCLOSURE0 APPLY3]
            [PUSHACC2 OFFSETINT PUSHOFFSETCLOSURE0 APPTERM1]
            [PUSHACC2 OFFSETINT PUSHOFFSETCLOSURE0 APPTERM2]
            [PUSHACC2 OFFSETINT PUSHOFFSETCLOSURE0 APPTERM3]
            [PUSHACC3 OFFSETINT PUSHOFFSETCLOSURE0 APPLY1]
            [PUSHACC3 OFFSETINT PUSHOFFSETCLOSURE0 APPLY2]
            [PUSHACC3 OFFSETINT PUSHOFFSETCLOSURE0 APPLY3]
            [PUSHACC3 OFFSETINT PUSHOFFSETCLOSURE0 APPTERM1]
            [PUSHACC3 OFFSETINT PUSHOFFSETCLOSURE0 APPTERM2]
            [PUSHACC3 OFFSETINT PUSHOFFSETCLOSURE0 APPTERM3]
            [ACC0 OFFSETINT PUSHOFFSETCLOSURE0 APPLY1]
            [ACC0 OFFSETINT PUSHOFFSETCLOSURE0 APPTERM1]
            [ACC1 OFFSETINT PUSHOFFSETCLOSURE0 APPLY1]
            [ACC1 OFFSETINT PUSHOFFSETCLOSURE0 APPTERM1]
            [PUSHACC1 PUSHOFFSETCLOSURE0 APPLY2]
            [PUSHACC1 PUSHOFFSETCLOSURE0 APPTERM2]
            [PUSHACC1 PUSHOFFSETCLOSURE0 APPTERM3]
            [PUSHACC2 PUSHOFFSETCLOSURE0 APPLY2]
            [PUSHACC2 PUSHOFFSETCLOSURE0 APPTERM2]
            [PUSHACC2 PUSHOFFSETCLOSURE0 APPTERM3]
            [PUSHACC3 PUSHOFFSETCLOSURE0 APPLY2]
            [PUSHACC3 PUSHOFFSETCLOSURE0 APPTERM2]
            [PUSHACC3 PUSHOFFSETCLOSURE0 APPTERM3]
            [PUSHACC4 PUSHOFFSETCLOSURE0 APPLY2]
            [PUSHACC4 PUSHOFFSETCLOSURE0 APPTERM2]
            [PUSHACC4 PUSHOFFSETCLOSURE0 APPTERM3]
            [PUSHGETGLOBALFIELD APPLY1]
            [PUSHGETGLOBALFIELD APPLY2]
            [PUSHGETGLOBALFIELD APPLY3]
            [PUSHGETGLOBALFIELD APPTERM1]
            [PUSHGETGLOBALFIELD APPTERM2]
            [PUSHGETGLOBALFIELD APPTERM3]
            [GETGLOBALFIELD APPLY1]
            [GETGLOBALFIELD APPLY2]
            [GETGLOBALFIELD APPLY3]
            [GETGLOBALFIELD APPTERM1]
            [GETGLOBALFIELD APPTERM2]
            [GETGLOBALFIELD APPTERM3]
            [PUSHACC1 APPLY1]
            [PUSHACC1 APPLY2]
            [PUSHACC1 APPLY3]
            [PUSHACC1 APPTERM1]
            [PUSHACC1 APPTERM2]
            [PUSHACC1 APPTERM3]
            [PUSHACC2 APPLY1]
            [PUSHACC2 APPLY2]
            [PUSHACC2 APPLY3]
            [PUSHACC2 APPTERM1]
            [PUSHACC2 APPTERM2]
            [PUSHACC2 APPTERM3]
            [PUSHACC3 APPLY1]
            [PUSHACC3 APPLY2]
            [PUSHACC3 APPLY3]
            [PUSHACC3 APPTERM1]
            [PUSHACC3 APPTERM2]
            [PUSHACC3 APPTERM3]
            [PUSHACC4 APPLY1]
            [PUSHACC4 APPLY2]
            [PUSHACC4 APPLY3]
            [PUSHACC4 APPTERM1]
            [PUSHACC4 APPTERM2]
            [PUSHACC4 APPTERM3]
            [PUSHACC5 APPLY1]
            [PUSHACC5 APPLY2]
            [PUSHACC5 APPLY3]
            [PUSHACC5 APPTERM1]
            [PUSHACC5 APPTERM2]
            [PUSHACC5 APPTERM3]
            [PUSHACC6 APPLY1]
            [PUSHACC6 APPLY2]
            [PUSHACC6 APPLY3]
            [PUSHACC6 APPTERM1]
            [PUSHACC6 APPTERM2]
            [PUSHACC6 APPTERM3]
            [PUSHACC7 APPLY1]
            [PUSHACC7 APPLY2]
            [PUSHACC7 APPLY3]
            [PUSHACC7 APPTERM1]
            [PUSHACC7 APPTERM2]
            [PUSHACC7 APPTERM3]
            [PUSHENVACC1 APPLY1]
            [PUSHENVACC1 APPLY2]
            [PUSHENVACC1 APPLY3]
            [PUSHENVACC1 APPTERM1]
            [PUSHENVACC1 APPTERM2]
            [PUSHENVACC1 APPTERM3]
            [PUSHENVACC2 APPLY1]
            [PUSHENVACC2 APPLY2]
            [PUSHENVACC2 APPLY3]
            [PUSHENVACC2 APPTERM1]
            [PUSHENVACC2 APPTERM2]
            [PUSHENVACC2 APPTERM3]
            [PUSHENVACC3 APPLY1]
            [PUSHENVACC3 APPLY2]
            [PUSHENVACC3 APPLY3]
            [PUSHENVACC3 APPTERM1]
            [PUSHENVACC3 APPTERM2]
            [PUSHENVACC3 APPTERM3]
            [PUSHENVACC4 APPLY1]
            [PUSHENVACC4 APPLY2]
            [PUSHENVACC4 APPLY3]
            [PUSHENVACC4 APPTERM1]
            [PUSHENVACC4 APPTERM2]
            [PUSHENVACC4 APPTERM3]
            [PUSHENVACC APPLY1]
            [PUSHENVACC APPLY2]
            [PUSHENVACC APPLY3]
            [PUSHENVACC APPTERM1]
            [PUSHENVACC APPTERM2]
            [PUSHENVACC APPTERM3]
            [PUSHOFFSETCLOSUREM3 APPTERM1]
            [PUSHOFFSETCLOSUREM3 APPTERM2]
            [PUSHOFFSETCLOSURE3 APPTERM1]
            [PUSHOFFSETCLOSURE3 APPTERM2]
            [PUSHOFFSETCLOSURE APPLY1]
            [PUSHOFFSETCLOSURE APPLY2]
            [PUSHOFFSETCLOSURE APPTERM1]
            [PUSHOFFSETCLOSURE APPTERM2]
            [PUSHOFFSETCLOSURE APPTERM3]
            [GETMETHOD APPLY1]
            [GETPUBMET APPLY1]
            [GETMETHOD APPLY2]
            [GETPUBMET APPLY2]
            [GETPUBMET APPTERM1]
            [PUSH_RETADDR ACC0]
            [PUSH_RETADDR ACC1]
            [PUSH_RETADDR CONST0]
            [PUSH_RETADDR ACC3]
            [PUSH_RETADDR ACC4]
            [PUSH_RETADDR ACC5]
            [PUSH_RETADDR ACC6]
            [PUSH_RETADDR ACC7]
            [PUSH_RETADDR ACC]
            // Returns.
            [ACC0 RETURN]
            [ACC1 RETURN]
            [ACC2 RETURN]
            [ACC3 RETURN]
            [CONST0 RETURN]
            [CONST1 RETURN]
            [ADDINT RETURN]
            [SUBINT RETURN]
            [MULINT RETURN]
            [OFFSETINT RETURN]
            [POP RETURN]
            [MAKEBLOCK1 RETURN]
            [MAKEBLOCK2 RETURN]
            [MAKEBLOCK3 RETURN]
            [GETFIELD0 RETURN]
            [GETFIELD1 RETURN]
            [GETFIELD2 RETURN]
            [EQ RETURN]
            [NEQ RETURN]
            [ANDINT RETURN]
            [SETFIELD0 RETURN]
            [SETFIELD1 RETURN]
            [SETFIELD2 RETURN]
            [CONSTINT RETURN]
            [BOOLNOT RETURN]
            [GETGLOBAL RETURN]
            [ENVACC1 RETURN]
            [ATOM0 RETURN]
            [ADD_FLOAT RETURN]
            [SUB_FLOAT RETURN]
            [MUL_FLOAT RETURN]
            [PUSHACC1 ADDINT RETURN]
            [PUSHACC1 MAKEBLOCK2 RETURN]
            [PUSHACC2 MAKEBLOCK2 RETURN]
            [POP ACC0]
            [POP ACC1]
            [POP CONST0]
            // Blocks.
            [PUSHACC1 MAKEBLOCK2]
            [PUSHACC2 MAKEBLOCK2]
            [PUSHACC3 MAKEBLOCK2]
            [PUSHACC1 MAKEBLOCK3]
            [PUSHACC2 MAKEBLOCK3]
            [MAKEBLOCK1 PUSH]
            [MAKEBLOCK2 PUSH]
            [MAKEBLOCK2 PUSHACC1]
            [MAKEBLOCK2 PUSHACC2]
            [CONST0 PUSHACC1 MAKEBLOCK2]
            [CONST0 PUSHACC2 MAKEBLOCK2]
            [PUSHACC1 SETFIELD0]
            [PUSHACC1 SETFIELD1]
            [PUSHACC1 SETFIELD2]
            [PUSHACC2 SETFIELD0]
            [PUSHACC2 SETFIELD1]
            [PUSHACC2 SETFIELD2]
            [PUSHACC3 SETFIELD0]
            [PUSHACC3 SETFIELD1]
            [PUSHACC3 SETFIELD2]
            [PUSHACC4 SETFIELD0]
            [PUSHACC4 SETFIELD1]
            [PUSHACC4 SETFIELD2]
            [PUSHENVACC1 SETFIELD0]
            [PUSHENVACC2 SETFIELD0]
            [PUSHENVACC1 OFFSETREF]
            [PUSHENVACC2 OFFSETREF]
            [PUSHENVACC1 GETFIELD0 ADDINT]
            [PUSHGETGLOBAL GETFIELD0]
            [GETGLOBALFIELD GETFIELD0]
            [PUSHGETGLOBALFIELD GETFIELD0]
            [PUSHGETGLOBALFIELD SETFIELD0]
            // Floats.
            [ADD_FLOAT ADD_FLOAT]
            [ADD_FLOAT SUB_FLOAT]
            [ADD_FLOAT MUL_FLOAT]
            [ADD_FLOAT DIV_FLOAT]
            [SUB_FLOAT ADD_FLOAT]
            [SUB_FLOAT SUB_FLOAT]
            [SUB_FLOAT MUL_FLOAT]
            [SUB_FLOAT DIV_FLOAT]
            [MUL_FLOAT ADD_FLOAT]
            [MUL_FLOAT SUB_FLOAT]
            [MUL_FLOAT MUL_FLOAT]
            [MUL_FLOAT DIV_FLOAT]
            [DIV_FLOAT ADD_FLOAT]
            [DIV_FLOAT SUB_FLOAT]
            [DIV_FLOAT MUL_FLOAT]
            [DIV_FLOAT DIV_FLOAT]
            [ADD_FLOAT PUSHACC0]
            [ADD_FLOAT PUSHACC1]
            [ADD_FLOAT PUSHACC2]
            [ADD_FLOAT PUSHACC3]
            [ADD_FLOAT PUSHACC4]
            [ADD_FLOAT PUSHACC5]
            [SUB_FLOAT PUSHACC0]
            [SUB_FLOAT PUSHACC1]
            [SUB_FLOAT PUSHACC2]
            [SUB_FLOAT PUSHACC3]
            [SUB_FLOAT PUSHACC4]
            [SUB_FLOAT PUSHACC5]
            [MUL_FLOAT PUSHACC0]
            [MUL_FLOAT PUSHACC1]
            [MUL_FLOAT PUSHACC2]
            [MUL_FLOAT PUSHACC3]
            [MUL_FLOAT PUSHACC4]
            [MUL_FLOAT PUSHACC5]
            [DIV_FLOAT PUSHACC0]
            [DIV_FLOAT PUSHACC1]
            [DIV_FLOAT PUSHACC2]
            [DIV_FLOAT PUSHACC3]
            [DIV_FLOAT PUSHACC4]
            [DIV_FLOAT PUSHACC5]
            [ADD_FLOAT PUSHACC]
            [SUB_FLOAT PUSHACC]
            [MUL_FLOAT PUSHACC]
            [DIV_FLOAT PUSHACC]
            [PUSHACC0 ADD_FLOAT]
            [PUSHACC1 ADD_FLOAT]
            [PUSHACC2 ADD_FLOAT]
            [PUSHACC3 ADD_FLOAT]
            [PUSHACC4 ADD_FLOAT]
            [PUSHACC5 ADD_FLOAT]
            [PUSHACC6 ADD_FLOAT]
            [PUSHACC0 SUB_FLOAT]
            [PUSHACC1 SUB_FLOAT]
            [PUSHACC2 SUB_FLOAT]
            [PUSHACC3 SUB_FLOAT]
            [PUSHACC4 SUB_FLOAT]
            [PUSHACC5 SUB_FLOAT]
            [PUSHACC6 SUB_FLOAT]
            [PUSHACC0 MUL_FLOAT]
            [PUSHACC1 MUL_FLOAT]
            [PUSHACC2 MUL_FLOAT]
            [PUSHACC3 MUL_FLOAT]
            [PUSHACC4 MUL_FLOAT]
            [PUSHACC5 MUL_FLOAT]
            [PUSHACC6 MUL_FLOAT]
            [PUSHACC0 DIV_FLOAT]
            [PUSHACC1 DIV_FLOAT]
            [PUSHACC2 DIV_FLOAT]
            [PUSHACC3 DIV_FLOAT]
            [PUSHACC4 DIV_FLOAT]
            [PUSHACC5 DIV_FLOAT]
            [PUSHACC6 DIV_FLOAT]
            [PUSHACC ADD_FLOAT]
            [PUSHACC SUB_FLOAT]
            [PUSHACC MUL_FLOAT]
            [PUSHACC DIV_FLOAT]
            [PUSHACC0 GETFLOATFIELD]
            [PUSHACC1 GETFLOATFIELD]
            [PUSHACC2 GETFLOATFIELD]
            [PUSHACC3 GETFLOATFIELD]
            [PUSHACC4 GETFLOATFIELD]
            [PUSHACC5 GETFLOATFIELD]
            [PUSHACC6 GETFLOATFIELD]
            [PUSHACC7 GETFLOATFIELD]
            [PUSHACC GETFLOATFIELD]
            [GETFLOATFIELD ADD_FLOAT]
            [GETFLOATFIELD SUB_FLOAT]
            [GETFLOATFIELD MUL_FLOAT]
            [GETFLOATFIELD DIV_FLOAT]
            [PUSHENVACC1 ADD_FLOAT]
            [PUSHENVACC1 SUB_FLOAT]
            [PUSHENVACC1 MUL_FLOAT]
            [PUSHENVACC1 DIV_FLOAT]
            [PUSHENVACC2 ADD_FLOAT]
            [PUSHENVACC2 SUB_FLOAT]
            [PUSHENVACC2 MUL_FLOAT]
            [PUSHENVACC2 DIV_FLOAT]
            [PUSHENVACC3 ADD_FLOAT]
            [PUSHENVACC3 SUB_FLOAT]
            [PUSHENVACC3 MUL_FLOAT]
            [PUSHENVACC3 DIV_FLOAT]
            [EQ_FLOAT BRANCHIFNOT]
            [NEQ_FLOAT BRANCHIFNOT]
            [LT_FLOAT BRANCHIFNOT]
            [LE_FLOAT BRANCHIFNOT]
            [GT_FLOAT BRANCHIFNOT]
            [GE_FLOAT BRANCHIFNOT]
            [GT_FLOAT BRANCHIF]
            [LT_FLOAT BRANCHIF]
            [GETFLOATFIELD PUSHACC1]
            [GETFLOATFIELD PUSHACC2]
            [GETFLOATFIELD PUSHACC3]
            [GETFLOATFIELD PUSHACC4]
            [GETFLOATFIELD PUSHACC]
            // Elements of arrays and strings.
            [PUSHACC1 ARRAY_GET]
            [PUSHACC2 ARRAY_GET]
            [PUSHACC3 ARRAY_GET]
            [PUSHACC4 ARRAY_GET]
            [PUSHACC5 ARRAY_GET]
            [PUSHACC6 ARRAY_GET]
            [PUSHACC7 ARRAY_GET]
            [PUSHACC1 ARRAY_GET_ADDR]
            [PUSHACC2 ARRAY_GET_ADDR]
            [PUSHACC3 ARRAY_GET_ADDR]
            [PUSHACC4 ARRAY_GET_ADDR]
            [PUSHACC5 ARRAY_GET_ADDR]
            [PUSHACC6 ARRAY_GET_ADDR]
            [PUSHACC7 ARRAY_GET_ADDR]
            [PUSHACC1 ARRAY_GET_FLOAT]
            [PUSHACC2 ARRAY_GET_FLOAT]
            [PUSHACC3 ARRAY_GET_FLOAT]
            [PUSHACC4 ARRAY_GET_FLOAT]
            [PUSHACC5 ARRAY_GET_FLOAT]
            [PUSHACC6 ARRAY_GET_FLOAT]
            [PUSHACC7 ARRAY_GET_FLOAT]
            [PUSHACC1 STRING_GET]
            [PUSHACC2 STRING_GET]
            [PUSHACC3 STRING_GET]
            [PUSHACC4 STRING_GET]
            [PUSHACC5 STRING_GET]
            [PUSHACC6 STRING_GET]
            [PUSHACC7 STRING_GET]
            [PUSHACC ARRAY_GET]
            [PUSHACC ARRAY_GET_ADDR]
            [PUSHACC ARRAY_GET_FLOAT]
            [PUSHENVACC1 ARRAY_GET]
            [PUSHENVACC2 ARRAY_GET]
            [PUSHENVACC3 ARRAY_GET]
            [PUSHENVACC4 ARRAY_GET]
            [PUSHENVACC1 ARRAY_GET_ADDR]
            [PUSHENVACC2 ARRAY_GET_ADDR]
            [PUSHENVACC3 ARRAY_GET_ADDR]
            [PUSHENVACC4 ARRAY_GET_ADDR]
            [PUSHENVACC1 ARRAY_GET_FLOAT]
            [PUSHENVACC2 ARRAY_GET_FLOAT]
            [PUSHENVACC3 ARRAY_GET_FLOAT]
            [PUSHENVACC4 ARRAY_GET_FLOAT]
            [PUSHENVACC1 STRING_GET]
            [PUSHENVACC2 STRING_GET]
            [PUSHENVACC3 STRING_GET]
            [PUSHENVACC4 STRING_GET]
            [PUSHENVACC ARRAY_GET]
            [PUSHENVACC ARRAY_GET_ADDR]
            [PUSHENVACC ARRAY_GET_FLOAT]
            [ARRAY_GET PUSH]
            [ARRAY_GET PUSHACC1]
            [ARRAY_GET PUSHACC2]
            [ARRAY_GET PUSHACC3]
            [ARRAY_GET PUSHACC4]
            [ARRAY_GET_ADDR PUSH]
            [ARRAY_GET_ADDR PUSHACC1]
            [ARRAY_GET_ADDR PUSHACC2]
            [ARRAY_GET_ADDR PUSHACC3]
            [ARRAY_GET_ADDR PUSHACC4]
            [ARRAY_GET_FLOAT PUSH]
            [ARRAY_GET_FLOAT PUSHACC1]
            [ARRAY_GET_FLOAT PUSHACC2]
            [ARRAY_GET_FLOAT PUSHACC3]
            [ARRAY_GET_FLOAT PUSHACC4]
            [ARRAY_GET MUL_FLOAT]
            [ARRAY_GET ADD_FLOAT]
            [ARRAY_GET ADDINT]
            [ARRAY_GET MULINT]
            [ARRAY_GET_ADDR MUL_FLOAT]
            [ARRAY_GET_ADDR ADD_FLOAT]
            [ARRAY_GET_ADDR ADDINT]
            [ARRAY_GET_ADDR MULINT]
            [ARRAY_GET_FLOAT MUL_FLOAT]
            [ARRAY_GET_FLOAT ADD_FLOAT]
            [ARRAY_GET_FLOAT ADDINT]
            [ARRAY_GET_FLOAT MULINT]
            [ARRAY_GET_ADDR BRANCHIFNOT]
            [ARRAY_GET BRANCHIFNOT]
            [ARRAY_GET_ADDR ARRAY_GET_ADDR]
            [ARRAY_GET_ADDR ARRAY_GET_FLOAT]
            [ARRAY_GET_ADDR ARRAY_GET]
            [PUSHGETGLOBAL ARRAY_GET]
            [PUSHGETGLOBAL ARRAY_GET_ADDR]
            [PUSHACC2 ARRAY_SET]
            [PUSHACC2 ARRAY_SET_ADDR]
            [PUSHACC2 BYTES_SET]
            [PUSHACC3 ARRAY_SET]
            [PUSHACC3 ARRAY_SET_ADDR]
            [PUSHACC3 BYTES_SET]
            [PUSHACC4 ARRAY_SET]
            [PUSHACC4 ARRAY_SET_ADDR]
            [PUSHACC4 BYTES_SET]
            [PUSHACC5 ARRAY_SET]
            [PUSHACC5 ARRAY_SET_ADDR]
            [PUSHACC5 BYTES_SET]
            [PUSHACC6 ARRAY_SET]
            [PUSHACC6 ARRAY_SET_ADDR]
            [PUSHACC6 BYTES_SET]
            [PUSHACC7 ARRAY_SET]
            [PUSHACC7 ARRAY_SET_ADDR]
            [PUSHACC7 BYTES_SET]
            [PUSHACC ARRAY_SET]
            [PUSHACC ARRAY_SET_ADDR]
            [PUSHACC ARRAY_SET_FLOAT]
            [PUSHACC1 GETVECTITEM]
            [PUSHACC1 SETVECTITEM]
            [PUSHACC1 GETBYTESCHAR]
            [PUSHACC1 GETSTRINGCHAR]
            [PUSHACC2 GETVECTITEM]
            [PUSHACC2 SETVECTITEM]
            [PUSHACC2 GETBYTESCHAR]
            [PUSHACC2 GETSTRINGCHAR]
            [PUSHACC3 GETVECTITEM]
            [PUSHACC3 SETVECTITEM]
            [PUSHACC3 GETBYTESCHAR]
            [PUSHACC3 GETSTRINGCHAR]
            [PUSHACC4 GETVECTITEM]
            [PUSHACC4 SETVECTITEM]
            [PUSHACC4 GETBYTESCHAR]
            [PUSHACC4 GETSTRINGCHAR]
            [PUSHACC5 GETVECTITEM]
            [PUSHACC5 SETVECTITEM]
            [PUSHACC5 GETBYTESCHAR]
            [PUSHACC5 GETSTRINGCHAR]
            [STRING_GET PUSH]
            [GETSTRINGCHAR PUSH]
            [GETBYTESCHAR PUSH]
            [STRING_GET BNEQ]
            [ACC0 STRING_LENGTH]
            [PUSHACC1 STRING_LENGTH]
            [PUSHACC0 STRING_LENGTH]
            [ACC0 VECTLENGTH]
            [PUSHACC1 VECTLENGTH]
            [ACC1 VECTLENGTH]
            // Polymorphic comparisons, of integers as a rule.
            [EQUAL BRANCHIFNOT]
            [NOTEQUAL BRANCHIFNOT]
            [LESSTHAN BRANCHIFNOT]
            [LESSEQUAL BRANCHIFNOT]
            [GREATERTHAN BRANCHIFNOT]
            [GREATEREQUAL BRANCHIFNOT]
            [COMPARE RETURN]
            [PUSHACC1 COMPARE]
            [PUSHACC2 COMPARE]
            [COMPARE PUSH]
            // Exceptions.
            [PUSHTRAP ACC0]
            [PUSHTRAP ACC1]
            [POPTRAP POP]
            [POPTRAP RETURN]
            [POPTRAP BRANCH]
        }
    };
}
pub(crate) use for_each_chain;

macro_rules! inline {
    ($($number:literal $call:ident $name:ident $($primitive:literal)+;)*) => {
        impl Inline {
            /// The instruction for the primitive of that name, if there is one.
            pub(crate) fn find(name: &str) -> Option<Inline> {
                match name {
                    $($($primitive)|+ => Some(Inline { call: Opcode::$call, number: $number }),)*
                    _ => None,
                }
            }
        }

        /// The numbers by which chains are looked up: of the words' instructions, and of primitives behind them.
        #[allow(non_upper_case_globals, dead_code, reason = "named as their instructions; chains name some")]
        pub(super) mod code {
            pub(crate) use super::op_code::*;
            $(pub(crate) const $name: u16 = super::FIRST_INLINE + $number;)*
        }
    };
}
for_each_inline!(inline);

macro_rules! ops {
    ($($number:literal $name:ident ($($operand:ident: $kind:ident),*) $facts:tt $doc:literal;)*) => {
        #[allow(dead_code, reason = "chains name some")]
        mod op_code {
            $(pub(crate) const $name: u16 = $number;)*
        }
    };
}
spelter_bytecode::for_each_op!(ops);

/// The number of the first primitive that is an instruction.
const FIRST_INLINE: u16 = 256;

/// The functions of the machine's own instructions, for one engine: of primitives by their numbers, of chains in the
/// order of their table. An engine without any has none.
#[derive(Clone, Copy, Default)]
pub(crate) struct Cells {
    pub(super) inline: &'static [*const ()],
    pub(super) chains: &'static [*const ()],
    /// Whether no cell of the engine is zero, so that zero stands for code that has not been translated yet.
    pub(crate) lazy: bool,
}

impl Cells {
    /// The number and the cell of the instruction that stands in for a call of the primitive.
    pub(crate) fn inline(&self, primitive: Inline, call: Opcode) -> Option<(u16, u64)> {
        let function = self.inline.get(usize::from(primitive.number))?;
        (primitive.call == call).then(|| (FIRST_INLINE + primitive.number, *function as usize as u64))
    }

    /// The cell for the chain that these instructions, with their positions, begin with, if there is one.
    pub(crate) fn chain(&self, codes: &[(usize, u16)]) -> Option<u64> {
        if self.chains.is_empty() {
            return None;
        }
        INDEX.find(codes).map(|chain| self.chains[chain] as usize as u64)
    }
}

/// The most instructions of a chain.
const LONGEST: usize = 7;
/// Stands behind the last instruction of a chain.
const NONE: u16 = u16::MAX;

const fn padded(codes: &[u16]) -> [u16; LONGEST] {
    let mut chain = [NONE; LONGEST];
    let mut i = 0;
    while i < codes.len() {
        chain[i] = codes[i];
        i += 1;
    }
    chain
}

const fn len(chain: &[u16; LONGEST]) -> usize {
    let mut len = 0;
    while len < LONGEST && chain[len] != NONE {
        len += 1;
    }
    len
}

macro_rules! chain_codes {
    ($([$($name:ident)+])*) => {
        /// What the chains are made of.
        static CHAINS: [[u16; LONGEST]; [$(stringify!($($name)+)),*].len()] =
            [$(padded(&[$(code::$name),+])),*];
    };
}
for_each_chain!(chain_codes);

/// Chains by their first two instructions: looked for at each instruction that is translated.
struct Index {
    /// For each chain, the next one that begins with the same two and is not longer: its number and one more.
    next: [u16; CHAINS.len()],
    /// The first such, by hash.
    first: [u16; PLACES],
}

/// The size of the hash table: a power of two, at least twice as many as there are chains.
const PLACES: usize = 2048;
const _: () = assert!(2 * CHAINS.len() <= PLACES, "PLACES is too small for so many chains");

/// Made by the compiler.
static INDEX: Index = Index::new();

impl Index {
    const fn new() -> Index {
        let mut index = Index { next: [0; CHAINS.len()], first: [0; PLACES] };
        let mut i = 0;
        while i < CHAINS.len() {
            index.insert(i);
            i += 1;
        }
        index
    }

    const fn insert(&mut self, i: usize) {
        let place = self.place(CHAINS[i][0], CHAINS[i][1]);
        let (mut before, mut at) = (0, self.first[place]);
        while at != 0 && len(&CHAINS[at as usize - 1]) > len(&CHAINS[i]) {
            before = at;
            at = self.next[at as usize - 1];
        }
        self.next[i] = at;
        if before == 0 {
            self.first[place] = i as u16 + 1;
        } else {
            self.next[before as usize - 1] = i as u16 + 1;
        }
    }

    /// Where the first chain that begins with these two is, or would be.
    const fn place(&self, first: u16, second: u16) -> usize {
        let both = (first as u32) << 16 | second as u32;
        // Knuth's multiplicative hash: the upper bits are the good ones.
        let mut place = (both.wrapping_mul(0x9E37_79B1) >> 8) as usize % PLACES;
        while self.first[place] != 0 {
            let chain = &CHAINS[self.first[place] as usize - 1];
            if chain[0] == first && chain[1] == second {
                break;
            }
            place = (place + 1) % PLACES;
        }
        place
    }

    /// The number of the longest chain that these instructions begin with.
    fn find(&self, codes: &[(usize, u16)]) -> Option<usize> {
        let mut at = self.first[self.place(codes.first()?.1, codes.get(1)?.1)];
        while let Some(i) = usize::from(at).checked_sub(1) {
            let mut chain = CHAINS[i].iter().take_while(|code| **code != NONE).enumerate();
            if chain.all(|(k, code)| codes.get(k).is_some_and(|(_, here)| here == code)) {
                return Some(i);
            }
            at = self.next[i];
        }
        None
    }
}

/// The instruction that stands in for a primitive, and that which calls it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Inline {
    call: Opcode,
    number: u16,
}
