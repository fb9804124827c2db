//! Statistical memory profiling (`memprof.c`). This heap does not sample allocations, and says so; a sampling
//! rate of 0, which asks for none, is served.

use spelter_interp::{Machine, Raise, Res, Slot, prims};

use crate::UNIT;

/// Whether a profile is being taken.
#[derive(Default)]
struct Started(bool);

fn memprof_start(m: &mut Machine, [rate, depth, _tracker]: [Slot; 3]) -> Res<'_> {
    let (rate, depth) = (m.float(rate)?, m.int(depth)?);
    if m.ext::<Started>().0 {
        return Err(Raise::failure("Gc.Memprof.start: already started."));
    }
    if depth < 0 || !(0.0..=1.0).contains(&rate) {
        return Err(Raise::invalid("Gc.Memprof.start"));
    }
    if rate > 0.0 {
        return Err(Raise::failure("Gc.Memprof.start: this runtime does not sample allocations"));
    }
    m.ext::<Started>().0 = true;
    Ok(UNIT)
}

fn memprof_stop(m: &mut Machine, _: [Slot; 1]) -> Res<'_> {
    if !std::mem::take(&mut m.ext::<Started>().0) {
        return Err(Raise::failure("Gc.Memprof.stop: not started."));
    }
    Ok(UNIT)
}

prims! {
    "caml_memprof_start" P3 memprof_start,
    "caml_memprof_stop" P1 memprof_stop,
}
