//! The end of the kernel: a panic prints where, on which CPU and thread, the backtrace with names, and stops all CPUs.

use core::fmt;

/// Sets the function that names the current thread in a panic message (`pid 12 tid 13 "sh"`).
pub fn set_thread_name_hook(_hook: fn(&mut dyn fmt::Write)) {
    todo!()
}

#[panic_handler]
fn panic(_info: &core::panic::PanicInfo) -> ! {
    crate::arch::x86::io::halt_forever()
}
