//! serde's types as OCaml values: the same ones that the derive macros make, and read.

use std::collections::BTreeMap;
use std::fmt::Debug;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use spelter::{FromOcaml, HeapMode, Serde, ToOcaml, Val, Vm};

#[derive(ToOcaml, FromOcaml, Serialize, Deserialize, Debug, PartialEq)]
struct Nothing;

#[derive(ToOcaml, FromOcaml, Serialize, Deserialize, Debug, PartialEq)]
struct Metres(f64);

#[derive(ToOcaml, FromOcaml, Serialize, Deserialize, Debug, PartialEq)]
struct Pair(i64, String);

#[derive(ToOcaml, FromOcaml, Serialize, Deserialize, Debug, PartialEq)]
struct Floats(f64, f64);

/// Flat.
#[derive(ToOcaml, FromOcaml, Serialize, Deserialize, Debug, PartialEq)]
struct Point {
    x: f64,
    y: Metres,
}

/// Flat as well.
#[derive(ToOcaml, FromOcaml, Serialize, Deserialize, Debug, PartialEq)]
struct Lonely {
    x: f64,
}

#[derive(ToOcaml, FromOcaml, Serialize, Deserialize, Debug, PartialEq)]
struct Mixed {
    n: i64,
    x: f64,
    text: String,
    flag: bool,
    letter: char,
    nothing: Nothing,
    unit: (),
    tuple: (i64, f64, String),
    option: Option<Option<i64>>,
    list: Vec<Point>,
    map: BTreeMap<String, Vec<u32>>,
}

/// Constants and constructors with arguments are numbered apart.
#[derive(ToOcaml, FromOcaml, Serialize, Deserialize, Debug, PartialEq)]
enum State {
    New,
    Sent(i64),
    Lost,
    Returned { why: String, x: f64 },
    Both(f64, f64),
    Gone,
    Of(Point),
    Inline { a: f64, b: f64 },
    Unit(()),
}

/// Its inner enum is found in one constructor only.
#[derive(ToOcaml, FromOcaml, Serialize, Deserialize, Debug, PartialEq)]
enum Outer {
    A,
    B(Vec<Option<State>>),
    C { inner: Box<Outer>, state: State },
}

#[derive(ToOcaml, FromOcaml, Serialize, Deserialize, Debug, PartialEq)]
enum Tree {
    Node(Box<Tree>, i64, Box<Tree>),
    Other(Box<Tree>, Box<Tree>, Box<Tree>, Box<Tree>),
    Many(Vec<Tree>),
    Leaf,
    Marked(Mark),
}

#[derive(ToOcaml, FromOcaml, Serialize, Deserialize, Debug, PartialEq)]
enum Mark {
    Deep(Box<Tree>),
    Red,
    Numbered(u8),
}

#[derive(ToOcaml, FromOcaml, Serialize, Deserialize, Debug, PartialEq)]
struct Chain {
    value: i64,
    next: Option<Box<Chain>>,
    others: Vec<Chain>,
}

/// Whether two values have the same structure.
fn same(a: Val<'_>, b: Val<'_>) -> bool {
    if let (Ok(a), Ok(b)) = (a.int(), b.int()) {
        return a == b;
    }
    if !(a.is_block() && b.is_block() && a.tag() == b.tag() && a.wosize() == b.wosize()) {
        return false;
    }
    if let (Ok(a), Ok(b)) = (a.bytes(), b.bytes()) {
        return a == b;
    }
    if let (Ok(a), Ok(b)) = (a.float(), b.float()) {
        return a == b;
    }
    let size = a.wosize().expect("a block");
    match a.tag() {
        Ok(0..246) => (0..size).all(|i| same(a.field(i).expect("a field"), b.field(i).expect("a field"))),
        _ => (0..size).all(|i| a.float_field(i).expect("a float") == b.float_field(i).expect("a float")),
    }
}

