//! A context is only ever lent.
use spelter::Context;

fn main() {
    let _: Context<'static> = Context::new();
}
