//! The same Lisp on two collectors, and programs for it.

pub(crate) mod arena;
#[allow(dead_code, reason = "the example's main function is for the command line")]
#[path = "../../crates/heap/examples/lisp.rs"]
pub(crate) mod scopes;

/// Programs, with their names and results. A run leaves nothing but its definitions.
pub(crate) const PROGRAMS: [(&str, &str, &str); 4] = [
    (
        "fib 20",
        "(define fib (lambda (n) (if (< n 2) n (+ (fib (- n 1)) (fib (- n 2))))))
         (fib 20)",
        "6765",
    ),
    (
        "a list of 10000, built by tail calls",
        "(define build (lambda (n l) (if (= n 0) l (build (- n 1) (cons n l)))))
         (car (build 10000 '()))",
        "1",
    ),
    (
        "100 lists of 250, built by recursion and summed up",
        "(define build (lambda (n) (if (= n 0) '() (cons n (build (- n 1))))))
         (define sum (lambda (l) (if (pair? l) (+ (car l) (sum (cdr l))) 0)))
         (define times (lambda (n s) (if (= n 0) s (times (- n 1) (+ s (sum (build 250)))))))
         (times 100 0)",
        "3137500",
    ),
    (
        "insertion sort of 100",
        "(define insert (lambda (x l)
           (if (pair? l) (if (< (car l) x) (cons (car l) (insert x (cdr l))) (cons x l)) (cons x l))))
         (define sort (lambda (l r) (if (pair? l) (sort (cdr l) (insert (car l) r)) r)))
         (define mod (lambda (n m) (if (< n m) n (mod (- n m) m))))
         (define build (lambda (n x l) (if (= n 0) l (build (- n 1) (mod (* x 17) 101) (cons x l)))))
         (car (sort (build 100 1 '()) '()))",
        "1",
    ),
];
