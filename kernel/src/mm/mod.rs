//! Virtual memory of user programs: what is mapped where, and what happens when a program touches it.
//!
//! **Structures.** A [`Vm`] is one address space (Linux's `mm_struct`): a [`Layout`] (the vmas, the heap, where arguments
//! lie) under a sleeping lock, and ostd's page tables. Threads share an `Arc<Vm>`; the memory is given back when the
//! last one goes. A [`Vma`](vma::Vma) is anonymous, or maps a [`MemoryObject`]: a file's page cache, shared anonymous
//! memory or a System V segment. There are no chains from pages to mappings (no anon_vma), so a fork costs the same in the
//! hundredth generation as in the first; a file knows which address spaces map it ([`mappers`]), for the day on which it is
//! cut off, and a segment is told of its vmas ([`segment`]).
//!
//! **Who owns a page.** Each page table entry owns a reference to its frame. Private pages that belong to this program
//! carry [`OWNED`]: if such a page is written while nobody else refers to the frame, it becomes writable in place, else it is
//! copied. Pages of an object are never written through a private mapping.
//!
//! **Locks.** `Vm::layout` (rank VM): taken for reading by faults, for writing by whoever changes the map. Below it come
//! the page cache's locks (an object brings a page in) and the lock of the page tables, which guards the entries and
//! is held for a few entries at a time. User memory must not be touched while `layout` is held.
//!
//! Rules: mmap(2) and its relatives; spec 6.18, 6.22, 10.

mod advise;
mod brk;
mod dump;
mod fault;
mod file;
mod fork;
mod image;
mod map;
mod mappers;
mod object;
mod protect;
mod relabel;
mod remap;
mod remote;
mod report;
mod segment;
mod settings;
mod smaps;
mod unmap;
mod vdso;
mod vma;

#[cfg(feature = "ktest")]
pub(crate) mod tests;

use core::{
    ops::Range,
    sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed},
};

use ostd::{
    mm::{AddrSpace, PageFlags, USER_END},
    sync::RwLock,
};

use spin::Once;

use self::mappers::Registrations;
pub use self::{
    advise::Advice,
    dump::DumpSegment,
    fault::{Access, FaultError, fault_count, handle_kernel_access},
    file::{FileMapping, read_object},
    fork::ForkHints,
    map::{MapRequest, Placement},
    mappers::Mappers,
    object::{MemoryObject, ObjectId, ObjectName, SharedMemory, shared_pages},
    relabel::ProgramMap,
    remap::Move,
    settings::{mdwe, set_suid_dumpable, suid_dumpable},
    smaps::PageInfo,
    vdso::{VDSO_PAGES, init as init_vdso, vdso_image},
    vma::{Backing, VmFlags, Vma, VmaAttr},
};
use crate::{
    fs::{aio::Contexts, file::File, open::ExecFile},
    lock_order,
    prelude::*,
};

/// Marks a page table entry whose frame belongs to the program, not to an object that it maps.
const OWNED: PageFlags = PageFlags::SOFT1;

/// No program without CAP_SYS_RAWIO maps anything below (vm.mmap_min_addr).
pub const MMAP_MIN_ADDR: Vaddr = 0x10000;

/// Most vmas in an address space (vm.max_map_count).
pub const MAX_MAP_COUNT: usize = 65530;

/// Bytes that stay free below a stack (Linux's stack_guard_gap).
pub const STACK_GUARD: usize = 256 * PAGE_SIZE;

/// The highest address of the stack, exclusive.
pub const STACK_TOP: Vaddr = USER_END;

/// The limits that the operations here obey, in bytes (`usize::MAX`: none). The caller looks them up once.
#[derive(Clone, Copy, Debug)]
pub struct MemoryLimits {
    /// RLIMIT_AS
    pub address_space: usize,
    /// RLIMIT_DATA
    pub data: usize,
    /// RLIMIT_STACK
    pub stack: usize,
    /// RLIMIT_MEMLOCK; `usize::MAX` with CAP_IPC_LOCK
    pub locked: usize,
    /// CAP_SYS_RAWIO: may map below [`MMAP_MIN_ADDR`]
    pub low_addresses: bool,
}

