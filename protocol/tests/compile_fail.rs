//! What must not compile: events published where they may not go, and ids of one kind taken for another (EVT-03).
//!
//! Each file in `ui` is a program with one mistake, and beside it stands what the compiler says about it. The programs are
//! small on purpose: what is compared is our own message and the line of the mistake, not a list of everything else in the
//! catalog.

#[test]
fn evt_03_an_event_that_may_not_go_there_does_not_compile() {
    let cases = trybuild::TestCases::new();
    cases.compile_fail("tests/ui/*.rs");
}
