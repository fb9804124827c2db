//! Scopes: what handles stand for, in every mode, and when they end.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::FileFailurePersistence;
use spelter_heap::{Config, Handle, Heap, Mode, OutOfMemory, Scope, ScopeError, Shape, View, WrongType};
use std::collections::HashMap;
use std::ops::ControlFlow::{Break, Continue};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;

const MODES: [Mode; 3] = [Mode::Plain, Mode::Torture, Mode::Never];

fn heap(mode: Mode) -> Heap {
    Heap::new(Config { nursery_words: 4096, mode, torture_period: 5, ..Config::default() })
}

/// The live blocks, after a collection.
fn alive(s: &mut Scope<'_>) -> usize {
    s.collect();
    s.heap().stats().live_blocks
}

fn list<'s>(s: &mut Scope<'s>, n: i64) -> Handle<'s> {
    let mut list = Handle::ZERO;
    for i in (0..n).rev() {
        list = s.block(0, [i.into(), list]).unwrap();
    }
    list
}

#[test]
fn handles_follow_their_blocks() {
    for mode in MODES {
        heap(mode).scope(|s| {
            let text = s.string(b"hello").unwrap();
            let float = s.float(1.5).unwrap();
            let floats = s.floats(&[0.5, -2.0]).unwrap();
            let data = s.external(vec![1, 2, 3], 24).unwrap();
            let block = s.block(3, [text, 7.into(), float, floats, data]).unwrap();
            let empty = s.block(9, []).unwrap();
            let large = s.array(0, 1000, text).unwrap();
            s.collect();
            list(s, 2000);
            let peek = s.peek(block);
            assert_eq!(peek.shape(), Shape::Block { tag: 3, size: 5 });
            assert_eq!(peek.field(0).unwrap().bytes(), Ok(&b"hello"[..]));
            assert_eq!(peek.field(1).unwrap().int(), Ok(7));
            assert_eq!(peek.field(2).unwrap().float(), Ok(1.5));
            assert_eq!(peek.field(3).unwrap().float_field(1), Ok(-2.0));
            assert_eq!(peek.field(4).unwrap().external(), Ok(&vec![1, 2, 3]));
            assert!(peek.field(0).unwrap().same(s.peek(text).val()));
            assert_eq!(s.peek(empty).shape(), Shape::Block { tag: 9, size: 0 });
            let again = s.field(block, 0).unwrap();
            assert!(s.same(again, text) && !s.same(again, block));
            assert_eq!(
                s.peek(large).fields().unwrap().filter(|it| it.same(s.peek(text).val())).count(),
                1000
            );
        });
    }
}

#[test]
fn writes_are_seen_by_the_collector() {
    for mode in MODES {
        heap(mode).scope(|s| {
            let old = s.array(0, 300, Handle::ZERO).unwrap();
            s.collect();
            for i in 0..300 {
                let young = s.block(0, [i.into()]).unwrap();
                s.set_field(old, i as usize, young).unwrap();
            }
            list(s, 3000);
            s.collect();
            for (i, field) in s.peek(old).fields().unwrap().enumerate() {
                assert_eq!(field.field(0).unwrap().int(), Ok(i as i64));
            }
            let text = s.string(b"abc").unwrap();
            s.bytes_mut(text).unwrap()[1] = b'x';
            assert_eq!(s.bytes(text), Ok(&b"axc"[..]));
            let floats = s.floats(&[0.0; 3]).unwrap();
            s.set_float(floats, 2, 4.5).unwrap();
            assert_eq!(s.peek(floats).float_field(2), Ok(4.5));
        });
    }
}

