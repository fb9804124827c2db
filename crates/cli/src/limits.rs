//! The limits of `spelter run`: how they are written, and what happens when a program exceeds one.

use std::time::Duration;

use clap::Args;
use spelter::{Limit, VmBuilder};

/// The exit code of a program that exceeded a limit: that of `timeout`.
pub(crate) const EXIT_CODE: i32 = 124;

/// What a program may use. Each needs code that is checked.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Limits (with --checked or --sandbox)")]
pub(crate) struct Limits {
    /// Stop the program when it has burnt this much fuel: one unit for each call of a function, each iteration of a loop
    /// and each `try`
    #[arg(long, require_equals = true, value_name = "UNITS")]
    fuel: Option<u64>,
    /// Stop the program after this time, such as 500ms, 5s or 2m
    #[arg(long, require_equals = true, value_name = "TIME", value_parser = time)]
    time_limit: Option<Duration>,
    /// Stop the program when it needs more memory than this, such as 64M: for its heap and for everything outside of it
    #[arg(long, require_equals = true, value_name = "SIZE", value_parser = size)]
    memory_limit: Option<u64>,
    /// Stop the program when it writes more than this to the stdout and stderr of a sandbox
    #[arg(long, require_equals = true, value_name = "SIZE", value_parser = size)]
    output_limit: Option<u64>,
}

impl Limits {
    /// The option of a limit, and its name, if it is given.
    fn given(&self) -> impl Iterator<Item = (Limit, &'static str)> {
        let all = [
            (Limit::Fuel, "--fuel", self.fuel.is_some()),
            (Limit::Time, "--time-limit", self.time_limit.is_some()),
            (Limit::Memory, "--memory-limit", self.memory_limit.is_some()),
            (Limit::Output, "--output-limit", self.output_limit.is_some()),
        ];
        all.into_iter().filter(|(.., is_given)| *is_given).map(|(limit, option, _)| (limit, option))
    }

    /// Why these limits cannot be kept, if they cannot.
    pub(crate) fn refusal(&self, checked: bool, sandboxed: bool) -> Option<String> {
        let (_, option) = self.given().next()?;
        if !checked {
            return Some(format!(
                "{option} needs --checked or --sandbox: other code can do anything to the process"
            ));
        }
        let unseen = self.output_limit.is_some() && !sandboxed;
        unseen.then(|| "--output-limit needs --sandbox: otherwise the program writes by itself".to_owned())
    }

    /// Sets the limits of a machine.
    pub(crate) fn apply(&self, mut builder: VmBuilder) -> VmBuilder {
        if let Some(units) = self.fuel {
            builder = builder.fuel(units);
        }
        if let Some(time) = self.time_limit {
            builder = builder.time_limit(time);
        }
        if let Some(bytes) = self.memory_limit {
            builder = builder.memory_limit(usize::try_from(bytes).unwrap_or(usize::MAX));
        }
        if let Some(bytes) = self.output_limit {
            builder = builder.output_limit(bytes);
        }
        builder
    }

    /// What to say when the program has exceeded a limit.
    pub(crate) fn message(&self, exceeded: Limit) -> String {
        let option = self.given().find(|(limit, _)| *limit == exceeded);
        let option = option.map(|(_, option)| format!("; see {option}")).unwrap_or_default();
        format!("the program was stopped: {exceeded}{option}")
    }
}

/// A number and the unit behind it.
fn parts(text: &str) -> Option<(u64, &str)> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    Some((text[..end].parse().ok()?, &text[end..]))
}

fn time(text: &str) -> Result<Duration, String> {
    let seconds = |n: u64, each: u64| n.checked_mul(each).map(Duration::from_secs);
    let time = parts(text).and_then(|(n, unit)| match unit {
        "ms" => Some(Duration::from_millis(n)),
        "s" => seconds(n, 1),
        "m" => seconds(n, 60),
        "h" => seconds(n, 3600),
        _ => None,
    });
    time.ok_or_else(|| "expected a time such as 500ms, 5s or 2m".to_owned())
}

fn size(text: &str) -> Result<u64, String> {
    let size = parts(text).and_then(|(n, unit)| {
        let shift = match unit {
            "" => 0,
            "K" => 10,
            "M" => 20,
            "G" => 30,
            _ => return None,
        };
        n.checked_mul(1 << shift)
    });
    size.ok_or_else(|| "expected a number of bytes, such as 65536, 64K, 64M or 1G".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_sizes_have_units() {
        assert_eq!(time("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(time("2m"), Ok(Duration::from_secs(120)));
        assert_eq!((size("0"), size("64K"), size("1G")), (Ok(0), Ok(64 << 10), Ok(1 << 30)));
        for text in ["", "s", "5", "5 s", "-1s", "1.5s", "99999999999999999999s", "18446744073709551615h"] {
            assert!(time(text).is_err(), "{text:?}");
        }
        for text in ["", "K", "1T", "64MB", "-1", "18446744073709551615K"] {
            assert!(size(text).is_err(), "{text:?}");
        }
    }
}
