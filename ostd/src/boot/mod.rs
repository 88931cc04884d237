//! What the boot loader hands over, and the order in which the kernel comes up.
//!
//! [`start`] is the first Rust function, on the boot CPU with the tables of [`arch::x86::boot`](crate::arch::x86::boot):
//! console, CPU tables (so that a fault prints something), start info, memory, then everything that needs a heap,
//! and last the kernel's main function in the first task.

pub(crate) mod acpi;
mod memory_map;
mod pvh;

pub(crate) use memory_map::{MemoryMap, RegionKind};

use crate::arch::x86;
use crate::mm::{self, Paddr};
use crate::{console, logger, task};
use core::ops::{Deref, Range};
use spin::Once;
use spin::mutex::SpinMutex;

/// The longest command line that is kept; Linux's limit on x86 (2048) and some.
const MAX_CMDLINE: usize = 4096;

static CMDLINE: Once<&'static str> = Once::new();
static INITRAMFS: SpinMutex<Option<Range<Paddr>>> = SpinMutex::new(None);

/// Names the kernel's main function: `ostd::kernel_main!(main);` with `fn main()`. It is called on the boot CPU
/// in a task, with all services of ostd up; the other CPUs wait for `cpu::start_aps`.
#[macro_export]
macro_rules! kernel_main {
    ($main:path) => {
        #[allow(unsafe_code)]
        #[unsafe(no_mangle)]
        extern "Rust" fn __ostd_kernel_main() {
            let main: fn() = $main;
            main()
        }
    };
}

unsafe extern "Rust" {
    /// What [`kernel_main!`] defines.
    safe fn __ostd_kernel_main();
}

/// Brings the machine up. Called once, by the entry code, with the physical address of the start info.
pub(crate) extern "C" fn start(start_info: u32) -> ! {
    // SAFETY: the first call on the boot CPU. The boot tables map the text writable, and no user copy ran yet.
    unsafe { x86::init_early() };
    console::init();
    let boot = read_boot_info(start_info as Paddr);
    logger::init(cmdline());
    *INITRAMFS.lock() = boot.initramfs.clone();
    // SAFETY: called once, before anything is allocated, with the boot loader's map.
    if unsafe { mm::init(boot.memory, boot.initramfs) }.is_err() {
        die("not enough memory to boot");
    }
    acpi::init(boot.rsdp);
    crate::power::init();
    // SAFETY: once, on the boot CPU; interrupts are still off.
    if unsafe { x86::init() }.is_err() {
        die("not enough memory to boot");
    }
    task::init_this_cpu();
    crate::irq::set_isa_handler(console::ISA_IRQ, console::handle_irq);
    task::run_first_task(main)
}

/// The first task.
fn main() {
    __ostd_kernel_main();
    crate::power::poweroff()
}

/// Copies what the boot loader left. Ends here, with a message, when there is nothing usable.
fn read_boot_info(start_info: Paddr) -> pvh::BootInfo {
    static BUFFER: SpinMutex<[u8; MAX_CMDLINE]> = SpinMutex::new([0; MAX_CMDLINE]);
    let mut buffer = BUFFER.lock();
    // SAFETY: it is the boot loader's pointer, and there is no allocator yet.
    match unsafe { pvh::parse(start_info, &mut buffer[..]) } {
        Ok((info, len)) => {
            let bytes = spin::mutex::SpinMutexGuard::leak(buffer);
            let text = core::str::from_utf8(&bytes[..len]).unwrap_or("");
            CMDLINE.call_once(|| text);
            info
        }
        Err(why) => die(why),
    }
}

fn die(why: &str) -> ! {
    console::write(b"foster: ");
    console::write(why.as_bytes());
    console::write(b"\r\n");
    crate::power::poweroff()
}

/// The kernel command line; empty when it is not UTF-8.
pub fn cmdline() -> &'static str {
    CMDLINE.get().copied().unwrap_or("")
}

/// The initramfs that the boot loader passed, the first time it is called. Its memory goes back to the frame
/// allocator when it is dropped.
pub fn take_initramfs() -> Option<Initramfs> {
    INITRAMFS.lock().take().map(Initramfs)
}

/// The bytes of the boot module.
pub struct Initramfs(Range<Paddr>);

impl Deref for Initramfs {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        // SAFETY: the range was kept from the allocator and is in the direct map; only this value refers to it.
        unsafe { core::slice::from_raw_parts(mm::paddr_to_vaddr(self.0.start) as *const u8, self.0.len()) }
    }
}

impl Drop for Initramfs {
    fn drop(&mut self) {
        // SAFETY: the range was kept from the allocator for this value, which ends.
        unsafe { mm::free_boot_memory(self.0.clone()) };
    }
}
