//! Statistics and settings of the collector, and collections on request (`gc_ctrl.c`).
//!
//! Settings that this collector does not use (increment, policy, window, custom ratios) are stored and returned, with
//! OCaml's defaults.

use spelter_heap::Stats;
use spelter_interp::{Machine, Raise, Res, RuntimeParameters, Slot, Val, prims};

use crate::UNIT;
use crate::boolean;

use crate::io::channels::Io;
use crate::io::errors::complain;
use crate::values::parsing;

use super::runtime_events::names::{Counter, Phase};
use super::runtime_events::{counter, in_phase};

/// Settings that are only returned by `Gc.get`, and a count of collections that this module requested.
struct Settings {
    increment: i64,
    policy: i64,
    window: i64,
    custom_major_ratio: i64,
    custom_minor_ratio: i64,
    custom_minor_max_size: i64,
    /// The values of [`TWEAKS`].
    tweaks: [i64; TWEAKS.len()],
    forced_collections: usize,
}

/// The settings kept by a machine, once they are needed: their defaults depend on its version.
#[derive(Default)]
struct Kept(Option<Settings>);

/// The settings of `Gc.Tweak` and their initial values.
pub const TWEAKS: [(&str, u64); 3] =
    [("mark_stack_prune_factor", 32), ("small_heap_limit", 262_144), ("cache_stacks_per_class", 128)];

fn settings(m: &mut Machine) -> &mut Settings {
    let given = &m.params().collector;
    let or = |given: Option<u64>, otherwise: i64| given.map_or(otherwise, |n| n as i64);
    let tweak = |(name, initial): (&str, u64)| {
        let mut set = given.tweaks.iter().rev().filter(|(tweak, _)| tweak == name);
        set.next().map_or(initial, |(_, n)| *n) as i64
    };
    let initial = Settings {
        increment: or(given.increment, 15),
        policy: or(given.policy, 2),
        window: or(given.window, 1).clamp(1, 50),
        custom_major_ratio: or(given.custom_major_ratio, 44).max(1),
        custom_minor_ratio: or(given.custom_minor_ratio, 100).max(1),
        custom_minor_max_size: or(given.custom_minor_max_bytes, m.behaviour().custom_minor_max_bytes),
        tweaks: TWEAKS.map(tweak),
        forced_collections: 0,
    };
    m.ext::<Kept>().0.get_or_insert(initial)
}

/// The limits of the nursery's size, in words.
const MIN_NURSERY: i64 = 4096;
const MAX_NURSERY: i64 = 1 << 28;
/// Nurseries are whole numbers of pages.
const PAGE_WORDS: i64 = 512;

// ---- statistics ------------------------------------------------------------------------------------

fn stat_record<'m>(m: &'m mut Machine, s: Stats) -> Res<'m> {
    let behaviour = m.behaviour();
    // Later versions have no figures for these fields.
    let of_allocator = |n: usize| if behaviour.allocator_settings { n } else { 0 };
    let stack = match (behaviour.allocator_settings, behaviour.gc_stat_fields) {
        (true, _) => m.stack_usage(),
        (false, 17) => 0,
        (false, _) => m.stack_depth(),
    };
    // The primitive's argument is on the stack here, but in a register there.
    let stack = stack.saturating_sub(1);
    let forced = settings(m).forced_collections;
    let mut fields = Vec::with_capacity(18);
    for words in [s.minor_words, s.promoted_words, s.major_words] {
        fields.push(m.push(|m| m.new_float(words as f64))?);
    }
    for n in [
        s.minor_collections,
        s.major_collections,
        s.heap_words,
        of_allocator(s.heap_chunks),
        s.live_words,
        s.live_blocks,
        s.free_words,
        of_allocator(s.free_blocks),
        of_allocator(s.largest_free),
        s.fragments,
        if behaviour.compacts { s.compactions } else { 0 },
        s.top_heap_words,
        stack,
        forced,
        m.stacks_words(),
    ] {
        fields.push(m.push_int(n as i64));
    }
    m.new_block(0, &fields[..behaviour.gc_stat_fields])
}

