//! The exception table: where to go on when an instruction that may fault does.
//!
//! Section `__ex_table` holds pairs of 32-bit offsets, each relative to its own place: the instruction, and the
//! place to continue at. There are some hundreds, in the order in which the linker met them; [`sort`] puts them into the
//! order of the instructions at boot.

/// An entry, as it lies in the table.
type Entry = [i32; 2];

/// The instruction and the place to continue at.
type Pair = (usize, usize);

/// The first entry, and how many there are.
fn table() -> (*const Entry, usize) {
    unsafe extern "C" {
        static __ex_table_start: [Entry; 0];
        static __ex_table_end: [Entry; 0];
    }
    let start = (&raw const __ex_table_start).cast::<Entry>();
    let end = (&raw const __ex_table_end).cast::<Entry>();
    (start, (end as usize - start as usize) / size_of::<Entry>())
}

/// # Safety
/// `entry` is one of the table.
unsafe fn get(entry: *const Entry) -> Pair {
    // SAFETY: as the caller says. Volatile, since the compiler takes a section of constants to be constant.
    let [instruction, target] = unsafe { entry.read_volatile() };
    let at = entry as usize;
    (at.wrapping_add_signed(instruction as isize), (at + 4).wrapping_add_signed(target as isize))
}

/// # Safety
/// `entry` is one of the table, which is writable and nobody else's at this moment.
unsafe fn set(entry: *const Entry, (instruction, target): Pair) {
    let at = entry as usize;
    // The kernel's image is smaller than 2 GiB, so that the distances fit.
    let offsets = [instruction.wrapping_sub(at) as i32, target.wrapping_sub(at + 4) as i32];
    // SAFETY: as the caller says.
    unsafe { entry.cast_mut().write_volatile(offsets) }
}

/// Sorts the table by insertion: most of it is in order already.
///
/// # Safety
/// Called once, at boot, while the kernel's image is writable and before anything may fault.
pub(crate) unsafe fn sort() {
    let (table, len) = table();
    for i in 1..len {
        let mut at = i;
        // SAFETY: both indices are below `len`; the caller says the rest.
        unsafe {
            let pair = get(table.add(i));
            while at > 0 && get(table.add(at - 1)).0 > pair.0 {
                set(table.add(at), get(table.add(at - 1)));
                at -= 1;
            }
            set(table.add(at), pair);
        }
    }
}

/// The address to continue at after a fault of the instruction at `ip`; `None` when that must not fault.
pub(crate) fn fixup(ip: usize) -> Option<usize> {
    let (table, len) = table();
    let (mut low, mut high) = (0, len);
    while low < high {
        let middle = (low + high) / 2;
        // SAFETY: the index is below `len`.
        let (instruction, target) = unsafe { get(table.add(middle)) };
        match instruction {
            found if found == ip => return Some(target),
            below if below < ip => low = middle + 1,
            _ => high = middle,
        }
    }
    None
}
