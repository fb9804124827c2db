//! Statistics and settings of the collector, and collections on request (`gc_ctrl.c`).
//!
//! Settings that this collector does not use (increment, policy, window, custom ratios) are stored and returned, with
//! OCaml's defaults.

use spelter_heap::Stats;
use spelter_interp::{Machine, Raise, Res, Slot, Val, prims};

use crate::UNIT;
use crate::boolean;

use crate::io::channels::Io;
use crate::io::errors::complain;

/// Settings that are only returned by `Gc.get`.
struct Settings {
    increment: i64,
    policy: i64,
    window: i64,
    custom_major_ratio: i64,
    custom_minor_ratio: i64,
    custom_minor_max_size: i64,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            increment: 15,
            policy: 2,
            window: 1,
            custom_major_ratio: 44,
            custom_minor_ratio: 100,
            custom_minor_max_size: 8192,
        }
    }
}

/// The limits of the nursery's size, in words.
const MIN_NURSERY: i64 = 4096;
const MAX_NURSERY: i64 = 1 << 28;
/// Nurseries are whole numbers of pages.
const PAGE_WORDS: i64 = 512;

// ---- statistics ------------------------------------------------------------------------------------

fn stat_record<'m>(m: &'m mut Machine, s: Stats) -> Res<'m> {
    let stack = m.stack_usage();
    let mut fields = Vec::with_capacity(17);
    for words in [s.minor_words, s.promoted_words, s.major_words] {
        fields.push(m.push(|m| m.new_float(words as f64))?);
    }
    for n in [
        s.minor_collections,
        s.major_collections,
        s.heap_words,
        s.heap_chunks,
        s.live_words,
        s.live_blocks,
        s.free_words,
        s.free_blocks,
        s.largest_free,
        s.fragments,
        s.compactions,
        s.top_heap_words,
        stack,
        s.forced_major_collections,
    ] {
        fields.push(m.push_int(n as i64));
    }
    m.new_block(0, &fields)
}

fn gc_stat(m: &mut Machine, _: [Slot; 1]) -> Res<'_> {
    let stats = m.heap().stats_unless(|| m.check_interrupt())?;
    stat_record(m, stats)
}

fn gc_quick_stat(m: &mut Machine, _: [Slot; 1]) -> Res<'_> {
    let stats = m.heap().quick_stats();
    stat_record(m, stats)
}

fn gc_minor_words(m: &mut Machine, _: [Slot; 1]) -> Res<'_> {
    let words = m.heap().quick_stats().minor_words;
    m.new_float(words as f64)
}

fn gc_counters(m: &mut Machine, _: [Slot; 1]) -> Res<'_> {
    let s = m.heap().quick_stats();
    let minor = m.push(|m| m.new_float(s.minor_words as f64))?;
    let promoted = m.push(|m| m.new_float(s.promoted_words as f64))?;
    let major = m.push(|m| m.new_float(s.major_words as f64))?;
    m.new_block(0, &[minor, promoted, major])
}

/// Prints the statistics of `OCAMLRUNPARAM=v=0x400` on stderr, when the program exits.
pub fn report_at_exit(m: &Machine) {
    if m.params().verbose_gc & 0x400 == 0 {
        return;
    }
    let s = m.heap().quick_stats();
    let allocated = s.minor_words + s.major_words - s.promoted_words;
    complain(format_args!("allocated_words: {allocated}"));
    complain(format_args!("minor_words: {}", s.minor_words));
    complain(format_args!("promoted_words: {}", s.promoted_words));
    complain(format_args!("major_words: {}", s.major_words));
    complain(format_args!("minor_collections: {}", s.minor_collections));
    complain(format_args!("major_collections: {}", s.major_collections));
    complain(format_args!("heap_words: {}", s.heap_words));
    complain(format_args!("heap_chunks: {}", s.heap_chunks));
    complain(format_args!("top_heap_words: {}", s.top_heap_words));
    complain(format_args!("compactions: {}", s.compactions));
    complain(format_args!("forced_major_collections: {}", s.forced_major_collections));
}

// ---- settings --------------------------------------------------------------------------------------

