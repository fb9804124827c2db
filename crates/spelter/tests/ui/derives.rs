//! Declarations that OCaml does not have are refused where they stand.

use spelter::{FromOcaml, ToOcaml};

#[derive(ToOcaml)]
struct Empty {}

#[derive(ToOcaml)]
enum Nothing {}

#[derive(FromOcaml)]
union Both {
    a: i64,
    b: f64,
}

#[derive(ToOcaml)]
#[ocaml(unboxed)]
struct Two {
    a: i64,
    b: i64,
}

#[derive(ToOcaml)]
#[ocaml(unboxed)]
struct Newtype(i64);

#[derive(ToOcaml)]
#[ocaml(poly)]
struct NoVariant {
    a: i64,
}

#[derive(ToOcaml)]
#[ocaml(poly)]
enum Inline {
    A { a: i64 },
}

#[derive(FromOcaml)]
#[ocaml(poly)]
enum SameHash {
    #[ocaml(rename = "azdwbie")]
    A,
    #[ocaml(rename = "c7diagq")]
    B,
}

#[derive(ToOcaml)]
#[ocaml(poli)]
enum Misspelt {
    A,
}

#[derive(ToOcaml)]
struct Renamed {
    #[ocaml(rename = "two words")]
    a: i64,
}

#[derive(ToOcaml)]
struct Unknown {
    when: std::time::Duration,
}

fn main() {}
