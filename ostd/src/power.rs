//! Ending the machine: ACPI power-off, reset, and QEMU's exit status.
//!
//! Power-off (sleep state S5) needs the place of a register from the FADT, PM1 control or, on machines with *reduced
//! hardware* (microvm), sleep control, and one or two numbers from the package `_S5_` in the DSDT, which is looked for
//! by its name instead of interpreting AML.

use crate::arch::x86::io::{halt_forever, inb, inw, outb, outl, outw};
use crate::boot::acpi::{self, u32_at, u64_at};
use crate::mm::{self, Paddr, Vaddr};
use spin::Once;

/// Sleep enable, in the PM1 control registers.
const SLP_EN: u16 = 1 << 13;
/// Control is with the operating system, and not with the firmware: without it PM1 writes are ignored.
const SCI_EN: u16 = 1;
/// The port of QEMU's `isa-debug-exit` device, as everybody configures it.
const DEBUG_EXIT: u16 = 0xf4;

/// How to enter S5.
enum SoftOff {
    /// PM1 control registers a and b (0 when there is none), and what to write to each.
    Pm1 { port_a: u16, port_b: u16, value_a: u16, value_b: u16 },
    /// The sleep control register of reduced hardware, and what to write.
    SleepControl { register: Register, value: u8 },
}

/// A register of one byte, where an ACPI generic address says.
enum Register {
    Port(u16),
    Memory(Vaddr),
}

impl Register {
    /// Reads the generic address at `at` of a table: address space, width, offset, access size, address.
    fn from_table(table: &[u8], at: usize) -> Option<Register> {
        let address = u64_at(table, at + 4).filter(|&address| address != 0)?;
        match table.get(at)? {
            // SAFETY: the firmware says that its register is there.
            0 => unsafe { mm::map_device(address as Paddr, 1) }.ok().map(Register::Memory),
            1 => Some(Register::Port(address as u16)),
            _ => None,
        }
    }

    /// # Safety
    /// As for [`outb`].
    unsafe fn write(&self, value: u8) {
        match *self {
            // SAFETY: the caller's promise.
            Register::Port(port) => unsafe { outb(port, value) },
            // SAFETY: the caller's promise, and `from_table` mapped the register.
            Register::Memory(address) => unsafe { (address as *mut u8).write_volatile(value) },
        }
    }
}

/// How to reset through the register that the FADT names.
struct ResetRegister {
    register: Register,
    value: u8,
}

static SOFT_OFF: Once<SoftOff> = Once::new();
static RESET: Once<ResetRegister> = Once::new();

/// Reads the tables. Called once, after [`acpi`] is set up.
pub(crate) fn init() {
    let Some(fadt) = acpi::find(b"FACP") else {
        return;
    };
    if let Some(soft_off) = find_soft_off(fadt) {
        if let SoftOff::Pm1 { port_a, .. } = soft_off {
            enable_acpi(fadt, port_a);
        }
        SOFT_OFF.call_once(|| soft_off);
    }
    if u32_at(fadt, FADT_FLAGS).is_some_and(|flags| flags & RESET_SUPPORTED != 0)
        && let (Some(register), Some(&value)) = (Register::from_table(fadt, 116), fadt.get(128))
    {
        RESET.call_once(|| ResetRegister { register, value });
    }
}

/// Where the flags are in the FADT, and two of them.
const FADT_FLAGS: usize = 112;
const RESET_SUPPORTED: u32 = 1 << 10;
const HARDWARE_REDUCED: u32 = 1 << 20;

fn find_soft_off(fadt: &[u8]) -> Option<SoftOff> {
    let dsdt =
        u64_at(fadt, 140).filter(|&address| address != 0).or_else(|| u32_at(fadt, 40).map(u64::from))?;
    let (type_a, type_b) = find_s5(acpi::table_at(dsdt as usize)?)?;
    if u32_at(fadt, FADT_FLAGS)? & HARDWARE_REDUCED != 0 {
        let register = Register::from_table(fadt, 244)?;
        return Some(SoftOff::SleepControl { register, value: (type_a as u8) << 2 | 1 << 5 });
    }
    Some(SoftOff::Pm1 {
        port_a: u32_at(fadt, 64)? as u16,
        port_b: u32_at(fadt, 68)? as u16,
        value_a: type_a << 10 | SLP_EN,
        value_b: type_b << 10 | SLP_EN,
    })
}

/// The sleep types of `Name (_S5, Package () { a, b, .. })`: name, package opcode 0x12, length, count, numbers.
fn find_s5(dsdt: &[u8]) -> Option<(u16, u16)> {
    let at = dsdt.windows(5).position(|bytes| bytes == b"_S5_\x12")?;
    let package = dsdt.get(at + 5..)?;
    // The top bits of the first length byte tell how many more there are; then comes the count.
    let numbers = package.get(1 + (package.first()? >> 6) as usize + 1..)?;
    let (a, rest) = small_number(numbers)?;
    let b = small_number(rest).map_or(a, |(b, _)| b);
    Some((a, b))
}

/// A number of one byte in AML: Zero, One, or BytePrefix and the byte.
fn small_number(aml: &[u8]) -> Option<(u16, &[u8])> {
    match aml {
        [0x0a, value, rest @ ..] => Some((u16::from(*value), rest)),
        [value @ (0 | 1), rest @ ..] => Some((u16::from(*value), rest)),
        _ => None,
    }
}

/// Takes control from the firmware if it still has it.
fn enable_acpi(fadt: &[u8], pm1a: u16) {
    let (Some(port), Some(&value)) = (u32_at(fadt, 48), fadt.get(52)) else {
        return;
    };
    // SAFETY: the ports and the value are those that the firmware's table names for this purpose.
    unsafe {
        if port == 0 || value == 0 || inw(pm1a) & SCI_EN != 0 {
            return;
        }
        outb(port as u16, value);
        for _ in 0..100_000 {
            if inw(pm1a) & SCI_EN != 0 {
                return;
            }
        }
    }
}

/// Powers the machine off through ACPI; halts when that is not possible.
pub fn poweroff() -> ! {
    crate::irq::save_and_disable();
    // SAFETY: enters S5 by the registers and values that the firmware's tables name.
    unsafe {
        match SOFT_OFF.get() {
            Some(&SoftOff::Pm1 { port_a, port_b, value_a, value_b }) => {
                outw(port_a, value_a);
                if port_b != 0 {
                    outw(port_b, value_b);
                }
            }
            Some(SoftOff::SleepControl { register, value }) => register.write(*value),
            None => {}
        }
    }
    halt_forever()
}

/// Resets the machine: by ACPI's reset register, the chipset's port 0xcf9, the keyboard controller, whichever works.
pub fn reset() -> ! {
    crate::irq::save_and_disable();
    // SAFETY: these ports reset the machine and do nothing else.
    unsafe {
        if let Some(reset) = RESET.get() {
            reset.register.write(reset.value);
        }
        outb(0xcf9, 0x02);
        outb(0xcf9, 0x06);
        for _ in 0..100_000 {
            if inb(0x64) & 2 == 0 {
                break;
            }
        }
        outb(0x64, 0xfe);
    }
    halt_forever()
}

/// Ends QEMU with status `code * 2 + 1` when it has an `isa-debug-exit` device at port 0xf4; powers off otherwise.
pub fn debug_exit(code: u8) -> ! {
    // SAFETY: nothing is at this port but QEMU's device, for which the write ends the machine.
    unsafe { outl(DEBUG_EXIT, u32::from(code)) };
    poweroff()
}
