//! Where the types of the host and of an interface differ, the error says so.

use spelter::{Args, Error, FromOcaml, Function, Int32, ToOcaml, TypedUnit, Value, Vm};

use crate::fixture;

/// A machine with the unit.
fn unit() -> (Vm, TypedUnit) {
    let mut vm = Vm::builder().build();
    let (name, bytes) = fixture!("typed/host.byte");
    vm.run_bytes(name, bytes).expect("the host program runs");
    let (name, bytes) = fixture!("typed/rule.cmo");
    let unit = vm.load_bytes(name, bytes).expect("it loads");
    let unit = unit.with_interface(fixture!("typed/rule.cmi").1).expect("it is its interface");
    (vm, unit)
}

/// Why the function is not bound.
#[track_caller]
fn refusal<A: Args, R: FromOcaml>((vm, unit): &mut (Vm, TypedUnit), name: &str) -> String {
    match vm.function::<A, R>(unit, name) {
        Err(error @ Error::OtherType { .. }) => error.to_string(),
        other => panic!("{name}: {other:?}"),
    }
}

/// Declares types like those of the interface, but for something.
macro_rules! types {
    ($($(#[$attribute:meta])* $kind:ident $name:ident { $($body:tt)* })*) => { $(
        #[derive(ToOcaml, FromOcaml)]
        #[allow(dead_code, reason = "only its type matters")]
        $(#[$attribute])*
        $kind $name { $($body)* }
    )* };
}

#[test]
fn arguments_and_results_of_other_types() {
    let rule = &mut unit();
    assert_eq!(
        refusal::<(i64,), String>(rule, "mirror"),
        "mirror has type point -> point, the host expects int -> string"
    );
    assert_eq!(
        refusal::<(char,), String>(rule, "upper"),
        "upper has type char -> char, the host expects char -> string"
    );
    assert_eq!(
        refusal::<(i64,), i64>(rule, "widen"),
        "widen has type int32 -> int64, the host expects int -> int"
    );
    assert_eq!(
        refusal::<(Int32,), i64>(rule, "widen"),
        "widen has type int32 -> int64, the host expects int32 -> int"
    );
    assert_eq!(
        refusal::<(Vec<(String, i64)>,), f64>(rule, "total"),
        "total has type prices -> float, the host expects (string * int) list -> float"
    );
    assert_eq!(
        refusal::<(i64, i64), Result<i64, i64>>(rule, "divide"),
        "divide has type int -> int -> (int, string) result, the host expects int -> int -> (int, int) result"
    );
    assert_eq!(
        refusal::<(i64,), i64>(rule, "divide"),
        "divide has type int -> int -> (int, string) result, the host expects int -> int"
    );
    assert_eq!(
        refusal::<(char, char), char>(rule, "upper"),
        "upper has type char -> char, the host expects char -> char -> char"
    );
    assert_eq!(
        refusal::<((i64, i64),), i64>(rule, "eight"),
        "eight has type int * int * int * int * int * int * int * int -> int, the host expects int * int -> int"
    );
    assert_eq!(
        refusal::<(String, String, ()), String>(rule, "labelled"),
        "labelled has type name:string -> ?suffix:string -> unit -> string, \
         the host expects string -> string -> unit -> string"
    );
    let (vm, unit) = rule;
    assert_eq!(
        vm.component::<String>(unit, "limit").unwrap_err().to_string(),
        "limit has type int, the host expects string"
    );
}

#[test]
fn records_that_differ() {
    types! {
        #[ocaml(rename = "order")]
        struct Shuffled { count: i64, item: String, price: f64 }
        #[ocaml(rename = "order")]
        struct Retyped { item: String, count: String, price: f64 }
        #[ocaml(rename = "id")]
        struct Boxed { id: i64 }
    }
    #[derive(ToOcaml)]
    #[ocaml(rename = "point")]
    struct Generic<T> {
        x: T,
        y: T,
    }
    let rule = &mut unit();
    assert_eq!(
        refusal::<(Shuffled,), Value>(rule, "decide"),
        "decide has type order -> verdict, the host expects order -> _: the fields of order are item, count, price, \
         the host's are count, item, price"
    );
    assert_eq!(
        refusal::<(Retyped,), Value>(rule, "decide"),
        "decide has type order -> verdict, the host expects order -> _: field count of order has type int, the \
         host's has type string"
    );
    assert_eq!(
        refusal::<(Boxed,), Value>(rule, "next_id"),
        "next_id has type id -> id, the host expects id -> _: id is [@@unboxed], the host's is a block of values"
    );
    assert_eq!(
        refusal::<(Generic<f64>,), Value>(rule, "mirror"),
        "mirror has type point -> point, the host expects float point -> _: point is a flat record of floats, the \
         host's is a block of values"
    );
}

#[test]
fn variants_that_differ() {
    types! {
        #[ocaml(rename = "verdict")]
        enum Short { Accept, Refuse(String), Later }
        #[ocaml(rename = "tree")]
        enum Flat { Leaf, Node(i64, i64) }
        #[ocaml(rename = "tree")]
        enum Texts { Leaf, Node(Box<Texts>, String, Box<Texts>) }
        #[ocaml(rename = "verdict")]
        enum NoInline { Accept, Refuse(String), Later, Split(Value, i64), Ask(String, Option<i64>) }
        #[ocaml(rename = "verdict")]
        enum Inline { Accept, Refuse { why: String }, Later, Split(Value, i64), Ask { who: String, until: Option<i64> } }
        #[ocaml(rename = "verdict")]
        enum OtherInline { Accept, Refuse(String), Later, Split(Value, i64), Ask { who: String, until: i64 } }
        #[ocaml(rename = "metres")]
        enum Metres { Metres(f64) }
        #[ocaml(rename = "leg")]
        struct Leg { length: Metres, climb: f64 }
        #[ocaml(rename = "expr")]
        enum Expr { Int(i64), Text(String) }
    }
    let rule = &mut unit();
    let explain = "explain has type verdict -> string, the host expects verdict -> string: ";
    assert_eq!(
        refusal::<(Short,), String>(rule, "explain"),
        format!(
            "{explain}the constructors of verdict are Accept | Refuse | Later | Split | Ask, the host's are \
             Accept | Refuse | Later"
        )
    );
    assert_eq!(
        refusal::<(NoInline,), String>(rule, "explain"),
        format!("{explain}Ask has an inline record, the host's has none")
    );
    assert_eq!(
        refusal::<(Inline,), String>(rule, "explain"),
        format!("{explain}Refuse has no inline record, the host's has one")
    );
    assert_eq!(
        refusal::<(OtherInline,), String>(rule, "explain"),
        format!("{explain}field until of Ask has type int option, the host's has type int")
    );
    let insert = "insert has type int -> tree -> tree, the host expects int -> tree -> _: ";
    assert_eq!(
        refusal::<(i64, Flat), Value>(rule, "insert"),
        format!("{insert}Node has 3 arguments, the host's has 2 arguments")
    );
    assert_eq!(
        refusal::<(i64, Texts), Value>(rule, "insert"),
        format!("{insert}argument 2 of Node has type int, the host's has type string")
    );
    assert_eq!(
        refusal::<(Leg,), Value>(rule, "climb"),
        "climb has type leg -> leg, the host expects leg -> _: leg is a flat record of floats, the host's is a block \
         of values"
    );
    let (vm, unit) = rule;
    assert_eq!(
        vm.component::<Expr>(unit, "expr").err().expect("it is refused").to_string(),
        "expr has type int expr, the host expects expr: expr is a generalised variant: take it as a `Value`"
    );
}

#[test]
fn polymorphic_variants_that_differ() {
    types! {
        #[ocaml(poly, rename = "shade")]
        enum Fewer { Dark }
        #[ocaml(poly, rename = "shade")]
        enum More { Dark, Light(i64), Mix(Value, Value), Pink }
        #[ocaml(poly, rename = "shade")]
        enum Other { Dark, Light(String) }
        #[ocaml(poly, rename = "shade")]
        enum Constant { Light }
        #[ocaml(poly, rename = "shade")]
        enum WithArgument { Dark(i64) }
    }
    let rule = &mut unit();
    let (vm, typed) = &mut *rule;
    vm.function::<(Fewer,), More>(typed, "darker").expect("it makes fewer tags and reads more");
    vm.function::<(More,), bool>(typed, "at_least").expect("others are accepted");
    let darker = "darker has type shade -> shade, the host expects shade -> ";
    assert_eq!(
        refusal::<(More,), Value>(rule, "darker"),
        format!("{darker}_: the host's `Pink is not among its tags")
    );
    assert_eq!(
        refusal::<(Fewer,), Fewer>(rule, "darker"),
        format!("{darker}shade: its tag `Light is not among the host's")
    );
    assert_eq!(
        refusal::<(Other,), Value>(rule, "darker"),
        format!("{darker}_: the argument of `Light has type int, the host's has type string")
    );
    assert_eq!(
        refusal::<(Constant,), Value>(rule, "darker"),
        format!("{darker}_: `Light has an argument, the host's has none")
    );
    assert_eq!(
        refusal::<(WithArgument,), Value>(rule, "darker"),
        format!("{darker}_: `Dark has no argument, the host's has one")
    );
}

#[test]
fn variables_abstract_and_private_types() {
    types! {
        #[ocaml(rename = "guarded")]
        struct Guarded { inner: i64 }
    }
    /// A conversion that does not say its type.
    struct Silent;
    impl FromOcaml for Silent {
        fn from_ocaml<'c>(
            _: &mut spelter::Context<'c>,
            _: spelter::Local<'c>,
        ) -> Result<Self, spelter::WrongType> {
            Ok(Silent)
        }
    }
    let rule = &mut unit();
    let (vm, typed) = &mut *rule;
    vm.function::<(i64, i32), (i8, Value)>(typed, "pair").expect("both are integers");
    vm.function::<(i64,), Guarded>(typed, "guard").expect("it may be read");
    assert_eq!(
        refusal::<(i64,), String>(rule, "same"),
        "same has type 'a -> 'a, the host expects int -> string: 'a cannot be both int and string"
    );
    assert_eq!(
        refusal::<(Value,), i64>(rule, "same"),
        "same has type 'a -> 'a, the host expects _ -> int: 'a cannot be both _ and int"
    );
    assert_eq!(
        refusal::<(i64,), i64>(rule, "seal"),
        "seal has type int -> secret, the host expects int -> int: secret is abstract: take it as a `Value`"
    );
    assert_eq!(
        refusal::<(i64, i64), i64>(rule, "apply"),
        "apply has type (int -> int) -> int -> int, the host expects int -> int -> int"
    );
    let silent = refusal::<(i64,), Silent>(rule, "same");
    assert!(
        silent.ends_with("Silent does not say its OCaml type: define `ocaml_type`, or derive it"),
        "{silent}"
    );
}

#[test]
fn names_that_are_no_components() {
    let (vm, unit) = &mut unit();
    let mut refused = |name| match vm.function::<(i64,), i64>(unit, name) {
        Err(error @ Error::NoSuchComponent { .. }) => error.to_string(),
        other => panic!("{name}: {other:?}"),
    };
    assert_eq!(
        refused("decid"),
        "unit Rule has no value decid in its interface, which has limit, double, decide, explain, mirror and 29 more"
    );
    assert_eq!(refused("double"), "unit Rule declares double as external: it is a primitive of the host");
    assert!(refused("Sub.double").starts_with("unit Rule has no value Sub.double"));
}

#[test]
fn an_interface_must_be_the_units_own() {
    let (vm, rule) = &mut unit();
    let (name, bytes) = fixture!("supply.cmo");
    let supply = vm.load_bytes(name, bytes).expect("it loads");
    let refused = |result: Result<TypedUnit, Error>| result.expect_err("it is another one").to_string();
    let cmi = fixture!("typed/rule.cmi").1;
    assert_eq!(refused(supply.with_interface(cmi)), "unit Supply: this is the interface of Rule");
    assert_eq!(
        refused(rule.unit().with_interface(fixture!("typed/other/rule.cmi").1)),
        "unit Rule: it was compiled with another interface than this one; use the .cmi made with its .cmo"
    );
    assert_eq!(
        refused(rule.clone().and_interface(fixture!("typed/other/rule.cmi").1)),
        "unit Rule: its interface does not import this one of Rule"
    );
    assert!(matches!(rule.unit().with_interface(&cmi[..100]), Err(Error::Format { .. })));
    assert!(matches!(rule.unit().with_interface(bytes), Err(Error::Format { .. })));
}

#[test]
fn types_of_other_units_need_their_interfaces() {
    types! {
        #[ocaml(rename = "order")]
        struct Order { item: String, count: i64, price: f64 }
    }
    let (mut vm, rule) = unit();
    let (name, bytes) = fixture!("typed/rule.cmo");
    vm.load_public(name, bytes).expect("it loads");
    let (name, bytes) = fixture!("typed/user.cmo");
    let user = vm.load_bytes(name, bytes).expect("it loads");
    let user = user.with_interface(fixture!("typed/user.cmi").1).expect("it is its interface");
    let alone = vm.function::<(Order,), i64>(&user, "count").unwrap_err().to_string();
    assert_eq!(
        alone,
        "count has type Rule.order -> int, the host expects order -> int: the declaration of Rule.order is in another \
         interface: add it with `and_interface`"
    );
    let user = user.and_interface(fixture!("typed/rule.cmi").1).expect("it imports it");
    let count: Function<(Order,), i64> = vm.function(&user, "count").expect("it agrees");
    let order = Order { item: "tin".to_owned(), count: 3, price: 1.0 };
    assert_eq!(count.call(&mut vm, (order,)).expect("it runs"), 3);
    drop(rule);
}

#[test]
fn a_function_keeps_its_unit_until_it_is_revoked() {
    let (mut vm, rule) = unit();
    let triple: Function<(i64,), i64> = vm.function(&rule, "Sub.triple").expect("it agrees");
    let handle = rule.unit().clone();
    drop(rule);
    vm.collect().expect("no finaliser raises");
    assert_eq!(triple.call(&mut vm, (2,)).expect("it is alive"), 6);
    vm.revoke(handle).expect("there is memory");
    let refused = triple.clone().call(&mut vm, (2,)).unwrap_err();
    assert!(
        matches!(&refused, Error::Uncaught { exception, .. } if exception.contains("Revoked")),
        "{refused}"
    );
    vm.collect().expect("no finaliser raises");
    assert_eq!(vm.units().len(), 0);
    let refused = triple.call(&mut vm, (2,)).unwrap_err();
    assert!(
        matches!(&refused, Error::Uncaught { exception, .. } if exception.contains("Revoked")),
        "{refused}"
    );
}

#[test]
fn exceptions_of_typed_functions_are_errors() {
    let (mut vm, rule) = unit();
    let raise: Function<(&str,), i64> = vm.function(&rule, "raise_refused").expect("it agrees");
    let raised = raise.call(&mut vm, ("no tin",)).unwrap_err().to_string();
    assert_eq!(raised, "uncaught exception Rule.Refused(\"no tin\")");
}