/// Checks that derive and serde make the same value, and read each other's.
#[track_caller]
fn agree<T: ToOcaml + FromOcaml + Serialize + DeserializeOwned + Debug + PartialEq + 'static>(
    values: Vec<T>,
) {
    for mode in [HeapMode::Plain, HeapMode::Torture] {
        let mut vm = Vm::builder().heap_mode(mode).build();
        for value in &values {
            let text = format!("{value:?}");
            let value: T = vm
                .with(|cx| {
                    let derived = cx.make(value)?;
                    Ok(cx.read::<Serde<T>>(derived)?.0)
                })
                .unwrap_or_else(|e| panic!("{text}: {e}"));
            assert_eq!(format!("{value:?}"), text, "serde reads what derive makes");
            let agreed = vm.with(|cx| {
                let derived = cx.make(&value)?;
                let by_serde = cx.make(&Serde(value))?;
                let back: T = cx.read(by_serde)?;
                Ok((same(cx.get(derived), cx.get(by_serde)), format!("{back:?}")))
            });
            assert_eq!(agreed.expect(&text), (true, text));
        }
    }
}

fn point() -> Point {
    Point { x: 1.5, y: Metres(-2.5) }
}

#[test]
fn serde_agrees_with_derive_on_structs_and_predefined_types() {
    agree(vec![Nothing]);
    agree(vec![Metres(1.5)]);
    agree(vec![Pair(7, "söben".to_owned())]);
    agree(vec![Floats(1.0, 2.0)]);
    agree(vec![point()]);
    agree(vec![Lonely { x: 4.0 }]);
    agree(vec![vec![(1i64, 2.0), (3, 4.0)], vec![]]);
    agree(vec![None, Some(None), Some(Some("x".to_owned()))]);
    agree(vec![BTreeMap::from([(1i64, "one".to_owned()), (2, "two".to_owned())])]);
    agree(vec![Mixed {
        n: -3,
        x: 0.5,
        text: "text".to_owned(),
        flag: true,
        letter: 'é',
        nothing: Nothing,
        unit: (),
        tuple: (1, 2.0, "three".to_owned()),
        option: Some(None),
        list: vec![point(), point()],
        map: BTreeMap::from([("a".to_owned(), vec![1, 2]), ("b".to_owned(), vec![])]),
    }]);
}

fn states() -> Vec<State> {
    vec![
        State::New,
        State::Sent(7),
        State::Lost,
        State::Returned { why: "zinc".to_owned(), x: 0.5 },
        State::Both(1.0, 2.0),
        State::Gone,
        State::Of(point()),
        State::Inline { a: 1.0, b: 2.0 },
        State::Unit(()),
    ]
}

#[test]
fn serde_agrees_with_derive_on_enums() {
    agree(states());
    let all = || states().into_iter().map(Some).chain([None]).collect();
    agree(vec![Outer::A, Outer::B(all()), Outer::C { inner: Box::new(Outer::B(all())), state: State::Gone }]);
}

#[test]
fn serde_agrees_with_derive_on_recursive_types() {
    let leaf = || Box::new(Tree::Leaf);
    let node = || Box::new(Tree::Node(leaf(), 5, leaf()));
    agree(vec![
        Tree::Leaf,
        *node(),
        Tree::Other(node(), leaf(), node(), leaf()),
        Tree::Many(vec![*node(), Tree::Marked(Mark::Red)]),
        Tree::Marked(Mark::Deep(node())),
        Tree::Marked(Mark::Numbered(255)),
    ]);
    let end = || Chain { value: 2, next: None, others: vec![] };
    agree(vec![Chain { value: 1, next: Some(Box::new(end())), others: vec![end(), end()] }]);
}