/// The statistics of the whole heap.
fn all_stats(m: &mut Machine) -> Result<Stats, Raise> {
    m.heap().stats_unless(|| m.check_interrupt())
}

fn gc_stat(m: &mut Machine, unit: [Slot; 1]) -> Res<'_> {
    let stats = in_phase(m, Phase::ExplicitGcStat, |m| {
        if !m.behaviour().allocator_settings {
            gc_full_major(m, unit)?;
        }
        all_stats(m)
    })?;
    stat_record(m, stats)
}

/// The figures about blocks are zero, as documented: counting blocks takes time. (OCaml 5 knows them.)
fn gc_quick_stat(m: &mut Machine, _: [Slot; 1]) -> Res<'_> {
    let stats = m.heap().quick_stats();
    stat_record(m, stats)
}

fn gc_minor_words(m: &mut Machine, _: [Slot; 1]) -> Res<'_> {
    let words = m.domain_allocated().minor;
    m.new_float(words as f64)
}

fn gc_counters(m: &mut Machine, _: [Slot; 1]) -> Res<'_> {
    let s = m.domain_allocated();
    let minor = m.push(|m| m.new_float(s.minor as f64))?;
    let promoted = m.push(|m| m.new_float(s.promoted as f64))?;
    let major = m.push(|m| m.new_float(s.major as f64))?;
    m.new_block(0, &[minor, promoted, major])
}

/// Prints the statistics of `OCAMLRUNPARAM=v=0x400` on stderr, when the program exits.
pub fn report_at_exit(m: &mut Machine) {
    if m.params().verbose_gc & 0x400 == 0 {
        return;
    }
    let (s, forced) = (m.heap().quick_stats(), settings(m).forced_collections);
    let allocated = s.minor_words + s.major_words - s.promoted_words;
    complain(m, format_args!("allocated_words: {allocated}"));
    complain(m, format_args!("minor_words: {}", s.minor_words));
    complain(m, format_args!("promoted_words: {}", s.promoted_words));
    complain(m, format_args!("major_words: {}", s.major_words));
    complain(m, format_args!("minor_collections: {}", s.minor_collections));
    complain(m, format_args!("major_collections: {}", s.major_collections));
    if m.behaviour().allocator_settings {
        complain(m, format_args!("heap_words: {}", s.heap_words));
        complain(m, format_args!("heap_chunks: {}", s.heap_chunks));
        complain(m, format_args!("top_heap_words: {}", s.top_heap_words));
        complain(m, format_args!("compactions: {}", s.compactions));
        complain(m, format_args!("forced_major_collections: {forced}"));
        return;
    }
    complain(m, format_args!("forced_major_collections: {forced}"));
    complain(m, format_args!("heap_words: {}", s.heap_words));
    complain(m, format_args!("top_heap_words: {}", s.top_heap_words));
    if m.behaviour().reports_mean_overhead {
        complain(m, format_args!("mean_space_overhead: {:.6}", m.heap().mean_space_overhead()));
    }
}

// ---- settings --------------------------------------------------------------------------------------

fn gc_get(m: &mut Machine, _: [Slot; 1]) -> Res<'_> {
    let nursery = m.heap().nursery_words() as i64;
    let (overhead, max_overhead) = (m.heap().space_overhead().into(), m.heap().max_overhead().into());
    let verbose = m.params().verbose_gc as i64;
    let stack = m.stack_limit_words() as i64;
    let allocator = m.behaviour().allocator_settings;
    let of_allocator = |n: i64| if allocator { n } else { 0 };
    let s = settings(m);
    let fields = [
        nursery,
        of_allocator(s.increment),
        overhead,
        verbose,
        of_allocator(max_overhead),
        stack,
        of_allocator(s.policy),
        of_allocator(s.window),
        s.custom_major_ratio,
        s.custom_minor_ratio,
        s.custom_minor_max_size,
    ];
    let fields = fields.map(|i| m.push_int(i));
    m.new_block(0, &fields)
}

