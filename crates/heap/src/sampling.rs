//! Sampling of allocations: each allocated word is sampled with the same probability, independently of all others.
//!
//! Young blocks cost nothing until the next sample: the nursery's limit is set to its position, so that the allocation
//! that reaches it takes the slow path. The distance between two samples is geometrically distributed, hence
//! memoryless, so it can be drawn anew at any time.

use crate::heap::{Heap, Mode};
use crate::raw::Roots;
use crate::roots::WeakId;
use crate::value::Value;

/// What has been sampled.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SampleSource {
    /// A block's words.
    Block,
    /// Bytes that a block holds outside the heap, counted as words.
    Outside,
}

/// Samples that fall on an allocation, at least one.
#[derive(Clone, Copy, Debug)]
pub struct Sample {
    /// The block. The client must not read it before the allocation is complete, and must drop the reference itself.
    pub block: WeakId,
    /// The number of samples.
    pub count: usize,
    /// The words allocated, without header.
    pub words: usize,
    /// What was sampled.
    pub source: SampleSource,
    /// Whether the block is young.
    pub young: bool,
}

/// Draws samples.
pub(crate) struct Sampler {
    /// The probability that a word is sampled.
    rate: f64,
    /// One over the logarithm of the probability that a word is not sampled.
    scale: f64,
    random: u64,
    /// Words outside the nursery until the next sample.
    ahead: usize,
    paused: bool,
    /// The position of the next sample in the nursery: it falls on the first block whose header is below.
    pub(crate) trigger: *mut u64,
}

impl Sampler {
    /// A random number above 0, at most 1.
    fn uniform(&mut self) -> f64 {
        // xorshift64*, of which the upper bits are good.
        self.random ^= self.random >> 12;
        self.random ^= self.random << 25;
        self.random ^= self.random >> 27;
        let bits = self.random.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 11;
        (bits + 1) as f64 / (1u64 << 53) as f64
    }

    /// The distance to the next sample in words: 1 means the next word.
    fn distance(&mut self) -> usize {
        if self.rate >= 1.0 {
            return 1;
        }
        // The conversion saturates.
        (1.0 + self.uniform().ln() * self.scale) as usize
    }

    /// The number of samples among `words` words.
    fn among(&mut self, words: usize) -> usize {
        let mut count = 0;
        while self.ahead < words {
            count += 1;
            self.ahead = self.ahead.saturating_add(self.distance());
        }
        self.ahead -= words;
        count
    }
}

/// A sampler that has been put away, or none.
#[derive(Default)]
pub struct Parked(Option<Box<Sampler>>);

impl Heap {
    /// Samples each word allocated from now on with this probability, which is above 0. Samples are passed to
    /// [`Roots::sampled`].
    pub fn start_sampling(&mut self, rate: f64) {
        let scale = 1.0 / (-rate).ln_1p();
        let trigger = self.young.floor;
        let mut sampler = Sampler { rate, scale, random: 42, ahead: 0, paused: false, trigger };
        sampler.ahead = sampler.distance() - 1;
        self.sampler = Some(Box::new(sampler));
        self.draw_young_sample();
    }

    /// Stops sampling.
    pub fn stop_sampling(&mut self) {
        self.sampler = None;
        self.draw_young_sample();
    }

    /// Whether there is a sampler, paused or not.
    pub fn has_sampler(&self) -> bool {
        self.sampler.is_some()
    }

    /// Puts the sampler away, and continues with another one.
    pub fn exchange_sampler(&mut self, other: Parked) -> Parked {
        let parked = Parked(std::mem::replace(&mut self.sampler, other.0));
        self.draw_young_sample();
        parked
    }

    /// Pauses or resumes sampling.
    pub fn pause_sampling(&mut self, paused: bool) {
        if let Some(sampler) = &mut self.sampler {
            sampler.paused = paused;
            self.draw_young_sample();
        }
    }

    /// Whether allocations are sampled now.
    pub fn is_sampling(&self) -> bool {
        self.sampler.as_ref().is_some_and(|sampler| !sampler.paused)
    }

    /// Draws the position of the next sample in the nursery, after what has been allocated.
    pub fn draw_young_sample(&mut self) {
        if let Some(sampler) = &mut self.sampler {
            let words = self.young.free_words();
            let distance = if sampler.paused { usize::MAX } else { sampler.distance() };
            sampler.trigger = match distance <= words {
                true => self.young.ptr.wrapping_sub(distance - 1),
                false => self.young.floor,
            };
        }
        if !self.due {
            self.open_nursery();
        }
    }

    /// The number of samples on the young block of `wosize` fields that is about to be allocated, for which there is
    /// room. The caller must call [`Heap::draw_young_sample`] after allocating it.
    pub fn young_samples(&mut self, wosize: usize) -> usize {
        let header = self.young.ptr.wrapping_sub(wosize + 1);
        match &mut self.sampler {
            Some(sampler) if !sampler.paused && header < sampler.trigger => {
                let behind = (sampler.trigger as usize - header as usize) / 8 - 1;
                1 + sampler.among(behind)
            }
            _ => 0,
        }
    }

    /// The number of samples among `words` words that are allocated outside the nursery.
    pub fn samples_among(&mut self, words: usize) -> usize {
        match &mut self.sampler {
            Some(sampler) if !sampler.paused => sampler.among(words),
            _ => 0,
        }
    }

    /// Samples the young block that is allocated next, for which there is room.
    #[cold]
    pub(crate) fn sample_young(&mut self, roots: &mut dyn Roots, wosize: usize) {
        let count = self.young_samples(wosize);
        if count > 0 {
            // The block's future address.
            let block = Value::from_ptr(self.young.ptr.wrapping_sub(wosize));
            self.tell_sample(roots, block, count, wosize, SampleSource::Block);
            let header = self.young.ptr.wrapping_sub(wosize + 1);
            if let Some(sampler) = &mut self.sampler {
                let room = (header as usize).saturating_sub(self.young.floor as usize) / 8;
                let distance = sampler.distance();
                sampler.trigger =
                    if distance <= room { header.wrapping_sub(distance - 1) } else { self.young.floor };
                self.young.limit = match self.config.mode {
                    Mode::Torture => header,
                    _ => sampler.trigger,
                };
            }
        }
    }

    /// Samples words that have been allocated outside the nursery.
    pub(crate) fn sample_words(
        &mut self,
        roots: &mut dyn Roots,
        block: Value,
        words: [usize; 2],
        source: SampleSource,
    ) {
        let [words, counted] = words;
        let count = self.samples_among(counted);
        if count > 0 {
            self.tell_sample(roots, block, count, words, source);
        }
    }

    fn tell_sample(
        &mut self,
        roots: &mut dyn Roots,
        block: Value,
        count: usize,
        words: usize,
        source: SampleSource,
    ) {
        let young = self.is_young(block);
        // A sample is dropped if there is no memory for its weak reference.
        let Ok(id) = self.handles.weaks.try_insert(block) else { return };
        if !roots.sampled(Sample { block: WeakId(id), count, words, source, young }) {
            self.handles.weaks.remove(id);
        }
    }

    /// Whether the target of a weak reference is young, without keeping it alive; `None` if it has died.
    pub fn weak_age(&self, id: WeakId) -> Option<bool> {
        let v = self.handles.weaks.get(id.0);
        v.is_block().then(|| self.is_young(v))
    }
}
