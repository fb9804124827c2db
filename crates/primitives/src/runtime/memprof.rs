//! Statistical memory profiling (`memprof.c`): starts and stops it for `Gc.Memprof`. The heap takes the samples, and
//! the machine calls the tracker.

use std::collections::BTreeMap;

use spelter_interp::{Kept, Machine, MemprofKind, Raise, Res, Slot, prims};

use crate::UNIT;
use crate::boolean;

/// The failure of a version without profiles; `i` is 0 to start, 1 to stop, 2 to discard.
fn missing(m: &Machine, i: usize) -> Result<(), Raise> {
    match m.behaviour().memprof {
        MemprofKind::Missing(messages) => Err(Raise::failure(messages[i])),
        _ => Ok(()),
    }
}

/// What a profile's value holds. It stands in field 0 of a block, whose other field is the number of the profile.
mod status {
    pub(super) const SAMPLING: i64 = 0;
    pub(super) const STOPPED: i64 = 1;
    pub(super) const DISCARDED: i64 = 2;
}

/// The values of the profiles that are sampling, by number.
#[derive(Default)]
struct Sampling(BTreeMap<u64, Kept>);

fn memprof_start(m: &mut Machine, [rate, depth, tracker]: [Slot; 3]) -> Res<'_> {
    missing(m, 0)?;
    let kind = m.behaviour().memprof;
    let (rate, depth) = (m.float(rate)?, m.int(depth)?);
    let started = || Raise::failure("Gc.Memprof.start: already started.");
    if kind == MemprofKind::Unnamed && m.is_profiling() {
        return Err(started());
    }
    let depth = usize::try_from(depth).ok().filter(|_| (0.0..=1.0).contains(&rate));
    let depth = depth.ok_or_else(|| Raise::invalid("Gc.Memprof.start"))?;
    match kind {
        MemprofKind::Values { replaces } => {
            let sampling = m.is_sampling();
            if sampling && !replaces {
                return Err(started());
            }
            if replaces {
                m.report_samples()?;
            }
            m.reserve_kept(1)?;
            let state = m.push_int(status::SAMPLING);
            let value = m.push(|m| m.new_block(0, &[state, state]))?;
            let number = m.start_next_profile(rate, depth, tracker)?;
            m.set_field_int(value, 1, number as i64)?;
            let kept = m.keep(value);
            let mut all = std::mem::take(&mut m.ext::<Sampling>().0);
            // Nobody can stop a profile for which no domain takes samples.
            all.retain(|number, _| m.has_profile(*number));
            all.insert(number, kept);
            m.ext::<Sampling>().0 = all;
            Ok(m.val(value))
        }
        _ => {
            m.start_profile(rate, depth, tracker)?;
            Ok(UNIT)
        }
    }
}

fn memprof_stop(m: &mut Machine, _: [Slot; 1]) -> Res<'_> {
    missing(m, 1)?;
    if m.behaviour().memprof == MemprofKind::Unnamed {
        if !m.is_profiling() {
            return Err(Raise::failure("Gc.Memprof.stop: not started."));
        }
        m.stop_profile();
        return Ok(UNIT);
    }
    // Allocations sampled so far are reported first.
    m.report_samples()?;
    if !m.is_sampling() {
        return Err(Raise::failure("Gc.Memprof.stop: no profile running."));
    }
    m.stop_sampling();
    let number = m.current_profile();
    if let Some(kept) = m.ext::<Sampling>().0.remove(&number) {
        let value = m.push_kept(&kept);
        m.set_field_int(value, 0, status::STOPPED)?;
    }
    Ok(UNIT)
}

fn memprof_discard(m: &mut Machine, [profile]: [Slot; 1]) -> Res<'_> {
    missing(m, 2)?;
    match m.val(profile).field(0)?.int()? {
        status::STOPPED => {}
        status::DISCARDED => return Err(Raise::failure("Gc.Memprof.discard: profile already discarded.")),
        _ => return Err(Raise::failure("Gc.Memprof.discard: profile not stopped.")),
    }
    let number = m.val(profile).field(1)?.int()?;
    m.discard_profile(number as u64);
    m.set_field_int(profile, 0, status::DISCARDED)?;
    Ok(UNIT)
}

fn memprof_is_sampling(m: &mut Machine, _: [Slot; 1]) -> Res<'_> {
    Ok(boolean(m.is_sampling()))
}

prims! {
    "caml_memprof_start" P3 memprof_start,
    "caml_memprof_stop" P1 memprof_stop,
    "caml_memprof_discard" P1 memprof_discard => since(V5_2),
    "caml_memprof_is_sampling" P1 memprof_is_sampling => since(V5_5),
}