fn percent(n: i64, least: u32) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX).max(least)
}

fn gc_set(m: &mut Machine, [control]: [Slot; 1]) -> Res<'_> {
    in_phase(m, Phase::ExplicitGcSet, |m| set(m, control))?;
    m.run_pending()?;
    Ok(UNIT)
}

fn set(m: &mut Machine, control: Slot) -> Result<(), Raise> {
    let v = m.val(control);
    let mut fields = [0; 11];
    let count = v.wosize()?.min(fields.len());
    for (i, field) in fields[..count].iter_mut().enumerate() {
        *field = v.field(i)?.int()?;
    }
    let [nursery, increment, overhead, verbose, max_overhead, stack, policy, window, major, minor, size] =
        fields;
    m.params_mut().verbose_gc = verbose as u64;
    m.set_stack_limit_words(usize::try_from(stack).unwrap_or(0));
    m.set_space_overhead(percent(overhead, 1));
    let allocator = m.behaviour().allocator_settings;
    if allocator {
        m.set_max_overhead(percent(max_overhead, 0));
    }
    let s = settings(m);
    s.increment = increment;
    // Later OCaml versions added the later fields; older programs pass shorter records.
    if count >= 8 {
        s.window = window.clamp(1, 50);
    }
    if count >= 11 {
        s.custom_major_ratio = major.max(1);
        s.custom_minor_ratio = minor.max(1);
        s.custom_minor_max_size = size;
    }
    if std::mem::replace(&mut s.policy, policy) != policy && allocator {
        s.forced_collections += 1;
        m.compact();
    }
    let nursery = nursery.clamp(MIN_NURSERY, MAX_NURSERY);
    let nursery = ((nursery + PAGE_WORDS - 1) / PAGE_WORDS * PAGE_WORDS) as usize;
    if nursery != m.heap().nursery_words() {
        // A guest's nursery must be emptied quickly, so that an interrupt need not wait long.
        if !m.ext::<Io>().fds.owns_process {
            m.keep_nursery_short();
        }
        counter(m, Counter::ForceMinorSetMinorHeapSize, 1);
        m.set_nursery_words(nursery);
    }
    Ok(())
}

fn runtime_variant(m: &mut Machine, _: [Slot; 1]) -> Res<'_> {
    m.new_string(b"")
}

fn runtime_parameters(m: &mut Machine, _: [Slot; 1]) -> Res<'_> {
    let warnings = i32::from(m.ext::<Io>().warnings.enabled.get());
    let backtrace = i32::from(m.backtrace_active());
    let (stack, overhead) = (m.stack_limit_words(), m.heap().space_overhead());
    let (max_overhead, nursery) = (m.heap().max_overhead(), m.heap().nursery_words());
    let parser = i32::from(match m.behaviour().runtime_parameters {
        RuntimeParameters::OfDomains => parsing::program_traces(m),
        _ => m.params().parser_trace,
    });
    let (cleanup, verbose) = (i32::from(m.params().cleanup_at_exit), m.params().verbose_gc);
    let given = &m.params().collector;
    let (events, trace, verify) =
        (given.events_log_words.unwrap_or(16), given.trace_level, given.verify_heap);
    let kind = m.behaviour().runtime_parameters;
    let s = settings(m);
    let text = match kind {
        RuntimeParameters::OfAllocator => format!(
            "a={},b={backtrace},H=0,i={},l={stack},o={overhead},O={max_overhead},p={parser},s={nursery},t=0,\
             v={verbose},w={},W={warnings}",
            s.policy, s.increment, s.window,
        ),
        RuntimeParameters::Missing => "caml_runtime_parameters not implemented: 0".to_owned(),
        RuntimeParameters::OfDomains => {
            let mut text = format!(
                "b={backtrace},c={cleanup},e={events},l={stack},M={},m={},n={},o={overhead},p={parser},s={nursery},\
                 t={trace},v={verbose},V={verify},W={warnings}",
                s.custom_major_ratio, s.custom_minor_ratio, s.custom_minor_max_size,
            );
            for (name, value) in changed_tweaks(s) {
                text.push_str(&format!(",X{name}={}", value as u64));
            }
            text
        }
    };
    m.new_string(text.as_bytes())
}

