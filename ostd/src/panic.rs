//! The end of the kernel: a panic prints where, on which CPU and thread, the backtrace with names, and ends the machine.
//!
//! The names come from a table at the end of the image ([`Symbols`]), which the build fills in after the link. Without
//! it (a kernel that was only linked) addresses are printed bare.

use crate::arch::x86::{mem, smp, trap};
use crate::console::{self, LineWriter};
use crate::mm::Vaddr;
use core::fmt::{self, Write};
use core::sync::atomic::{AtomicUsize, Ordering};
use spin::Once;

/// More frames than fit on a stack, but for the smallest.
const MAX_FRAMES: usize = 256;

static THREAD_NAME: Once<fn(&mut dyn fmt::Write)> = Once::new();

/// Sets the function that names the current thread in a panic message (`pid 12 tid 13 "sh"`). It must not take a
/// lock or panic. Only the first call has an effect.
pub fn set_thread_name_hook(hook: fn(&mut dyn fmt::Write)) {
    THREAD_NAME.call_once(|| hook);
}

/// How many panics there were: a second one is caused by the handling of the first.
static PANICS: AtomicUsize = AtomicUsize::new(0);

/// The CPU that panicked first.
static ON_PANICKING_CPU: AtomicUsize = AtomicUsize::new(usize::MAX);

#[cfg_attr(target_os = "none", panic_handler)]
#[cfg_attr(not(target_os = "none"), allow(dead_code))]
fn panic(info: &core::panic::PanicInfo) -> ! {
    crate::irq::save_and_disable();
    if !smp::stop_others()
        && !ON_PANICKING_CPU.load(Ordering::Relaxed).eq(&(crate::cpu::current().as_usize()))
    {
        // Another CPU panicked first: it stops this one.
        crate::arch::x86::io::halt_forever();
    }
    ON_PANICKING_CPU.store(crate::cpu::current().as_usize(), Ordering::Relaxed);
    match PANICS.fetch_add(1, Ordering::Relaxed) {
        0 => {
            report(info);
            crate::ktest::panicked(format_args!("{}", info.message()));
        }
        1 => {
            let mut out = LineWriter::new(console::write_in_panic);
            let _ = writeln!(out, "panicked again: {}", info.message());
        }
        _ => {}
    }
    crate::power::debug_exit(EXIT_PANIC)
}

/// What [`power::debug_exit`](crate::power::debug_exit) gets: QEMU's status is 37.
const EXIT_PANIC: u8 = 0x12;

/// Prints all that we know. The writer never fails, so its results are dropped.
fn report(info: &core::panic::PanicInfo) {
    let mut out = LineWriter::new(console::write_in_panic);
    let _ = writeln!(out, "\nkernel panic: {}", info.message());
    if let Some(place) = info.location() {
        let _ = writeln!(out, "  at {}:{}", place.file(), place.line());
    }
    let _ = write!(out, "  on CPU {}", crate::cpu::current().as_usize());
    if let Some(hook) = THREAD_NAME.get() {
        let _ = write!(out, ", ");
        hook(&mut out);
    }
    let _ = writeln!(out);
    match trap::fatal_frame() {
        Some(frame) => {
            let _ = writeln!(out, "{frame}");
            write_symbol(&mut out, frame.rip as Vaddr);
            backtrace(&mut out, frame.rbp as Vaddr);
        }
        None => backtrace(&mut out, frame_pointer()),
    }
}

/// The caller's frame pointer.
#[inline(always)]
fn frame_pointer() -> Vaddr {
    let rbp: Vaddr;
    // SAFETY: reads a register.
    unsafe { core::arch::asm!("mov {}, rbp", out(reg) rbp, options(nomem, nostack, preserves_flags)) };
    rbp
}