#[test]
fn blocks_change_places_while_they_are_marked() {
    const BLOCKS: usize = 20_000;
    heap(Mode::Plain).scope(|s| {
        let all = s.array(0, BLOCKS, Handle::ZERO).unwrap();
        for n in 0..BLOCKS {
            s.scope(|s| {
                let block = s.block(0, [(n as i64).into()]).unwrap();
                s.set_field(all, n, block).unwrap();
            });
        }
        let mut random = 1usize;
        let mut next = || {
            random = random.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            (random >> 33) % BLOCKS
        };
        for turn in 0..400_000 {
            s.scope(|s| {
                // For a moment, only handles refer to two of the blocks.
                let (a, b) = (next(), next());
                let (x, y) = (s.field(all, a).unwrap(), s.field(all, b).unwrap());
                s.set_field(all, a, Handle::ZERO).unwrap();
                s.set_field(all, b, x).unwrap();
                s.set_field(all, a, y).unwrap();
                if a == b {
                    s.set_field(all, a, x).unwrap();
                }
                if turn % 16 == 0 {
                    s.array(0, 300, Handle::ZERO).unwrap();
                }
            });
        }
        assert!(s.heap().quick_stats().major_collections > 5);
        let mut numbers: Vec<i64> =
            s.peek(all).fields().unwrap().map(|it| it.field(0).unwrap().int().unwrap()).collect();
        numbers.sort_unstable();
        assert!(numbers.into_iter().eq(0..BLOCKS as i64));
    });
}

#[test]
fn kinds_and_bounds_are_checked() {
    heap(Mode::Plain).scope(|s| {
        let text = s.string(b"x").unwrap();
        let pair = s.block(0, [1.into(), text]).unwrap();
        let ephemeron = s.ephemeron(1).unwrap();
        let none = s.floats(&[]).unwrap();
        let wrong = |expected| Err(WrongType { expected });
        assert_eq!(s.field(pair, 2).map(|_| ()), wrong("a block with more fields"));
        assert_eq!(s.field(text, 0).map(|_| ()), wrong("a block of values"));
        assert_eq!(s.field(ephemeron, 0).map(|_| ()), wrong("a block of values"));
        assert_eq!(s.field(5.into(), 0).map(|_| ()), wrong("a block of values"));
        assert_eq!(s.set_field(pair, 2, 1.into()), wrong("a block with more fields"));
        assert_eq!(s.set_field(ephemeron, 1, 1.into()), wrong("a block of values"));
        assert_eq!(s.bytes(pair).map(|_| ()), wrong("a string"));
        assert_eq!(s.bytes_mut(ephemeron).map(|_| ()), wrong("a string"));
        assert_eq!(s.int(pair).map(|_| ()), wrong("an integer"));
        assert_eq!(s.set_float(text, 0, 1.0), wrong("a float array"));
        assert_eq!(s.set_float(none, 0, 1.0), wrong("a longer float array"));
        assert_eq!(s.data::<u8>(pair).map(|_| ()), wrong("a custom block"));
        assert_eq!(s.data_mut::<u8>(text).map(|_| ()), wrong("a custom block"));
        // Not even with the right number of words.
        for tag in [247, 251, 252] {
            assert!(s.peek(text).block::<1>(tag).is_err());
        }
        assert!(s.peek(ephemeron).block::<3>(251).is_err());
        assert!(s.peek(pair).block::<1>(0).is_err() && s.peek(pair).block::<2>(1).is_err());
        assert!(s.peek(pair).block::<2>(0).is_ok());
        assert_eq!(s.key(pair, 0).map(|_| ()), wrong("an ephemeron"));
        assert_eq!(s.set_key(ephemeron, 1, None), wrong("an ephemeron with more keys"));
        let error = s.finalise_first(0.into(), 1.into()).unwrap_err();
        assert_eq!(error, ScopeError::Type(WrongType { expected: "a block" }));
    });
}

#[test]
#[should_panic(expected = "tag 251 is not for blocks of values")]
fn a_block_of_values_needs_a_fitting_tag() {
    heap(Mode::Plain).scope(|s| s.block(251, [1.into(), 2.into(), 3.into()]).map(|_| ())).unwrap();
}

