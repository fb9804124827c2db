//! Statistical memory profiling (`memprof.c`): starts and stops it for `Gc.Memprof`. The heap takes the samples, and
//! the machine calls the tracker.

use spelter_interp::{Machine, Raise, Res, Slot, prims};

use crate::UNIT;

fn memprof_start(m: &mut Machine, [rate, depth, tracker]: [Slot; 3]) -> Res<'_> {
    let (rate, depth) = (m.float(rate)?, m.int(depth)?);
    if m.is_profiling() {
        return Err(Raise::failure("Gc.Memprof.start: already started."));
    }
    let depth = usize::try_from(depth).ok().filter(|_| (0.0..=1.0).contains(&rate));
    let depth = depth.ok_or_else(|| Raise::invalid("Gc.Memprof.start"))?;
    m.start_profile(rate, depth, tracker)?;
    Ok(UNIT)
}

fn memprof_stop(m: &mut Machine, _: [Slot; 1]) -> Res<'_> {
    if !m.is_profiling() {
        return Err(Raise::failure("Gc.Memprof.stop: not started."));
    }
    m.stop_profile();
    Ok(UNIT)
}

prims! {
    "caml_memprof_start" P3 memprof_start,
    "caml_memprof_stop" P1 memprof_stop,
}
