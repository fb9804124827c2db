//! Derived conversions and typed functions, against a unit of OCaml's own compiler, under every engine.

use std::cell::Cell;
use std::collections::{BTreeMap, HashMap};
use std::hint::black_box;

use spelter::{
    Array, Bytes, Context, Error, FloatArray, FromOcaml, Function, HostFunction, Int32, Int64, Local,
    Nativeint, OcamlResult, OcamlType, Raise, ToOcaml, TypedUnit, Value, Vm, VmBuilder, WrongType,
};

use crate::{every_builder, fixture};

#[derive(ToOcaml, FromOcaml, Clone, Debug, PartialEq)]
struct Order {
    item: String,
    count: i64,
    price: f64,
}

/// The same with a borrowed field.
#[derive(ToOcaml)]
#[ocaml(rename = "order")]
struct Borrowed<'a> {
    item: &'a str,
    count: u8,
    price: f64,
}

type Coordinate = f64;

#[derive(ToOcaml, FromOcaml, Clone, Copy, Debug, PartialEq)]
struct Point {
    x: f64,
    y: Coordinate,
}

#[derive(ToOcaml, FromOcaml, Debug, PartialEq)]
#[ocaml(unboxed)]
struct Id {
    id: i64,
}

#[derive(ToOcaml, FromOcaml, Debug, PartialEq)]
#[ocaml(unboxed)]
enum Metres {
    Metres(f64),
}

#[derive(ToOcaml, FromOcaml, Debug, PartialEq)]
struct Leg {
    length: Metres,
    climb: f64,
}

#[derive(ToOcaml, FromOcaml, Debug, PartialEq)]
struct Labelled<T> {
    content: T,
    label: String,
}

#[derive(ToOcaml, FromOcaml, Debug, PartialEq)]
enum Verdict {
    Accept,
    Refuse(String),
    Later,
    Split(Order, i64),
    Ask { who: String, until: Option<i64> },
}

#[derive(ToOcaml, FromOcaml, Debug, PartialEq)]
enum Tree {
    Leaf,
    Node(Box<Tree>, i64, Box<Tree>),
}

#[derive(ToOcaml, FromOcaml, Debug, PartialEq)]
#[ocaml(poly)]
enum Shade {
    Dark,
    Light(i64),
    Mix(Box<Shade>, Box<Shade>),
}

#[derive(ToOcaml, FromOcaml, Debug)]
enum Chain {
    End,
    Link(Box<Chain>),
}

/// A machine with the unit, which registers nothing.
fn unit(builder: VmBuilder) -> (Vm, TypedUnit) {
    let mut vm = builder.build();
    let (name, bytes) = fixture!("typed/host.byte");
    vm.run_bytes(name, bytes).expect("the host program runs");
    let (name, bytes) = fixture!("typed/rule.cmo");
    let unit = vm.load_bytes(name, bytes).expect("it loads");
    let unit = unit.with_interface(fixture!("typed/rule.cmi").1).expect("it is its interface");
    (vm, unit)
}

/// Binds a function and calls it.
macro_rules! call {
    ($vm:ident $unit:ident $name:literal ($($argument:expr),*) -> $result:ty) => {{
        let function: Result<Function<_, $result>, Error> = $vm.function(&$unit, $name);
        function.and_then(|function| function.call(&mut $vm, ($($argument,)*)))
    }};
}

