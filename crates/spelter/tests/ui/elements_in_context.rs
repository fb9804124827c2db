//! While the elements of a big array are borrowed, no code of the guest runs that could change them.

use spelter::{Context, Elements, Value, Vm};

fn main() {
    let sum = |cx: &mut Context<'_>, f: Value, elements: Elements<'_, f64>| cx.call_value::<f64>(&f, (elements[0],));
    let _ = Vm::builder().primitive("sum", sum);
}
