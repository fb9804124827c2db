//! `OCAMLRUNPARAM`: comma-separated letters, each with a number.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use spelter::{HeapConfig, Params, VmBuilder};

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
}

impl RunParam {
    /// Reads the environment. `OCAMLRUNPARAM` takes precedence over `CAMLRUNPARAM`.
    pub(crate) fn of_environment() -> RunParam {
        let var = |name| std::env::var_os(name);
        let text = var("OCAMLRUNPARAM").or_else(|| var("CAMLRUNPARAM")).unwrap_or_default();
        RunParam::parse(&text)
    }

    /// Ignores letters that this runtime does not support, as `ocamlrun` does.
    fn parse(text: &OsStr) -> RunParam {
        let mut p = RunParam::default();
        for item in text.as_bytes().split(|byte| *byte == b',') {
            let Some((letter, rest)) = item.split_first() else { continue };
            let n = number(rest);
            match letter {
                b'b' => (p.backtrace, p.early_debug_info) = (n != 0, n > 1),
                b'c' => p.cleanup_at_exit = n != 0,
                b'd' => p.max_domains = Some(n),
                b'l' => p.stack_limit_words = Some(n),
                b'o' => p.space_overhead = Some(n),
                b'O' => p.max_overhead = Some(n),
                b'p' => p.parser_trace = n != 0,
                b's' => p.nursery_words = Some(n),
                b'v' => p.verbose_gc = n,
                b'W' => p.warnings = n != 0,
                _ => {}
            }
        }
        p
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
    use super::*;

    fn parse(text: &str) -> RunParam {
        RunParam::parse(OsStr::new(text))
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