/// Prints the call chain that starts at frame pointer `rbp`.
pub(crate) fn backtrace(out: &mut dyn fmt::Write, mut rbp: Vaddr) {
    let _ = writeln!(out, "backtrace:");
    // A recursion is told by its first calls.
    let (mut last, mut repeats) = (0, 0);
    for _ in 0..MAX_FRAMES {
        // Frames are in the kernel half, aligned, and older ones are higher.
        if !rbp.is_multiple_of(8) || rbp < crate::mm::DIRECT_MAP {
            break;
        }
        let mut frame = [0u8; 16];
        // SAFETY: the copy recovers when there is nothing at `rbp`, and writes to `frame` only.
        if unsafe { mem::copy_user(frame.as_mut_ptr(), rbp as *const u8, frame.len()) } != 0 {
            break;
        }
        let [next, ip] = [0, 8].map(|at| {
            let mut word = [0; 8];
            word.copy_from_slice(&frame[at..at + 8]);
            usize::from_le_bytes(word)
        });
        if ip == 0 {
            break;
        }
        repeats = if ip == last { repeats + 1 } else { 0 };
        last = ip;
        if repeats < 3 {
            // The call is before the return address.
            write_symbol(out, ip - 1);
        } else if repeats == 3 {
            let _ = writeln!(out, "  and so on");
        }
        if next <= rbp {
            break;
        }
        rbp = next;
    }
}

/// Prints a line for the code address `ip`.
pub(crate) fn write_symbol(out: &mut dyn fmt::Write, ip: Vaddr) {
    let _ = match symbols().and_then(|symbols| symbols.find(ip)) {
        Some((name, offset)) => writeln!(out, "  {ip:#x} {name} + {offset:#x}"),
        None => writeln!(out, "  {ip:#x}"),
    };
}

/// The symbol table: this header, `count` pairs of `u32` (low half of the address, place of the name from the start of
/// the table), sorted by address, and the names, each with a NUL at its end.
#[repr(C)]
struct Symbols {
    magic: [u8; 8],
    /// Bytes of the table, the header included.
    len: u32,
    count: u32,
}

const MAGIC: [u8; 8] = *b"FOSTRSYM";

/// The table as the linker leaves it: empty.
#[used]
#[unsafe(link_section = ".ksyms")]
static EMPTY: Symbols = Symbols { magic: MAGIC, len: size_of::<Symbols>() as u32, count: 0 };

unsafe extern "C" {
    static __ksyms_start: Symbols;
}

/// The header, read as memory: the build changed it behind the compiler's back.
fn header() -> Symbols {
    // SAFETY: the linker put `EMPTY` there, and the build replaced it by a table of the same layout.
    unsafe { (&raw const __ksyms_start).read_volatile() }
}

/// Bytes of the symbol table at the end of the image.
pub(crate) fn symbols_len() -> usize {
    header().len as usize
}

/// The table, if there is one.
fn symbols() -> Option<SymbolTable> {
    let Symbols { magic, len, count } = header();
    if magic != MAGIC || count == 0 {
        return None;
    }
    // SAFETY: the build wrote `len` bytes, and the whole table is mapped.
    let bytes = unsafe { core::slice::from_raw_parts((&raw const __ksyms_start).cast::<u8>(), len as usize) };
    Some(SymbolTable { bytes, count: count as usize })
}

struct SymbolTable {
    bytes: &'static [u8],
    count: usize,
}

impl SymbolTable {
    /// Address (its low half) and place of the name of entry `i`.
    fn entry(&self, i: usize) -> Option<(u32, usize)> {
        let at = size_of::<Symbols>() + i * 8;
        let word = |at: usize| {
            let bytes = self.bytes.get(at..at + 4)?;
            Some(u32::from_le_bytes(bytes.try_into().ok()?))
        };
        Some((word(at)?, word(at + 4)? as usize))
    }

    /// The function that `ip` is in, and how far.
    fn find(&self, ip: Vaddr) -> Option<(&'static str, u32)> {
        // Code is in the top 2 GiB, but for the boot code below the first.
        let ip = ip as u32;
        let (mut low, mut high) = (0, self.count);
        while low < high {
            let middle = (low + high) / 2;
            if self.entry(middle)?.0 <= ip {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        let (address, name) = self.entry(low.checked_sub(1)?)?;
        let name = self.bytes.get(name..)?;
        let end = name.iter().position(|&byte| byte == 0)?;
        Some((core::str::from_utf8(&name[..end]).ok()?, ip - address))
    }
}
