//! `#[ktest]`: unit tests that run inside the booted kernel.
