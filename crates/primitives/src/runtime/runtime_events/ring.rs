//! Writes a file of events: a flight recorder, in which new events overwrite old ones. Readers notice that by the head,
//! which moves before an event is overwritten, and by the tail, which moves when an event is complete.

use std::cell::Cell;
use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use nix::time::{ClockId, clock_gettime};
use spelter_heap::{Figure, Observer, Work};
use spelter_interp::EventNames;

use super::layout::{
    EventHeader, FIXED_WORDS, HEADER_WORDS, MOST_EVENT_WORDS, MOST_USER_EVENTS, NAME_BYTES, NAME_WORDS,
    POSITION_WORDS, VERSION, WORD, runtime,
};
use super::names::{Counter, Lifecycle, Phase};
use crate::ffi::map::SharedWords;

/// Nanoseconds of a clock that never goes back (`caml_time_counter`).
pub(crate) fn now() -> u64 {
    let time = clock_gettime(ClockId::CLOCK_MONOTONIC);
    time.map_or(0, |t| t.tv_sec() as u64 * 1_000_000_000 + t.tv_nsec() as u64)
}

/// Why there is no ring.
#[derive(Debug)]
pub(super) enum NoRing {
    /// The file cannot be opened.
    Open,
    /// It cannot have its size.
    Resize,
    /// It cannot be mapped.
    Map,
}

/// What a file of events contains.
#[derive(Clone, Copy)]
pub(super) struct Plan {
    /// The number of rings.
    pub(super) domains: usize,
    /// Words of each ring, a power of two.
    pub(super) ring_words: usize,
    /// Whether there is room for names.
    pub(super) has_names: bool,
    /// The names of the runtime's events.
    pub(super) names: EventNames,
}

/// The rings of this process.
pub(super) struct Rings {
    file: SharedWords,
    path: PathBuf,
    plan: Plan,
    /// The domain that runs.
    domain: Cell<usize>,
    pub(super) paused: Cell<bool>,
}

impl Rings {
    pub(super) fn create(path: &Path, plan: Plan) -> Result<Rings, NoRing> {
        let mut options = OpenOptions::new();
        let options = options.read(true).write(true).create(true).truncate(false).mode(0o600);
        let file = options.open(path).map_err(|_| NoRing::Open)?;
        let names = if plan.has_names { MOST_USER_EVENTS * NAME_WORDS } else { 0 };
        let per_domain = plan.ring_words.checked_add(POSITION_WORDS);
        let words =
            per_domain.and_then(|words| words.checked_mul(plan.domains)?.checked_add(HEADER_WORDS + names));
        let bytes = words.and_then(|words| u64::try_from(words.checked_mul(WORD)?).ok());
        let (words, bytes) = words.zip(bytes).ok_or(NoRing::Resize)?;
        file.set_len(bytes).map_err(|_| NoRing::Resize)?;
        let file = SharedWords::map(&file, words).map_err(|_| NoRing::Map)?;
        let rings =
            Rings { file, path: path.to_owned(), plan, domain: Cell::new(0), paused: Cell::new(false) };
        rings.write_header();
        Ok(rings)
    }

    fn write_header(&self) {
        let bytes = |words: usize| (words * WORD) as u64;
        let data = self.data_of(0);
        let header = [
            VERSION,
            self.plan.domains as u64,
            bytes(POSITION_WORDS),
            bytes(self.plan.ring_words),
            self.plan.ring_words as u64,
            bytes(HEADER_WORDS),
            bytes(data),
            if self.plan.has_names { bytes(self.names_at()) } else { 0 },
        ];
        for (at, word) in header.into_iter().enumerate() {
            self.word(at).store(word, Ordering::Relaxed);
        }
        // The file may be that of a process that had the same number.
        for domain in 0..self.plan.domains {
            let [head, tail] = self.positions(domain);
            head.store(0, Ordering::Release);
            tail.store(0, Ordering::Release);
        }
    }

    fn word(&self, at: usize) -> &AtomicU64 {
        &self.file.words()[at]
    }

    /// The head and the tail of a domain's ring.
    fn positions(&self, domain: usize) -> [&AtomicU64; 2] {
        let at = HEADER_WORDS + domain * POSITION_WORDS;
        [self.word(at), self.word(at + 1)]
    }

    /// Where the events of a domain begin.
    fn data_of(&self, domain: usize) -> usize {
        HEADER_WORDS + self.plan.domains * POSITION_WORDS + domain * self.plan.ring_words
    }

