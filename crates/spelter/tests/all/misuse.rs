//! What must not compile. `TRYBUILD=overwrite` writes down what the compiler says.

#[test]
fn each_misuse_is_a_compile_error() {
    trybuild::TestCases::new().compile_fail("tests/ui/*.rs");
}
