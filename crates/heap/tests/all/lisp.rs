//! The example client, in every mode.

#[allow(dead_code, reason = "the example's main function is for the command line")]
#[path = "../../examples/lisp.rs"]
mod example;

use example::Lisp;
use spelter_heap::{Config, Mode};

fn lisp(mode: Mode) -> Lisp {
    Lisp::new(Config { nursery_words: 4096, mode, torture_period: 50, ..Config::default() }).unwrap()
}

const SORT: &str = "
    (define insert (lambda (x l)
      (if (pair? l) (if (< (car l) x) (cons (car l) (insert x (cdr l))) (cons x l)) (cons x l))))
    (define sort (lambda (l) (if (pair? l) (insert (car l) (sort (cdr l))) l)))
    (sort '(5 3 9 1 7))";
const FIB: &str = "
    (define fib (lambda (n) (if (< n 2) n (+ (fib (- n 1)) (fib (- n 2))))))
    (fib 12)";

#[test]
fn programs_print_what_they_should() {
    for mode in [Mode::Plain, Mode::Torture, Mode::Never] {
        let mut lisp = lisp(mode);
        for (program, expected) in [
            ("(+ 1 2)", "3"),
            ("'(a (b . c) ())", "(a (b . c) ())"),
            ("((lambda (x y) (cons y x)) 1 2)", "(2 . 1)"),
            ("car", "#<function>"),
            (SORT, "(1 3 5 7 9)"),
            (FIB, "144"),
            ("(define add (lambda (n) (lambda (m) (+ n m)))) (define add3 (add 3)) (add3 (add3 1))", "7"),
        ] {
            assert_eq!(lisp.run(program).unwrap(), expected, "{mode:?}");
        }
    }
}

#[test]
fn loops_run_in_bounded_memory() {
    let mut lisp = lisp(Mode::Plain);
    let program = "
        (define loop (lambda (n cycle) (if (= n 0) n (loop (- n 1) (set-cdr! (cons n cycle) '())))))
        (loop 100000 '())";
    assert_eq!(lisp.run(program).unwrap(), "0");
    let stats = lisp.heap().quick_stats();
    assert!(stats.minor_words > 1_000_000 && stats.top_heap_words < 100_000, "{stats:?}");
}

#[test]
fn deep_recursion_is_refused_and_does_no_harm() {
    let mut lisp = lisp(Mode::Plain);
    let program = "(define deep (lambda (n) (if (= n 0) 0 (+ 1 (deep (- n 1))))))";
    assert_eq!(lisp.run(program).unwrap(), "#<function>");
    assert_eq!(lisp.run("(deep 1400)").unwrap(), "1400");
    assert_eq!(lisp.run("(deep 1000000)").unwrap_err().to_string(), "too many levels of nesting");
    for program in ["(".repeat(100_000), "'".repeat(100_000)] {
        assert_eq!(lisp.run(&program).unwrap_err().to_string(), "too many levels of nesting");
    }
    assert_eq!(lisp.run("(deep 1400)").unwrap(), "1400");
}

#[test]
fn errors_say_what_is_wrong() {
    for (program, expected) in [
        ("(+ 1 'a)", "wrong type: expected an integer"),
        ("(car 1)", "wrong type: expected a pair"),
        ("(define 1 2)", "wrong type: expected a symbol"),
        ("((lambda (x) x))", "too few arguments"),
        ("(f 1)", "f is not defined"),
        ("(1 2)", "1 is not a function"),
        ("(car", "the program ends inside a list"),
        (")", "a closing parenthesis has no opening one"),
    ] {
        assert_eq!(lisp(Mode::Plain).run(program).unwrap_err().to_string(), expected);
    }
}
