//! The primitives that generated programs may call: those that do not affect anything outside the machine.

use std::collections::BTreeSet;
use std::sync::OnceLock;

use spelter::Vm;
use spelter_bytecode::Dialect;

use super::kinds::Kind;

/// A primitive, with the kinds of its arguments and result.
#[derive(Debug)]
pub(crate) struct Prim {
    pub(crate) name: &'static str,
    pub(crate) args: Vec<Kind>,
    pub(crate) result: Kind,
    /// Whether its result depends on when the collector ran, or on the sizes of blocks.
    pub(crate) volatile: bool,
    /// Whether it accesses the inside of values; such primitives are called more often.
    pub(crate) sharp: bool,
}

/// The family: arguments and result as letters (see [`Kind::of_letter`]), then names. `!`: the result depends on when
/// the collector ran. `*`: it accesses the inside of values.
const TABLE: &str = "
*i v caml_obj_tag
*v aj caml_obj_set_tag caml_obj_truncate caml_weak_get caml_array_unsafe_get caml_array_get
*a jj caml_obj_block
*a jv caml_obj_with_tag
*a v caml_obj_dup caml_set_oo_id
*n vj caml_obj_raw_field
*i vjn caml_obj_set_raw_field
*v v3 caml_obj_add_offset
!*z vv caml_obj_make_forward
!*z v caml_lazy_make_forward
!*i v caml_obj_reachable_words
*v v caml_int_as_pointer
*S ccc caml_alloc_stack
*S K caml_continuation_use caml_continuation_use_noexc
*S Kccc caml_continuation_use_and_update_handler_noexc
*i K caml_drop_continuation
!a Kj caml_get_continuation_callstack
*v a caml_atomic_load caml_lazy_read_result
*i a caml_lazy_reset_to_lazy caml_lazy_update_to_forcing
*v av caml_atomic_exchange
*i avv caml_atomic_cas
*i ai caml_atomic_fetch_add
*v aj caml_atomic_load_field
*v ajv caml_atomic_exchange_field
*i ajvv caml_atomic_cas_field
*i aji caml_atomic_fetch_add_field
*i vv caml_update_dummy
*a j caml_alloc_dummy caml_alloc_dummy_float
*c jj caml_alloc_dummy_function caml_alloc_dummy_infix
i v caml_fresh_oo_id
*c oi caml_get_public_method
*v pk caml_input_value_from_bytes
*i pk caml_marshal_data_size
*s vL caml_output_value_to_string caml_output_value_to_bytes
*i bjjvL caml_output_value_to_buffer
*a Cvv caml_reify_bytecode
*i v caml_static_release_bytecode
*a i caml_get_global_data
*i j caml_realloc_global
*a i caml_get_section_table
*c i caml_get_current_environment
*v cvv caml_invoke_traced_function
*i Nv caml_register_named_value
!i cv caml_final_register caml_final_register_called_without_value
!i i caml_final_release
*v av caml_array_append
*i ajajj caml_array_blit
*a l caml_array_concat
*i ajjv caml_array_fill
*v aj caml_array_get_addr
*i ajv caml_array_set caml_array_set_addr caml_array_unsafe_set
*a ajj caml_array_sub
*a jv caml_make_vect
*a a caml_make_array
F j caml_make_float_vect caml_floatarray_create
f Fj caml_floatarray_get caml_floatarray_unsafe_get
i Fjf caml_floatarray_set caml_floatarray_unsafe_set
i FjFjj caml_floatarray_blit
!w j caml_weak_create
!i wjv caml_weak_set
!v wj caml_weak_get_copy
!i wj caml_weak_check
!i wjwjj caml_weak_blit
!e j caml_ephe_create
!v e caml_ephe_get_data caml_ephe_get_data_copy caml_ephe_check_data caml_ephe_unset_data
!v ej caml_ephe_get_key caml_ephe_get_key_copy caml_ephe_check_key caml_ephe_unset_key
!i ev caml_ephe_set_data
!i ejv caml_ephe_set_key
!i ee caml_ephe_blit_data
!i ejejj caml_ephe_blit_key
B jjD caml_ba_create
i BB caml_ba_blit
B Bj caml_ba_change_layout caml_ba_slice caml_ba_reshape
i Bj caml_ba_dim
i B caml_ba_dim_1 caml_ba_dim_2 caml_ba_dim_3 caml_ba_kind caml_ba_layout caml_ba_num_dims
i Bv caml_ba_fill
B Bjj caml_ba_sub
B BD caml_ba_reshape
v Bj caml_ba_get_1
v Bjj caml_ba_get_2
v Bjjj caml_ba_get_3
v BD caml_ba_get_generic
i BDv caml_ba_set_generic
i Bjv caml_ba_set_1
i Bjjv caml_ba_set_2
i Bjjjv caml_ba_set_3
i Bj caml_ba_uint8_get16
3 Bj caml_ba_uint8_get32
6 Bj caml_ba_uint8_get64
i Bji caml_ba_uint8_set16
i Bj3 caml_ba_uint8_set32
i Bj6 caml_ba_uint8_set64
*i vv caml_compare caml_equal caml_notequal caml_lessthan caml_lessequal caml_greaterthan caml_greaterequal
*i jjiv caml_hash
i bjbjj caml_blit_bytes
i sjbjj caml_blit_string
i bjji caml_fill_bytes caml_fill_string
b j caml_create_bytes caml_create_string
i ss caml_bytes_compare caml_bytes_equal caml_bytes_greaterequal caml_bytes_greaterthan caml_bytes_lessequal caml_bytes_lessthan caml_bytes_notequal
i ss caml_string_compare caml_string_equal caml_string_greaterequal caml_string_greaterthan caml_string_lessequal caml_string_lessthan caml_string_notequal
i sj caml_bytes_get caml_bytes_get16 caml_string_get caml_string_get16
3 sj caml_bytes_get32 caml_string_get32
6 sj caml_bytes_get64 caml_string_get64
i bji caml_bytes_set caml_bytes_set16 caml_string_set
i bj3 caml_bytes_set32
i bj6 caml_bytes_set64
s b caml_string_of_bytes caml_bytes_of_string
i s caml_ml_string_length caml_ml_bytes_length
s sjj caml_md5_string
f f caml_abs_float caml_acos_float caml_acosh_float caml_asin_float caml_asinh_float caml_atan_float caml_atanh_float caml_cbrt_float caml_ceil_float caml_cos_float caml_cosh_float caml_erf_float caml_erfc_float caml_exp2_float caml_exp_float caml_expm1_float caml_floor_float caml_log10_float caml_log1p_float caml_log2_float caml_log_float caml_neg_float caml_round_float caml_sin_float caml_sinh_float caml_sqrt_float caml_tan_float caml_tanh_float caml_trunc_float
f ff caml_add_float caml_sub_float caml_mul_float caml_div_float caml_fmod_float caml_atan2_float caml_copysign_float caml_hypot_float caml_nextafter_float caml_power_float
i ff caml_eq_float caml_ge_float caml_gt_float caml_le_float caml_lt_float caml_neq_float caml_float_compare
i f caml_classify_float caml_signbit caml_signbit_float caml_int_of_float
f fff caml_fma_float
f fi caml_ldexp_float
a f caml_frexp_float caml_modf_float
f i caml_float_of_int
f d caml_float_of_string
s mf caml_format_float
s fii caml_hexstring_of_float
s mi caml_format_int
i d caml_int_of_string
i i caml_bswap16
i ii caml_int_compare
3 33 caml_int32_add caml_int32_and caml_int32_div caml_int32_mod caml_int32_mul caml_int32_or caml_int32_sub caml_int32_xor
3 3i caml_int32_shift_left caml_int32_shift_right caml_int32_shift_right_unsigned
3 3 caml_int32_neg caml_int32_bswap
i 33 caml_int32_compare
3 f caml_int32_of_float caml_int32_bits_of_float
f 3 caml_int32_to_float caml_int32_float_of_bits
3 i caml_int32_of_int
i 3 caml_int32_to_int
3 d caml_int32_of_string
s m3 caml_int32_format
6 66 caml_int64_add caml_int64_and caml_int64_div caml_int64_mod caml_int64_mul caml_int64_or caml_int64_sub caml_int64_xor caml_int64_add_native caml_int64_and_native caml_int64_div_native caml_int64_mod_native caml_int64_mul_native caml_int64_or_native caml_int64_sub_native caml_int64_xor_native
6 6i caml_int64_shift_left caml_int64_shift_right caml_int64_shift_right_unsigned
6 6 caml_int64_neg caml_int64_bswap caml_int64_neg_native
i 66 caml_int64_compare
6 f caml_int64_of_float caml_int64_bits_of_float
f 6 caml_int64_to_float caml_int64_float_of_bits
6 i caml_int64_of_int
i 6 caml_int64_to_int
6 3 caml_int64_of_int32
6 n caml_int64_of_nativeint
3 6 caml_int64_to_int32
n 6 caml_int64_to_nativeint
6 d caml_int64_of_string
s m6 caml_int64_format
n nn caml_nativeint_add caml_nativeint_and caml_nativeint_div caml_nativeint_mod caml_nativeint_mul caml_nativeint_or caml_nativeint_sub caml_nativeint_xor
n ni caml_nativeint_shift_left caml_nativeint_shift_right caml_nativeint_shift_right_unsigned
n n caml_nativeint_neg caml_nativeint_bswap
i nn caml_nativeint_compare
n f caml_nativeint_of_float
f n caml_nativeint_to_float
n i caml_nativeint_of_int
i n caml_nativeint_to_int
n 3 caml_nativeint_of_int32
3 n caml_nativeint_to_int32
n d caml_nativeint_of_string
s mn caml_nativeint_format
!i i caml_gc_compaction caml_gc_full_major caml_gc_major caml_gc_major_slice caml_gc_minor caml_gc_minor
!a i caml_gc_counters caml_gc_get caml_gc_quick_stat caml_gc_stat
!f i caml_gc_minor_words
!i a caml_gc_set
!i i caml_get_major_bucket caml_get_major_credit caml_get_minor_free caml_gc_huge_fallback_count
i j caml_ensure_stack_capacity
i i caml_backtrace_status caml_record_backtrace
!a i caml_get_current_callstack caml_get_exception_backtrace caml_get_exception_raw_backtrace
!a v caml_convert_raw_backtrace caml_convert_raw_backtrace_slot
!i v caml_raw_backtrace_length
!v vj caml_raw_backtrace_slot
!v v caml_raw_backtrace_next_slot
!i xv caml_restore_raw_backtrace
!i fja caml_memprof_start
!i i caml_memprof_stop
*i ajb caml_lex_engine caml_new_lex_engine
*i aaiv caml_parse_engine
*a asj re_string_match re_partial_match re_search_forward re_search_backward
*s sas re_replacement_text
i s caml_dynlink_add_primitive
s ss caml_dynlink_lookup_symbol
s is caml_dynlink_open_lib
i v caml_dynlink_close_lib
a i caml_dynlink_get_current_libs
i i caml_sys_const_backend_type caml_sys_const_big_endian caml_sys_const_int_size caml_sys_const_max_wosize caml_sys_const_naked_pointers_checked caml_sys_const_word_size caml_runtime_variant
v i caml_sys_argv caml_sys_executable_name caml_sys_get_argv caml_sys_get_config caml_runtime_parameters
i a caml_sys_modify_argv
i i caml_sys_exit
s i spelter_name
i i spelter_withdraw spelter_revoke spelter_is_alive
s i spelter_why
a i spelter_code_stats
*i si spelter_load
*v v fuzz_same fuzz_swap
*v cv fuzz_apply fuzz_apply_twice
*v vj fuzz_field
*i vjv fuzz_set_field
i l fuzz_sum
i v fuzz_int fuzz_float fuzz_string fuzz_option fuzz_pair
v i fuzz_list fuzz_fail
";

