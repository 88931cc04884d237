//! What the boot loader hands over, and the order in which the kernel comes up.

use core::ops::Deref;

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

/// The kernel command line.
pub fn cmdline() -> &'static str {
    todo!()
}

/// The initramfs that the boot loader passed, the first time it is called. Its memory goes back to the frame
/// allocator when it is dropped.
pub fn take_initramfs() -> Option<Initramfs> {
    todo!()
}

/// The bytes of the boot module.
pub struct Initramfs(&'static [u8]);

impl Deref for Initramfs {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        self.0
    }
}
