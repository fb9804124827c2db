//! v
/// f
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fault {}
