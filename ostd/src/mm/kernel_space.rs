//! The kernel's half of every address space.
//!
//! | from | what |
//! |---|---|
//! | `ffff_8000_0000_0000` | the direct map: all memory, writable, not executable |
//! | `ffff_c000_0000_0000` | stacks (each with a guard below) |
//! | `ffff_d000_0000_0000` | devices |
//! | `ffff_e000_0000_0000` | the frames' records |
//! | `ffff_ffff_8000_0000` | the image: text, read-only data, data, symbols, each with its rights |
//!
//! The top-level entries of this half are all made at boot, so that a user address space copies them once and
//! never needs to learn of later changes below them. Tables below are never freed.

use super::frame_alloc::{paddr_of, pfn_of};
use super::meta::{FRAME_META, FrameMeta};
use super::{AllocClass, OutOfMemory, PAGE_SIZE, Paddr, Vaddr, frame_alloc, paddr_to_vaddr};
use crate::arch::x86::paging::{
    self, ADDR_MASK, ENTRIES, GLOBAL, HUGE, NO_CACHE, NO_EXEC, PRESENT, WRITE, WRITE_THROUGH, index,
};
use crate::boot::{MemoryMap, RegionKind};
use crate::sync::SpinLock;
use crate::sync::rank::ranks;
use core::ops::Range;
use core::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// Where kernel stacks are.
pub(super) const STACKS: Vaddr = 0xffff_c000_0000_0000;
/// Where device memory is mapped.
const DEVICES: Vaddr = 0xffff_d000_0000_0000;
/// Link address minus load address of the image; see `linker.ld`.
const KERNEL_VMA: Vaddr = 0xffff_ffff_8000_0000;
/// What the boot page tables reach: boot-time tables must lie below.
const BOOT_LIMIT: Paddr = 4 << 30;

const MIB2: usize = 2 << 20;
const GIB: usize = 1 << 30;

/// The physical address of the kernel's top-level table. Set once at boot.
static ROOT: AtomicUsize = AtomicUsize::new(0);

/// Serialises changes to the kernel's tables after the boot; the value is the next free device address.
static DEVICE_TOP: SpinLock<Vaddr> = SpinLock::new(ranks::KERNEL_SPACE, DEVICES);

/// The kernel's top-level table.
#[inline]
pub(crate) fn root() -> Paddr {
    ROOT.load(Relaxed)
}

/// Makes the kernel's own table the one of this CPU.
pub(crate) fn activate() {
    // SAFETY: the kernel's table maps the kernel and is never freed.
    unsafe { paging::load_root(root()) };
}

/// The table entry at `index` of the table at `table`.
fn entry(table: Paddr, index: usize) -> *mut u64 {
    debug_assert!(index < ENTRIES);
    (paddr_to_vaddr(table) as *mut u64).wrapping_add(index)
}

/// The frame of a zeroed new table.
type AllocTable<'a> = &'a mut dyn FnMut() -> Option<Paddr>;

/// Steps down one level: the table behind `entry`, made when it is not there.
///
/// # Safety
/// `entry` points to an entry of a kernel table above level 1 that nobody else changes meanwhile.
unsafe fn descend(entry: *mut u64, alloc: AllocTable) -> Result<Paddr, OutOfMemory> {
    // SAFETY: as the caller says.
    let value = unsafe { entry.read_volatile() };
    if value & PRESENT != 0 {
        debug_assert!(value & HUGE == 0, "already mapped by a large page");
        return Ok((value & ADDR_MASK) as Paddr);
    }
    let table = alloc().ok_or(OutOfMemory)?;
    // SAFETY: as the caller says.
    unsafe { entry.write_volatile(table as u64 | PRESENT | WRITE) };
    Ok(table)
}

/// Maps `len` bytes at `va` to `pa` with the largest pages that fit. What is already mapped is left as it is.
///
/// # Safety
/// The kernel may access `pa..pa + len` at `va` with these rights; nobody else changes the tables meanwhile.
unsafe fn map(
    root: Paddr,
    va: Vaddr,
    pa: Paddr,
    len: usize,
    rights: u64,
    alloc: AllocTable,
) -> Result<(), OutOfMemory> {
    let gib_pages = paging::has_gib_pages();
    let rights = rights | PRESENT | GLOBAL;
    let mut done = 0;
    while done < len {
        let (va, pa, left) = (va + done, pa + done, len - done);
        let fits = |size: usize| (va | pa) & (size - 1) == 0 && left >= size;
        // SAFETY: all tables below `root` are the kernel's, and the caller keeps others out.
        unsafe {
            let level3 = descend(entry(root, index(va, 4)), alloc)?;
            let at = entry(level3, index(va, 3));
            if gib_pages && fits(GIB) && at.read_volatile() & PRESENT == 0 {
                at.write_volatile(pa as u64 | rights | HUGE);
                done += GIB;
                continue;
            }
            if at.read_volatile() & HUGE != 0 {
                done += GIB - va % GIB;
                continue;
            }
            let level2 = descend(at, alloc)?;
            let at = entry(level2, index(va, 2));
            if fits(MIB2) && at.read_volatile() & PRESENT == 0 {
                at.write_volatile(pa as u64 | rights | HUGE);
                done += MIB2;
                continue;
            }
            if at.read_volatile() & HUGE != 0 {
                done += MIB2 - va % MIB2;
                continue;
            }
            let level1 = descend(at, alloc)?;
            let at = entry(level1, index(va, 1));
            if at.read_volatile() & PRESENT == 0 {
                at.write_volatile(pa as u64 | rights);
            }
            done += PAGE_SIZE;
        }
    }
    Ok(())
}