// ---- experimental settings (`Gc.Tweak`) ------------------------------------------------------------

/// The tweaks whose values differ from their initial ones.
fn changed_tweaks(s: &Settings) -> impl Iterator<Item = (&'static str, i64)> {
    let values = TWEAKS.iter().zip(s.tweaks);
    values.filter(|((_, initial), value)| *value != *initial as i64).map(|((name, _), value)| (*name, value))
}

fn tweak(m: &mut Machine, name: Slot) -> Result<&mut i64, Raise> {
    let name = m.bytes(name)?;
    let index = TWEAKS.iter().position(|(tweak, _)| tweak.as_bytes() == name);
    let index = index.ok_or_else(|| Raise::invalid("Gc.Tweak: parameter not found"))?;
    Ok(&mut settings(m).tweaks[index])
}

fn gc_tweak_get(m: &mut Machine, [name]: [Slot; 1]) -> Res<'_> {
    let value = *tweak(m, name)?;
    Ok(Val::from_int(value))
}

fn gc_tweak_set(m: &mut Machine, [name, value]: [Slot; 2]) -> Res<'_> {
    let value = m.int(value)?;
    *tweak(m, name)? = value;
    Ok(UNIT)
}

fn gc_tweak_list_active(m: &mut Machine, _: [Slot; 1]) -> Res<'_> {
    let changed: Vec<(&str, i64)> = changed_tweaks(settings(m)).collect();
    m.new_list(changed, |m, (name, value)| {
        let name = m.push(|m| m.new_string(name.as_bytes()))?;
        let value = m.push_int(value);
        m.new_block(0, &[name, value])
    })
}

// ---- warnings --------------------------------------------------------------------------------------

fn enable_runtime_warnings(m: &mut Machine, [on]: [Slot; 1]) -> Res<'_> {
    let on = m.bool(on);
    m.ext::<Io>().warnings.enabled.set(on);
    Ok(UNIT)
}

fn runtime_warnings_enabled(m: &mut Machine, _: [Slot; 1]) -> Res<'_> {
    Ok(boolean(m.ext::<Io>().warnings.enabled.get()))
}

// ---- collections -----------------------------------------------------------------------------------

fn gc_minor(m: &mut Machine, _: [Slot; 1]) -> Res<'_> {
    in_phase(m, Phase::ExplicitGcMinor, |m| {
        m.collect_minor();
        m.run_pending()
    })?;
    Ok(UNIT)
}

fn gc_major(m: &mut Machine, _: [Slot; 1]) -> Res<'_> {
    in_phase(m, Phase::ExplicitGcMajor, |m| {
        m.settle_names()?;
        match m.behaviour().collections_follow {
            true => m.collect_and_begin(false),
            false => m.collect_major(),
        }
        m.run_pending()
    })?;
    Ok(UNIT)
}

fn gc_major_slice(m: &mut Machine, [words]: [Slot; 1]) -> Res<'_> {
    let words = m.int(words)?;
    in_phase(m, Phase::ExplicitGcMajorSlice, |m| {
        // 0 means that the collector chooses the size of the slice.
        match words {
            n @ 1.. => m.collect_slice(n as usize),
            _ => {
                m.collect_minor();
                m.collect_slice(m.heap().nursery_words());
            }
        }
        m.run_pending()
    })?;
    Ok(Val::from_int(0))
}

/// One collection of several.
fn collect(m: &mut Machine, compact: bool) -> Result<(), Raise> {
    match (m.behaviour().collections_follow, compact) {
        (true, _) => m.collect_and_begin(compact),
        (false, true) => m.compact(),
        (false, false) => m.collect_full(),
    }
    m.run_pending()
}

