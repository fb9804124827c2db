//! The numbers of the runtime's events (`runtime_events.h`).

use spelter_heap::{Figure, Work};
use spelter_interp::EventNames;

/// Phases of the runtime that are written, with their numbers since OCaml 5.3 (`ev_runtime_phase`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    ExplicitGcSet = 0,
    ExplicitGcStat = 1,
    ExplicitGcMinor = 2,
    ExplicitGcMajor = 3,
    ExplicitGcFullMajor = 4,
    ExplicitGcCompact = 5,
    Major = 6,
    MajorSweep = 7,
    MajorMarkRoots = 8,
    MajorMark = 10,
    Minor = 11,
    MinorLocalRoots = 12,
    MinorFinalized = 15,
    ExplicitGcMajorSlice = 16,
    MajorFinishMarking = 22,
    MajorSlice = 27,
    MajorFinishCycle = 28,
    MinorRememberedSet = 39,
    MinorRememberedSetPromote = 40,
    DomainConditionWait = 42,
    Compact = 44,
    CompactEvacuate = 45,
    CompactForward = 46,
    CompactRelease = 47,
}

/// The phases of `Gc.Memprof`, which came between the others in 5.3. They are not written.
const OF_MEMPROF: [u64; 4] = [9, 13, 14, 37];

impl Phase {
    /// The number in a version; `None` if the version has no such phase.
    pub(super) fn number(self, names: EventNames) -> Option<u64> {
        let number = self as u64;
        let added = OF_MEMPROF.iter().filter(|memprof| **memprof < number && !names.memprof).count() as u64;
        Some(number - added).filter(|number| *number < names.phases as u64)
    }

    /// The phase that OCaml's collector would be in.
    pub(super) fn of(work: Work) -> Phase {
        match work {
            Work::Minor => Phase::Minor,
            Work::MinorRoots => Phase::MinorLocalRoots,
            Work::MinorRemembered => Phase::MinorRememberedSet,
            Work::MinorPromote => Phase::MinorRememberedSetPromote,
            Work::MinorFinalise => Phase::MinorFinalized,
            Work::Major => Phase::Major,
            Work::Slice => Phase::MajorSlice,
            Work::MarkRoots => Phase::MajorMarkRoots,
            Work::Mark => Phase::MajorMark,
            Work::FinishMark => Phase::MajorFinishMarking,
            Work::Sweep => Phase::MajorSweep,
            Work::FinishCycle => Phase::MajorFinishCycle,
            Work::Compact => Phase::Compact,
            Work::Evacuate => Phase::CompactEvacuate,
            Work::Redirect => Phase::CompactForward,
            Work::Release => Phase::CompactRelease,
        }
    }
}

/// Counters of the runtime that are written (`ev_runtime_counter`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Counter {
    ForceMinorSetMinorHeapSize = 2,
    /// Bytes.
    MinorPromoted = 4,
    /// Bytes.
    MinorAllocated = 5,
    MajorHeapPoolWords = 11,
    MajorHeapPoolLiveWords = 12,
    MajorHeapLargeWords = 13,
    MajorHeapPoolFragWords = 14,
    MajorHeapPoolLiveBlocks = 15,
    MajorHeapLargeBlocks = 16,
    MinorAllocatedWords = 26,
    MinorPromotedWords = 27,
}

impl Counter {
    /// The number in a version; `None` if the version has no such counter.
    pub(super) fn number(self, names: EventNames) -> Option<u64> {
        Some(self as u64).filter(|number| *number < names.counters as u64)
    }

    /// The counters for a number that the collector has determined, and their values.
    pub(super) fn of(figure: Figure, n: u64) -> ((Counter, u64), Option<(Counter, u64)>) {
        const BYTES: u64 = 8;
        match figure {
            Figure::MinorAllocated => {
                ((Counter::MinorAllocated, n * BYTES), Some((Counter::MinorAllocatedWords, n)))
            }
            Figure::MinorPromoted => {
                ((Counter::MinorPromoted, n * BYTES), Some((Counter::MinorPromotedWords, n)))
            }
            Figure::PoolWords => ((Counter::MajorHeapPoolWords, n), None),
            Figure::PoolLiveWords => ((Counter::MajorHeapPoolLiveWords, n), None),
            Figure::PoolLostWords => ((Counter::MajorHeapPoolFragWords, n), None),
            Figure::PoolBlocks => ((Counter::MajorHeapPoolLiveBlocks, n), None),
            Figure::LargeWords => ((Counter::MajorHeapLargeWords, n), None),
            Figure::LargeBlocks => ((Counter::MajorHeapLargeBlocks, n), None),
        }
    }
}

/// What happens to the ring, the process and domains (`ev_lifecycle`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lifecycle {
    RingStart = 0,
    RingStop = 1,
    RingPause = 2,
    RingResume = 3,
    ForkParent = 4,
    ForkChild = 5,
    DomainSpawn = 6,
    DomainTerminate = 7,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn phases_have_the_numbers_of_their_version() {
        let old = EventNames { phases: 40, memprof: false, counters: 11 };
        let new = EventNames { phases: 49, memprof: true, counters: 26 };
        assert_eq!(Phase::Minor.number(old), Some(10));
        assert_eq!(Phase::Minor.number(new), Some(11));
        assert_eq!(Phase::MinorRememberedSetPromote.number(old), Some(36));
        assert_eq!(Phase::Compact.number(old), None);
        assert_eq!(Phase::Compact.number(EventNames { phases: 44, ..old }), Some(40));
        assert_eq!(Counter::MajorHeapPoolWords.number(old), None);
        assert_eq!(Counter::MinorPromotedWords.number(new), None);
    }
}