#[test]
fn records_and_variants_go_in_and_come_out() {
    for (engine, builder) in every_builder() {
        let (mut vm, unit) = unit(builder);
        let mut all = || -> Result<(), Error> {
            let decide: Function<(&Order,), Verdict> = vm.function(&unit, "decide")?;
            let explain: Function<(&Verdict,), String> = vm.function(&unit, "explain")?;
            let order = |count, price| Order { item: "tin".to_owned(), count, price };
            let cases = [
                (order(1, 2.5), Verdict::Accept, "accepted"),
                (order(0, 2.5), Verdict::Refuse("no tin".to_owned()), "refused: no tin"),
                (order(1, -1.0), Verdict::Later, "later"),
                (order(130, 2.5), Verdict::Split(order(100, 2.5), 30), "100 tin, then 30"),
                (order(7, 2000.0), Verdict::Ask { who: "tin".to_owned(), until: Some(7) }, "ask tin until 7"),
            ];
            for (order, expected, text) in &cases {
                assert_eq!(decide.call(&mut vm, (order,))?, *expected, "{engine}");
                assert_eq!(explain.call(&mut vm, (expected,))?, *text, "{engine}");
            }
            let borrowed = Borrowed { item: "zinc", count: 0, price: 1.0 };
            assert_eq!(
                call!(vm unit "decide" (borrowed) -> Verdict)?,
                Verdict::Refuse("no zinc".to_owned()),
                "{engine}"
            );
            let point = Point { x: 1.5, y: -2.0 };
            assert_eq!(call!(vm unit "mirror" (point) -> Point)?, Point { x: -2.0, y: 1.5 }, "{engine}");
            assert_eq!(call!(vm unit "next_id" (Id { id: 41 }) -> Id)?, Id { id: 42 }, "{engine}");
            let leg = Leg { length: Metres::Metres(3.0), climb: 0.5 };
            let back = Leg { length: Metres::Metres(3.5), climb: -0.5 };
            assert_eq!(call!(vm unit "climb" (leg) -> Leg)?, back, "{engine}");
            // A parameter is no float where the record is declared, so this one is not flat.
            let labelled = Labelled { content: 2.5, label: "old".to_owned() };
            let back = Labelled { content: 2.5, label: "new".to_owned() };
            assert_eq!(call!(vm unit "relabel" ("new", labelled) -> Labelled<f64>)?, back, "{engine}");
            Ok(())
        };
        all().expect(&engine);
    }
}

#[test]
fn recursive_types_and_polymorphic_variants_go_in_and_come_out() {
    for (engine, builder) in every_builder() {
        let (mut vm, unit) = unit(builder);
        let mut all = || -> Result<(), Error> {
            let insert: Function<(i64, Tree), Tree> = vm.function(&unit, "insert")?;
            let mut tree = Tree::Leaf;
            for n in [2, 1, 3] {
                tree = insert.call(&mut vm, (n, tree))?;
            }
            let leaf = |n| Box::new(Tree::Node(Box::new(Tree::Leaf), n, Box::new(Tree::Leaf)));
            assert_eq!(tree, Tree::Node(leaf(1), 2, leaf(3)), "{engine}");
            let mix = |a, b| Shade::Mix(Box::new(a), Box::new(b));
            let shade = mix(Shade::Light(2), mix(Shade::Dark, Shade::Light(0)));
            let darker = mix(Shade::Light(1), mix(Shade::Dark, Shade::Dark));
            assert_eq!(call!(vm unit "darker" (shade) -> Shade)?, darker, "{engine}");
            assert!(call!(vm unit "at_least" (Shade::Dark) -> bool)?, "{engine}");
            assert!(!call!(vm unit "at_least" (Shade::Light(1)) -> bool)?, "{engine}");
            Ok(())
        };
        all().expect(&engine);
    }
}

