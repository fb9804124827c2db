//! The target `attack`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| spelter_fuzzing::targets::run("attack", bytes));
