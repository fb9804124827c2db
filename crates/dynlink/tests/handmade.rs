//! Units built by hand, in a machine without a program: tests how the linker resolves names, also in ways that `ocamlc`
//! does not produce.

use spelter_bytecode::code::bytes_of_words;
use spelter_bytecode::obj::{CompilationUnit, Literals, Reloc};
use spelter_bytecode::{Dialect, Ident, Opcode};
use spelter_dynlink::{LinkError, Linker, Strategy, Visibility, load_unit, withdraw};
use spelter_interp::{Machine, Settings, Slot};

/// A module {`number`, a function}; the function adds one to field 0 of `source`.
fn unit(name: &str, number: i32, source: &str) -> CompilationUnit {
    use Opcode::{BRANCH, CLOSURE, GETGLOBALFIELD, MAKEBLOCK2, OFFSETINT, PUSHCONSTINT, RETURN, SETGLOBAL};
    let op = Opcode::word;
    #[rustfmt::skip]
    let words = [
        op(BRANCH), 8,
        op(GETGLOBALFIELD), 0, 0, // at 2: the function
        op(OFFSETINT), 1,
        op(RETURN), 1,
        op(CLOSURE), 0, 2 - 11, // at 9: the initialiser
        op(PUSHCONSTINT), number,
        op(MAKEBLOCK2), 0,
        op(SETGLOBAL), 0,
    ];
    let ident = |name: &str| Ident::Unit(name.into());
    // Starts from an arbitrary file.
    let file = include_bytes!("../../spelter/tests/fixtures/liveness/base.cmo");
    let mut unit = CompilationUnit::read(file).unwrap();
    unit.name = name.to_owned();
    unit.code = bytes_of_words(&words);
    unit.relocs = vec![(Reloc::GetGlobal(ident(source)), 4 * 3), (Reloc::SetGlobal(ident(name)), 4 * 17)];
    unit.literals = Literals::default();
    unit.imports.clear();
    unit.required_globals.clear();
    unit.primitives.clear();
    unit
}

fn machines() -> impl Iterator<Item = Machine> {
    [Strategy::Carry, Strategy::Stub].into_iter().map(|strategy| {
        let mut m = Machine::new(Settings::default());
        Linker::of(&mut m).strategy = strategy;
        m
    })
}

/// Calls a module's function.
fn call(m: &mut Machine, module: Slot) -> i64 {
    let f = m.push_field(module, 1).unwrap();
    let unit = m.push_int(0);
    m.call(f, &[unit]).unwrap().int().unwrap()
}

fn alive(m: &mut Machine) -> usize {
    m.collect_full();
    m.units().loaded().count()
}

#[test]
fn a_unit_reads_its_own_module() {
    for mut m in machines() {
        let mark = m.mark();
        let loaded = load_unit(&mut m, &unit("Own", 41, "Own"), Visibility::Private).unwrap();
        let module = loaded.push_module(&mut m).unwrap();
        assert_eq!(call(&mut m, module), 42);
        m.release(mark);
        drop(loaded);
        assert_eq!(alive(&mut m), 0, "a module in its unit's own slot keeps nothing alive");
        assert_eq!((m.kept_count(), m.heap().weak_count(), m.stack_depth()), (0, 0, mark));
    }
}

#[test]
fn a_name_means_what_is_public_at_the_load() {
    for mut m in machines() {
        let mark = m.mark();
        load_unit(&mut m, &unit("Source", 1, "Source"), Visibility::Public).unwrap();
        let first = load_unit(&mut m, &unit("First", 0, "Source"), Visibility::Private).unwrap();
        load_unit(&mut m, &unit("Source", 2, "Source"), Visibility::Public).unwrap();
        let second = load_unit(&mut m, &unit("Second", 0, "Source"), Visibility::Private).unwrap();
        assert_eq!(Linker::of(&mut m).public_names().collect::<Vec<_>>(), ["Source"]);
        assert!(withdraw(&mut m, "Source"));
        let missing = load_unit(&mut m, &unit("Third", 0, "Source"), Visibility::Private).unwrap_err();
        assert!(matches!(missing, LinkError::MissingImport { .. }), "{missing}");
        assert_eq!(alive(&mut m), 4);
        for (loaded, result, left) in [(first, 2, 2), (second, 3, 0)] {
            let module = loaded.push_module(&mut m).unwrap();
            assert_eq!(call(&mut m, module), result);
            m.release(mark);
            drop(loaded);
            assert_eq!(alive(&mut m), left, "an import dies with its last importer");
        }
    }
}

#[test]
fn the_first_unit_settles_the_version() {
    let of = |name, dialect| {
        let mut unit = unit(name, 1, name);
        unit.dialect = dialect;
        unit
    };
    for mut m in machines() {
        let mark = m.mark();
        let mut failed = unit("Early", 0, "Nowhere");
        failed.dialect = Dialect::V5_3;
        load_unit(&mut m, &failed, Visibility::Private).unwrap_err();
        assert_eq!(m.dialect(), Dialect::V4_13, "a unit that was refused settles nothing");
        let first = load_unit(&mut m, &of("First", Dialect::V5_4), Visibility::Private).unwrap();
        assert_eq!(m.dialect(), Dialect::V5_4);
        load_unit(&mut m, &of("Second", Dialect::V5_4), Visibility::Private).unwrap();
        drop(first);
        m.release(mark);
        assert_eq!(alive(&mut m), 0);
        let refused = load_unit(&mut m, &of("Third", Dialect::V4_13), Visibility::Private).unwrap_err();
        assert!(
            matches!(refused, LinkError::OtherVersion { found: "4.13", machine: "5.4", .. }),
            "{refused}"
        );
        assert_eq!(refused.to_string().lines().count(), 1);
    }
}