unsafe extern "C" {
    static __text_start: [u8; 0];
    static __text_end: [u8; 0];
    static __rodata_start: [u8; 0];
    static __rodata_end: [u8; 0];
    static __data_start: [u8; 0];
    static __data_end: [u8; 0];
    static __ksyms_start: [u8; 0];
}

/// The physical memory that the image takes, boot code, data and symbols included.
pub(super) fn image() -> Range<Paddr> {
    let symbols = &raw const __ksyms_start as Vaddr - KERNEL_VMA;
    // The image is loaded at 2 MiB, by `linker.ld`.
    MIB2..symbols + crate::panic::symbols_len()
}

/// Builds the kernel's tables and the frames' records, and switches to them.
///
/// # Safety
/// Called once at boot with the boot tables loaded; nothing in `memory`'s usable regions is in use. `end` is where memory
/// ends, the initramfs included.
pub(super) unsafe fn init(
    memory: &mut MemoryMap,
    initramfs: Option<Range<Paddr>>,
    end: Paddr,
) -> Result<(), OutOfMemory> {
    let root = new_boot_table(memory).ok_or(OutOfMemory)?;
    // What to map in the direct map: memory, and the tables of the firmware. The first 2 MiB hold the BIOS area.
    // Memory is mapped with its edges rounded to large pages, as long as these are not devices'.
    let mut direct = [const { 0..0 }; 130];
    let mut count = 2;
    direct[0] = 0..MIB2;
    // The initramfs is not in the memory map any more.
    direct[1] = initramfs.map_or(0..0, |range| range.start / MIB2 * MIB2..range.end.next_multiple_of(MIB2));
    for region in memory.iter().filter(|region| region.kind != RegionKind::Reserved) {
        direct[count] = region.range.start / MIB2 * MIB2..region.range.end.next_multiple_of(MIB2);
        count += 1;
    }
    let data = PRESENT | WRITE | NO_EXEC;
    let alloc = &mut || new_boot_table(memory);
    for range in &direct[..count] {
        // SAFETY: the direct map may reach all memory; only mm and boot code go through it.
        unsafe {
            map(root, paddr_to_vaddr(range.start), range.start, range.len(), data, alloc)?;
        }
    }

    for (start, end, rights) in [
        (&raw const __text_start, &raw const __text_end, 0),
        (&raw const __rodata_start, &raw const __rodata_end, NO_EXEC),
        (&raw const __data_start, &raw const __data_end, WRITE | NO_EXEC),
    ] {
        let (start, end) = (start as Vaddr, end as Vaddr);
        // SAFETY: the image at its link address, each segment with its rights.
        unsafe { map(root, start, start - KERNEL_VMA, end - start, rights, alloc)? };
    }
    let symbols = &raw const __ksyms_start as Vaddr;
    let len = crate::panic::symbols_len().next_multiple_of(PAGE_SIZE);
    // SAFETY: as above.
    unsafe { map(root, symbols, symbols - KERNEL_VMA, len, NO_EXEC, alloc)? };

    // The top-level entries of what is filled in later.
    for va in [STACKS, DEVICES] {
        // SAFETY: nobody else changes the tables yet.
        unsafe { descend(entry(root, index(va, 4)), alloc)? };
    }

    let meta_len = (end / PAGE_SIZE * size_of::<FrameMeta>()).next_multiple_of(PAGE_SIZE);
    // The records can be anywhere in memory once the direct map is used; large pages map them if they are aligned.
    let records = memory
        .allocate(meta_len, if meta_len >= MIB2 { MIB2 } else { PAGE_SIZE }, usize::MAX)
        .ok_or(OutOfMemory)?;
    let alloc = &mut || new_boot_table(memory);
    // SAFETY: fresh memory, for the records alone.
    unsafe { map(root, FRAME_META, records, meta_len, data, alloc)? };

    ROOT.store(root, Relaxed);
    // SAFETY: the new tables map the image, the boot stack (part of it) and the direct map where they were.
    unsafe { paging::load_root(root) };

    let mut page = FRAME_META;
    while page < FRAME_META + meta_len {
        // SAFETY: just mapped, and nobody has a record yet.
        unsafe { crate::arch::x86::mem::clear_page(page as *mut u8) };
        page += PAGE_SIZE;
    }
    Ok(())
}

