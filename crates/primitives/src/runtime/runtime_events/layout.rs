//! The layout of a file of events (`runtime_events.h`). It consists of 64-bit words: a header, a head and a tail for each
//! domain, a ring of events for each domain, and names.

/// The version of the layout.
pub(crate) const VERSION: u64 = 1;
/// Words of the file's header: version, domains, bytes of a ring's positions, bytes of a ring, words of a ring, and where
/// positions, rings and names begin.
pub(crate) const HEADER_WORDS: usize = 8;
/// Words of a ring's positions: head, tail, and nothing, so that no two rings share a cache line.
pub(crate) const POSITION_WORDS: usize = 10;
/// The number of events that programs can define, and the bytes for each one's name, with a NUL.
pub(crate) const MOST_USER_EVENTS: usize = 1 << 13;
pub(crate) const NAME_BYTES: usize = 128;
pub(crate) const NAME_WORDS: usize = NAME_BYTES / WORD;
/// An event has at most this many words.
pub(crate) const MOST_EVENT_WORDS: usize = (1 << 10) - 1;
/// Words of an event's header and time.
pub(crate) const FIXED_WORDS: usize = 2;
/// The largest number of an event.
const LARGEST_ID: u64 = (1 << 13) - 1;
/// Bytes of a word.
pub(crate) const WORD: usize = 8;

/// The types of the runtime's events (`ev_runtime_message_type`).
pub(crate) mod runtime {
    /// Only a header, which tells how many words to skip.
    pub(crate) const PADDING: u64 = 0;
    pub(crate) const LIFECYCLE: u64 = 1;
    pub(crate) const BEGIN: u64 = 2;
    pub(crate) const END: u64 = 3;
    pub(crate) const COUNTER: u64 = 4;
    pub(crate) const ALLOC: u64 = 5;
}

/// The types of programs' events (`ev_user_message_type`).
pub(crate) mod user {
    pub(crate) const UNIT: u64 = 0;
    pub(crate) const INT: u64 = 1;
    pub(crate) const SPAN_BEGIN: u64 = 2;
    pub(crate) const SPAN_END: u64 = 3;
    pub(crate) const CUSTOM: u64 = 4;
}

/// The types of programs' events, as OCaml numbers them (`ev_user_ml_type`).
pub(crate) mod user_type {
    pub(crate) const UNIT: i64 = 0;
    pub(crate) const INT: i64 = 1;
    pub(crate) const SPAN: i64 = 2;
}

/// An event's first word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct EventHeader {
    /// Words, with this one.
    pub(crate) words: usize,
    pub(crate) is_user: bool,
    pub(crate) kind: u64,
    pub(crate) id: u64,
}

impl EventHeader {
    /// Of the event's number, which a program may have forged, only the bits are used that have room.
    pub(crate) fn to_word(self) -> u64 {
        let id = self.id & LARGEST_ID;
        (self.words as u64) << 54 | u64::from(self.is_user) << 53 | self.kind << 49 | id << 36
    }

    pub(crate) fn of_word(word: u64) -> EventHeader {
        EventHeader {
            words: (word >> 54) as usize,
            is_user: word >> 53 & 1 == 1,
            kind: word >> 49 & 0xF,
            id: word >> 36 & LARGEST_ID,
        }
    }

    pub(crate) fn is_padding(self) -> bool {
        !self.is_user && self.kind == runtime::PADDING
    }
}
