//! Guests with every limit and no grant do no more than use their budget. A process of its own, which is looked at.

use spelter_fuzzing::attacks;
#[test]
fn named_attacks() {
    for name in attacks::names() {
        println!("{name}");
    }
}
