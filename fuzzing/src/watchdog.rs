//! Stops machines that run for too long. One thread for all of them.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use spelter::{InterruptHandle, Vm};

/// How long a guest may run.
const TIME: Duration = Duration::from_millis(50);

struct Watched {
    handle: InterruptHandle,
    fired: Arc<AtomicBool>,
    done: Arc<AtomicBool>,
    until: Instant,
}

/// Watches a machine until dropped.
pub(crate) struct Watch {
    fired: Arc<AtomicBool>,
    done: Arc<AtomicBool>,
}

impl Watch {
    /// Interrupts the next call of `vm` if it takes too long.
    pub(crate) fn new(vm: &Vm) -> Watch {
        let watch = Watch { fired: Arc::default(), done: Arc::default() };
        watch.next(vm);
        watch
    }

    /// Watches another call.
    pub(crate) fn next(&self, vm: &Vm) {
        let watched = Watched {
            handle: vm.interrupt_handle(),
            fired: Arc::clone(&self.fired),
            done: Arc::clone(&self.done),
            until: Instant::now() + TIME,
        };
        let sender = sender().lock().expect("no thread panics with the lock");
        sender.send(watched).expect("the watchdog thread runs until the process ends");
    }

    /// Whether it interrupted the call.
    pub(crate) fn has_fired(&self) -> bool {
        self.fired.load(Ordering::Relaxed)
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.done.store(true, Ordering::Relaxed);
    }
}

fn sender() -> &'static Mutex<Sender<Watched>> {
    static SENDER: OnceLock<Mutex<Sender<Watched>>> = OnceLock::new();
    SENDER.get_or_init(|| {
        let (sender, receiver) = channel::<Watched>();
        std::thread::spawn(move || {
            let mut all: Vec<Watched> = Vec::new();
            loop {
                // Most machines finish long before their limit, so check rarely.
                let next = if all.is_empty() { receiver.recv().ok() } else { None };
                all.extend(next);
                std::thread::sleep(TIME / 5);
                loop {
                    match receiver.recv_timeout(Duration::ZERO) {
                        Ok(watched) => all.push(watched),
                        Err(RecvTimeoutError::Timeout) => break,
                        Err(RecvTimeoutError::Disconnected) => return,
                    }
                }
                all.retain(|watched| !watched.done.load(Ordering::Relaxed));
                let now = Instant::now();
                for watched in all.extract_if(.., |watched| watched.until <= now) {
                    // A call that has ended did not exceed its limit.
                    if watched.handle.interrupt() {
                        watched.fired.store(true, Ordering::Relaxed);
                    }
                }
            }
        });
        Mutex::new(sender)
    })
}
