//! The enumeration of roots: the name of each place, as users of the crate see it.

use spelter_interp::Machine;
use spelter_interp::inspect::reachability::RootSite;

use crate::machines;

/// All roots that refer to a block.
fn roots(m: &mut Machine) -> Vec<RootSite> {
    let graph = m.heap_graph();
    (0..graph.root_count()).map(|i| graph.root(i)).collect()
}

#[test]
fn each_place_has_its_name() {
    for mut m in machines() {
        let mark = m.mark();
        let text = m.push(|m| m.new_string(b"known")).expect("room");
        let kept = m.keep(text);
        m.register_named(b"name", text);
        let found = roots(&mut m);
        assert!(found.contains(&RootSite::Local { depth: mark + 1, address: None }), "{found:?}");
        assert!(found.contains(&RootSite::Kept(kept.number())), "{found:?}");
        assert!(found.contains(&RootSite::Named(0)), "{found:?}");
        assert_eq!(m.heap_graph().name(0), b"name");
        m.release(mark);
        m.unregister_named(b"name");
        drop(kept);
        let left = roots(&mut m);
        assert!(
            !left.iter().any(|root| matches!(root, RootSite::Local { .. } | RootSite::Named(_))),
            "{left:?}"
        );
    }
}
