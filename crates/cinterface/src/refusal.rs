//! Why a machine cannot have libraries.

/// Why a machine cannot have libraries in C.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Refusal {
    /// This system is not supported: see [`AVAILABLE`](crate::AVAILABLE).
    System,
    /// The machine checks its code, and C's functions would believe it.
    Checked,
    /// The machine has limits, which C's functions do not obey.
    Limited,
    /// Another machine of the process has them, or has had them.
    Taken,
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Refusal::System => {
                "libraries in C can be loaded on Linux on x86-64 only; link their primitives in Rust"
            }
            Refusal::Checked => {
                "libraries in C need a machine that trusts its code: build it with VmBuilder::trusted"
            }
            Refusal::Limited => {
                "libraries in C do not obey a machine's limits: build it without any, and limit the process"
            }
            Refusal::Taken => {
                "the process's libraries in C belong to the machine that has opened them: use another process"
            }
        })
    }
}

impl std::error::Error for Refusal {}
