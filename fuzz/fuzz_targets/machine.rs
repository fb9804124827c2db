//! The target `machine`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| spelter_fuzzing::targets::run("machine", bytes));
