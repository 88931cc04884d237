//! /proc/pid/smaps and smaps_rollup: how much of each mapping is present, and with how many others it is shared (proc(5)); and
//! what pagemap says of one page.
//!
//! A page of the program's own counts as written. One of an object counts as written if this program's page tables say so.

use core::{fmt::Write, ops::AddAssign};

use ostd::mm::{Mapper, Paddr, PageFlags};

use super::{Backing, OWNED, Vm, VmFlags, Vma, fault};
use crate::prelude::*;

/// What the page tables say of one page.
pub struct PageInfo {
    pub paddr: Paddr,
    /// It is the program's own, not an object's.
    pub owned: bool,
    /// How often it is mapped, in all programs.
    pub mappings: u32,
    flags: PageFlags,
}

/// Sums over pages, in bytes.
#[derive(Clone, Copy, Default)]
struct Sums {
    rss: usize,
    /// Shares of the pages, by the number of those who map them, in 1/4096 bytes.
    pss: u64,
    pss_dirty: u64,
    pss_owned: u64,
    pss_shmem: u64,
    /// By `is shared`, then `is dirty`.
    by_kind: [[usize; 2]; 2],
    referenced: usize,
    owned: usize,
    locked: u64,
}

const SHARE_SHIFT: u32 = 12;

impl Sums {
    fn count(&mut self, page: &PageInfo, shmem: bool, locked: bool) {
        let share = ((PAGE_SIZE as u64) << SHARE_SHIFT) / u64::from(page.mappings.max(1));
        let dirty = page.owned || page.flags.contains(PageFlags::DIRTY);
        let when = |on: bool, amount| if on { amount } else { 0 };
        self.rss += PAGE_SIZE;
        self.pss += share;
        self.pss_dirty += when(dirty, share);
        self.pss_owned += when(page.owned, share);
        self.pss_shmem += when(!page.owned && shmem, share);
        self.by_kind[usize::from(page.mappings > 1)][usize::from(dirty)] += PAGE_SIZE;
        self.locked += when(locked, share);
        if page.flags.contains(PageFlags::ACCESSED) {
            self.referenced += PAGE_SIZE;
        }
        if page.owned {
            self.owned += PAGE_SIZE;
        }
    }

    /// The lines; those of the rollup tell what the shares are of.
    fn write(&self, rollup: bool, out: &mut String) {
        let share = |sum: u64| (sum >> SHARE_SHIFT) as usize;
        let [[private_clean, private_dirty], [shared_clean, shared_dirty]] = self.by_kind;
        let kinds = [
            ("Pss_Anon", share(self.pss_owned)),
            ("Pss_File", share(self.pss - self.pss_owned - self.pss_shmem)),
            ("Pss_Shmem", share(self.pss_shmem)),
        ];
        let head = [("Rss", self.rss), ("Pss", share(self.pss)), ("Pss_Dirty", share(self.pss_dirty))];
        let rest = [
            ("Shared_Clean", shared_clean),
            ("Shared_Dirty", shared_dirty),
            ("Private_Clean", private_clean),
            ("Private_Dirty", private_dirty),
            ("Referenced", self.referenced),
            ("Anonymous", self.owned),
            ("KSM", 0),
            ("LazyFree", 0),
            ("AnonHugePages", 0),
            ("ShmemPmdMapped", 0),
            ("FilePmdMapped", 0),
            ("Shared_Hugetlb", 0),
            ("Private_Hugetlb", 0),
            ("Swap", 0),
            ("SwapPss", 0),
            ("Locked", share(self.locked)),
        ];
        let kinds = if rollup { &kinds[..] } else { &[] };
        for (name, bytes) in head.iter().chain(kinds).chain(&rest) {
            line(out, name, *bytes);
        }
    }
}

impl AddAssign for Sums {
    fn add_assign(&mut self, other: Sums) {
        self.rss += other.rss;
        self.pss += other.pss;
        self.pss_dirty += other.pss_dirty;
        self.pss_owned += other.pss_owned;
        self.pss_shmem += other.pss_shmem;
        for (mine, theirs) in self.by_kind.iter_mut().flatten().zip(other.by_kind.iter().flatten()) {
            *mine += theirs;
        }
        self.referenced += other.referenced;
        self.owned += other.owned;
        self.locked += other.locked;
    }
}

/// Writing to a `String` does not fail.
fn line(out: &mut String, name: &str, bytes: usize) {
    let pad = 16 - name.len() + 7;
    let _ = writeln!(out, "{name}:{:>pad$} kB", bytes / 1024);
}

