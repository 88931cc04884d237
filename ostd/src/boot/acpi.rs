//! ACPI tables: finding them, and the little of them that is needed before anybody interprets AML.
//!
//! The root pointer comes from the PVH start info, else from the BIOS area. Tables are checked (length, sum) when
//! they are looked up and stay where the firmware put them: their memory is never given to the allocator.

use crate::mm::{self, Paddr};
use core::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// The length of the header that all tables have.
pub(crate) const HEADER_LEN: usize = 36;
/// No table that we look at is longer; what claims to be is broken.
const MAX_LEN: usize = 1 << 20;

/// Physical address of the RSDT or XSDT (0: none), and the size of its entries.
static ROOT: AtomicUsize = AtomicUsize::new(0);
static ENTRY_SIZE: AtomicUsize = AtomicUsize::new(4);

/// The firmware's bytes at `paddr`.
fn firmware(paddr: Paddr, len: usize) -> Option<&'static [u8]> {
    if paddr == 0 || len > MAX_LEN || paddr.checked_add(len)? > 1 << 46 {
        return None;
    }
    // SAFETY: the firmware said so, in its root pointer or a table with the right sum; the memory map keeps the
    // allocator off its tables, and nobody writes to them.
    unsafe {
        let va = mm::map_firmware(paddr, len).ok()?;
        Some(core::slice::from_raw_parts(va as *const u8, len))
    }
}

pub(crate) fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_le_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

pub(crate) fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

pub(crate) fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(bytes.get(at..at + 8)?.try_into().ok()?))
}

fn sum(bytes: &[u8]) -> u8 {
    bytes.iter().fold(0, |sum, &byte| sum.wrapping_add(byte))
}

/// Finds the root table. `rsdp` is the root pointer's address, 0 when the boot loader does not know it.
pub(super) fn init(rsdp: Paddr) {
    let found = if rsdp != 0 {
        firmware(rsdp, 36).filter(|bytes| bytes.starts_with(SIGNATURE))
    } else {
        scan_bios_area()
    };
    let Some(rsdp) = found else {
        log::warn!("no ACPI tables");
        return;
    };
    let revision = rsdp[15];
    let root = if revision >= 2 { u64_at(rsdp, 24).unwrap_or(0) } else { 0 };
    if root != 0 {
        ENTRY_SIZE.store(8, Relaxed);
        ROOT.store(root as Paddr, Relaxed);
    } else {
        ROOT.store(u32_at(rsdp, 16).unwrap_or(0) as Paddr, Relaxed);
    }
}

const SIGNATURE: &[u8] = b"RSD PTR ";

fn scan_bios_area() -> Option<&'static [u8]> {
    let area = firmware(0xe0000, 0x20000)?;
    area.windows(36).step_by(16).find(|bytes| bytes.starts_with(SIGNATURE) && sum(&bytes[..20]) == 0)
}

/// The whole table at `paddr`, if it is sound.
pub(crate) fn table_at(paddr: Paddr) -> Option<&'static [u8]> {
    let header = firmware(paddr, HEADER_LEN)?;
    let len = u32_at(header, 4)? as usize;
    if len < HEADER_LEN {
        return None;
    }
    let table = firmware(paddr, len)?;
    (sum(table) == 0).then_some(table)
}

/// The first table with this signature (`APIC`, `FACP`, `HPET`).
pub(crate) fn find(signature: &[u8; 4]) -> Option<&'static [u8]> {
    let root = table_at(ROOT.load(Relaxed))?;
    let size = ENTRY_SIZE.load(Relaxed);
    root[HEADER_LEN..].chunks_exact(size).find_map(|entry| {
        let paddr = if size == 8 { u64_at(entry, 0)? as Paddr } else { u32_at(entry, 0)? as Paddr };
        let header = firmware(paddr, HEADER_LEN)?;
        if header.starts_with(signature) { table_at(paddr) } else { None }
    })
}
