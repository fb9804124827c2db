//! Safe values and roots.
#[derive(Default)]
pub(crate) struct DroppedRoots;