#[test]
#[should_panic(expected = "this root belongs to another heap")]
fn a_root_of_another_heap_is_refused() {
    let root = heap(Mode::Plain).string(b"x").unwrap();
    heap(Mode::Plain).scope(|s| s.handle(&root).is_int());
}

#[test]
fn the_end_of_a_scope_ends_its_handles() {
    heap(Mode::Plain).scope(|s| {
        let kept = list(s, 10);
        for _ in 0..3 {
            s.scope(|s| {
                list(s, 100);
                assert_eq!(alive(s), 110);
                s.scope(|s| list(s, 1000).is_int());
                assert_eq!(alive(s), 110);
            });
            assert_eq!(alive(s), 10);
        }
        assert_eq!(s.peek(kept).field(0).unwrap().int(), Ok(0));
    });
}

#[test]
fn a_panic_ends_scopes_too() {
    let mut heap = heap(Mode::Plain);
    let panicked = catch_unwind(AssertUnwindSafe(|| {
        heap.scope(|s| {
            let outer = list(s, 10);
            let panicked = catch_unwind(AssertUnwindSafe(|| {
                s.scope(|s| {
                    list(s, 100);
                    s.scope(|s| {
                        list(s, 100);
                        panic!("inside")
                    })
                })
            }));
            assert!(panicked.is_err());
            assert_eq!(alive(s), 10);
            assert_eq!(s.peek(outer).field(0).unwrap().int(), Ok(0));
            panic!("outside")
        })
    }));
    assert!(panicked.is_err());
    heap.scope(|s| assert_eq!(alive(s), 0));
}

#[test]
fn results_escape() {
    for mode in MODES {
        heap(mode).scope(|s| {
            let outer = list(s, 3);
            let before = s.escape(|_| Ok::<_, ()>(outer)).unwrap();
            assert!(s.same(before, outer));
            let int = s.escape(|_| Ok::<_, ()>(7.into())).unwrap();
            assert_eq!(int.as_int(), Some(7));
            let new = s
                .escape(|s| {
                    list(s, 100);
                    let inner = s.escape(|s| s.block(1, [outer]))?;
                    s.block(2, [inner])
                })
                .unwrap();
            let failed = s.escape(|s| {
                list(s, 100);
                Err::<Handle<'_>, _>("no")
            });
            assert_eq!(failed.unwrap_err(), "no");
            list(s, 1000);
            s.collect();
            let inner = s.peek(new).field(0).unwrap();
            assert_eq!((inner.tag(), s.peek(new).tag()), (Ok(1), Ok(2)));
            assert!(inner.field(0).unwrap().same(s.peek(outer).val()));
            if mode != Mode::Never {
                s.scope(|s| assert_eq!(s.heap().stats().live_blocks, 1005));
            }
        });
    }
}

#[test]
fn variables_outlive_the_scopes_that_write_them() {
    for mode in MODES {
        heap(mode).scope(|s| {
            let var = s.var(1.into());
            let other = s.var(Handle::ZERO);
            assert_eq!(s.get(var).as_int(), Some(1));
            for n in 0..500 {
                s.scope(|s| {
                    s.scope(|s| {
                        let block = s.block(0, [n.into()]).unwrap();
                        s.set(var, block);
                    });
                    let block = s.get(var);
                    s.set(other, block);
                    s.set(var, 2.into());
                });
                assert_eq!(s.get(var).as_int(), Some(2));
                assert_eq!(s.peek_var(other).field(0).unwrap().int(), Ok(n));
            }
        });
    }
}

