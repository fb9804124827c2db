//! Why a unit could not be linked.

use spelter_interp::{LoadError, Raise, fallible};

/// Why a unit could not be loaded. All tables are then unchanged.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    /// The file is damaged, of another kind, or of another version.
    #[error(transparent)]
    Format(spelter_bytecode::Error),
    /// It was compiled by another version of OCaml than the program, or the units loaded before.
    #[error(
        "unit {unit} was compiled by OCaml {found}, but this machine runs code of OCaml {machine}; recompile it with \
         that version"
    )]
    OtherVersion {
        /// The unit that was to be loaded.
        unit: String,
        /// Its version.
        found: &'static str,
        /// The version of the program, or of the first unit.
        machine: &'static str,
    },
    /// It needs a module that is neither in the program nor loaded.
    #[error("unit {unit} needs module {import}, which is neither in the program nor loaded; load it first")]
    MissingImport {
        /// The unit that was to be loaded.
        unit: String,
        /// What it needs.
        import: String,
    },
    /// It needs a module that is neither in the machine's libraries nor loaded.
    #[error(
        "unit {unit} needs module {import}, which is neither loaded nor in the libraries of this machine \
         ({libraries}); load it first, or build the machine with the library that has it"
    )]
    NotInLibraries {
        /// The unit that was to be loaded.
        unit: String,
        /// What it needs.
        import: String,
        /// The libraries.
        libraries: String,
    },
    /// It needs a module whose initialiser has not run yet.
    #[error("unit {unit} needs module {import}, which has not been initialised yet")]
    Uninitialised {
        /// The unit that was to be loaded.
        unit: String,
        /// What it needs.
        import: String,
    },
    /// It was compiled against a different interface.
    #[error(
        "unit {unit} and the program disagree about interface {import}; recompile {unit} against the program's \
         {import}.cmi"
    )]
    InterfaceMismatch {
        /// The unit that was to be loaded.
        unit: String,
        /// The module whose interface differs.
        import: String,
    },
    /// It calls a primitive that is not registered.
    #[error(
        "unit {unit} calls primitive {name}, which this runtime does not have; register it before loading"
    )]
    MissingPrimitive {
        /// The unit that was to be loaded.
        unit: String,
        /// The primitive.
        name: String,
    },
    /// It calls a primitive that reaches outside the machine and is not granted.
    #[error("unit {unit} calls primitive {name}, which is not granted ({grant})")]
    NotGranted {
        /// The unit that was to be loaded.
        unit: String,
        /// The primitive.
        name: String,
        /// What would grant it.
        grant: &'static str,
    },
    /// A relocation does not fit the code.
    #[error("unit {unit}, relocation at byte {offset:#x} of the code: {why}; the file may be damaged")]
    Relocation {
        /// The unit that was to be loaded.
        unit: String,
        /// The byte offset.
        offset: usize,
        /// What is wrong.
        why: &'static str,
    },
    /// It has a literal that no compiler writes.
    #[error("unit {unit} has a literal with the tag of a closure or of raw data; the file may be damaged")]
    Literal {
        /// The unit that was to be loaded.
        unit: String,
    },
    /// There is no loaded version of it to replace.
    #[error(
        "unit {unit} cannot be reloaded: the namespace has no unit of that name; load it as public first"
    )]
    NotLoaded {
        /// The unit.
        unit: String,
    },
    /// A new version does not fit the units that were linked with the old one.
    #[error(
        "unit {unit} has another interface than the version that unit {importer} was linked with; \
         withdraw {importer} or recompile both"
    )]
    InterfaceChanged {
        /// The new version.
        unit: String,
        /// A unit that was linked with the old one.
        importer: String,
    },
    /// Its frames are larger than the stack limit.
    #[error("unit {unit} has functions whose frames are larger than the stack may grow; raise the limit")]
    Frames {
        /// The unit that was to be loaded.
        unit: String,
    },
    /// There is no memory for it.
    #[error("unit {unit}: no memory left to load it")]
    OutOfMemory {
        /// The unit that was to be loaded.
        unit: String,
    },
    /// Its initialiser ended in an exception (the machine's current one), or left the machine.
    #[error("unit {unit}: its initialiser failed")]
    Initialiser {
        /// The unit that was to be loaded.
        unit: String,
        /// How it ended.
        raise: Raise,
    },
}

impl From<spelter_bytecode::Error> for LinkError {
    fn from(e: spelter_bytecode::Error) -> Self {
        if e.is_out_of_memory() { LinkError::out_of_memory("") } else { LinkError::Format(e) }
    }
}

impl LinkError {
    pub(crate) fn of_load(unit: &str, e: LoadError) -> Self {
        match e {
            LoadError::Format(e) => LinkError::Format(e),
            LoadError::Frames => LinkError::Frames { unit: unit.to_owned() },
            LoadError::Globals | LoadError::OutOfMemory => LinkError::out_of_memory(unit),
        }
    }

    /// The error for lack of memory; there may not even be memory for the name.
    #[cold]
    pub(crate) fn out_of_memory(unit: &str) -> Self {
        LinkError::OutOfMemory { unit: fallible::to_string(unit).unwrap_or_default() }
    }
}
