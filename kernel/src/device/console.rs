//! The console: the terminal on the serial line, which is /dev/console and /dev/ttyS0.
//!
//! Input bytes arrive in interrupt context, where nothing of a terminal may be touched (it sends signals, which takes the
//! process table's lock). The handler only queues them and wakes a kernel task, which feeds the terminal.

use ostd::{
    sync::IrqSpinLock,
    task::{Task, TaskBuilder},
};
use spin::Once;

use super::tty::{Tty, TtyDriver, TtyFile};
use crate::{
    fs::{
        file::{FileOps, OpenFlags},
        inode::DevId,
    },
    lock_order,
    prelude::*,
};

pub const DEV_CONSOLE: DevId = DevId::new(5, 1);
pub const DEV_TTYS0: DevId = DevId::new(4, 64);

/// Bytes that came in and wait for the terminal's task.
struct Arrived {
    bytes: [u8; 1024],
    head: usize,
    len: usize,
}

impl Arrived {
    fn push(&mut self, byte: u8) {
        // What comes faster than it is taken is lost, as on a real line.
        if self.len < self.bytes.len() {
            self.bytes[(self.head + self.len) % self.bytes.len()] = byte;
            self.len += 1;
        }
    }

    fn pop(&mut self) -> Option<u8> {
        self.len = self.len.checked_sub(1)?;
        let byte = self.bytes[self.head];
        self.head = (self.head + 1) % self.bytes.len();
        Some(byte)
    }
}

static ARRIVED: IrqSpinLock<Arrived> =
    IrqSpinLock::new(lock_order::TTY_INPUT, Arrived { bytes: [0; 1024], head: 0, len: 0 });

static TASK: Once<Arc<Task>> = Once::new();
static CONSOLE: Once<Arc<Tty>> = Once::new();

struct Serial;

impl TtyDriver for Serial {
    fn write(&self, bytes: &[u8]) {
        ostd::console::write(bytes);
    }
}

/// The console's terminal.
pub fn tty() -> &'static Arc<Tty> {
    CONSOLE.call_once(|| Tty::new(DEV_TTYS0, Box::new(Serial)))
}

/// Starts taking input. ENOMEM if there is no memory for the task.
pub fn init() -> Result<()> {
    let task = TaskBuilder::new(feed).spawn().map_err(|_| ENOMEM)?;
    TASK.call_once(|| task);
    ostd::console::set_input_handler(|byte| {
        ARRIVED.lock().push(byte);
        if let Some(task) = TASK.get() {
            task.unpark();
        }
    });
    Ok(())
}

/// The task that feeds the terminal.
fn feed() {
    let tty = tty();
    let mut batch = [0; 64];
    loop {
        let mut len = 0;
        {
            let mut arrived = ARRIVED.lock();
            while len < batch.len()
                && let Some(byte) = arrived.pop()
            {
                batch[len] = byte;
                len += 1;
            }
        }
        if len > 0 {
            tty.input(&batch[..len]);
        } else {
            ostd::task::park();
        }
    }
}

/// Opens the console by one of its names.
pub(super) fn open(rdev: DevId, flags: OpenFlags) -> Result<Box<dyn FileOps>> {
    let tty = tty();
    tty.check_open()?;
    let is_console = rdev == DEV_CONSOLE;
    // An open of /dev/console never makes it the controlling terminal.
    if !is_console && !flags.contains(OpenFlags::NOCTTY) && flags.readable() {
        tty.acquire_on_open();
    }
    Ok(Box::new(TtyFile::new(tty.clone(), is_console)))
}
