//! `OCAMLRUNPARAM`: comma-separated letters, each with a number.

use std::ffi::OsStr;
use std::io::Write;
use std::os::unix::ffi::OsStrExt;

use spelter::{Behaviour, CollectorParams, HeapConfig, Params, TWEAKS, VmBuilder};

/// OCaml's bounds for the nursery's size, in words.
const NURSERY_WORDS: std::ops::RangeInclusive<u64> = 4096..=1 << 28;

/// The parameters that this runtime supports.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct RunParam {
    pub(crate) backtrace: bool,
    pub(crate) early_debug_info: bool,
    pub(crate) cleanup_at_exit: bool,
    pub(crate) stack_limit_words: Option<u64>,
    pub(crate) space_overhead: Option<u64>,
    pub(crate) max_overhead: Option<u64>,
    pub(crate) max_domains: Option<u64>,
    pub(crate) parser_trace: bool,
    pub(crate) nursery_words: Option<u64>,
    pub(crate) verbose_gc: u64,
    pub(crate) warnings: bool,
    pub(crate) collector: CollectorParams,
}

impl RunParam {
    /// Reads the environment for a program of this version. `OCAMLRUNPARAM` takes precedence over `CAMLRUNPARAM`.
    pub(crate) fn of_environment(behaviour: &Behaviour) -> RunParam {
        let var = |name| std::env::var_os(name);
        let text = var("OCAMLRUNPARAM").or_else(|| var("CAMLRUNPARAM")).unwrap_or_default();
        let mut told = String::new();
        let parsed = RunParam::parse(&text, behaviour, &mut told);
        // Errors of stderr cannot be reported.
        let _ = std::io::stderr().write_all(told.as_bytes());
        parsed
    }

    /// Ignores letters that the version's runtime, or this one, does not support, as `ocamlrun` does. What is to be
    /// printed is appended to `told`.
    fn parse(text: &OsStr, behaviour: &Behaviour, told: &mut String) -> RunParam {
        let mut p = RunParam::default();
        let allocator = behaviour.allocator_settings;
        for item in text.as_bytes().split(|byte| *byte == b',') {
            let Some((letter, rest)) = item.split_first() else { continue };
            let n = number(rest);
            match letter {
                b'a' if allocator => p.collector.policy = Some(n),
                b'b' => (p.backtrace, p.early_debug_info) = (n != 0, n > 1),
                b'c' => p.cleanup_at_exit = n != 0,
                b'd' if behaviour.sets_domain_limit => p.max_domains = Some(n),
                b'e' if !allocator => p.collector.events_log_words = Some(n),
                b'i' if allocator => p.collector.increment = Some(n),
                b'l' => p.stack_limit_words = Some(n),
                b'm' => p.collector.custom_minor_ratio = Some(n),
                b'M' => p.collector.custom_major_ratio = Some(n),
                b'n' => p.collector.custom_minor_max_bytes = Some(n),
                b'o' => p.space_overhead = Some(n),
                b'O' if allocator => p.max_overhead = Some(n),
                b'p' => p.parser_trace = n != 0,
                b's' => p.nursery_words = Some(n),
                b't' => p.collector.trace_level = n,
                b'v' => p.verbose_gc = n,
                b'V' => p.collector.verify_heap = n,
                b'w' if allocator => p.collector.window = Some(n),
                b'W' => p.warnings = n != 0,
                b'X' if behaviour.tweaks => p.tweak(rest, told),
                _ => {}
            }
        }
        p
    }

    /// `Xname=n`, or `Xhelp`.
    fn tweak(&mut self, text: &[u8], told: &mut String) {
        let end = text.iter().position(|byte| *byte == b'=').unwrap_or(text.len());
        let (name, value) = text.split_at(end);
        let name = String::from_utf8_lossy(name);
        if name == "help" {
            told.push_str("Known GC tweaks:\n");
            for (name, initial) in TWEAKS {
                told.push_str(&format!("{name} (initial value {initial})\n"));
            }
        } else if TWEAKS.iter().any(|(tweak, _)| *tweak == name) {
            self.collector.tweaks.push((name.into_owned(), number(value)));
        } else {
            told.push_str(&format!("Ignored unknown GC tweak '{name}'. Use 'Xhelp' to list known tweaks\n"));
        }
    }

