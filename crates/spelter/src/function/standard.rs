//! Types of the standard library that stand for predefined ones.

use spelter_bytecode::cmi::{Kind, Path, Root, Type};

/// The modules whose type `t` is a predefined type, or `result`.
const SAME: [(&str, &str); 14] = [
    ("Array", "array"),
    ("Bool", "bool"),
    ("Bytes", "bytes"),
    ("Char", "char"),
    ("Float", "float"),
    ("Int", "int"),
    ("Int32", "int32"),
    ("Int64", "int64"),
    ("List", "list"),
    ("Nativeint", "nativeint"),
    ("Option", "option"),
    ("Result", "result"),
    ("String", "string"),
    ("Unit", "unit"),
];

/// The name and arguments of a predefined type, of `result`, or of a type of the standard library that is the same.
pub(super) fn name<'i>(ty: &Type<'i>) -> Option<(&'i str, Vec<Type<'i>>)> {
    let Kind::Constructor { path, arguments } = ty.kind() else { return None };
    Some((name_of(path)?, arguments))
}

fn name_of(path: &Path) -> Option<&str> {
    let names: Vec<&str> = path.names.iter().map(String::as_str).collect();
    let module = match (&path.root, names.as_slice()) {
        (Root::Predefined(name), []) => return Some(name),
        (Root::Unit(unit), ["result"]) if unit == "Stdlib" => return Some("result"),
        (Root::Unit(unit), ["Float", "Array", "t"]) if unit == "Stdlib" => return Some("floatarray"),
        (Root::Unit(unit), ["Array", "t"]) if unit == "Stdlib__Float" => return Some("floatarray"),
        (Root::Unit(unit), [module, "t"]) if unit == "Stdlib" => module,
        (Root::Unit(unit), ["t"]) => unit.strip_prefix("Stdlib__")?,
        _ => return None,
    };
    SAME.iter().find(|(name, _)| *name == module).map(|(_, name)| *name)
}
