//! The primitives by which OCaml's own `Dynlink`, toplevel and compiler open shared libraries of C primitives and look
//! names up (`runtime/dynlink.c`).
//!
//! Built-in libraries are known by name. Others need a loader, and stay open for ever: the units that name their
//! primitives may be freed like others.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use spelter_interp::{Machine, Raise, Res, Slot, Val, fallible, prims};

use crate::linker::{Linked, Linker};

/// The name of a library, from its file name: without folder and suffix. Names may also end with the system and the
/// properties of the runtime (`dllunixbyt-x86_64-pc-linux-gnu-a104.so`).
fn library_name(file: &str, with_system: bool) -> &str {
    let name = file.rsplit('/').next().unwrap_or(file);
    let name = name.strip_suffix(".so").unwrap_or(name);
    match name.split_once('-') {
        Some((name, _)) if with_system => name,
        _ => name,
    }
}

/// How a loader's library, or the address of its primitive, begins when it is a value. Names of libraries and of
/// primitives do not.
const FOREIGN: u8 = 0;

/// The value that stands for a loader's library; with a name, that for the address of a primitive.
fn foreign_value(library: usize, name: &str) -> Vec<u8> {
    [&[FOREIGN], &library.to_le_bytes()[..], name.as_bytes()].concat()
}

/// The library, and the rest, of a value that [`foreign_value`] has made.
fn foreign_of(value: &[u8]) -> Option<(usize, &[u8])> {
    let (library, rest) = value.strip_prefix(&[FOREIGN])?.split_first_chunk()?;
    Some((usize::from_le_bytes(*library), rest))
}

/// Opens a shared library. Built-in libraries stand for the files with their names, and the handle is the name. Others
/// need a loader.
fn dynlink_open_lib(m: &mut Machine, [file]: [Slot; 1]) -> Res<'_> {
    let (text, with_system) = (m.text(file)?, m.behaviour().libraries_name_system);
    if let Some(library) = m.prims().library(library_name(&text, with_system)) {
        let name = library.name;
        return m.new_string(name.as_bytes());
    }
    let Some(loader) = m.loader() else {
        // The name is copied into a path and, by doubling, into the message.
        fallible::afford(text.len().saturating_mul(4))?;
        return Err(Raise::failure(match text.contains('/') && Path::new(&text).exists() {
            true => {
                format!("{text}: libraries in C need a machine that trusts its code and has a loader of them")
            }
            false => format!("{text}: cannot open shared object file: No such file or directory"),
        }));
    };
    let path = PathBuf::from(OsStr::from_bytes(m.bytes(file)?));
    let handle = (loader.open)(m, &path).map_err(Raise::failure)?;
    m.new_string(&foreign_value(handle, ""))
}

/// The same, when the first argument says whether to link.
fn dynlink_open_lib_with_mode(m: &mut Machine, [_, file]: [Slot; 2]) -> Res<'_> {
    dynlink_open_lib(m, [file])
}

/// Does nothing: values and roots may lead to what is in a library.
fn dynlink_close_lib(_: &mut Machine, [_]: [Slot; 1]) -> Res<'_> {
    Ok(Val::from_int(0))
}

/// The address of a library's primitive, represented by its name, after its library if a loader has opened that; `()`
/// if there is no such primitive.
fn dynlink_lookup_symbol(m: &mut Machine, [library, symbol]: [Slot; 2]) -> Res<'_> {
    let name = m.text(symbol)?;
    let address = match (m.loader(), foreign_of(m.bytes(library)?)) {
        (Some(loader), Some((library, _))) => {
            (loader.find)(Some(library), &name).map(|_| foreign_value(library, &name))
        }
        _ => {
            let library = m.text(library)?;
            let library = m.prims().library(&library);
            let found = library.and_then(|library| library.primitives.find(&name, m.dialect().release));
            found.map(|_| name.into_bytes())
        }
    };
    match address {
        Some(address) => m.new_string(&address),
        None => Ok(Val::from_int(0)),
    }
}

/// Assigns the next number to the primitive at an address.
fn dynlink_add_primitive(m: &mut Machine, [address]: [Slot; 1]) -> Res<'_> {
    let unknown = || Raise::invalid("dynlink_add_primitive");
    if let Some((library, name)) = foreign_of(m.bytes(address)?) {
        let name = fallible::lossy(name)?;
        let number = m.append_foreign(library, &name)?.ok_or_else(unknown)?;
        return Ok(Val::from_int(number as i64));
    }
    let name = m.text(address)?;
    if !m.prims().knows(&name) {
        return Err(unknown());
    }
    Ok(Val::from_int(m.append_primitive(&name)? as i64))
}

/// The libraries that the program was linked with.
fn dynlink_get_current_libs(m: &mut Machine, [_]: [Slot; 1]) -> Res<'_> {
    let libraries = Linker::of(m).libraries.clone();
    let libraries = libraries.iter();
    let handle = |library: &Linked| match library {
        Linked::BuiltIn(name) => name.clone().into_bytes(),
        Linked::Open(handle) => foreign_value(*handle, ""),
    };
    m.new_array(libraries.map(handle).collect::<Vec<_>>(), |m, handle| m.new_string(&handle))
}

prims! {
    "caml_dynlink_open_lib" P2 dynlink_open_lib_with_mode => before(V5_1),
    "caml_dynlink_open_lib" P1 dynlink_open_lib => since(V5_1),
    "caml_dynlink_close_lib" P1 dynlink_close_lib,
    "caml_dynlink_lookup_symbol" P2 dynlink_lookup_symbol,
    "caml_dynlink_add_primitive" P1 dynlink_add_primitive,
    "caml_dynlink_get_current_libs" P1 dynlink_get_current_libs,
}
