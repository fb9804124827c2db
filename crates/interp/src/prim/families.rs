//! Primitives by name, in a table that is computed at compile time, so that nothing is filled at start-up.

use spelter_bytecode::dialect::Release;

use crate::Prim;

/// A primitive: its name, its function, and the versions of OCaml that have it.
#[derive(Clone, Copy)]
pub struct Row {
    /// The name by which code calls it.
    pub name: &'static str,
    /// Its function.
    pub prim: Prim,
    /// Where it exists.
    pub versions: Versions,
}

/// The versions of OCaml that have a primitive: from the first, up to but without the second.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Versions(Option<Release>, Option<Release>);

impl Versions {
    /// Every version.
    pub const ALL: Versions = Versions(None, None);

    /// This version and all later ones.
    pub const fn since(first: Release) -> Versions {
        Versions(Some(first), None)
    }

    /// All versions before this one.
    pub const fn before(end: Release) -> Versions {
        Versions(None, Some(end))
    }

    /// From the first of these versions up to, but without, the second.
    pub const fn between(first: Release, end: Release) -> Versions {
        Versions(Some(first), Some(end))
    }

    /// Whether this version is among them.
    pub fn contains(self, release: Release) -> bool {
        self.0.is_none_or(|first| first <= release) && self.1.is_none_or(|end| release < end)
    }

    /// Whether no version is among both.
    const fn excludes(self, other: Versions) -> bool {
        const fn ends_before(a: Versions, b: Versions) -> bool {
            matches!((a.1, b.0), (Some(end), Some(first)) if end as u8 <= first as u8)
        }
        ends_before(self, other) || ends_before(other, self)
    }
}

/// The rows of one family: the table at the end of a file of primitives.
pub type Table = &'static [Row];

/// Families of primitives, which can be found by name. Made by [`families!`](crate::families!).
pub struct Families {
    tables: &'static [Table],
    names: &'static NameTable,
}

/// Declares families from the tables of some files of primitives:
///
/// ```
/// # use spelter_interp::{Machine, Res, Slot, Val, families, prims};
/// # fn int_neg(m: &mut Machine, [a]: [Slot; 1]) -> Res<'_> { Ok(Val::from_int(-m.int(a)?)) }
/// prims! {
///     "my_int_neg" P1 int_neg,
/// }
/// families! {
///     static MINE = [TABLE];
/// }
/// # use spelter_bytecode::dialect::Release::V5_4;
/// assert!(MINE.find("my_int_neg", V5_4).is_some() && MINE.find("my_int_not", V5_4).is_none());
/// ```
///
/// It does not compile when two primitives have the same name in some version.
#[macro_export]
macro_rules! families {
    ($(#[$doc:meta])* $vis:vis static $name:ident = [$($table:expr),* $(,)?];) => {
        $(#[$doc])*
        $vis static $name: $crate::Families = {
            static TABLES: &[$crate::Table] = &[$($table),*];
            static NAMES: $crate::NameTable = $crate::NameTable::new(TABLES);
            $crate::Families::new(TABLES, &NAMES)
        };
    };
}

impl Families {
    #[doc(hidden)]
    pub const fn new(tables: &'static [Table], names: &'static NameTable) -> Families {
        Families { tables, names }
    }

    /// The primitive with this name in a version of OCaml.
    #[inline]
    pub fn find(&self, name: &str, release: Release) -> Option<&'static Row> {
        let mut entry = hash(name.as_bytes());
        while let Some(row) = self.names.row(entry, self.tables) {
            if row.name == name && row.versions.contains(release) {
                return Some(row);
            }
            entry = (entry + 1) % ENTRIES;
        }
        None
    }

    /// All primitives, family by family.
    pub fn rows(&self) -> impl Iterator<Item = &'static Row> {
        self.tables.iter().flat_map(|table| table.iter())
    }
}

/// A hash table of names. An entry holds the number plus one of a family, and the number of a row; free entries are
/// zero. It contains no addresses, so that it needs no relocation.
#[doc(hidden)]
pub struct NameTable([(u8, u8); ENTRIES]);

/// The number of entries: a power of two.
const ENTRIES: usize = 1 << ENTRY_BITS;
const ENTRY_BITS: u32 = 11;

impl NameTable {
    /// The table for these rows.
    ///
    /// # Panics
    /// At compile time, when two primitives have the same name, or there are too many.
    pub const fn new(tables: &'static [Table]) -> NameTable {
        let mut names = NameTable([(0, 0); ENTRIES]);
        let (mut table, mut count) = (0, 0);
        while table < tables.len() {
            let mut row = 0;
            while row < tables[table].len() {
                assert!(table < u8::MAX as usize && row <= u8::MAX as usize, "more than an entry can hold");
                let Row { name, versions, .. } = tables[table][row];
                let mut entry = hash(name.as_bytes());
                while let Some(known) = names.row(entry, tables) {
                    let free =
                        !same(known.name.as_bytes(), name.as_bytes()) || known.versions.excludes(versions);
                    assert!(free, "a name stands twice");
                    entry = (entry + 1) % ENTRIES;
                }
                names.0[entry] = (table as u8 + 1, row as u8);
                row += 1;
                count += 1;
            }
            table += 1;
        }
        assert!(2 * count <= ENTRIES, "too few entries for the number of primitives");
        names
    }

    const fn row(&self, entry: usize, tables: &'static [Table]) -> Option<&'static Row> {
        match self.0[entry] {
            (0, _) => None,
            (table, row) => Some(&tables[table as usize - 1][row as usize]),
        }
    }
}

/// Knuth's multiplicative hash of a name's ends and length, which distinguish the names of primitives well enough.
const fn hash(name: &[u8]) -> usize {
    let ends = match (name.first_chunk(), name.last_chunk()) {
        (Some(first), Some(last)) => u64::from_le_bytes(*first) ^ u64::from_le_bytes(*last).rotate_left(29),
        _ => 0,
    };
    let mixed = (ends ^ name.len() as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    (mixed >> (u64::BITS - ENTRY_BITS)) as usize
}

/// `==`, which is not available at compile time yet.
const fn same(a: &[u8], b: &[u8]) -> bool {
    let mut i = 0;
    while i < a.len() && i < b.len() && a[i] == b[i] {
        i += 1;
    }
    i == a.len() && i == b.len()
}