/// A zeroed table out of the memory map, within reach of the boot tables.
fn new_boot_table(memory: &mut MemoryMap) -> Option<Paddr> {
    let table = memory.allocate(PAGE_SIZE, PAGE_SIZE, BOOT_LIMIT)?;
    // SAFETY: memory that was free a moment ago, in both the boot tables' and the final direct map.
    unsafe { core::ptr::write_bytes(paddr_to_vaddr(table) as *mut u8, 0, PAGE_SIZE) };
    Some(table)
}

/// A zeroed table from the frame allocator.
fn new_table() -> Option<Paddr> {
    let pfn = frame_alloc::alloc(AllocClass::Kernel)?;
    // SAFETY: a new frame.
    unsafe { crate::arch::x86::mem::clear_page(frame_alloc::vaddr_of(pfn)) };
    Some(paddr_of(pfn))
}

/// Maps device memory, uncached, and returns its address. Never unmapped.
///
/// # Safety
/// `paddr..paddr + len` is the caller's device: not memory that the allocator owns.
#[allow(dead_code)] // For the interrupt controllers.
pub(crate) unsafe fn map_device(paddr: Paddr, len: usize) -> Result<Vaddr, OutOfMemory> {
    let start = paddr / PAGE_SIZE * PAGE_SIZE;
    let len = (paddr + len).next_multiple_of(PAGE_SIZE) - start;
    let mut top = DEVICE_TOP.lock();
    let va = *top;
    // SAFETY: fresh addresses; the lock keeps others out; the caller vouches for the device.
    unsafe {
        let rights = WRITE | NO_EXEC | NO_CACHE | WRITE_THROUGH;
        map(root(), va, start, len, rights, &mut new_table)?;
    }
    *top += len + PAGE_SIZE;
    Ok(va + (paddr - start))
}

/// Makes sure that firmware tables at `paddr` are in the direct map, which holds memory and what is near it, and
/// returns their address.
///
/// # Safety
/// The range is memory that the firmware filled and that is not given to the allocator.
pub(crate) unsafe fn map_firmware(paddr: Paddr, len: usize) -> Result<Vaddr, OutOfMemory> {
    let start = paddr / MIB2 * MIB2;
    let end = (paddr + len).next_multiple_of(MIB2);
    let _guard = DEVICE_TOP.lock();
    // SAFETY: at its own place in the direct map; the lock keeps others out. Its cache attributes are those of
    // memory, which it is.
    unsafe {
        map(root(), paddr_to_vaddr(start), start, end - start, WRITE | NO_EXEC, &mut new_table)?;
    }
    Ok(paddr_to_vaddr(paddr))
}

/// Maps frames as the pages from `va` on, for a kernel stack.
///
/// # Safety
/// The pages from `va` on are unmapped, in the stack area, and the caller's alone, as the frames are.
pub(super) unsafe fn map_stack(va: Vaddr, frames: &[u32]) -> Result<(), OutOfMemory> {
    let _guard = DEVICE_TOP.lock();
    for (i, &pfn) in frames.iter().enumerate() {
        // SAFETY: as the caller says; the lock keeps others out.
        unsafe {
            map(root(), va + i * PAGE_SIZE, paddr_of(pfn), PAGE_SIZE, WRITE | NO_EXEC, &mut new_table)?;
        }
    }
    Ok(())
}

/// Unmaps the page at `va` of a kernel stack and returns its frame. TLBs are the caller's business.
///
/// # Safety
/// The page was mapped by [`map_stack`] and nobody uses it any more.
pub(super) unsafe fn unmap_stack_page(va: Vaddr) -> Option<u32> {
    let _guard = DEVICE_TOP.lock();
    let mut table = root();
    for level in [4, 3, 2] {
        // SAFETY: kernel tables, walked under their lock.
        let value = unsafe { entry(table, index(va, level)).read_volatile() };
        if value & PRESENT == 0 {
            return None;
        }
        table = (value & ADDR_MASK) as Paddr;
    }
    let at = entry(table, index(va, 1));
    // SAFETY: as above.
    let value = unsafe { at.read_volatile() };
    if value & PRESENT == 0 {
        return None;
    }
    // SAFETY: as above.
    unsafe { at.write_volatile(0) };
    Some(pfn_of((value & ADDR_MASK) as Paddr))
}
