//! A field may not be written while its target is borrowed.

fn main() {
    let mut heap = spelter_heap::Heap::default();
    let data = heap.external(Box::new(String::new()), 0).unwrap();
    let root = heap.block(0, &[(&data).into()]).unwrap();
    let string = heap.get(&root).field(0).unwrap().external::<String>().unwrap();
    heap.set(&root, 0, 1).unwrap();
    println!("{string}");
}
