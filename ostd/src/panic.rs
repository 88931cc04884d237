//! The end of the kernel: a panic prints where, on which CPU and thread, the backtrace with names, and stops all CPUs.

use core::fmt;

/// Sets the function that names the current thread in a panic message (`pid 12 tid 13 "sh"`).
pub fn set_thread_name_hook(_hook: fn(&mut dyn fmt::Write)) {
    todo!()
}

#[panic_handler]
fn panic(info: &core::panic::PanicInfo) -> ! {
    let mut line = crate::console::LineWriter::new(crate::console::write_in_panic);
    let _ = fmt::Write::write_fmt(&mut line, format_args!("{info}\n"));
    drop(line);
    crate::arch::x86::io::halt_forever()
}