    fn names_at(&self) -> usize {
        self.data_of(self.plan.domains)
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn ring_words(&self) -> usize {
        self.plan.ring_words
    }

    pub(super) fn enter_domain(&self, domain: usize) {
        self.domain.set(domain);
    }

    /// Writes an event into the ring of the domain that runs. It has room for an event and what is skipped at the end of
    /// the ring, or the event is dropped.
    pub(super) fn write(&self, is_user: bool, kind: u64, id: u64, content: &[u64]) {
        let (size, words) = (self.plan.ring_words, content.len() + FIXED_WORDS);
        let domain = self.domain.get();
        if domain >= self.plan.domains || words > MOST_EVENT_WORDS {
            return;
        }
        let [head, tail] = self.positions(domain);
        let ring = &self.file.words()[self.data_of(domain)..][..size];
        let mask = size as u64 - 1;
        let (mut from, mut to) = (head.load(Ordering::Acquire), tail.load(Ordering::Acquire));
        // Events do not wrap around.
        let rest = size - (to & mask) as usize;
        let skipped = if rest < words { rest } else { 0 };
        let needed = (words + skipped) as u64;
        if needed >= size as u64 {
            return;
        }
        if to.wrapping_sub(from) > size as u64 {
            // Another process has written into the file: nothing in the ring can be read.
            from = to;
            head.store(from, Ordering::Release);
        }
        while to.wrapping_add(needed).wrapping_sub(from) >= size as u64 {
            let oldest = EventHeader::of_word(ring[(from & mask) as usize].load(Ordering::Relaxed));
            // This may have been overwritten, too.
            from = from.wrapping_add(oldest.words.max(1) as u64);
            head.store(from, Ordering::Release);
        }
        if skipped > 0 {
            let padding = EventHeader { words: skipped, is_user: false, kind: runtime::PADDING, id: 0 };
            ring[(to & mask) as usize].store(padding.to_word(), Ordering::Relaxed);
            to = to.wrapping_add(skipped as u64);
            tail.store(to, Ordering::Release);
        }
        let header = EventHeader { words, is_user, kind, id }.to_word();
        let at = (to & mask) as usize;
        for (word, n) in ring[at..].iter().zip([header, now()].into_iter().chain(content.iter().copied())) {
            word.store(n, Ordering::Relaxed);
        }
        tail.store(to.wrapping_add(words as u64), Ordering::Release);
    }

    /// Writes an event of the runtime, unless paused.
    fn write_own(&self, kind: u64, id: Option<u64>, content: &[u64]) {
        if let Some(id) = id
            && !self.paused.get()
        {
            self.write(false, kind, id, content);
        }
    }

    pub(super) fn phase_begins(&self, phase: Phase) {
        self.write_own(runtime::BEGIN, phase.number(self.plan.names), &[]);
    }

    pub(super) fn phase_ends(&self, phase: Phase) {
        self.write_own(runtime::END, phase.number(self.plan.names), &[]);
    }

    pub(super) fn counter(&self, counter: Counter, n: u64) {
        self.write_own(runtime::COUNTER, counter.number(self.plan.names), &[n]);
    }

    pub(super) fn lifecycle(&self, event: Lifecycle, data: i64) {
        self.write_own(runtime::LIFECYCLE, Some(event as u64), &[data as u64]);
    }

    /// The last event of all, which has no data, and is written even if paused.
    pub(super) fn stop(&self) {
        self.write(false, runtime::LIFECYCLE, Lifecycle::RingStop as u64, &[]);
    }

    /// Writes the name of an event that the program has defined.
    pub(super) fn set_name(&self, index: usize, name: &[u8]) {
        if !self.plan.has_names || index >= MOST_USER_EVENTS {
            return;
        }
        let mut bytes = [0; NAME_BYTES];
        let len = name.len().min(NAME_BYTES - 1);
        bytes[..len].copy_from_slice(&name[..len]);
        let (words, _) = bytes.as_chunks::<WORD>();
        for (i, word) in words.iter().enumerate() {
            self.word(self.names_at() + index * NAME_WORDS + i)
                .store(u64::from_ne_bytes(*word), Ordering::Relaxed);
        }
    }
}

/// Tells the rings about collections.
pub(super) struct Recorder(pub(super) std::rc::Rc<Rings>);

impl Observer for Recorder {
    fn begin(&self, work: Work) {
        self.0.phase_begins(Phase::of(work));
    }

    fn end(&self, work: Work) {
        self.0.phase_ends(Phase::of(work));
    }

    fn count(&self, figure: Figure, n: u64) {
        let (counter, other) = Counter::of(figure, n);
        for (counter, n) in std::iter::once(counter).chain(other) {
            self.0.counter(counter, n);
        }
    }

