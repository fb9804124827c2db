//! Guests with every limit and no grant do no more than use their budget. A process of its own, which is looked at.

use spelter_bytecode::Dialect;
use spelter_fuzzing::confined::{self, Confined, Large};
use spelter_fuzzing::{Engine, attacks};

#[test]
fn named_attacks() {
    confined::begin();
    let program = attacks::program();
    for engine in Engine::all().take(2) {
        for name in attacks::names() {
            let large = Large { fuel: true, heap: true };
            let mut guest = Confined::new(engine, Dialect::V4_13, large, &["attacks", &name]);
            let (outcome, written) = guest.attack(|vm| vm.run(&program));
            let after = guest.works();
            drop(guest);
            let text = format!("{outcome:?}");
            println!(
                "{name}|{}|{}|{after:?}",
                text.chars().take(170).collect::<String>(),
                String::from_utf8_lossy(&written).chars().take(30).collect::<String>()
            );
            confined::check_process();
        }
    }
}
