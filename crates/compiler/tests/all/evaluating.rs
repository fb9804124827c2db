//! Toplevels: phrases, their answers, and limits.

use std::time::Duration;

use spelter::Limit;
use spelter_compiler::{Answer, Error, Severity, Span, Toplevel};

use crate::installation;

fn toplevel() -> Toplevel {
    Toplevel::new(&installation()).expect("a toplevel")
}

fn eval(toplevel: &mut Toplevel, phrases: &str) -> Answer {
    toplevel.eval(phrases).expect(phrases)
}

#[test]
fn phrases_are_answered_and_kept() {
    let mut t = toplevel();
    assert_eq!(
        eval(&mut t, "let x = 20;; let f y = x + y").text,
        "val x : int = 20\nval f : int -> int = <fun>\n"
    );
    let answer =
        eval(&mut t, "type t = { a : int };; print_endline \"out\"; prerr_string \"err\"; { a = f 22 };;");
    assert_eq!(answer.text, "type t = { a : int; }\n- : t = {a = 42}\n");
    assert_eq!((answer.printed.as_str(), answer.error_output.as_str()), ("out\n", "err"));
    assert!(answer.good && answer.diagnostics.is_empty());
    let answer = eval(&mut t, "Format.printf \"partial\"; 1");
    assert_eq!((answer.text.as_str(), answer.printed.as_str()), ("- : int = 1\n", "partial"));
    assert_eq!(eval(&mut t, "").text, "");
}

#[test]
fn errors_have_places_and_change_nothing() {
    let mut t = toplevel();
    eval(&mut t, "let x = 1");
    let answer = eval(&mut t, "let x = 2;;\nlet y = x ^ \"a\";;\nlet x = 3");
    assert!(!answer.good);
    let [error] = answer.diagnostics.as_slice() else { panic!("{answer:?}") };
    assert_eq!((error.severity, error.file.as_deref()), (Severity::Error, None));
    let span = Span { line: 2, column: Some(8), end_line: 2, end_column: Some(9) };
    assert_eq!(error.span, Some(span));
    assert!(
        answer.text.starts_with("val x : int = 2\nLine 2, characters 8-9:\n2 | let y = x ^"),
        "{}",
        answer.text
    );
    assert_eq!(eval(&mut t, "x").text, "- : int = 2\n");

    let answer = eval(&mut t, "let z = (1 +");
    assert!(!answer.good && answer.diagnostics[0].message.starts_with("Syntax error"), "{answer:?}");
    let answer = eval(&mut t, "let f = function 0 -> 1");
    assert!(answer.good && answer.text.contains("val f : int -> int = <fun>\n"), "{answer:?}");
    assert_eq!(answer.diagnostics[0].code.as_deref(), Some("8 [partial-match]"));
    assert_eq!(eval(&mut t, "f 0").diagnostics, []);
}

#[test]
fn exceptions_are_answers() {
    let mut t = toplevel();
    let answer = eval(&mut t, "let a = 1;; failwith \"why\";; let a = 2");
    assert!(!answer.good);
    assert_eq!(answer.text, "val a : int = 1\nException: Failure \"why\".\n");
    assert_eq!(eval(&mut t, "a").text, "- : int = 1\n");
}

#[test]
fn the_world_is_what_the_host_grants() {
    let mut t = toplevel();
    let answer = eval(&mut t, "open_in \"/etc/passwd\"");
    assert!(answer.text.contains("not granted"), "{answer:?}");
    assert!(!eval(&mut t, "Ready").good, "phrases do not see how the toplevel was prepared");
}

#[test]
fn limits_and_interrupts_end_one_evaluation() {
    let mut t = Toplevel::builder().fuel(5_000_000).start(&installation()).expect("a toplevel");
    eval(&mut t, "let n = ref 0");
    let endless = "print_string \"on\"; while true do incr n done";
    let stopped = t.eval(endless);
    assert!(matches!(stopped, Err(Error::Machine(spelter::Error::Limit(Limit::Fuel)))), "{stopped:?}");
    let answer = eval(&mut t, "!n > 1000");
    assert_eq!((answer.text.as_str(), answer.printed.as_str()), ("- : bool = true\n", "on"));

    let mut t = Toplevel::builder()
        .time_limit(Duration::from_millis(300))
        .start(&installation())
        .expect("a toplevel");
    let stopped = t.eval("while true do try while true do () done with _ -> () done");
    assert!(matches!(stopped, Err(Error::Machine(spelter::Error::Limit(Limit::Time)))), "{stopped:?}");
    t.set_time_limit(None);
    let handle = t.interrupt_handle();
    let other = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(100));
        handle.interrupt();
    });
    let stopped = t.eval("let rec f () = f () in f ()");
    assert!(matches!(stopped, Err(Error::Machine(spelter::Error::Interrupted))), "{stopped:?}");
    other.join().expect("it ends");
    assert_eq!(eval(&mut t, "1 + 1").text, "- : int = 2\n");
    let exits = t.eval("exit 3");
    assert!(matches!(exits, Err(Error::Machine(spelter::Error::Exit(3)))), "{exits:?}");
}

#[test]
fn phrases_call_the_host_and_the_host_calls_them() {
    let mut t = Toplevel::builder()
        .primitive("host_twice", |n: i64| n * 2)
        .start(&installation())
        .expect("a toplevel");
    eval(
        &mut t,
        "external twice : int -> int = \"host_twice\";; let () = Callback.register \"four\" (fun x -> twice (twice x))",
    );
    assert_eq!(eval(&mut t, "twice 4").text, "- : int = 8\n");
    assert_eq!(t.vm().call::<i64>("four", (5,)).expect("it answers"), 20);
}