fn gc_get(m: &mut Machine, _: [Slot; 1]) -> Res<'_> {
    let nursery = m.heap().nursery_words() as i64;
    let (overhead, max_overhead) = (m.heap().space_overhead().into(), m.heap().max_overhead().into());
    let verbose = m.params().verbose_gc as i64;
    let stack = m.stack_limit_words() as i64;
    let s = m.ext::<Settings>();
    let fields = [
        nursery,
        s.increment,
        overhead,
        verbose,
        max_overhead,
        stack,
        s.policy,
        s.window,
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
    m.set_max_overhead(percent(max_overhead, 0));
    let s = m.ext::<Settings>();
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
    if std::mem::replace(&mut s.policy, policy) != policy {
        m.compact();
    }
    let nursery = nursery.clamp(MIN_NURSERY, MAX_NURSERY);
    let nursery = ((nursery + PAGE_WORDS - 1) / PAGE_WORDS * PAGE_WORDS) as usize;
    if nursery != m.heap().nursery_words() {
        // A guest's nursery must be emptied quickly, so that an interrupt need not wait long.
        if !m.ext::<Io>().fds.owns_process {
            m.keep_nursery_short();
        }
        m.set_nursery_words(nursery);
    }
    m.run_pending()?;
    Ok(UNIT)
}

fn runtime_variant(m: &mut Machine, _: [Slot; 1]) -> Res<'_> {
    m.new_string(b"")
}

fn runtime_parameters(m: &mut Machine, _: [Slot; 1]) -> Res<'_> {
    let warnings = i32::from(m.ext::<Io>().warnings.enabled.get());
    let (increment, policy, window) = {
        let s = m.ext::<Settings>();
        (s.increment, s.policy, s.window)
    };
    let text = format!(
        "a={policy},b={},H=0,i={increment},l={},o={},O={},p={},s={},t=0,v={},w={window},W={warnings}",
        i32::from(m.backtrace_active()),
        m.stack_limit_words(),
        m.heap().space_overhead(),
        m.heap().max_overhead(),
        i32::from(m.params().parser_trace),
        m.heap().nursery_words(),
        m.params().verbose_gc,
    );
    m.new_string(text.as_bytes())
}

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
    m.collect_minor();
    m.run_pending()?;
    Ok(UNIT)
}

fn gc_major(m: &mut Machine, _: [Slot; 1]) -> Res<'_> {
    m.settle_names()?;
    m.collect_major();
    m.run_pending()?;
    Ok(UNIT)
}

fn gc_major_slice(m: &mut Machine, [words]: [Slot; 1]) -> Res<'_> {
    // 0 means that the collector chooses the size of the slice.
    match m.int(words)? {
        n @ 1.. => m.collect_slice(n as usize),
        _ => {
            m.collect_minor();
            m.collect_slice(m.heap().nursery_words());
        }
    }
    m.run_pending()?;
    Ok(Val::from_int(0))
}

/// Does two whole collections, as finalisers run after the first may make more values unreachable.
fn gc_full_major(m: &mut Machine, _: [Slot; 1]) -> Res<'_> {
    m.settle_names()?;
    for _ in 0..2 {
        m.collect_full();
        m.run_pending()?;
    }
    Ok(UNIT)
}

fn gc_compaction(m: &mut Machine, _: [Slot; 1]) -> Res<'_> {
    m.settle_names()?;
    m.collect_full();
    m.run_pending()?;
    m.compact();
    m.run_pending()?;
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
    "caml_gc_huge_fallback_count" P1 zero,
    "caml_gc_get" P1 gc_get,
    "caml_gc_set" P1 gc_set,
    "caml_gc_minor" P1 gc_minor,
    "caml_gc_major" P1 gc_major,
    "caml_gc_full_major" P1 gc_full_major,
    "caml_gc_major_slice" P1 gc_major_slice,
    "caml_gc_compaction" P1 gc_compaction,
    "caml_get_minor_free" P1 get_minor_free,
    "caml_get_major_bucket" P1 get_major_bucket,
    "caml_get_major_credit" P1 zero,
    "caml_runtime_variant" P1 runtime_variant,
    "caml_runtime_parameters" P1 runtime_parameters,
    "caml_ml_enable_runtime_warnings" P1 enable_runtime_warnings,
    "caml_ml_runtime_warnings_enabled" P1 runtime_warnings_enabled,
}