/// The two letters of each flag that a vma has.
fn vm_flags(flags: VmFlags, out: &mut String) {
    const NAMES: [(VmFlags, &str); 12] = [
        (VmFlags::READ, "rd"),
        (VmFlags::WRITE, "wr"),
        (VmFlags::EXEC, "ex"),
        (VmFlags::SHARED, "sh"),
        (VmFlags::MAY_READ, "mr"),
        (VmFlags::MAY_WRITE, "mw"),
        (VmFlags::MAY_EXEC, "me"),
        (VmFlags::MAP_SHARED, "ms"),
        (VmFlags::GROWS_DOWN, "gd"),
        (VmFlags::LOCKED, "lo"),
        (VmFlags::DONT_FORK, "dc"),
        (VmFlags::SPECIAL, "de"),
    ];
    const MORE: [(VmFlags, &str); 3] =
        [(VmFlags::NO_RESERVE, "nr"), (VmFlags::DONT_DUMP, "dd"), (VmFlags::WIPE_ON_FORK, "wf")];
    out.push_str("VmFlags: ");
    let mut put = |name: &str| {
        let _ = write!(out, "{name} ");
    };
    NAMES.iter().filter(|(flag, _)| flags.contains(*flag)).for_each(|(_, name)| put(name));
    // Memory that is promised: what can be written and is the program's alone.
    if flags.contains(VmFlags::WRITE) && !flags.intersects(VmFlags::MAP_SHARED | VmFlags::NO_RESERVE) {
        put("ac");
    }
    MORE.iter().filter(|(flag, _)| flags.contains(*flag)).for_each(|(_, name)| put(name));
    out.push('\n');
}

/// The page at `page`. The zeros that all programs share, and nobody has written, are no page.
fn info(mapper: &Mapper, page: Vaddr) -> Option<PageInfo> {
    let (frame, flags) = mapper.query(page)?;
    let owned = flags.contains(OWNED);
    if !owned && fault::is_zero_page(&frame) {
        return None;
    }
    // One reference is this function's, and one the object's own.
    let mappings = frame.refcount().saturating_sub(if owned { 1 } else { 2 }).max(1);
    Some(PageInfo { paddr: frame.paddr(), owned, mappings, flags })
}

impl Vm {
    /// The lines of /proc/pid/smaps. ENOMEM.
    pub fn smaps(&self) -> Result<Vec<u8>> {
        const TEXT: usize = 700;
        self.describe(TEXT, |vma, out| {
            let mut text = String::new();
            line(&mut text, "Size", vma.len());
            line(&mut text, "KernelPageSize", PAGE_SIZE);
            line(&mut text, "MMUPageSize", PAGE_SIZE);
            self.sums(vma).write(false, &mut text);
            text.push_str("THPeligible:           0\n");
            vm_flags(vma.attr.flags, &mut text);
            out.extend_from_slice(text.as_bytes());
        })
    }

    /// The one entry of /proc/pid/smaps_rollup.
    pub fn smaps_rollup(&self) -> Vec<u8> {
        let layout = self.layout.read();
        let (mut sums, mut start, mut end) = (Sums::default(), None, 0);
        for vma in layout.vmas.iter() {
            start.get_or_insert(vma.start);
            end = vma.end;
            sums += self.sums(vma);
        }
        let mut text = format!("{:08x}-{end:08x} ---p 00000000 00:00 0 ", start.unwrap_or(0));
        while text.len() < 73 {
            text.push(' ');
        }
        text.push_str("[rollup]\n");
        sums.write(true, &mut text);
        text.into_bytes()
    }

    fn sums(&self, vma: &Vma) -> Sums {
        let shmem = matches!(&vma.attr.backing, Backing::Object(object, _) if object.is_shared_memory());
        let locked = vma.attr.flags.contains(VmFlags::LOCKED);
        let mut pages = Vec::new();
        let mut sums = Sums::default();
        let mapper = self.space.lock();
        mapper.for_each_present(vma.start..vma.end, |page, _, _| pages.push(page));
        for page in pages {
            if let Some(page) = info(&mapper, page) {
                sums.count(&page, shmem, locked);
            }
        }
        sums
    }

    /// What the page tables say of the page at `page`, a page address of the user's half; `None` if it is absent.
    pub fn page_info(&self, page: Vaddr) -> Option<PageInfo> {
        info(&self.space.lock(), page)
    }

    /// Forgets which pages were accessed, of those of its own or an object's for which `which(owned)`.
    pub fn clear_accessed(&self, which: impl Fn(bool) -> bool) {
        let layout = self.layout.read();
        let mut mapper = self.space.lock();
        for vma in layout.vmas.iter() {
            mapper.protect(vma.start..vma.end, |flags| {
                if which(flags.contains(OWNED)) { flags.difference(PageFlags::ACCESSED) } else { flags }
            });
        }
    }
}
