//! Code that must not compile. `TRYBUILD=overwrite` records the compiler's messages.

#[test]
fn each_misuse_is_a_compile_error() {
    trybuild::TestCases::new().compile_fail("tests/ui/*.rs");
}
