//! A function that changes what it captures cannot be entered twice, so it is registered as one that cannot.

use spelter::Vm;

fn main() {
    let mut calls = 0;
    let _ = Vm::builder().primitive("count", move |n: i64| {
        calls += n;
        calls
    });
}
