//! What is no function of OCaml values is refused with a hint.

use std::time::Duration;

use spelter::{Context, Vm};

struct Silent;

fn main() {
    let _ = Vm::builder().primitive("wait", |_: Duration| ());
    let _ = Vm::builder().primitive("now", |_: i64| Duration::ZERO);
    let _ = Vm::builder().primitive("later", |cx: &mut Context<'_>, _: Duration| 0);
    let _ = Vm::builder().primitive("fail", |_: i64| Err::<i64, _>(Silent));
}
