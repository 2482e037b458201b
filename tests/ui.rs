//! Programs that must not compile, and the errors that say why.

#[test]
fn what_cannot_work_does_not_compile() {
    trybuild::TestCases::new().compile_fail("tests/ui/*.rs");
}
