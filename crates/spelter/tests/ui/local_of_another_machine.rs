//! A local of one machine cannot be used in another.
use spelter::Vm;

fn main() {
    let (mut one, mut other) = (Vm::builder().build(), Vm::builder().build());
    let _ = one.with(|cx| {
        let local = cx.int(1);
        other.with(|cx| cx.block(0, &[local]).map(drop))
            .map_err(|_| spelter::Raise::NotFound)
    });
}
