//! Types that are no OCaml values are refused with a hint.

use spelter::Vm;

struct Order {
    count: i64,
}

fn main() {
    let mut vm = Vm::builder().build();
    let order = Order { count: 1 };
    let _: Result<Order, _> = vm.call("decide", ((),));
    let _: Result<&str, _> = vm.call("decide", ((),));
    let _ = vm.with(|cx| cx.make(&order).map(drop));
    let _ = order.count;
}