impl MemoryLimits {
    /// No limit.
    #[cfg(feature = "ktest")]
    pub const NONE: MemoryLimits = MemoryLimits {
        address_space: usize::MAX,
        data: usize::MAX,
        stack: usize::MAX,
        locked: usize::MAX,
        low_addresses: true,
    };
}

/// Where the pieces of a program lie, for `/proc/pid/stat`, `cmdline`, `environ` and PR_SET_MM.
#[derive(Clone, Copy, Debug, Default)]
pub struct ProgramRanges {
    pub start_code: Vaddr,
    pub end_code: Vaddr,
    pub start_data: Vaddr,
    pub end_data: Vaddr,
    pub start_stack: Vaddr,
    pub arg_start: Vaddr,
    pub arg_end: Vaddr,
    pub env_start: Vaddr,
    pub env_end: Vaddr,
}

/// What the lock of a [`Vm`] guards.
struct Layout {
    vmas: ::vma::VmaMap<VmaAttr>,
    /// The files that know of this address space.
    registrations: Registrations,
    /// The heap is `brk_start..brk`; `brk` as the program set it, not rounded.
    brk_start: Vaddr,
    brk: Vaddr,
    /// Mappings without an address go below this one, highest first.
    mmap_base: Vaddr,
    ranges: ProgramRanges,
    /// The auxiliary vector that the program was started with, AT_NULL included.
    auxv: Arc<[u64]>,
    /// The file that the program was started from; nobody can open it for writing.
    exe: Option<Arc<ExecFile>>,
    /// Bytes in vmas that are locked (mlock).
    locked: usize,
    /// Bytes in private writable vmas (RLIMIT_DATA; VmData).
    data: usize,
    /// mlockall(MCL_FUTURE): what is mapped from now on is locked.
    lock_future: bool,
    /// There are, or have been, attachments of shared memory segments.
    has_segments: bool,
}

/// An address space.
pub struct Vm {
    space: Arc<AddrSpace>,
    layout: RwLock<Layout>,
    /// Pages present, and the most there have been when some went away. Changed with the page tables locked.
    resident: AtomicUsize,
    peak: AtomicUsize,
    /// Bytes that a fault may map of an object; a power of two.
    window: usize,
    /// What its children touch early.
    early: Arc<fork::EarlyTouches>,
    settings: settings::Settings,
    /// Contexts of asynchronous input and output, once there has been one.
    pub aio: Once<Box<Contexts>>,
    /// Never reused: names the address space in futex keys.
    id: u64,
}

impl Vm {
    /// An empty address space for the program `exe` (None in tests only), with the mmap area below `mmap_base`.
    pub fn new(mmap_base: Vaddr, exe: Option<Arc<ExecFile>>) -> Result<Arc<Vm>> {
        Ok(Arc::new(Vm {
            space: AddrSpace::new()?,
            layout: RwLock::new(
                lock_order::VM,
                Layout {
                    vmas: ::vma::VmaMap::new(),
                    registrations: Registrations::default(),
                    brk_start: 0,
                    brk: 0,
                    mmap_base,
                    ranges: ProgramRanges::default(),
                    auxv: Arc::new([]),
                    exe,
                    locked: 0,
                    data: 0,
                    lock_future: false,
                    has_segments: false,
                },
            ),
            resident: AtomicUsize::new(0),
            peak: AtomicUsize::new(0),
            window: fault::EXEC_WINDOW,
            early: Arc::default(),
            settings: settings::Settings::new(),
            aio: Once::new(),
            id: next_id(),
        }))
    }

    /// The page tables, for the task that runs in this address space.
    pub fn space(&self) -> &Arc<AddrSpace> {
        &self.space
    }

    /// The aligned word at `addr`, if its page is present: for those who can't wait for a page to come in.
    pub fn resident_word(&self, addr: Vaddr) -> Option<u32> {
        let (frame, _) = self.space.lock().query(page_floor(addr))?;
        let mut word = [0; 4];
        frame.read(addr % PAGE_SIZE, &mut word);
        Some(u32::from_ne_bytes(word))
    }

