//! The lock of an error-checking mutex: it records its owner.
//!
//! Only the thread that has the machine uses a lock, so its fields are plain. Threads that wait for it are without the
//! machine; each waits for a [`Waiter`] of its own.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;

use nix::errno::Errno;
use spelter_interp::{Machine, Raise};

use super::waiter::Waiter;

/// A lock owned by one of the program's threads, by its number.
#[derive(Default)]
pub(crate) struct Lock {
    owner: Cell<Option<u64>>,
    /// Those that wait for it, longest first.
    queue: RefCell<VecDeque<Rc<Waiter>>>,
}

impl Lock {
    /// Takes it if it is free. Returns false when a thread holds it, `me` included.
    pub(crate) fn try_lock(&self, me: u64) -> bool {
        let free = self.owner.get().is_none();
        if free {
            self.owner.set(Some(me));
        }
        free
    }

    /// Whether a thread holds it.
    pub(super) fn is_held(&self) -> bool {
        self.owner.get().is_some()
    }

    /// Waits until it is free, and takes it for the running thread. The inner error is `EDEADLK`, when that thread holds
    /// it already.
    ///
    /// # Errors
    /// When it is interrupted.
    pub(crate) fn lock(&self, m: &mut Machine) -> Result<Result<(), Errno>, Raise> {
        let me = m.current_thread();
        let mut lost = false;
        while !self.try_lock(me) {
            if self.owner.get() == Some(me) {
                return Ok(Err(Errno::EDEADLK));
            }
            let waiter = Waiter::new(m, me, lost);
            self.enqueue(&waiter);
            if let Err(raise) = waiter.wait(m) {
                self.withdraw(&waiter);
                return Err(raise);
            }
            if lost {
                return Ok(Ok(()));
            }
            lost = true;
        }
        Ok(Ok(()))
    }

    /// Makes a thread wait for the lock: behind all others, or if it has waited and another one was faster, before them.
    pub(super) fn enqueue(&self, waiter: &Rc<Waiter>) {
        let mut queue = self.queue.borrow_mut();
        let waiter = Rc::clone(waiter);
        if waiter.has_lost { queue.push_front(waiter) } else { queue.push_back(waiter) }
    }

    /// Releases it.
    ///
    /// # Errors
    /// `EPERM` when `me` does not hold it.
    #[inline]
    pub(crate) fn unlock(&self, me: u64) -> Result<(), Errno> {
        if self.owner.get() != Some(me) {
            return Err(Errno::EPERM);
        }
        self.owner.set(None);
        if !self.queue.borrow().is_empty() {
            self.call_next();
        }
        Ok(())
    }

    /// Wakes the thread that has waited longest. Another one may take the lock before it runs, but only once: then it is
    /// given the lock.
    #[cold]
    fn call_next(&self) {
        // In a child process there are threads that no longer exist.
        let next = std::iter::from_fn(|| self.queue.borrow_mut().pop_front()).find(|waiter| waiter.exists());
        let Some(waiter) = next else { return };
        if waiter.has_lost {
            self.owner.set(Some(waiter.thread));
        }
        waiter.call();
    }

    /// A thread stops waiting. If it was called at the same time, another one is.
    pub(super) fn withdraw(&self, waiter: &Rc<Waiter>) {
        let queued = self.queue.borrow().iter().position(|other| Rc::ptr_eq(other, waiter));
        if let Some(at) = queued {
            self.queue.borrow_mut().remove(at);
        } else if waiter.has_lost {
            self.owner.set(None);
            self.call_next();
        } else if !self.is_held() {
            self.call_next();
        }
    }
}

#[cfg(test)]
mod tests {
    use spelter_interp::Settings;

    use super::*;

    #[test]
    fn a_lock_checks_its_owner() {
        let mut m = Machine::new(Settings::default());
        let lock = Lock::default();
        assert_eq!(lock.unlock(1), Err(Errno::EPERM));
        assert!(lock.try_lock(1) && !lock.try_lock(1) && !lock.try_lock(2));
        assert_eq!(lock.unlock(2), Err(Errno::EPERM));
        assert_eq!(lock.unlock(1), Ok(()));
        assert_eq!(lock.lock(&mut m), Ok(Ok(())));
        assert_eq!(lock.lock(&mut m), Ok(Err(Errno::EDEADLK)));
    }

    #[test]
    fn one_who_has_lost_is_given_the_lock() {
        let (m, lock) = (Machine::new(Settings::default()), Lock::default());
        assert!(lock.try_lock(1));
        let [first, second, loser] =
            [(2, false), (3, false), (4, true)].map(|(me, lost)| Waiter::new(&m, me, lost));
        [&first, &second, &loser].into_iter().for_each(|waiter| lock.enqueue(waiter));
        assert_eq!(lock.unlock(1), Ok(()));
        assert!(loser.is_called() && !first.is_called() && lock.unlock(4).is_ok());
        assert!(first.is_called() && !second.is_called() && lock.try_lock(1));
        lock.withdraw(&first);
        assert!(!second.is_called() && lock.unlock(1).is_ok() && second.is_called());
    }

    #[test]
    fn one_who_no_longer_waits_lets_the_next_one_have_it() {
        let (m, lock) = (Machine::new(Settings::default()), Lock::default());
        let [gone, next] = [(2, true), (3, false)].map(|(me, lost)| Waiter::new(&m, me, lost));
        assert!(lock.try_lock(1));
        [&next, &gone].into_iter().for_each(|waiter| lock.enqueue(waiter));
        assert_eq!(lock.unlock(1), Ok(()));
        assert!(gone.is_called() && lock.is_held() && !next.is_called());
        lock.withdraw(&gone);
        assert!(next.is_called() && !lock.is_held());
    }
}
