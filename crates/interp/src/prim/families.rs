//! Primitives by name, in a table that the compiler makes: a start fills none.

use crate::Prim;

/// A primitive with its name.
pub type Row = (&'static str, Prim);

/// One family's rows: what a file of primitives offers at its end.
pub type Table = &'static [Row];

/// Families of primitives, each of which is found by its name. [`families!`](crate::families!) makes them.
pub struct Families {
    tables: &'static [Table],
    places: &'static NameTable,
}

/// Declares families, of the tables of some files of primitives:
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
/// assert!(MINE.find("my_int_neg").is_some() && MINE.find("my_int_not").is_none());
/// ```
///
/// It does not compile when two primitives have the same name.
#[macro_export]
macro_rules! families {
    ($(#[$doc:meta])* $vis:vis static $name:ident = [$($table:expr),* $(,)?];) => {
        $(#[$doc])*
        $vis static $name: $crate::Families = {
            static TABLES: &[$crate::Table] = &[$($table),*];
            static PLACES: $crate::NameTable = $crate::NameTable::new(TABLES);
            $crate::Families::new(TABLES, &PLACES)
        };
    };
}

impl Families {
    #[doc(hidden)]
    pub const fn new(tables: &'static [Table], places: &'static NameTable) -> Families {
        Families { tables, places }
    }

    /// The primitive of this name.
    #[inline]
    pub fn find(&self, name: &str) -> Option<&'static Row> {
        let mut place = hash(name.as_bytes());
        while let Some(row) = self.places.row(place, self.tables) {
            if row.0 == name {
                return Some(row);
            }
            place = (place + 1) % PLACES;
        }
        None
    }

    /// All primitives, family by family.
    pub fn rows(&self) -> impl Iterator<Item = &'static Row> {
        self.tables.iter().flat_map(|table| table.iter())
    }
}

/// By hash, the number of a family and one more, and that of a row; zeroes where there is none. It has no addresses, so
/// that nobody has to write to it.
#[doc(hidden)]
pub struct NameTable([(u8, u8); PLACES]);

/// How many places there are: a power of two.
const PLACES: usize = 1 << PLACE_BITS;
const PLACE_BITS: u32 = 11;

impl NameTable {
    /// The places of these rows.
    ///
    /// # Panics
    /// That is, does not compile: when two primitives have the same name, or there are more than fit.
    pub const fn new(tables: &'static [Table]) -> NameTable {
        let mut places = NameTable([(0, 0); PLACES]);
        let (mut table, mut count) = (0, 0);
        while table < tables.len() {
            let mut row = 0;
            while row < tables[table].len() {
                assert!(table < u8::MAX as usize && row <= u8::MAX as usize, "more than a place can hold");
                let mut place = hash(tables[table][row].0.as_bytes());
                while let Some((known, _)) = places.row(place, tables) {
                    assert!(!same(known.as_bytes(), tables[table][row].0.as_bytes()), "a name stands twice");
                    place = (place + 1) % PLACES;
                }
                places.0[place] = (table as u8 + 1, row as u8);
                row += 1;
                count += 1;
            }
            table += 1;
        }
        assert!(2 * count <= PLACES, "too few places for so many primitives");
        places
    }

    const fn row(&self, place: usize, tables: &'static [Table]) -> Option<&'static Row> {
        match self.0[place] {
            (0, _) => None,
            (table, row) => Some(&tables[table as usize - 1][row as usize]),
        }
    }
}

/// Knuth's multiplicative hash of a name's ends and length, which tell the names of primitives apart well enough.
const fn hash(name: &[u8]) -> usize {
    let ends = match (name.first_chunk(), name.last_chunk()) {
        (Some(first), Some(last)) => u64::from_le_bytes(*first) ^ u64::from_le_bytes(*last).rotate_left(29),
        _ => 0,
    };
    let mixed = (ends ^ name.len() as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    (mixed >> (u64::BITS - PLACE_BITS)) as usize
}

/// `==`, which the compiler cannot run yet.
const fn same(a: &[u8], b: &[u8]) -> bool {
    let mut i = 0;
    while i < a.len() && i < b.len() && a[i] == b[i] {
        i += 1;
    }
    i == a.len() && i == b.len()
}
