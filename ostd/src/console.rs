//! The serial console: COM1, polled output, interrupt-driven input.
//!
//! Output waits for room in the transmit FIFO; it can be called from any context, interrupts included. The
//! bytes go out as they are: turning `\n` into `\r\n` is the tty layer's business for user output, and the
//! logger's for its own lines.
//!
//! The lock here is the innermost of all and works before per-CPU data is there, so it is not one of
//! [`crate::sync`]'s; a panic takes it by force when its holder does not let go.

use crate::arch::x86::io::{inb, irq_restore, irq_save, outb};
use core::fmt;
use core::sync::atomic::{AtomicBool, AtomicPtr, Ordering};

const COM1: u16 = 0x3f8;
/// Transmit and receive buffer; divisor latch, low byte, while DLAB is set.
const DATA: u16 = COM1;
/// Interrupt enable; divisor latch, high byte, while DLAB is set.
const IER: u16 = COM1 + 1;
/// FIFO control.
const FCR: u16 = COM1 + 2;
/// Line control.
const LCR: u16 = COM1 + 3;
/// Modem control.
const MCR: u16 = COM1 + 4;
/// Line status.
const LSR: u16 = COM1 + 5;

const LSR_DATA_READY: u8 = 1;
const LSR_TX_EMPTY: u8 = 1 << 5;
const LCR_8N1: u8 = 3;
const LCR_DLAB: u8 = 1 << 7;
/// Data terminal ready, request to send, and OUT2, which gates the interrupt line on PCs.
const MCR_READY_IRQ: u8 = 1 | 1 << 1 | 1 << 3;
/// Bytes that fit into the transmit FIFO when it is empty.
const FIFO_SIZE: usize = 16;
/// How often the status is read before a device that never gets ready is given up (no UART, no progress).
const TX_PATIENCE: usize = 1 << 20;

/// The ISA interrupt of COM1.
#[allow(dead_code)] // The I/O APIC's routing wants it.
pub(crate) const ISA_IRQ: u8 = 4;

static LOCK: AtomicBool = AtomicBool::new(false);
/// The `fn(u8)` that takes input; null before one is set.
static INPUT_HANDLER: AtomicPtr<()> = AtomicPtr::new(core::ptr::null_mut());

/// Sets the line up: 115200 baud, 8N1, FIFOs on, interrupts off.
pub(crate) fn init() {
    // SAFETY: COM1's registers have no effect beyond the serial line.
    unsafe {
        outb(IER, 0);
        outb(LCR, LCR_DLAB | LCR_8N1);
        outb(DATA, 1);
        outb(IER, 0);
        outb(LCR, LCR_8N1);
        outb(FCR, 0x07);
        outb(MCR, MCR_READY_IRQ);
    }
}

/// Writes `bytes` to the serial line, waiting for the device. Callable from any context.
pub fn write(bytes: &[u8]) {
    let irq = irq_save();
    while LOCK.compare_exchange_weak(false, true, Ordering::Acquire, Ordering::Relaxed).is_err() {
        core::hint::spin_loop();
    }
    transmit(bytes);
    LOCK.store(false, Ordering::Release);
    irq_restore(irq);
}

/// As [`write`], but does not wait for a holder of the lock that may be gone.
pub(crate) fn write_in_panic(bytes: &[u8]) {
    let irq = irq_save();
    for _ in 0..TX_PATIENCE {
        if LOCK.compare_exchange_weak(false, true, Ordering::Acquire, Ordering::Relaxed).is_ok() {
            break;
        }
        core::hint::spin_loop();
    }
    transmit(bytes);
    LOCK.store(false, Ordering::Release);
    irq_restore(irq);
}

fn transmit(bytes: &[u8]) {
    for chunk in bytes.chunks(FIFO_SIZE) {
        let mut patience = TX_PATIENCE;
        // SAFETY: reading the line status and writing data has no effect beyond the serial line.
        unsafe {
            while inb(LSR) & LSR_TX_EMPTY == 0 && patience > 0 {
                patience -= 1;
                core::hint::spin_loop();
            }
            for &byte in chunk {
                outb(DATA, byte);
            }
        }
    }
}

/// Sets the function that gets each input byte, in interrupt context. The last call wins.
pub fn set_input_handler(handler: fn(u8)) {
    // Release: pairs with the Acquire in `handle_irq`.
    INPUT_HANDLER.store(handler as *mut (), Ordering::Release);
    // SAFETY: enables the receive interrupt of COM1; the line is routed or masked in the I/O APIC.
    unsafe { outb(IER, 1) };
}

/// Takes the bytes that arrived. Called in interrupt context for [`ISA_IRQ`].
#[allow(dead_code)] // Until the I/O APIC routes the line.
pub(crate) fn handle_irq() {
    // SAFETY: reading the line status has no effect beyond the serial line.
    while unsafe { inb(LSR) } & LSR_DATA_READY != 0 {
        // SAFETY: takes one received byte out of the FIFO.
        let byte = unsafe { inb(DATA) };
        let handler = INPUT_HANDLER.load(Ordering::Acquire);
        if !handler.is_null() {
            // SAFETY: only `set_input_handler` stores to it, and only a `fn(u8)`.
            let handler: fn(u8) = unsafe { core::mem::transmute(handler) };
            handler(byte);
        }
    }
}

/// Formats onto a console function, `\n` as `\r\n`, in pieces of a line so that lines of several CPUs stay whole.
pub(crate) struct LineWriter {
    sink: fn(&[u8]),
    buffer: [u8; 256],
    len: usize,
}

impl LineWriter {
    pub(crate) fn new(sink: fn(&[u8])) -> LineWriter {
        LineWriter { sink, buffer: [0; 256], len: 0 }
    }

    fn push(&mut self, byte: u8) {
        if self.len == self.buffer.len() {
            self.flush();
        }
        self.buffer[self.len] = byte;
        self.len += 1;
    }

    pub(crate) fn flush(&mut self) {
        (self.sink)(&self.buffer[..self.len]);
        self.len = 0;
    }
}

impl fmt::Write for LineWriter {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for &byte in text.as_bytes() {
            if byte == b'\n' {
                self.push(b'\r');
            }
            self.push(byte);
        }
        Ok(())
    }
}

impl Drop for LineWriter {
    fn drop(&mut self) {
        self.flush();
    }
}
