//! The examples do what their first lines say.

#[path = "../../examples/limits.rs"]
mod limits;
#[path = "../../examples/parallel.rs"]
mod parallel;
#[path = "../../examples/revoked.rs"]
mod revoked;
#[path = "../../examples/rules.rs"]
mod rules;
#[path = "../../examples/waiting.rs"]
mod waiting;

#[test]
fn a_rule_is_replaced_as_a_whole_or_not_at_all() {
    let (verdicts, alive) = rules::run().expect("the example runs");
    let discount = || rules::Verdict::Discount { percent: 10.0, why: "expensive".to_owned() };
    assert_eq!(verdicts, [rules::Verdict::Accept, discount(), discount()]);
    assert_eq!(alive, 1);
}

#[test]
fn a_script_stays_within_its_limits() {
    let (ends, answer) = limits::run().expect("the example runs");
    let expected = [
        "the call was stopped: its fuel is used up",
        "the call was stopped: its memory is used up",
        "zinc is cheap today",
        "uncaught exception Sys_error(\"/etc/passwd: not granted (World::file, World::dir)\")",
    ];
    assert_eq!(ends, expected);
    assert_eq!(answer, ["STILL", "HERE"]);
}

#[test]
fn several_threads_decide_what_one_does() {
    use parallel::Verdict::{Accept, Discount, Refuse};
    let [alone, together] = parallel::run().expect("the example runs");
    assert_eq!(alone, together);
    let count = |which: fn(&parallel::Verdict) -> bool| alone.iter().filter(|it| which(it)).count();
    assert_eq!(count(|it| matches!(it, Refuse(why) if why == "no zinc")), 11);
    assert_eq!(count(|it| *it == Accept), 99);
    assert_eq!(count(|it| matches!(it, Discount { percent: 5.0, why } if why == "many")), 90);
}

#[test]
fn a_plugin_that_goes_on_for_ever_is_ended_and_freed() {
    let revoked = || "uncaught exception Spelter.Revoked(\"Ticker\")".to_owned();
    let ends = revoked::run().expect("the example runs");
    assert_eq!(ends, [(vec![revoked()], 0), (vec![revoked()], 0)]);
}

#[test]
fn guests_that_wait_do_not_hold_up_others() {
    let finished = waiting::run().expect("the example runs");
    assert_eq!(finished, ["third: uncaught exception Failure(\"no such metal\")", "second: 5", "first: 24"]);
}