    fn turn(&self, worker: usize) {
        self.0.enter_domain(worker);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::libs::runtime_events::file::{Events, Next};
    use crate::runtime::runtime_events::layout::user;

    const PLAN: Plan = Plan {
        domains: 2,
        ring_words: 32,
        has_names: true,
        names: EventNames { phases: 49, memprof: true, counters: 26 },
    };

    /// Rings in a file that has no name any more, and a reader of it.
    fn rings(plan: Plan) -> (Rings, Events) {
        let folder = tempfile::tempdir().unwrap();
        let rings = Rings::create(&folder.path().join("1.events"), plan).unwrap();
        let file = std::fs::File::open(rings.path()).unwrap();
        (rings, Events::open(file).unwrap().unwrap())
    }

    /// All new events of a domain: their content, or how many words were lost.
    fn read(events: &mut Events, domain: usize) -> Vec<Result<Vec<u64>, u64>> {
        let mut all = Vec::new();
        loop {
            let words = match events.next(domain).unwrap().0 {
                Next::Nothing => return all,
                Next::Lost(words) => {
                    all.push(Err(words));
                    words
                }
                Next::Event(header) => {
                    if !header.is_padding() {
                        all.push(Ok(events.event[FIXED_WORDS..].to_vec()));
                    }
                    header.words as u64
                }
            };
            events.advance(domain, words);
        }
    }

    #[test]
    fn each_domain_has_a_ring() {
        let (rings, mut events) = rings(PLAN);
        events.check().unwrap();
        rings.write(true, user::INT, 3, &[7]);
        rings.enter_domain(1);
        rings.write(true, user::INT, 3, &[8]);
        rings.enter_domain(2);
        rings.write(true, user::INT, 3, &[9]);
        assert_eq!(read(&mut events, 0), [Ok(vec![7])]);
        assert_eq!(read(&mut events, 1), [Ok(vec![8])]);
        rings.set_name(3, b"three");
        rings.set_name(MOST_USER_EVENTS, b"none");
        assert_eq!(events.name(3).unwrap(), b"three");
    }

    #[test]
    fn old_events_are_overwritten_and_readers_learn_how_many_words() {
        let (rings, mut events) = rings(PLAN);
        (0..100).for_each(|i| rings.write(true, user::INT, 0, &[i]));
        let all = read(&mut events, 0);
        let [Err(lost), rest @ ..] = &all[..] else { panic!("{all:?}") };
        let rest: Vec<u64> = rest.iter().map(|event| event.as_ref().unwrap()[0]).collect();
        // Of 32 words at least one stays free, and events of three words do not wrap around: two more are skipped.
        assert_eq!(rest, (100 - rest.len() as u64..100).collect::<Vec<_>>());
        assert!((7..=10).contains(&rest.len()), "{rest:?}");
        assert!(*lost >= 3 * (100 - rest.len() as u64), "{lost}");
        rings.write(true, user::INT, 0, &[100]);
        assert_eq!(read(&mut events, 0), [Ok(vec![100])]);
    }

    #[test]
    fn events_that_do_not_fit_are_dropped() {
        let (rings, mut events) = rings(PLAN);
        rings.write(true, user::CUSTOM, 0, &[1; 30]);
        rings.write(true, user::CUSTOM, 0, &[2; 2000]);
        rings.write(true, user::CUSTOM, 0, &[3; 20]);
        // With what is skipped at the end it would be longer than the ring.
        rings.write(true, user::CUSTOM, 0, &[4; 20]);
        assert_eq!(read(&mut events, 0), [Ok(vec![3; 20])]);
    }

    #[test]
    fn what_others_wrote_into_the_file_harms_nobody() {
        let (rings, mut events) = rings(PLAN);
        rings.write(true, user::INT, 0, &[1]);
        let [head, tail] = rings.positions(0);
        rings.word(rings.data_of(0)).store(0, Ordering::Relaxed);
        assert!(events.next(0).is_err(), "an event without words");
        rings.word(rings.data_of(0)).store(u64::MAX, Ordering::Relaxed);
        assert!(events.next(0).is_err(), "an event beyond the end");
        tail.store(u64::MAX, Ordering::Relaxed);
        head.store(u64::MAX - 3, Ordering::Relaxed);
        rings.write(true, user::INT, 0, &[2]);
        head.store(0, Ordering::Relaxed);
        tail.store(1 << 40, Ordering::Relaxed);
        rings.word(rings.data_of(0)).store(0, Ordering::Relaxed);
        assert!(events.next(0).is_err());
        rings.write(true, user::INT, 0, &[3]);
        assert_eq!(head.load(Ordering::Relaxed), 1 << 40);
    }
}