/// Does several whole collections, as finalisers run after one may make more values unreachable.
fn gc_full_major(m: &mut Machine, _: [Slot; 1]) -> Res<'_> {
    in_phase(m, Phase::ExplicitGcFullMajor, |m| {
        m.settle_names()?;
        (0..m.behaviour().full_major_cycles).try_for_each(|_| collect(m, false))
    })?;
    settings(m).forced_collections += 1;
    Ok(UNIT)
}

fn gc_compaction(m: &mut Machine, unit: [Slot; 1]) -> Res<'_> {
    if !m.behaviour().compacts {
        let outcome = in_phase(m, Phase::ExplicitGcCompact, |m| gc_major(m, unit).map(|_| ()));
        settings(m).forced_collections += 1;
        return outcome.map(|()| UNIT);
    }
    m.settle_names()?;
    // The compaction begins with the last collection.
    let cycles = m.behaviour().full_major_cycles;
    let outcome =
        in_phase(m, Phase::ExplicitGcCompact, |m| (1..=cycles).try_for_each(|i| collect(m, i == cycles)));
    settings(m).forced_collections += 1;
    outcome.map(|()| UNIT)
}

/// A phase in which a program only allocates: calls the function; the collector's work is not put off here.
fn gc_ramp_up(m: &mut Machine, [function]: [Slot; 1]) -> Res<'_> {
    let unit = m.push_int(0);
    let result = m.push(|m| m.call(function, &[unit]))?;
    let put_off = m.push_int(0);
    m.new_block(0, &[result, put_off])
}

fn gc_ramp_down(m: &mut Machine, [words]: [Slot; 1]) -> Res<'_> {
    m.int(words)?;
    Ok(UNIT)
}

/// Words left in the nursery.
fn get_minor_free(m: &mut Machine, _: [Slot; 1]) -> Res<'_> {
    Ok(Val::from_int(m.nursery_free() as i64))
}

/// This collector does not smooth its work over slices.
fn get_major_bucket(m: &mut Machine, [i]: [Slot; 1]) -> Res<'_> {
    if m.int(i)? < 0 { Err(Raise::invalid("Gc.get_bucket")) } else { Ok(Val::from_int(0)) }
}

fn zero(_: &mut Machine, _: [Slot; 1]) -> Res<'_> {
    Ok(Val::from_int(0))
}

prims! {
    "caml_gc_stat" P1 gc_stat,
    "caml_gc_quick_stat" P1 gc_quick_stat,
    "caml_gc_minor_words" P1 gc_minor_words,
    "caml_gc_counters" P1 gc_counters,
    "caml_gc_huge_fallback_count" P1 zero => before(V5_0),
    "caml_gc_get" P1 gc_get,
    "caml_gc_set" P1 gc_set,
    "caml_gc_minor" P1 gc_minor,
    "caml_gc_major" P1 gc_major,
    "caml_gc_full_major" P1 gc_full_major,
    "caml_gc_major_slice" P1 gc_major_slice,
    "caml_gc_compaction" P1 gc_compaction,
    "caml_get_minor_free" P1 get_minor_free,
    "caml_get_major_bucket" P1 get_major_bucket => before(V5_0),
    "caml_get_major_credit" P1 zero => before(V5_0),
    "caml_ml_gc_ramp_up" P1 gc_ramp_up => since(V5_4),
    "caml_ml_gc_ramp_down" P1 gc_ramp_down => since(V5_4),
    "caml_gc_tweak_get" P1 gc_tweak_get => since(V5_5),
    "caml_gc_tweak_set" P2 gc_tweak_set => since(V5_5),
    "caml_gc_tweak_list_active" P1 gc_tweak_list_active => since(V5_5),
    "caml_runtime_variant" P1 runtime_variant,
    "caml_runtime_parameters" P1 runtime_parameters,
    "caml_ml_enable_runtime_warnings" P1 enable_runtime_warnings,
    "caml_ml_runtime_warnings_enabled" P1 runtime_warnings_enabled,
}
