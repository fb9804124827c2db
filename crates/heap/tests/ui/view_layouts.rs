//! Layouts that cannot be told apart, or that the heap has no room for.

use spelter_heap::{Handle, View};

#[derive(View)]
enum SameTag<'s> {
    One(Handle<'s>),
    #[view(tag = 0)]
    Two(Handle<'s>),
}

#[derive(View)]
enum NumbersAndConstants {
    #[view(int)]
    Number(i64),
    Nothing,
}

#[derive(View)]
#[view(tag = 252)]
struct Text;

#[derive(View)]
union Either {
    a: i64,
    b: u64,
}

#[derive(View)]
#[view(size = 3)]
struct Sized;

fn main() {}
