//! A lock that records its owner: for error-checking mutexes, and for channels.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use nix::errno::Errno;
use spelter_interp::{Interrupted, Interruption, Wake};

/// A lock owned by one of the program's threads, by its number.
#[derive(Default)]
pub(crate) struct Lock {
    owner: Mutex<Option<u64>>,
    free: Condvar,
}

impl Lock {
    fn owner(&self) -> MutexGuard<'_, Option<u64>> {
        self.owner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes it if it is free. Returns false when a thread holds it, `me` included.
    pub(crate) fn try_lock(&self, me: u64) -> bool {
        let mut owner = self.owner();
        let free = owner.is_none();
        if free {
            *owner = Some(me);
        }
        free
    }

    /// Waits until it is free, and takes it. The inner error is `EDEADLK`, when `me` holds it already.
    ///
    /// # Errors
    /// When it is interrupted.
    pub(crate) fn lock(
        &self,
        me: u64,
        interruption: &Interruption,
    ) -> Result<Result<(), Errno>, Interrupted> {
        let mut owner = self.owner();
        while let Some(other) = *owner {
            if other == me {
                return Ok(Err(Errno::EDEADLK));
            }
            if interruption.is_due() {
                return Err(Interrupted);
            }
            owner = self.free.wait(owner).unwrap_or_else(PoisonError::into_inner);
        }
        *owner = Some(me);
        Ok(Ok(()))
    }

    /// Releases it.
    ///
    /// # Errors
    /// `EPERM` when `me` does not hold it.
    pub(crate) fn unlock(&self, me: u64) -> Result<(), Errno> {
        let mut owner = self.owner();
        if *owner != Some(me) {
            return Err(Errno::EPERM);
        }
        *owner = None;
        drop(owner);
        self.free.notify_one();
        Ok(())
    }
}

impl Wake for Lock {
    fn wake(&self) {
        // Taking the lock ensures that no thread is between its check and its wait.
        drop(self.owner());
        self.free.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_checks_its_owner() {
        let lock = Lock::default();
        assert_eq!(lock.unlock(1), Err(Errno::EPERM));
        assert!(lock.try_lock(1) && !lock.try_lock(1) && !lock.try_lock(2));
        assert_eq!(lock.lock(1, &Interruption::never()), Ok(Err(Errno::EDEADLK)));
        assert_eq!(lock.unlock(2), Err(Errno::EPERM));
        assert_eq!(lock.unlock(1), Ok(()));
        assert!(lock.try_lock(2));
    }

    #[test]
    fn one_thread_at_a_time() {
        let lock = Lock::default();
        let inside = std::sync::atomic::AtomicUsize::new(0);
        std::thread::scope(|s| {
            for me in 0..4 {
                let (lock, inside) = (&lock, &inside);
                s.spawn(move || {
                    for _ in 0..200 {
                        lock.lock(me, &Interruption::never()).unwrap().unwrap();
                        assert_eq!(inside.fetch_add(1, std::sync::atomic::Ordering::SeqCst), 0);
                        std::thread::yield_now();
                        inside.fetch_sub(1, std::sync::atomic::Ordering::SeqCst);
                        lock.unlock(me).unwrap();
                    }
                });
            }
        });
    }
}