#[test]
fn a_loop_takes_no_room() {
    for mode in [Mode::Plain, Mode::Torture] {
        let turns = if mode == Mode::Plain { 100_000 } else { 500 };
        heap(mode).scope(|s| {
            let nil = s.block(0, []).unwrap();
            let kept = list(s, 5);
            let result = s
                .repeat([0.into(), nil, kept], |s, [n, last, kept]| {
                    let n = s.int(n)?;
                    list(s, 3);
                    // The handles change places, and some are older than the loop.
                    let next = s.block(0, [n.into(), if n % 3 == 0 { kept } else { last }])?;
                    let next = s.block(1, [next])?;
                    let inner = s.field(next, 0)?;
                    if n == turns {
                        Ok::<_, ScopeError>(Break(inner))
                    } else {
                        Ok(Continue([(n + 1).into(), nil, kept]))
                    }
                })
                .unwrap();
            assert_eq!(s.peek(result).field(0).unwrap().int(), Ok(turns));
            assert!(s.heap().charged_bytes() <= 4096, "the shadow stack has grown");
        });
    }
}

#[test]
fn the_stack_grows_counts_and_shrinks() {
    let mut heap = heap(Mode::Plain);
    assert_eq!(heap.charged_bytes(), 0);
    heap.scope(|s| {
        let handles: Vec<Handle<'_>> = (0..300_000).map(|n| s.block(0, [n.into()]).unwrap()).collect();
        assert!(s.heap().charged_bytes() >= 300_000 * 8);
        for (n, &handle) in handles.iter().enumerate() {
            assert_eq!(s.peek(handle).field(0).unwrap().int(), Ok(n as i64));
        }
    });
    assert_eq!(heap.charged_bytes(), 0);
}

#[test]
fn minor_collections_do_not_look_at_old_handles_again() {
    // Otherwise this would take minutes.
    let mut heap = heap(Mode::Plain);
    heap.scope(|s| {
        for n in 0..2_000_000 {
            s.block(0, [n.into()]).unwrap();
        }
        for _ in 0..4_000_000 {
            s.scope(|s| s.block(0, [0.into()]).map(|_| ()).unwrap());
        }
    });
    assert!(heap.quick_stats().minor_collections > 1000);
}

#[test]
fn a_full_heap_is_an_error_and_scopes_go_on() {
    let mut heap = Heap::new(Config { nursery_words: 4096, max_words: Some(100_000), ..Config::default() });
    heap.scope(|s| {
        for _ in 0..3 {
            let error = s.scope(|s| {
                let mut all = Handle::ZERO;
                loop {
                    let result = s.escape(|s| s.block(0, [0.into(), all]));
                    match result {
                        Ok(block) => all = block,
                        Err(error) => return error,
                    }
                }
            });
            assert_eq!(error, OutOfMemory { words: 2 });
            assert!(s.array(0, 1 << 20, Handle::ZERO).is_err() && s.string(&[0; 1 << 20]).is_err());
            assert!(s.array(0, usize::MAX, Handle::ZERO).is_err() && s.ephemeron(usize::MAX).is_err());
            assert!(alive(s) < 10);
        }
        let list = list(s, 100);
        assert_eq!(s.peek(list).field(0).unwrap().int(), Ok(0));
    });
}

#[test]
fn roots_carry_values_between_scopes() {
    let mut heap = heap(Mode::Torture);
    let root = heap.scope(|s| {
        let text = s.string(b"zinc").unwrap();
        s.root(text)
    });
    heap.collect();
    heap.scope(|s| {
        let text = s.handle(&root);
        list(s, 100);
        assert_eq!(s.bytes(text), Ok(&b"zinc"[..]));
    });
    assert_eq!(heap.get(&root).bytes(), Ok(&b"zinc"[..]));
}

#[test]
fn weak_references_do_not_keep_their_values() {
    for mode in [Mode::Plain, Mode::Torture] {
        let mut heap = heap(mode);
        let weak = heap.scope(|s| {
            let value = s.string(b"zinc").unwrap();
            let weak = s.weak(value).unwrap();
            let of_int = s.weak(3.into()).unwrap();
            s.collect();
            let found = s.upgrade(&weak.clone()).unwrap();
            assert!(s.same(found, value));
            assert_eq!(s.upgrade(&of_int).unwrap().as_int(), Some(3));
            weak
        });
        heap.collect();
        heap.scope(|s| assert!(s.upgrade(&weak).is_none()));
    }
}

