//! The serial console: COM1, polled output, interrupt-driven input.
//!
//! Output waits for room in the transmit FIFO; it can be called from any context, interrupts included. The
//! bytes go out as they are: turning `\n` into `\r\n` is the tty layer's business for user output, and the
//! logger's for its own lines.

/// Writes `bytes` to the serial line, waiting for the device. Callable from any context.
pub fn write(_bytes: &[u8]) {
    todo!()
}

/// Sets the function that gets each input byte, in interrupt context. The last call wins.
pub fn set_input_handler(_handler: fn(u8)) {
    todo!()
}