    /// Number of present pages.
    pub fn rss(&self) -> usize {
        self.resident.load(Relaxed)
    }

    /// The most pages that have been present at a time.
    pub fn max_rss(&self) -> usize {
        self.peak.load(Relaxed).max(self.rss())
    }

    /// Counts `pages` that came in. With the page tables locked: so a load and a store do.
    fn count_in(&self, pages: usize) {
        self.resident.store(self.rss() + pages, Relaxed);
    }

    /// Counts `pages` that went away. With the page tables locked.
    fn count_out(&self, pages: usize) {
        let before = self.rss();
        self.peak.store(self.peak.load(Relaxed).max(before), Relaxed);
        self.resident.store(before.saturating_sub(pages), Relaxed);
    }

    /// Forgets how many pages there have been at most.
    pub fn reset_max_rss(&self) {
        self.peak.store(0, Relaxed);
    }

    /// Takes the pages of a range out of the page tables.
    fn unmap_pages(&self, range: Range<Vaddr>) {
        let mut mapper = self.space.lock();
        let pages = mapper.unmap(range);
        self.count_out(pages);
    }

    /// The file that the program was started from (/proc/pid/exe).
    pub fn exe(&self) -> Option<Arc<File>> {
        self.layout.read().exe.as_ref().map(|exe| exe.file().clone())
    }

    /// The object and the offset in it that `addr` stands for, if it lies in a shared mapping (for futexes).
    ///
    /// # Errors
    /// EFAULT when nothing is mapped there.
    pub fn shared_word(&self, addr: Vaddr) -> Result<Option<(ObjectId, u64)>> {
        let layout = self.layout.read();
        let vma = layout.vmas.find(addr).ok_or(EFAULT)?;
        Ok(match &vma.attr.backing {
            Backing::Object(object, offset) if vma.attr.flags.contains(VmFlags::MAP_SHARED) => {
                Some((object.id(), offset + (addr - vma.start) as u64))
            }
            _ => None,
        })
    }

    /// What is mapped in a vma that starts at `addr` and shows an object from its beginning.
    pub fn object_starting_at(&self, addr: Vaddr) -> Option<ObjectId> {
        let layout = self.layout.read();
        let vma = layout.vmas.find(addr).filter(|vma| vma.start == addr)?;
        match &vma.attr.backing {
            Backing::Object(object, 0) => Some(object.id()),
            _ => None,
        }
    }

    /// Start of the stack that `addr..end` lies at the start of (mprotect with PROT_GROWSDOWN).
    ///
    /// # Errors
    /// ENOMEM when nothing is mapped there, EINVAL when it is no stack.
    pub fn stack_start(&self, addr: Vaddr, end: Vaddr) -> Result<Vaddr> {
        let layout = self.layout.read();
        let vma = layout.vmas.find_at_or_above(addr).filter(|vma| vma.start < end).ok_or(ENOMEM)?;
        if vma.attr.flags.contains(VmFlags::GROWS_DOWN) { Ok(vma.start) } else { Err(EINVAL) }
    }

    /// Whether fork made it, and no exec.
    fn is_forked(&self) -> bool {
        self.window == fault::FORK_WINDOW
    }

    /// A number that no other address space has or will have.
    pub fn id(&self) -> u64 {
        self.id
    }
}

fn next_id() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    NEXT.fetch_add(1, Relaxed)
}

/// Rounds down to a page.
pub const fn page_floor(addr: usize) -> usize {
    addr & !(PAGE_SIZE - 1)
}

/// Rounds up to a page; `None` on overflow.
pub const fn page_ceil(len: usize) -> Option<usize> {
    match len.checked_add(PAGE_SIZE - 1) {
        Some(sum) => Some(page_floor(sum)),
        None => None,
    }
}

/// Whether `start..start + len` lies in the user's half; `start` must be page-aligned, `len` is rounded up by the caller.
pub(crate) fn user_range(start: Vaddr, len: usize) -> bool {
    len <= USER_END && start <= USER_END - len
}
