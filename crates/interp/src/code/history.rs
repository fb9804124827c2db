//! A history of loaded code, for reports: recorded only on request, and in bounded space.

use std::time::{Duration, Instant};

use indexmap::IndexMap;

use crate::Machine;
use crate::code::{Registry, Unit, UnitCounts};

/// The kind of an event.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CodeEventKind {
    /// A unit was loaded.
    Loaded,
    /// A unit was freed.
    Freed,
    /// A major collection began. It frees what was unreachable at that time.
    Major,
}

/// An event in the life of loaded code.
#[derive(Clone, Copy, Debug)]
pub struct CodeEvent {
    /// The time since the start of the recording.
    pub at: Duration,
    /// What happened.
    pub kind: CodeEventKind,
    /// The counts just after it.
    pub counts: UnitCounts,
}

/// A recording. When there are more events than it has room for, it drops some of the earlier ones, but keeps each
/// event at which the number of units stops growing or shrinking.
#[derive(Clone, Debug)]
pub struct CodeEvents {
    start: Instant,
    events: Vec<CodeEvent>,
    room: usize,
    by_name: IndexMap<String, UnitCounts>,
    majors: u64,
}

/// The initial maximum number of events.
const ROOM: usize = 1 << 15;

impl CodeEvents {
    fn new() -> CodeEvents {
        let start = Instant::now();
        CodeEvents { start, events: Vec::new(), room: ROOM, by_name: IndexMap::new(), majors: 0 }
    }

    /// The events, in order.
    pub fn events(&self) -> &[CodeEvent] {
        &self.events
    }

    /// Counts of loads and frees for each unit name, in the order of first loading.
    pub fn by_name(&self) -> &IndexMap<String, UnitCounts> {
        &self.by_name
    }

    /// Major collections begun.
    pub fn majors(&self) -> u64 {
        self.majors
    }

    /// The time since the start of the recording.
    pub fn elapsed(&self) -> Duration {
        self.start.elapsed()
    }

    fn push(&mut self, kind: CodeEventKind, counts: UnitCounts) {
        if self.events.len() == self.room {
            self.thin();
            // If most events are turning points, the recording must grow.
            self.room = ROOM.max(2 * self.events.len());
        }
        self.events.push(CodeEvent { at: self.start.elapsed(), kind, counts });
    }

    /// Drops every other event between two turning points.
    fn thin(&mut self) {
        let rises = |one: &CodeEvent, two: &CodeEvent| two.counts.alive() > one.counts.alive();
        let kept = |i: usize| match (i.checked_sub(1), i + 1 < self.events.len()) {
            (Some(before), true) => {
                let (before, at, after) = (&self.events[before], &self.events[i], &self.events[i + 1]);
                i.is_multiple_of(2) || rises(before, at) != rises(at, after)
            }
            _ => true,
        };
        self.events = (0..self.events.len()).filter(|i| kept(*i)).map(|i| self.events[i]).collect();
    }
}

impl Registry {
    /// Records that a unit was loaded or freed; the counts already include it.
    pub(crate) fn note(&mut self, kind: CodeEventKind, unit: &Unit) {
        let Some(recording) = &mut self.recording else { return };
        recording.push(kind, self.counts);
        // The name of code without a module is a kind and a number: all code of a kind shares an entry.
        let name = unit.name.split(' ').next().unwrap_or_default();
        let named = match recording.by_name.get_mut(name) {
            Some(known) => known,
            None => recording.by_name.entry(name.to_owned()).or_default(),
        };
        let bytes = unit.bytes().code as u64;
        let (units, sum) = match kind {
            CodeEventKind::Freed => (&mut named.freed, &mut named.freed_bytes),
            _ => (&mut named.loaded, &mut named.loaded_bytes),
        };
        *units += 1;
        *sum += bytes;
    }

    /// Records the start of a major collection.
    pub(crate) fn note_major(&mut self) {
        if let Some(recording) = &mut self.recording {
            recording.majors += 1;
            recording.push(CodeEventKind::Major, self.counts);
        }
    }
}

impl Machine {
    /// Starts to record what happens to loaded code, discarding any earlier recording. Units that exist already count
    /// as loaded now.
    pub fn record_code_events(&mut self) {
        let mut registry = self.registry.borrow_mut();
        registry.recording = Some(Box::new(CodeEvents::new()));
        let units: Vec<_> = registry.loaded().cloned().collect();
        units.iter().for_each(|unit| registry.note(CodeEventKind::Loaded, unit));
    }

    /// The recording so far, if one was started.
    pub fn code_events(&self) -> Option<CodeEvents> {
        self.registry.borrow().recording.as_deref().cloned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_recording_keeps_its_turning_points() {
        let mut recording = CodeEvents::new();
        let mut counts = UnitCounts::default();
        for _ in 0..50 {
            for _ in 0..1000 {
                counts.loaded += 1;
                recording.push(CodeEventKind::Loaded, counts);
            }
            for _ in 0..1000 {
                counts.freed += 1;
                recording.push(CodeEventKind::Freed, counts);
            }
        }
        assert!(recording.events().len() <= ROOM, "{}", recording.events().len());
        let peaks = recording.events().iter().filter(|event| event.counts.alive() == 1000).count();
        let ends = recording.events().iter().filter(|event| event.counts.alive() == 0).count();
        assert_eq!((peaks, ends), (50, 50));
        assert!(recording.events().is_sorted_by_key(|event| event.at));
    }
}
