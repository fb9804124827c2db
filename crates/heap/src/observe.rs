//! Tells the client about collections while they happen.

use crate::heap::Heap;
use crate::system::PAGE_WORDS;

/// A part of a collection. Parts are nested, and each has a beginning and an end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Work {
    /// A minor collection, even if there is nothing to do.
    Minor,
    /// Moving what the client's roots refer to out of the nursery.
    MinorRoots,
    /// Moving what old blocks refer to.
    MinorRemembered,
    /// Moving what the moved blocks refer to.
    MinorPromote,
    /// Finding out which young blocks with finalisers, weak references or data outside the heap have died.
    MinorFinalise,
    /// The major collection that is due.
    Major,
    /// A slice of a major collection.
    Slice,
    /// Marking what the roots refer to.
    MarkRoots,
    /// Marking.
    Mark,
    /// Determining what is dead, with ephemerons and finalisers.
    FinishMark,
    /// Sweeping.
    Sweep,
    /// Completing a major collection at once.
    FinishCycle,
    /// A compaction.
    Compact,
    /// Moving the blocks of sparse pages.
    Evacuate,
    /// Redirecting references to them.
    Redirect,
    /// Freeing the pages.
    Release,
}

/// A number that a collection has determined.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Figure {
    /// Words that the nursery held.
    MinorAllocated,
    /// Words that outlived the minor collection.
    MinorPromoted,
    /// Words in pages of small blocks.
    PoolWords,
    /// Words of cells with small blocks.
    PoolLiveWords,
    /// Words of those pages in no cell.
    PoolLostWords,
    /// Small blocks.
    PoolBlocks,
    /// Words of large blocks.
    LargeWords,
    /// Large blocks.
    LargeBlocks,
}

/// Learns what the collector does. It is called in the middle of collections, so it must not panic.
pub trait Observer {
    /// A part of a collection begins.
    fn begin(&self, work: Work);
    /// It ends.
    fn end(&self, work: Work);
    /// A collection has determined a number.
    fn count(&self, figure: Figure, n: u64);
    /// From now on, another one of the client's workers runs.
    fn turn(&self, worker: usize);
}

impl Heap {
    /// Sets who observes collections.
    pub fn set_observer(&mut self, observer: Option<Box<dyn Observer>>) {
        self.observer = observer;
    }

    /// Tells the observer which of the client's workers runs from now on.
    pub fn tell_turn(&self, worker: usize) {
        if let Some(observer) = &self.observer {
            observer.turn(worker);
        }
    }

    #[inline]
    pub(crate) fn begins(&self, work: Work) {
        if let Some(observer) = &self.observer {
            observer.begin(work);
        }
    }

    #[inline]
    pub(crate) fn ends(&self, work: Work) {
        if let Some(observer) = &self.observer {
            observer.end(work);
        }
    }

    #[inline]
    pub(crate) fn tell(&self, figure: Figure, n: u64) {
        if let Some(observer) = &self.observer {
            observer.count(figure, n);
        }
    }

    /// Tells the sizes of the old generation after a major collection.
    pub(crate) fn tell_sizes(&self) {
        if self.observer.is_none() {
            return;
        }
        let pages = self.old.classes.iter().flat_map(|class| class.pages().map(move |page| (class, page)));
        let (mut words, mut live, mut lost, mut blocks) = (0, 0, 0, 0);
        for (class, page) in pages {
            let cells = self.old.live_cells(page);
            words += PAGE_WORDS;
            live += cells * class.cell;
            lost += PAGE_WORDS - page.capacity() * class.cell;
            blocks += cells;
        }
        self.tell(Figure::PoolWords, words as u64);
        self.tell(Figure::PoolLiveWords, live as u64);
        self.tell(Figure::PoolLostWords, lost as u64);
        self.tell(Figure::PoolBlocks, blocks as u64);
        self.tell(Figure::LargeWords, self.old.large_words as u64);
        self.tell(Figure::LargeBlocks, self.old.large.len() as u64);
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::rc::Rc;

    use super::*;
    use crate::Config;

    /// Keeps what it is told, and checks that parts are nested.
    #[derive(Default)]
    struct Record {
        open: Vec<Work>,
        complete: Vec<Work>,
        figures: Vec<(Figure, u64)>,
    }

    struct Recorder(Rc<RefCell<Record>>);

    impl Observer for Recorder {
        fn begin(&self, work: Work) {
            self.0.borrow_mut().open.push(work);
        }
        fn end(&self, work: Work) {
            let mut record = self.0.borrow_mut();
            assert_eq!(record.open.pop(), Some(work));
            record.complete.push(work);
        }
        fn count(&self, figure: Figure, n: u64) {
            self.0.borrow_mut().figures.push((figure, n));
        }
        fn turn(&self, _: usize) {}
    }

    #[test]
    fn an_observer_learns_of_every_part_of_a_collection() {
        let mut heap = Heap::new(Config::default());
        let record = Rc::new(RefCell::new(Record::default()));
        heap.set_observer(Some(Box::new(Recorder(Rc::clone(&record)))));
        let kept = heap.block(0, &[1.into(), 2.into()]).unwrap();
        heap.collect();
        drop(kept);
        heap.set_observer(None);
        heap.collect();
        let record = record.borrow();
        assert_eq!(record.open, []);
        for work in [Work::Minor, Work::MarkRoots, Work::Mark, Work::FinishMark, Work::Sweep, Work::Slice] {
            assert!(record.complete.contains(&work), "{work:?} in {:?}", record.complete);
        }
        let last =
            |wanted| record.figures.iter().rev().find(|(figure, _)| *figure == wanted).map(|(_, n)| *n);
        assert_eq!(last(Figure::PoolBlocks), Some(1));
        assert_eq!(last(Figure::LargeWords), Some(0));
        let promoted = record.figures.iter().find(|(figure, _)| *figure == Figure::MinorPromoted);
        assert_eq!(promoted, Some(&(Figure::MinorPromoted, 3)));
    }
}