#[test]
fn ephemerons_keep_their_data_for_their_keys() {
    for mode in [Mode::Plain, Mode::Torture] {
        heap(mode).scope(|s| {
            let ephemeron = s.ephemeron(2).unwrap();
            assert_eq!(s.keys(ephemeron), Ok(2));
            let key = s.string(b"key").unwrap();
            s.set_key(ephemeron, 0, Some(key)).unwrap();
            s.scope(|s| {
                let (other, data) = (s.string(b"other").unwrap(), s.string(b"data").unwrap());
                s.set_key(ephemeron, 1, Some(other)).unwrap();
                s.set_key_data(ephemeron, Some(data)).unwrap();
                s.scope(|s| {
                    s.collect();
                    let data = s.key_data(ephemeron).unwrap().unwrap();
                    assert_eq!(s.bytes(data), Ok(&b"data"[..]));
                });
            });
            s.collect();
            assert!(s.key(ephemeron, 1).unwrap().is_none() && s.key_data(ephemeron).unwrap().is_none());
            let first = s.key(ephemeron, 0).unwrap().unwrap();
            assert!(s.same(first, key));
            s.set_key(ephemeron, 0, None).unwrap();
            s.set_key_data(ephemeron, None).unwrap();
            assert!(s.key(ephemeron, 0).unwrap().is_none());
        });
    }
}

#[test]
fn finalisers_become_due() {
    for mode in [Mode::Plain, Mode::Torture] {
        heap(mode).scope(|s| {
            s.scope(|s| {
                let (first, last) = (s.string(b"first").unwrap(), s.string(b"last").unwrap());
                let revived = s.block(0, [42.into()]).unwrap();
                let dead = s.block(0, [43.into()]).unwrap();
                s.finalise_first(first, revived).unwrap();
                s.finalise_last(last, dead).unwrap();
                assert!(s.next_finaliser().is_none());
                s.collect();
                assert!(s.next_finaliser().is_none());
            });
            s.collect();
            let mut due = HashMap::new();
            while let Some((finaliser, argument)) = s.next_finaliser() {
                s.collect();
                let content = s.field(argument, 0).map_or(-1, |it| it.as_int().unwrap());
                due.insert(s.bytes(finaliser).unwrap().to_owned(), content);
            }
            assert_eq!(due, HashMap::from([(b"first".to_vec(), 42), (b"last".to_vec(), -1)]));
        });
    }
}

#[test]
fn objects_are_data_with_values() {
    for mode in MODES {
        let mut heap = heap(mode);
        let counter = Rc::new(());
        heap.scope(|s| {
            let text = s.string(b"zinc").unwrap();
            let object = s.object(5, (vec![1], Rc::clone(&counter)), 0, [text, 2.into()]).unwrap();
            s.collect();
            list(s, 500);
            s.data_mut::<(Vec<i32>, Rc<()>)>(object).unwrap().0.push(2);
            s.set_field(object, 2, text).unwrap();
            assert_eq!(s.data::<(Vec<i32>, Rc<()>)>(object).unwrap().0, [1, 2]);
            assert_eq!(s.peek(object).field(2).unwrap().bytes(), Ok(&b"zinc"[..]));
            assert!(s.data::<Vec<i32>>(object).is_err() && s.data_mut::<Vec<i32>>(object).is_err());
            let external = s.field(object, 0).unwrap();
            assert_eq!(s.data::<(Vec<i32>, Rc<()>)>(external).unwrap().0, [1, 2]);
            // Whoever takes the data out loses it, and nothing else.
            s.set_field(object, 0, Handle::ZERO).unwrap();
            assert!(s.data::<(Vec<i32>, Rc<()>)>(object).is_err());
            assert_eq!(Rc::strong_count(&counter), 2);
        });
        drop(heap);
        assert_eq!(Rc::strong_count(&counter), 1);
    }
}

