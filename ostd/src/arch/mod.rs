//! What depends on the processor. Only x86_64 is there.

pub(crate) mod x86;
