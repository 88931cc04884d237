//! The exception table: where to go on when an instruction that may fault does.
//!
//! Section `__ex_table` holds pairs of 32-bit offsets, each relative to its own place: the instruction, and the
//! place to continue at. There are a few dozen, so they are searched one by one.

/// The address to continue at after a fault of the instruction at `ip`; `None` when that must not fault.
#[allow(dead_code)] // Until the trap handlers look here.
pub(crate) fn fixup(ip: usize) -> Option<usize> {
    unsafe extern "C" {
        static __ex_table_start: [[i32; 2]; 0];
        static __ex_table_end: [[i32; 2]; 0];
    }
    let mut entry = (&raw const __ex_table_start).cast::<[i32; 2]>();
    let end = (&raw const __ex_table_end).cast::<[i32; 2]>();
    while entry < end {
        // SAFETY: the linker script delimits an array of pairs in read-only data.
        let [instruction, target] = unsafe { *entry };
        if (entry as usize).wrapping_add_signed(instruction as isize) == ip {
            return Some((entry as usize + 4).wrapping_add_signed(target as isize));
        }
        // SAFETY: moves within the array or to its end.
        entry = unsafe { entry.add(1) };
    }
    None
}