#[test]
fn values_that_are_nested_too_deeply_are_refused_both_ways() {
    let chain = |depth: i64| {
        let end = Chain { value: 0, next: None, others: vec![] };
        (1..depth).fold(end, |next, value| Chain { value, next: Some(Box::new(next)), others: vec![] })
    };
    let mut vm = Vm::builder().build();
    vm.with(|cx| {
        cx.make(&Serde(chain(150)))?;
        let refused = cx.make(&Serde(chain(250))).expect_err("it is too deep");
        assert!(refused.to_string().contains("nested too deeply"), "{refused}");
        let mut list = cx.int(0);
        let unit = cx.int(0);
        for _ in 0..250 {
            let next = if cx.get(list).int() == Ok(0) { list } else { cx.block(0, &[list])? };
            list = cx.block(0, &[unit, next, unit])?;
        }
        let refused = cx.read::<Serde<Chain>>(list).expect_err("it is too deep");
        assert!(refused.to_string().contains("nested too deeply"), "{refused}");
        Ok(())
    })
    .expect("nothing is raised");
}

/// The text with which reading `T` from this value is refused.
fn refused<T: DeserializeOwned + Debug + 'static>(value: &impl ToOcaml) -> String {
    let mut vm = Vm::builder().build();
    let text = vm.with(|cx| {
        let value = cx.make(value)?;
        Ok(cx.read::<Serde<T>>(value).expect_err("it does not fit").to_string())
    });
    text.expect("nothing is raised")
}

#[test]
fn errors_name_fields_and_constructors() {
    assert_eq!(
        refused::<Point>(&(1i64, 2i64, 3i64)),
        "expected a record Point of 2 fields, found a block of 3 fields with tag 0"
    );
    assert_eq!(refused::<Point>(&("x", 2.0)), "field x of Point: expected a float, found a string of 1 byte");
    assert_eq!(refused::<State>(&9i64), "expected a constructor of State, found the integer 9");
    assert_eq!(
        refused::<State>(&("x",)),
        "argument 1 of Sent: expected an integer, found a string of 1 byte"
    );
    assert_eq!(
        refused::<Vec<(i64, Point)>>(
            &[(1i64, (1.0, 2.0)), (2, (3.0, 4.0))][..].iter().map(|it| (it.0, 7i64)).collect::<Vec<_>>()
        ),
        "element 0, field 1: expected a record Point of 2 fields, found the integer 7"
    );
    assert_eq!(refused::<u8>(&256i64), "expected an integer that fits u8, found the integer 256");
    let text = refused::<std::num::NonZeroU8>(&0i64);
    assert!(text.starts_with("expected what its type accepts (invalid value: integer `0`"), "{text}");
}

/// A string that must not be what a trial gives it.
#[derive(Debug, Serialize)]
struct Picky(String);

impl<'de> Deserialize<'de> for Picky {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        match text.starts_with("picky") {
            true => Ok(Picky(text)),
            false => Err(serde::de::Error::custom("not picky enough")),
        }
    }
}

#[derive(Debug, Serialize, Deserialize)]
struct Before {
    picky: Picky,
    state: State,
}

#[derive(Debug, Serialize, Deserialize)]
struct Behind {
    state: State,
    picky: Picky,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(untagged)]
enum Untagged {
    Number(i64),
}

#[test]
fn what_no_trial_shows_is_refused_and_said() {
    let mut vm = Vm::builder().build();
    let picky = || Picky("picky".to_owned());
    vm.with(|cx| {
        let made = cx.make(&Serde(Behind { state: State::Gone, picky: picky() }))?;
        let back: Serde<Behind> = cx.read(made)?;
        assert_eq!((back.0.state, back.0.picky.0.as_str()), (State::Gone, "picky"));
        let refused =
            cx.make(&Serde(Before { state: State::Gone, picky: picky() })).expect_err("it is unknown");
        assert!(refused.to_string().contains("which constructors of State have arguments"), "{refused}");
        Ok(())
    })
    .expect("nothing else is raised");
    let text = refused::<Untagged>(&1i64);
    assert!(text.contains("do not say which type they have"), "{text}");
}