/// The table.
fn table() -> &'static [Prim] {
    static ALL: OnceLock<Vec<Prim>> = OnceLock::new();
    ALL.get_or_init(|| TABLE.lines().flat_map(line).collect())
}

/// A version's primitives, and those of them that access the inside of values.
type OfVersion = (&'static Dialect, Vec<&'static Prim>, Vec<&'static Prim>);

fn of_version(dialect: &Dialect) -> &'static OfVersion {
    static ALL: OnceLock<Vec<OfVersion>> = OnceLock::new();
    let all = ALL.get_or_init(|| {
        let names = |dialect: &Dialect| -> BTreeSet<_> { Vm::primitives_of(dialect).into_iter().collect() };
        // Those of the host and of libraries are in no version.
        let some = Dialect::KNOWN.iter().flat_map(|dialect| names(dialect)).collect::<BTreeSet<_>>();
        let of = |dialect: &&'static Dialect| {
            let others: BTreeSet<_> = some.difference(&names(dialect)).copied().collect();
            let own: Vec<_> = table().iter().filter(|prim| !others.contains(prim.name)).collect();
            let sharp = own.iter().copied().filter(|prim| prim.sharp).collect();
            (*dialect, own, sharp)
        };
        Dialect::KNOWN.iter().map(of).collect()
    });
    all.iter().find(|(known, ..)| known.release == dialect.release).expect("a known version")
}

/// The primitives of a version.
pub(crate) fn all(dialect: &Dialect) -> &'static [&'static Prim] {
    &of_version(dialect).1
}

/// Those that access the inside of values.
pub(crate) fn sharp(dialect: &Dialect) -> &'static [&'static Prim] {
    &of_version(dialect).2
}

/// The primitive of this name.
///
/// # Panics
/// When it is not in the table.
pub(crate) fn named(name: &str) -> &'static Prim {
    table().iter().find(|prim| prim.name == name).expect("it is in the table")
}

fn line(line: &'static str) -> Vec<Prim> {
    let mut words = line.split_whitespace();
    let (Some(result), Some(args)) = (words.next(), words.next()) else { return Vec::new() };
    let letter = result.bytes().last().unwrap_or(b'v');
    words
        .map(|name| Prim {
            name,
            args: args.bytes().map(Kind::of_letter).collect(),
            result: Kind::of_letter(letter),
            volatile: result.contains('!'),
            sharp: result.contains('*'),
        })
        .collect()
}
