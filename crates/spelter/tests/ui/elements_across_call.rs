//! While the elements of a big array are borrowed, no code of the guest runs that could change them.

use spelter::{Context, Raise, Value, Vm};

fn main() {
    let sum = |cx: &mut Context<'_>, f: Value, array: Value| -> Result<f64, Raise> {
        let array = cx.kept(&array);
        let elements = cx.elements::<f64>(array)?;
        cx.call_value::<()>(&f, ((),))?;
        Ok(elements[0])
    };
    let _ = Vm::builder().primitive("sum", sum);
}
