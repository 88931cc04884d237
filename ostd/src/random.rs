//! Random bytes.

/// Fills `buf` with unpredictable bytes. Never blocks.
pub fn fill(_buf: &mut [u8]) {
    todo!()
}
