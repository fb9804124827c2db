//! Sampling of allocations: the right number of samples, on the right blocks.

use spelter_heap::raw::{CustomOps, Roots, Sample, SampleSource, Visitor, tag};
use spelter_heap::{Heap, Mode};

use crate::client::config;

/// Roots without values, which record the samples.
#[derive(Default)]
struct Notes(Vec<Sample>);

impl Roots for Notes {
    fn scan(&mut self, _: &mut Visitor<'_>) {}

    fn sampled(&mut self, sample: Sample) -> bool {
        self.0.push(sample);
        true
    }
}

static OPS: CustomOps = CustomOps::new(c"outside", &()).counting();

#[test]
fn the_highest_rate_samples_every_word() {
    for mode in [Mode::Plain, Mode::Never, Mode::Torture] {
        let mut heap = Heap::new(config(mode));
        let mut notes = Notes::default();
        heap.start_sampling(1.0);
        // SAFETY: nothing is kept, and fields are filled before anything else happens.
        unsafe {
            for wosize in 1..=20 {
                let v = heap.alloc(&mut notes, wosize, 0).unwrap();
                let sample = notes.0.pop().expect("a sample");
                assert_eq!(heap.weak_get(sample.block), Some(v));
                assert_eq!((sample.count, sample.words, sample.young), (wosize + 1, wosize, true));
                assert_eq!(sample.source, SampleSource::Block);
                heap.weak_drop(sample.block);
            }
            let v = heap.alloc(&mut notes, 1000, tag::STRING).unwrap();
            let sample = notes.0.pop().expect("a sample");
            assert_eq!(heap.weak_get(sample.block), Some(v));
            assert_eq!((sample.count, sample.words, sample.young), (1001, 1000, false));
            heap.alloc_custom(&mut notes, &OPS, 1, 800).unwrap();
            let counts: Vec<_> = notes.0.iter().map(|sample| (sample.source, sample.count)).collect();
            assert_eq!(counts, [(SampleSource::Block, 4), (SampleSource::Outside, 100)]);
            notes.0.clear();
            heap.pause_sampling(true);
            heap.alloc(&mut notes, 5, 0).unwrap();
            heap.pause_sampling(false);
            heap.alloc(&mut notes, 6, 0).unwrap();
            assert_eq!(notes.0.pop().map(|sample| sample.count), Some(7));
            heap.stop_sampling();
            heap.alloc(&mut notes, 5, 0).unwrap();
        }
        assert!(notes.0.is_empty());
    }
}

#[test]
fn the_number_of_samples_fits_the_rate() {
    // Small, larger and old blocks; the bound is six standard deviations.
    for (rate, wosize, blocks) in
        [(0.001, 2, 1_000_000), (0.01, 2, 300_000), (0.3, 10, 50_000), (0.9, 200, 1_000), (0.01, 400, 5_000)]
    {
        for mode in [Mode::Plain, Mode::Torture] {
            if mode == Mode::Torture && blocks > 10_000 {
                continue;
            }
            let mut heap = Heap::new(config(mode));
            let mut notes = Notes::default();
            heap.start_sampling(rate);
            for _ in 0..blocks {
                // SAFETY: nothing is kept.
                unsafe { heap.alloc(&mut notes, wosize, 0).unwrap() };
            }
            let found: usize = notes.0.iter().map(|sample| sample.count).sum();
            let words = (blocks * (wosize + 1)) as f64;
            let (mean, spread) = (words * rate, (words * rate * (1.0 - rate)).sqrt());
            let off = (found as f64 - mean).abs();
            assert!(off < 6.0 * spread, "rate {rate}, {wosize} fields: {found}, not about {mean}");
        }
    }
}
