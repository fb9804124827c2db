//! A borrowed view of a value ends where the collector may run.
use spelter::Vm;

fn main() {
    let mut vm = Vm::builder().build();
    let _ = vm.with(|cx| {
        let text = cx.string("zinc")?;
        let bytes = cx.get(text).bytes().unwrap();
        cx.string("another")?;
        assert_eq!(bytes, b"zinc");
        Ok(())
    });
}
