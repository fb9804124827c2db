//! What became of loaded code over time, for reports: recorded only when asked for, and in bounded space.

use std::time::{Duration, Instant};

use indexmap::IndexMap;

use crate::Machine;
use crate::code::{Registry, Unit, UnitCounts};

/// What happened.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CodeEventKind {
    /// A unit was loaded.
    Loaded,
    /// A unit was freed.
    Freed,
    /// A major collection began: it frees what was dead then.
    Major,
}

/// Something that happened to loaded code.
#[derive(Clone, Copy, Debug)]
pub struct CodeEvent {
    /// When, counted from the start of the recording.
    pub at: Duration,
    /// What.
    pub kind: CodeEventKind,
    /// The counts just after it.
    pub counts: UnitCounts,
}

/// A recording. Of more events than it has room for, it thins out the earlier ones, but keeps each at which the
/// number of units stops growing or shrinking.
#[derive(Clone, Debug)]
pub struct CodeEvents {
    start: Instant,
    events: Vec<CodeEvent>,
    room: usize,
    by_name: IndexMap<String, UnitCounts>,
    majors: u64,
}

/// Events that there is room for at first.
const ROOM: usize = 1 << 15;

impl CodeEvents {
    fn new() -> CodeEvents {
        let start = Instant::now();
        CodeEvents { start, events: Vec::new(), room: ROOM, by_name: IndexMap::new(), majors: 0 }
    }

    /// The events, in their order.
    pub fn events(&self) -> &[CodeEvent] {
        &self.events
    }

    /// What was loaded and freed, by the units' names, in the order of their first loading.
    pub fn by_name(&self) -> &IndexMap<String, UnitCounts> {
        &self.by_name
    }

    /// Major collections begun.
    pub fn majors(&self) -> u64 {
        self.majors
    }

    /// How long the recording has been going on.
    pub fn elapsed(&self) -> Duration {
        self.start.elapsed()
    }

    fn push(&mut self, kind: CodeEventKind, counts: UnitCounts) {
        if self.events.len() == self.room {
            self.thin();
            // Where turning points are all there is, room must be made.
            self.room = ROOM.max(2 * self.events.len());
        }
        self.events.push(CodeEvent { at: self.start.elapsed(), kind, counts });
    }

    /// Leaves out every other event between two turning points.
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
    /// Notes a unit's coming or going, which the counts know of already.
    pub(crate) fn note(&mut self, kind: CodeEventKind, unit: &Unit) {
        let Some(recording) = &mut self.recording else { return };
        recording.push(kind, self.counts);
        // Code without a module has a kind and a number for a name: all of a kind share an entry.
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

    /// Notes the start of a major collection.
    pub(crate) fn note_major(&mut self) {
        if let Some(recording) = &mut self.recording {
            recording.majors += 1;
            recording.push(CodeEventKind::Major, self.counts);
        }
    }
}

impl Machine {
    /// Starts to record what becomes of loaded code, anew if that is being done already. Units that are there count
    /// as loaded now.
    pub fn record_code_events(&mut self) {
        let mut registry = self.registry.borrow_mut();
        registry.recording = Some(Box::new(CodeEvents::new()));
        let units: Vec<_> = registry.loaded().cloned().collect();
        units.iter().for_each(|unit| registry.note(CodeEventKind::Loaded, unit));
    }

    /// The recording so far, if there is one.
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
