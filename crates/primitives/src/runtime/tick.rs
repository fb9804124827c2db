//! The tick thread, which makes threads take turns. Twenty times a second it tells the machine that a turn is over: in
//! OCaml 4 by recording the preemption signal as received, whose handler, installed by `Thread`, yields.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use nix::sys::prctl;
use nix::sys::signal::SigSet;
use spelter_interp::Machine;

/// How long a thread may run before others get a turn.
const TURN: Duration = Duration::from_millis(50);

/// The tick thread of one machine, which runs until this is dropped.
#[derive(Default)]
pub(crate) struct Tick(Option<Arc<AtomicBool>>);

impl Tick {
    /// Starts it unless it is running.
    ///
    /// # Errors
    /// When the system has no more threads.
    pub(crate) fn start(m: &mut Machine) -> std::io::Result<()> {
        if m.ext::<Tick>().0.is_some() {
            return Ok(());
        }
        let by_signal = m.behaviour().turns_by_signal;
        let flags = if by_signal { m.signals().flags(libc::SIGVTALRM) } else { m.tick_flags() };
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                std::thread::sleep(TURN);
                flags.iter().for_each(|flag| flag.store(true, Ordering::Release));
            }
        })?;
        *m.ext::<Tick>() = Tick(Some(stop));
        Ok(())
    }

    /// Stops it. It may tick once more.
    pub(crate) fn stop(&mut self) {
        if let Some(stop) = self.0.take() {
            stop.store(true, Ordering::Relaxed);
        }
    }
}

impl Drop for Tick {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Makes the threads of all domains take turns, which are shorter than those of one domain's threads.
///
/// # Errors
/// When the system has no more threads.
pub(crate) fn keep_turns(m: &Machine) -> std::io::Result<()> {
    let Some(keeper) = m.turn_keeper() else { return Ok(()) };
    spawn(|| {
        // The system's usual tolerance is half a turn. If this fails, turns are that much longer.
        let _ = prctl::set_timerslack(1);
        keeper();
    })
}

/// Starts a thread that is not the program's, and gets no signals.
fn spawn(f: impl FnOnce() + Send + 'static) -> std::io::Result<()> {
    let run = || {
        // If this fails, the thread may receive signals too, which only records them.
        let _ = SigSet::all().thread_block();
        f();
    };
    std::thread::Builder::new().name("spelter turns".to_owned()).stack_size(64 << 10).spawn(run).map(drop)
}
