//! Forced suspensions are replaced by their content.

use crate::client::{COLLECTING, Client, field, int_field};
use spelter_heap::Mode;
use spelter_heap::raw::{Value, tag};

/// Pushes a block that refers to a forced suspension of what `content` pushes, and to nothing else.
fn holder(c: &mut Client, content: impl FnOnce(&mut Client)) {
    content(c);
    let forced = c.push(1, tag::FORWARD);
    c.set(forced, 0, c.stack.0[c.stack.0.len() - 2]);
    let holder = c.push(1, 0);
    c.set(holder, 0, c.stack.0[c.stack.0.len() - 2]);
    let holder = c.pop();
    c.stack.0.truncate(c.stack.0.len() - 2);
    c.stack.0.push(holder);
}

/// A collection after which holders refer to the content. In torture mode the suspension has been a root in an earlier
/// collection, so it was not replaced: it is old, and is replaced when it is marked.
fn settle(c: &mut Client, mode: Mode) {
    match mode {
        Mode::Torture => (0..2).for_each(|_| c.full()),
        _ => c.minor(),
    }
}

fn held_tag(c: &Client) -> u8 {
    // SAFETY: reachable.
    unsafe { field(c.top(), 0).tag() }
}

#[test]
fn young_and_old_ones_give_way_to_their_content() {
    for mode in COLLECTING {
        let mut c = Client::new(mode);
        holder(&mut c, |c| _ = c.push_int_block(7));
        settle(&mut c, mode);
        assert_eq!(held_tag(&c), 0);
        assert_eq!(int_field(field(c.top(), 0), 0), 7);
        assert_eq!(c.live_blocks(), 2);

        // A client turns an old block into a forced suspension, as forcing does.
        let content = field(c.top(), 0);
        c.stack.0.push(content);
        let forced = c.push(1, 0);
        c.set(forced, 0, content);
        c.minor();
        let forced = c.pop();
        c.pop();
        // SAFETY: a block of one field, in no table of the heap.
        unsafe {
            forced.set_header(
                spelter_heap::raw::Header::new(1, tag::FORWARD).with_colour(forced.header().colour()),
            )
        };
        let holder = c.top();
        c.set(holder, 0, forced);
        c.full();
        assert_eq!(held_tag(&c), 0);
        c.full();
        assert_eq!(c.live_blocks(), 2, "nothing refers to the suspension any more");
        c.churn();
        assert_eq!(int_field(field(c.top(), 0), 0), 7);
        c.verify();
    }
}

#[test]
fn old_ones_stay_if_the_client_says_so() {
    for mode in COLLECTING {
        let mut c = Client::new(mode);
        c.heap.keep_old_suspensions(true);
        c.push_int_block(7);
        let forced = c.push(1, 0);
        c.set(forced, 0, c.stack.0[0]);
        let holder = c.push(1, 0);
        c.set(holder, 0, c.stack.0[1]);
        c.full();
        let forced = field(c.top(), 0);
        // SAFETY: an old block of one field, in no table of the heap.
        unsafe {
            forced.set_header(
                spelter_heap::raw::Header::new(1, tag::FORWARD).with_colour(forced.header().colour()),
            )
        };
        c.stack.0.drain(..2);
        for collect in [Client::minor, Client::full, Client::full, Client::compact] {
            collect(&mut c);
            assert_eq!(held_tag(&c), tag::FORWARD);
            assert_eq!(c.live_blocks(), 3);
            c.verify();
        }
        c.heap.keep_old_suspensions(false);
        c.full();
        assert_eq!(held_tag(&c), 0);
        c.verify();
    }
}

#[test]
fn suspensions_of_integers_are_replaced() {
    for mode in COLLECTING {
        let mut c = Client::new(mode);
        holder(&mut c, |c| c.stack.0.push(Value::int(5)));
        settle(&mut c, mode);
        assert_eq!(int_field(c.top(), 0), 5);
        c.verify();
    }
}

/// The client could not tell such content from a suspension.
#[test]
fn ambiguous_content_keeps_its_suspension() {
    for mode in COLLECTING {
        for content in [tag::LAZY, tag::FORWARD, tag::DOUBLE] {
            let mut c = Client::new(mode);
            holder(&mut c, |c| {
                c.push(1, tag::DOUBLE);
                c.push(1, content);
                if content == tag::FORWARD {
                    c.set(c.top(), 0, c.stack.0[c.stack.0.len() - 2]);
                }
                let top = c.stack.0.len();
                c.stack.0.swap_remove(top - 2);
            });
            c.minor();
            c.full();
            assert_eq!(held_tag(&c), tag::FORWARD);
            c.verify();
        }
    }
}

#[test]
fn a_key_dies_with_its_content_and_not_before() {
    let mut c = Client::new(Mode::Plain);
    holder(&mut c, |c| _ = c.push(1, tag::LAZY));
    c.minor();
    let forced = field(c.top(), 0);
    // SAFETY: all values are on the stack or reachable from it.
    let weak = unsafe {
        let e = c.heap.ephe_create(&mut c.stack, 1).unwrap();
        c.heap.ephe_set_key(e, 0, forced);
        e
    };
    c.stack.0.push(weak);
    // The content becomes an ordinary block; from now on the suspension can be replaced.
    let content = field(forced, 0);
    // SAFETY: an old block of one field.
    unsafe {
        content.set_header(spelter_heap::raw::Header::new(1, 0).with_colour(content.header().colour()))
    };
    c.full();
    c.full();
    // SAFETY: an ephemeron with this key.
    let key = unsafe { c.heap.ephe_get_key(weak, 0) };
    assert_eq!(key, Some(content));
    let e = c.pop();
    c.pop();
    c.stack.0.push(e);
    c.full();
    // SAFETY: an ephemeron with this key.
    assert!(unsafe { !c.heap.ephe_check_key(e, 0) });
    c.verify();
}

/// The holder of a root may have read its size.
#[test]
fn the_suspension_in_a_root_is_not_replaced() {
    for mode in COLLECTING {
        let mut c = Client::new(mode);
        c.push_int_block(7);
        let forced = c.push(1, tag::FORWARD);
        c.set(forced, 0, c.stack.0[0]);
        for collect in [Client::minor, Client::full, Client::compact] {
            collect(&mut c);
            // SAFETY: rooted.
            assert_eq!(unsafe { (c.top().tag(), field(c.top(), 0).tag()) }, (tag::FORWARD, 0));
            c.verify();
        }
    }
}