    /// Applies the parameters to the builder of a machine; `params` has its other start-up parameters.
    pub(crate) fn apply(&self, mut heap: HeapConfig, params: Params, builder: VmBuilder) -> VmBuilder {
        if let Some(words) = self.nursery_words {
            heap.nursery_words = words.clamp(*NURSERY_WORDS.start(), *NURSERY_WORDS.end()) as usize;
        }
        let percent = |n: u64| u32::try_from(n).unwrap_or(u32::MAX);
        if let Some(overhead) = self.space_overhead {
            heap.space_overhead = percent(overhead).max(1);
        }
        if let Some(overhead) = self.max_overhead {
            heap.max_overhead = percent(overhead);
        }
        let params = Params {
            backtrace: self.backtrace,
            early_debug_info: self.early_debug_info,
            cleanup_at_exit: self.cleanup_at_exit,
            max_domains: self.max_domains,
            parser_trace: self.parser_trace,
            verbose_gc: self.verbose_gc,
            stack_limit_words: self.stack_limit_words.map(|n| usize::try_from(n).unwrap_or(usize::MAX)),
            warnings: self.warnings,
            collector: self.collector.clone(),
            ..params
        };
        builder.heap(heap).params(params)
    }
}

/// Parses `=12` or `=0x12`, with an optional suffix `k`, `M` or `G`. Anything else counts as 1, as does a letter
/// alone.
fn number(text: &[u8]) -> u64 {
    let Some(text) = text.strip_prefix(b"=") else { return 1 };
    let (digits, radix) = match text.strip_prefix(b"0x") {
        Some(digits) => (digits, 16),
        None => (text, 10),
    };
    let len = digits.iter().take_while(|byte| char::from(**byte).is_digit(radix)).count();
    let (digits, rest) = digits.split_at(len);
    let Ok(n) = u64::from_str_radix(&String::from_utf8_lossy(digits), radix) else { return 1 };
    let unit = match rest.first() {
        Some(b'k') => 1 << 10,
        Some(b'M') => 1 << 20,
        Some(b'G') => 1 << 30,
        _ => 1,
    };
    n.saturating_mul(unit)
}

#[cfg(test)]
mod tests {
    use spelter_bytecode::Dialect;

    use super::*;

    fn parse(text: &str) -> RunParam {
        let mut told = String::new();
        let p = RunParam::parse(OsStr::new(text), Behaviour::of(Dialect::V4_13), &mut told);
        assert_eq!(told, "");
        p
    }

    #[test]
    fn letters_of_some_versions() {
        let text = OsStr::new("a=1,d=7,e=8,O=3,n=5,Xsmall_heap_limit=1k,Xhelp,Xno=3");
        let mut told = String::new();
        let old = RunParam::parse(text, Behaviour::of(Dialect::V4_14), &mut told);
        assert_eq!((old.collector.policy, old.max_domains, old.max_overhead), (Some(1), None, Some(3)));
        assert_eq!((old.collector.events_log_words, old.collector.custom_minor_max_bytes), (None, Some(5)));
        assert_eq!(told, "");
        let new = RunParam::parse(text, Behaviour::of(Dialect::V5_5), &mut told);
        assert_eq!((new.collector.policy, new.max_domains, new.max_overhead), (None, Some(7), None));
        assert_eq!(new.collector.tweaks, [("small_heap_limit".to_owned(), 1024)]);
        assert!(told.starts_with("Known GC tweaks:\nmark_stack_prune_factor (initial value 32)\n"), "{told}");
        assert!(
            told.ends_with("Ignored unknown GC tweak 'no'. Use 'Xhelp' to list known tweaks\n"),
            "{told}"
        );
    }

    #[test]
    fn letters_and_numbers() {
        let p = parse("b,l=64k,s=0x10M,o=200,v=0x400,q=3,p=0");
        assert!(p.backtrace && !p.early_debug_info && !p.parser_trace && !p.warnings);
        assert_eq!(p.stack_limit_words, Some(64 << 10));
        assert_eq!(p.nursery_words, Some(16 << 20));
        assert_eq!(p.space_overhead, Some(200));
        assert_eq!(p.verbose_gc, 0x400);
    }

    #[test]
    fn what_is_no_number_counts_as_one() {
        assert_eq!(number(b"=x"), 1);
        assert_eq!(number(b"7"), 1);
        assert_eq!(number(b"=0x"), 1);
        assert_eq!(number(b"=0"), 0);
        assert_eq!(number(b"=12k"), 12288);
    }

    #[test]
    fn the_last_of_a_letter_wins() {
        assert!(!parse("b,,b=0").backtrace);
        assert!(parse("b,b=2").early_debug_info);
    }
}