#[test]
fn numbers_text_arrays_and_maps_go_in_and_come_out() {
    for (engine, builder) in every_builder() {
        let (mut vm, unit) = unit(builder);
        let mut all = || -> Result<(), Error> {
            let prices = BTreeMap::from([("tin", 1.5), ("zinc", 2.0)]);
            assert_eq!(call!(vm unit "total" (&prices) -> f64)?, 3.5, "{engine}");
            let prices: HashMap<&str, f64> = prices.into_iter().collect();
            assert_eq!(call!(vm unit "total" (prices) -> f64)?, 3.5, "{engine}");
            let floats = FloatArray(vec![3.0, 1.0, 2.0]);
            assert_eq!(call!(vm unit "sort" (&floats) -> FloatArray)?.0, [1.0, 2.0, 3.0], "{engine}");
            assert_eq!(
                call!(vm unit "sort" (Array(vec![2.0, 1.0])) -> Array<f64>)?.0,
                [1.0, 2.0],
                "{engine}"
            );
            assert_eq!(call!(vm unit "sort" (Array::<f64>(vec![])) -> FloatArray)?.0, [0.0; 0], "{engine}");
            assert_eq!(call!(vm unit "scale" (2.0, floats) -> FloatArray)?.0, [6.0, 2.0, 4.0], "{engine}");
            assert_eq!(call!(vm unit "words" ("a bc") -> Array<String>)?.0, ["a", "bc"], "{engine}");
            assert_eq!(call!(vm unit "widen" (Int32(-5)) -> Int64)?, Int64(-5), "{engine}");
            assert_eq!(call!(vm unit "native" (Nativeint(i64::MAX)) -> Nativeint)?.0, -i64::MAX, "{engine}");
            assert_eq!(call!(vm unit "divide" (7u8, 2i16) -> Result<u64, String>)?, Ok(3), "{engine}");
            let failed = OcamlResult(Err("division by zero".to_owned()));
            assert_eq!(call!(vm unit "divide" (7, 0) -> OcamlResult<i64, String>)?, failed, "{engine}");
            assert_eq!(call!(vm unit "upper" ('z') -> char)?, 'Z', "{engine}");
            assert_eq!(call!(vm unit "upper" ('\u{ff}') -> char)?, '\u{ff}', "{engine}");
            assert_eq!(call!(vm unit "reverse" ([1u8, 0, 255]) -> Vec<u8>)?, [255, 0, 1], "{engine}");
            assert_eq!(call!(vm unit "reverse" (Bytes(vec![1, 2])) -> [u8; 2])?, [2, 1], "{engine}");
            assert_eq!(call!(vm unit "eight" ((1, 2, 3, 4, 5, 6, 7, 8)) -> i64)?, 87654321, "{engine}");
            assert_eq!(
                call!(vm unit "first" (["a", "b"]) -> Option<String>)?.as_deref(),
                Some("a"),
                "{engine}"
            );
            assert_eq!(call!(vm unit "labelled" ("a", Some("?"), ()) -> String)?, "a?", "{engine}");
            assert_eq!(call!(vm unit "labelled" ("a", None::<String>, ()) -> String)?, "a!", "{engine}");
            assert_eq!(call!(vm unit "Sub.triple" (14) -> i64)?, 42, "{engine}");
            assert_eq!(vm.component::<i64>(&unit, "limit")?, 100, "{engine}");
            Ok(())
        };
        all().expect(&engine);
    }
}

#[test]
fn values_of_any_type_match_what_has_no_rust_type() {
    for (engine, builder) in every_builder() {
        let (mut vm, unit) = unit(builder);
        let mut all = || -> Result<(), Error> {
            let secret = call!(vm unit "seal" (7) -> Value)?;
            let same: Function<(Value,), Value> = vm.function(&unit, "same")?;
            let secret = same.call(&mut vm, (secret,))?;
            assert_eq!(call!(vm unit "unseal" (secret) -> i64)?, 7, "{engine}");
            let pair: (String, Vec<i64>) = call!(vm unit "pair" ("a", [1, 2]) -> (String, Vec<i64>))?;
            assert_eq!(pair, ("a".to_owned(), vec![1, 2]), "{engine}");
            let triple: Function<(i64,), i64> = vm.function(&unit, "Sub.triple")?;
            assert_eq!(call!(vm unit "apply" (triple.value(), 5) -> i64)?, 15, "{engine}");
            vm.component::<Value>(&unit, "expr").map(drop)
        };
        all().expect(&engine);
    }
}

