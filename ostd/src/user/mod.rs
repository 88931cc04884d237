//! User mode: its memory, and the way in and out.

pub mod mem;
