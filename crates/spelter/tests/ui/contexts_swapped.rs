//! One machine's context cannot be put in the place of another's.
use spelter::Vm;

fn main() {
    let (mut one, mut other) = (Vm::builder().build(), Vm::builder().build());
    let _ = one.with(|cx| {
        other.with(|cy| {
            std::mem::swap(cx, cy);
            Ok(())
        })
        .map_err(|_| spelter::Raise::NotFound)
    });
}
