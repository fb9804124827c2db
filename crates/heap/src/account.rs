//! The account of all memory that a heap and its client hold, for [`Config::max_bytes`](crate::Config::max_bytes).
//!
//! The heap states what it holds, and what emptying the nursery may take, whenever that changes: between two such
//! statements, allocation in the nursery takes nothing more. What is charged is added at once. What a primitive allocates for
//! itself is lent: when it is freed is not recorded, but it is gone at the next safe point.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use crate::charge::Charge;

/// A full collection that leaves less than one in this many bytes free counts as one that leaves nothing: otherwise almost all
/// time would be spent on collections.
pub(crate) const SCARCE: usize = 16;

/// One in this many bytes may be kept by the allocator after they have been freed.
const TRIMMED: usize = 128;

/// Called when memory is refused for good.
pub type OnRefusal = Box<dyn Fn() + Send + Sync>;

/// What is held, and how much may be.
#[derive(Default)]
pub struct Account {
    /// 0 for no limit.
    limit: AtomicUsize,
    /// What the heap holds, with what it needs to empty the nursery.
    heap: AtomicUsize,
    /// What has been charged.
    charged: AtomicUsize,
    /// What primitives have allocated for themselves since the last safe point.
    lent: AtomicUsize,
    /// What was charged, or owned by blocks, and has been freed since the allocator was last told to give it back.
    freed: AtomicUsize,
    /// A primitive did not get what it wanted for itself.
    denied: AtomicBool,
    on_refusal: OnceLock<OnRefusal>,
}

impl Account {
    pub(crate) fn new(limit: Option<usize>) -> Account {
        let account = Account::default();
        account.limit_to(limit);
        account
    }

    pub(crate) fn limit_to(&self, limit: Option<usize>) {
        self.limit.store(limit.map_or(0, |bytes| bytes.max(1)), Ordering::Relaxed);
    }

    #[inline]
    fn limit(&self) -> usize {
        self.limit.load(Ordering::Relaxed)
    }

    /// Whether there is a limit.
    #[inline]
    pub fn is_limited(&self) -> bool {
        self.limit() > 0
    }

    /// Whether the limit allows `bytes` more.
    #[inline]
    pub fn allows(&self, bytes: usize) -> bool {
        !self.is_limited() || bytes <= self.room()
    }

    /// Whether so little is left that a heap with this account can hardly be used.
    pub fn is_scarce(&self) -> bool {
        self.is_limited() && self.room() < self.limit() / SCARCE
    }

    /// How many bytes more the limit allows.
    pub fn room(&self) -> usize {
        match self.limit() {
            0 => usize::MAX,
            limit => limit.saturating_sub(self.held()),
        }
    }

    /// All bytes that are held, with those that are set aside to empty the nursery.
    pub fn held(&self) -> usize {
        let lent = self.lent.load(Ordering::Relaxed);
        self.heap.load(Ordering::Relaxed).saturating_add(self.charged()).saturating_add(lent)
    }

    /// Counts `bytes`, until the result is dropped, if the limit allows them. Nothing is collected to make it so.
    pub fn charged_to(self: &Arc<Self>, bytes: usize) -> Option<Charge> {
        self.allows(bytes).then(|| {
            self.charge(bytes);
            Charge::new(Arc::clone(self), bytes)
        })
    }

    pub(crate) fn state(&self, heap: usize) {
        self.heap.store(heap, Ordering::Relaxed);
    }

    /// Counts bytes that the heap, or its client, has taken since the heap stated what is held. The next statement
    /// includes them.
    pub fn take(&self, bytes: usize) {
        self.heap.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(crate) fn charged(&self) -> usize {
        self.charged.load(Ordering::Relaxed)
    }

    pub(crate) fn charge(&self, bytes: usize) {
        self.charged.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(crate) fn discharge(&self, bytes: usize) {
        self.charged.fetch_sub(bytes, Ordering::Relaxed);
        self.note_freed(bytes);
    }

    /// Counts `bytes` that code allocates only while it runs, until [`Account::settle`]. Returns whether that should be
    /// called soon, or `None` if the limit does not allow so much.
    pub fn lend(&self, bytes: usize) -> Option<bool> {
        if !self.is_limited() {
            return Some(false);
        }
        if !self.allows(bytes) {
            return None;
        }
        let lent = self.lent.fetch_add(bytes, Ordering::Relaxed) + bytes;
        Some(lent > self.room() / 2)
    }

    /// Records that a primitive was not lent what it wanted. It may collect and try again.
    pub fn deny(&self) {
        self.denied.store(true, Ordering::Relaxed);
    }

    /// Whether that has been recorded since the last time.
    pub fn take_denied(&self) -> bool {
        self.denied.load(Ordering::Relaxed) && self.denied.swap(false, Ordering::Relaxed)
    }

    pub(crate) fn note_freed(&self, bytes: usize) {
        if self.is_limited() {
            self.freed.fetch_add(bytes, Ordering::Relaxed);
        }
    }

    /// Whether so much has been freed since the last time that the allocator should give it back to the system: it keeps
    /// what has been freed in small pieces, and the heap's pages do not come from there.
    pub(crate) fn should_trim(&self) -> bool {
        let should = self.freed.load(Ordering::Relaxed) > self.limit() / TRIMMED;
        if should {
            self.freed.store(0, Ordering::Relaxed);
        }
        should
    }

    /// What is lent now.
    pub fn lent(&self) -> usize {
        self.lent.load(Ordering::Relaxed)
    }

    /// Of what is lent, only as much is still there.
    pub fn settle_to(&self, lent: usize) {
        self.lent.store(lent, Ordering::Relaxed);
    }

    /// Nothing that was lent is still there.
    #[inline]
    pub fn settle(&self) {
        if self.is_limited() {
            self.lent.store(0, Ordering::Relaxed);
        }
    }

    /// Tells whoever set the limit that memory is refused because of it.
    #[cold]
    pub fn refuse(&self) {
        if let Some(on_refusal) = self.on_refusal.get() {
            on_refusal();
        }
    }

    pub(crate) fn on_refusal(&self, f: OnRefusal) {
        let _ = self.on_refusal.set(f);
    }
}

impl std::fmt::Debug for Account {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Account({} of {})", self.held(), self.limit())
    }
}