#[derive(View, Debug, PartialEq)]
enum Figure<'p, T> {
    Point,
    Nothing,
    Circle(f64),
    Text(&'p str, (i64, bool), [Option<String>; 2]),
    #[view(tag = 9)]
    Empty,
    #[view(tag = 7)]
    Group(T, T),
}

#[derive(View, Debug, PartialEq)]
enum Datum {
    #[view(int)]
    Number(i64),
    #[view(tag = 0)]
    Nil,
    Boxed(i64),
}

#[derive(View, Debug, PartialEq)]
#[view(tag = 3)]
struct Pair<A, B> {
    a: A,
    b: B,
}

fn there_and_back<'s, T: for<'p> View<'p, 's> + Clone + PartialEq + std::fmt::Debug>(
    s: &mut Scope<'s>,
    value: T,
) {
    let handle = s.make(value.clone()).unwrap();
    s.collect();
    assert_eq!(s.view(handle), Ok(value));
}

#[test]
fn views_are_written_and_read() {
    for mode in MODES {
        heap(mode).scope(|s| {
            there_and_back(s, (i64::MAX >> 1, i64::MIN >> 1, true, ()));
            there_and_back(s, [Some("zinc".to_owned()), None]);
            there_and_back(s, 1.5);
            let point = s.make(Figure::<i64>::Point).unwrap();
            let nothing = s.make(Figure::<i64>::Nothing).unwrap();
            assert_eq!((point.as_int(), nothing.as_int()), (Some(0), Some(1)));
            let circle = s.make(Figure::<i64>::Circle(0.5)).unwrap();
            assert_eq!(s.peek(circle).shape(), Shape::Block { tag: 0, size: 1 });
            let some = || [None, Some("b".to_owned())];
            let text = s.make(Figure::<i64>::Text("a", (-3, true), some())).unwrap();
            assert_eq!(s.peek(text).shape(), Shape::Block { tag: 1, size: 3 });
            let empty = s.make(Figure::<i64>::Empty).unwrap();
            assert_eq!(s.peek(empty).shape(), Shape::Block { tag: 9, size: 0 });
            let group = s.make(Figure::Group(circle, text)).unwrap();
            s.collect();
            assert_eq!(s.view(circle), Ok(Figure::<i64>::Circle(0.5)));
            assert_eq!(s.view(text), Ok(Figure::<i64>::Text("a", (-3, true), some())));
            assert_eq!(s.view(empty), Ok(Figure::<i64>::Empty));
            let Figure::<Handle<'_>>::Group(a, b) = s.view(group).unwrap() else { panic!("a group") };
            assert!(s.same(a, circle) && s.same(b, text));
            let wrong = WrongType { expected: "a value laid out as Figure" };
            assert_eq!(s.view::<Figure<'_, i64>>(2.into()), Err(wrong));
            assert_eq!(s.view::<Figure<'_, i64>>(group), Err(WrongType { expected: "an integer" }));
            let pair = s.make(Pair { a: "x".to_owned(), b: Datum::Nil }).unwrap();
            assert_eq!(s.view(pair), Ok(Pair { a: "x", b: Datum::Nil }));
            assert!(s.view::<Pair<i64, Datum>>(pair).is_err());
            for (datum, shape) in [
                (Datum::Number(-7), Shape::Int(-7)),
                (Datum::Nil, Shape::Block { tag: 0, size: 0 }),
                (Datum::Boxed(8), Shape::Block { tag: 0, size: 1 }),
            ] {
                let handle = s.make(datum).unwrap();
                assert_eq!(s.peek(handle).shape(), shape);
                let again: Datum = s.view(handle).unwrap();
                let again = s.make(again).unwrap();
                assert_eq!(s.peek(again).shape(), shape);
            }
            let not_utf8 = s.string(&[0xff]).unwrap();
            assert_eq!(s.view::<&str>(not_utf8), Err(WrongType { expected: "a string in UTF-8" }));
            assert_eq!(s.view::<&[u8]>(not_utf8), Ok(&[0xff][..]));
            assert!(s.view::<bool>(2.into()).is_err() && s.view::<()>(1.into()).is_err());
        });
    }
}

/// A step of a random program, whose numbers choose among what there is.
#[derive(Clone, Copy, Debug)]
enum Step {
    Block(usize, usize),
    Read(usize, usize),
    Write(usize, usize, usize),
    Open,
    Close,
    Return(usize),
    Collect,
}

fn step() -> impl Strategy<Value = Step> {
    let n = || 0usize..64;
    prop_oneof![
        4 => (n(), n()).prop_map(|(a, b)| Step::Block(a, b)),
        4 => (n(), n()).prop_map(|(a, b)| Step::Read(a, b)),
        4 => (n(), n(), n()).prop_map(|(a, b, c)| Step::Write(a, b, c)),
        2 => Just(Step::Open),
        1 => Just(Step::Close),
        1 => n().prop_map(Step::Return),
        1 => Just(Step::Collect),
    ]
}

/// The model: blocks have numbers, in field 0, and two more fields.
#[derive(Default)]
struct Model {
    blocks: Vec<[usize; 2]>,
}

/// Runs steps in a scope until it closes; `known` are the handles in sight, and what they stand for.
fn run<'s>(
    s: &mut Scope<'s>,
    steps: &mut std::slice::Iter<'_, Step>,
    known: &[(Handle<'s>, usize)],
    model: &mut Model,
) -> (Handle<'s>, usize) {
    let mut known = known.to_vec();
    while let Some(&step) = steps.next() {
        let at = |n: usize| n % known.len();
        match step {
            Step::Block(a, b) => {
                let ((x, a), (y, b)) = (known[at(a)], known[at(b)]);
                let number = model.blocks.len();
                model.blocks.push([a, b]);
                known.push((s.block(0, [(number as i64).into(), x, y]).unwrap(), number));
            }
            Step::Read(a, field) => {
                let (block, number) = known[at(a)];
                let field = field % 2;
                known.push((s.field(block, 1 + field).unwrap(), model.blocks[number][field]));
            }
            Step::Write(a, field, b) => {
                let ((block, number), (value, content)) = (known[at(a)], known[at(b)]);
                s.set_field(block, 1 + field % 2, value).unwrap();
                model.blocks[number][field % 2] = content;
            }
            Step::Open => {
                let result = {
                    let mut number = 0;
                    let handle = s.escape(|s| {
                        let (handle, of) = run(s, steps, &known, model);
                        number = of;
                        Ok::<_, ()>(handle)
                    });
                    (handle.unwrap(), number)
                };
                known.push(result);
            }
            Step::Close => break,
            Step::Return(a) => return known[at(a)],
            Step::Collect => s.collect(),
        }
        for &(handle, number) in &known {
            assert_eq!(s.peek(handle).field(0).unwrap().int(), Ok(number as i64));
        }
    }
    known[known.len() - 1]
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 200,
        failure_persistence: Some(Box::new(FileFailurePersistence::Off)),
        ..ProptestConfig::default()
    })]

    #[test]
    fn random_programs_agree_with_a_model(steps in vec(step(), 1..120), mode in prop_oneof![Just(Mode::Plain), Just(Mode::Torture)]) {
        heap(mode).scope(|s| {
            let first = s.array(0, 3, Handle::ZERO).unwrap();
            for i in 1..3 {
                s.set_field(first, i, first).unwrap();
            }
            let mut model = Model { blocks: vec![[0, 0]] };
            let mut steps = steps.iter();
            while steps.len() > 0 {
                run(s, &mut steps, &[(first, 0)], &mut model);
            }
        });
    }
}