#[test]
fn what_does_not_fit_is_an_error_in_both_directions() {
    let (mut vm, _) = unit(Vm::builder());
    let made =
        |vm: &mut Vm, make: fn(&mut Context<'_>) -> Result<(), Raise>| vm.with(make).unwrap_err().to_string();
    let too_large = |n: &str| {
        format!(
            "uncaught exception Invalid_argument(\"the integer {n} does not fit OCaml's int, which has 63 bits; \
             int64 takes 64\")"
        )
    };
    assert_eq!(made(&mut vm, |cx| cx.make(&(1i64 << 62)).map(drop)), too_large("4611686018427387904"));
    assert_eq!(made(&mut vm, |cx| cx.make(&i64::MIN).map(drop)), too_large("-9223372036854775808"));
    assert_eq!(made(&mut vm, |cx| cx.make(&u64::MAX).map(drop)), too_large("18446744073709551615"));
    assert_eq!(made(&mut vm, |cx| cx.make(&usize::MAX).map(drop)), too_large("18446744073709551615"));
    assert_eq!(
        made(&mut vm, |cx| cx.make(&'ł').map(drop)),
        "uncaught exception Invalid_argument(\"the character 'ł' does not fit OCaml's char, which is a \
         byte; pass it in a string\")"
    );
    fn read<T: FromOcaml>(vm: &mut Vm, n: i64) -> Result<T, String> {
        vm.with(|cx| {
            let n = cx.make(&n)?;
            Ok(cx.read(n).map_err(|wrong| wrong.to_string()))
        })
        .expect("nothing is raised")
    }
    for n in [(1 << 62) - 1, -(1 << 62)] {
        assert_eq!(read::<i64>(&mut vm, n), Ok(n));
    }
    let misfit = |ty: &str, n: i64| Err(format!("expected an integer that fits {ty}, found the integer {n}"));
    assert_eq!((read::<i8>(&mut vm, 127), read::<u8>(&mut vm, 255)), (Ok(127), Ok(255)));
    assert_eq!(read::<i8>(&mut vm, 128), misfit("i8", 128).map(|()| 0));
    assert_eq!(read::<u8>(&mut vm, -1), misfit("u8", -1).map(|()| 0));
    assert_eq!(read::<i16>(&mut vm, 32768), misfit("i16", 32768).map(|()| 0));
    assert_eq!(read::<u16>(&mut vm, 65536), misfit("u16", 65536).map(|()| 0));
    assert_eq!(read::<i32>(&mut vm, -2147483649), misfit("i32", -2147483649).map(|()| 0));
    assert_eq!(read::<u32>(&mut vm, 4294967296), misfit("u32", 4294967296).map(|()| 0));
    assert_eq!(read::<u64>(&mut vm, -1), misfit("u64", -1).map(|()| 0));
    assert_eq!(read::<usize>(&mut vm, -1), misfit("usize", -1).map(|()| 0));
    let no_character = "expected a character, 0 to 255, found the integer 256";
    assert_eq!(read::<char>(&mut vm, 256), Err(no_character.to_owned()));
}

/// What is wrong with this OCaml value as a `T`.
fn refusal<T: FromOcaml + std::fmt::Debug>(vm: &mut Vm, v: impl ToOcaml) -> String {
    vm.with(|cx| {
        let v = cx.make(&v)?;
        Ok(cx.read::<T>(v).expect_err("it is no such value").to_string())
    })
    .expect("nothing is raised")
}

#[test]
fn refusals_name_types_constructors_and_fields() {
    for (_, builder) in every_builder() {
        let (vm, _) = &mut unit(builder);
        assert_eq!(
            refusal::<Order>(vm, ("tin", 1)),
            "expected a record order of 3 fields, found a block of 2 fields with tag 0"
        );
        assert_eq!(
            refusal::<Vec<Order>>(vm, [("tin", "one", 1.0)]),
            "element 0, field count of order: expected an integer, found a string of 3 bytes"
        );
        assert_eq!(
            refusal::<Point>(vm, (1.0, 2.0)),
            "expected a record point of 2 floats, found a block of 2 fields with tag 0"
        );
        assert_eq!(refusal::<Verdict>(vm, 2), "expected a constructor of verdict, found the integer 2");
        assert_eq!(
            refusal::<Verdict>(vm, OcamlResult::<i64, _>(Err(("tin", 1, 1.0)))),
            "expected a constructor of verdict, found a block of 1 field with tag 1"
        );
        assert_eq!(
            refusal::<Verdict>(vm, OcamlResult::<_, ()>(Ok(7))),
            "argument 1 of Refuse: expected a string, found the integer 7"
        );
        assert_eq!(
            refusal::<Shade>(vm, (Light::HASH, "white")),
            "argument 1 of `Light: expected an integer, found a string of 5 bytes"
        );
        assert_eq!(
            refusal::<Shade>(vm, (1, 2)),
            "expected a constructor of shade, found a block of 2 fields with tag 0"
        );
        assert_eq!(
            refusal::<Shade>(vm, Light::HASH),
            format!("expected a constructor of shade, found the integer {}", Light::HASH)
        );
        assert_eq!(
            refusal::<[i64; 2]>(vm, [1, 2, 3]),
            "expected exactly 2 elements, found a block of 2 fields with tag 0"
        );
        assert_eq!(refusal::<Int64>(vm, Int32(1)), "expected an int64, found a block without fields");
    }
}

struct Light;

impl Light {
    /// What OCaml says of `` Obj.magic `Light ``.
    const HASH: i64 = 136970422;
}

#[test]
fn deep_and_cyclic_values_are_refused() {
    for (engine, builder) in every_builder() {
        let (mut vm, unit) = unit(builder);
        let deepen: Function<(i64,), Chain> = vm.function(&unit, "deepen").expect(&engine);
        let depth: Function<(&Chain,), i64> = vm.function(&unit, "depth").expect(&engine);
        let deepest = deepen.call(&mut vm, (199,)).expect(&engine);
        assert_eq!(depth.call(&mut vm, (&deepest,)).expect(&engine), 199);
        let text = deepen.call(&mut vm, (200,)).unwrap_err().to_string();
        let link = ["argument 1 of Link"; 4].join(", ");
        assert_eq!(
            text,
            format!(
                "an OCaml value is not what the host expects: {link}, 192 more, {link}: expected a value of type chain \
                 that is not nested so deeply, found the integer 0"
            )
        );
        let text = vm.component::<Chain>(&unit, "cycle").unwrap_err().to_string();
        assert!(text.contains("not nested so deeply"), "{text}");
        let too_deep = Chain::Link(Box::new(deepest));
        let text = depth.call(&mut vm, (&too_deep,)).unwrap_err().to_string();
        assert_eq!(text, "uncaught exception Failure(\"a value of type chain is nested too deeply\")");
    }
}

/// Like [`Chain`], but its conversion uses much of the native stack.
#[derive(FromOcaml)]
#[expect(dead_code, reason = "it is too deep to be read")]
enum Heavy {
    End,
    Link(Wide),
}

thread_local! {
    /// How often a heavy value was read.
    static HEAVY: Cell<usize> = const { Cell::new(0) };
}

struct Wide(#[expect(dead_code, reason = "it is too deep to be read")] Box<Heavy>);

impl FromOcaml for Wide {
    fn from_ocaml<'c>(cx: &mut Context<'c>, v: Local<'c>) -> Result<Self, WrongType> {
        HEAVY.set(HEAVY.get() + 1);
        let frame = black_box([0u8; 32 << 10]);
        let inner = FromOcaml::from_ocaml(cx, v);
        black_box(&frame);
        inner.map(Wide)
    }

    fn ocaml_type() -> OcamlType {
        Heavy::ocaml_type()
    }
}

#[test]
fn conversions_that_use_much_stack_end_earlier() {
    let (mut vm, unit) = unit(Vm::builder());
    let refused = vm.component::<Heavy>(&unit, "cycle").err().expect("it is endless").to_string();
    assert!(refused.contains("not nested so deeply"), "{refused}");
    let levels = HEAVY.get();
    assert!((8..=17).contains(&levels), "{levels}");
}

#[test]
fn a_host_function_without_arguments_takes_unit() {
    let (mut vm, _) = unit(Vm::builder());
    let seven = || 7i64;
    let answers = vm.with(|cx| {
        let given = [cx.unit(), cx.int(1)];
        let seven = given.map(|v| {
            HostFunction::<fn() -> i64>::call(&seven, cx, &[v]).and_then(|v| Ok(cx.read::<i64>(v)?))
        });
        Ok(seven.map(|answer| {
            answer.map_err(|raise| cx.exception(raise)).map_err(|exn| cx.read::<Value>(exn).is_ok())
        }))
    });
    assert_eq!(answers.expect("nothing is raised"), [Ok(7), Err(true)]);
}

#[test]
fn the_example_decides_and_refuses() {
    use crate::typed_example::{Verdict, run};
    let (verdicts, refused) = run().expect("it runs");
    let ask = Verdict::Ask { who: "gallium".to_owned(), until: Some(2) };
    assert_eq!(verdicts, [Verdict::Accept, Verdict::Refuse("no zinc".to_owned()), ask]);
    assert_eq!(refused, "decide has type order -> verdict, the host expects order -> string");
}
