//! The PVH start info: what the boot loader left in memory for us.
//!
//! Xen's `hvm_start_info`, version 1: command line, modules (the first is the initramfs), memory map and the
//! address of the ACPI root pointer, all by physical address. Everything is copied out at once: its memory is not
//! reserved and is given to the frame allocator like any other.

use super::memory_map::{MemoryMap, RegionKind};
use crate::mm::{Paddr, paddr_to_vaddr};
use core::ops::Range;

const MAGIC: u32 = 0x336e_c578;

#[repr(C)]
#[derive(Clone, Copy)]
struct StartInfo {
    magic: u32,
    version: u32,
    flags: u32,
    nr_modules: u32,
    modlist_paddr: u64,
    cmdline_paddr: u64,
    rsdp_paddr: u64,
    memmap_paddr: u64,
    memmap_entries: u32,
    reserved: u32,
}

#[repr(C)]
#[derive(Clone, Copy)]
struct Module {
    paddr: u64,
    size: u64,
    cmdline_paddr: u64,
    reserved: u64,
}

#[repr(C)]
#[derive(Clone, Copy)]
struct MemmapEntry {
    addr: u64,
    size: u64,
    kind: u32,
    reserved: u32,
}

/// What the rest of the boot needs to know.
pub(super) struct BootInfo {
    pub(super) memory: MemoryMap,
    pub(super) initramfs: Option<Range<Paddr>>,
    pub(super) rsdp: Paddr,
}

/// Reads a value that the boot loader left at `paddr`.
///
/// # Safety
/// `paddr` comes from the start info, lies below 4 GiB and holds a `T` of plain integers.
unsafe fn read<T: Copy>(paddr: u64) -> T {
    // SAFETY: the boot page tables map the low 4 GiB; nothing else uses that memory yet.
    unsafe { core::ptr::read_unaligned(paddr_to_vaddr(paddr as Paddr) as *const T) }
}

/// Reads the start info at `start_info`; the command line goes to `cmdline`, cut off when it is too long.
/// Returns the length of the command line too.
///
/// # Safety
/// `start_info` is what the boot loader passed, and no memory was allocated yet.
pub(super) unsafe fn parse(start_info: Paddr, cmdline: &mut [u8]) -> Result<(BootInfo, usize), &'static str> {
    // SAFETY: as the caller says.
    let info: StartInfo = unsafe { read(start_info as u64) };
    if info.magic != MAGIC {
        return Err("not booted through PVH: the start info has no magic number");
    }
    if info.version < 1 || info.memmap_entries == 0 {
        return Err("the boot loader passes no memory map");
    }

    let mut memory = MemoryMap::new();
    for i in 0..u64::from(info.memmap_entries) {
        // SAFETY: the memory map has `memmap_entries` entries.
        let entry: MemmapEntry = unsafe { read(info.memmap_paddr + i * size_of::<MemmapEntry>() as u64) };
        let kind = match entry.kind {
            1 => RegionKind::Usable,
            3 | 4 => RegionKind::Acpi,
            _ => RegionKind::Reserved,
        };
        memory.push(entry.addr as Paddr..entry.addr.saturating_add(entry.size) as Paddr, kind);
    }

    let mut initramfs = None;
    if info.nr_modules > 0 {
        // SAFETY: the list has at least one module.
        let module: Module = unsafe { read(info.modlist_paddr) };
        if module.size > 0 {
            initramfs = Some(module.paddr as Paddr..(module.paddr + module.size) as Paddr);
        }
    }

    let mut len = 0;
    if info.cmdline_paddr != 0 {
        while len < cmdline.len() {
            // SAFETY: the command line is NUL-terminated, and we stop there.
            let byte: u8 = unsafe { read(info.cmdline_paddr + len as u64) };
            if byte == 0 {
                break;
            }
            cmdline[len] = byte;
            len += 1;
        }
    }
    Ok((BootInfo { memory, initramfs, rsdp: info.rsdp_paddr as Paddr }, len))
}
