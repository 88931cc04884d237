//! Page faults: bring the page in, copy it, grow the stack, or say what is wrong with the access.
//!
//! One fault does more than the page that was touched when that is cheaper than the faults it saves: pages of an object
//! that are at hand are mapped along (fault-around), a program that touches fresh memory in ascending order gets a few
//! pages ahead (see [`Vm::pages_ahead`]), and pages that a fork write-protected and nobody else uses any more become writable
//! along with their neighbour.

use core::sync::atomic::{AtomicU64, Ordering::Relaxed};

use ostd::{
    cpu::{self, PerCpu},
    mm::{AllocClass, Frame, Mapper, OutOfMemory, PageFlags},
    user::mem::PageFault,
};

use super::{Backing, Layout, MemoryObject, OWNED, STACK_GUARD, Vm, VmFlags, Vma, page_floor};
use crate::{
    prelude::*,
    process::{Thread, oom, signal},
};

/// What the program tried to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    Read,
    Write,
    Exec,
}

impl Access {
    fn needs(self) -> VmFlags {
        match self {
            // On x86 whatever is mapped with any right is readable.
            Access::Read => VmFlags::ACCESS,
            Access::Write => VmFlags::WRITE,
            Access::Exec => VmFlags::EXEC,
        }
    }
}

impl From<&PageFault> for Access {
    fn from(fault: &PageFault) -> Access {
        match fault {
            PageFault { write: true, .. } => Access::Write,
            PageFault { exec: true, .. } => Access::Exec,
            _ => Access::Read,
        }
    }
}

/// Why an access can't be resolved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FaultError {
    /// Nothing is mapped there: SIGSEGV, SEGV_MAPERR.
    NotMapped,
    /// The mapping does not allow it: SIGSEGV, SEGV_ACCERR.
    Denied,
    /// Beyond the end of the object, or it can't be read: SIGBUS, BUS_ADRERR.
    Bus,
    /// No memory left: the OOM policy decides.
    OutOfMemory,
}

impl From<OutOfMemory> for FaultError {
    fn from(_: OutOfMemory) -> FaultError {
        FaultError::OutOfMemory
    }
}

impl From<FaultError> for Errno {
    fn from(error: FaultError) -> Errno {
        match error {
            FaultError::OutOfMemory => ENOMEM,
            _ => EFAULT,
        }
    }
}

/// Bytes that one fault of a fresh program maps of an object at most. A program nearly always comes back for more of its
/// text, and a page costs a twentieth of a fault.
pub(super) const EXEC_WINDOW: usize = 64 * PAGE_SIZE;

/// The same for a forked child: most run through a few lines and are gone.
pub(super) const FORK_WINDOW: usize = 16 * PAGE_SIZE;

/// Pages of one's own that one fault maps, or makes writable again, at most.
const FAULT_AROUND: usize = 16;

/// An anonymous vma of at most this size gets a page of its own at the first read already: what is read in a heap, a stack
/// or a bss is nearly always written soon, and a second fault costs more than clearing a page.
const SMALL_VMA: usize = 4 << 20;

/// Page faults of each CPU, for /proc/vmstat.
static FAULTS: PerCpu<AtomicU64> = PerCpu::new([const { AtomicU64::new(0) }; cpu::MAX_CPUS]);

/// How many page faults there have been.
pub fn fault_count() -> u64 {
    cpu::all().map(|cpu| FAULTS.on(cpu).load(Relaxed)).sum()
}

/// How often a copy in the kernel asks for memory before it gives up. The caller may hold a lock that the victim of the
/// OOM policy needs for its end, so it must not wait forever.
const OOM_TRIES: usize = 64;

/// A fault on a user address by a copy in the kernel. Set as ostd's handler at boot.
///
/// Without memory the OOM policy makes some, as for an access by the program itself: a reader should not see EFAULT because
/// somebody else was greedy.
pub fn handle_kernel_access(fault: &PageFault) -> Result<(), ()> {
    let thread = Thread::try_current().ok_or(())?;
    let mut tries = 0;
    loop {
        match thread.vm().handle_fault(fault.addr, Access::from(fault)) {
            Ok(()) => return Ok(()),
            Err(FaultError::OutOfMemory) if tries < OOM_TRIES && !signal::fatal_signal_pending(&thread) => {
                let _ = oom::out_of_memory(&thread);
                tries += 1;
            }
            Err(_) => return Err(()),
        }
    }
}

impl Vm {
    /// Makes an access to `addr` possible, or says why it is not.
    ///
    /// `Ok` may also mean that the fault was over before it got here (another thread was faster): the access is tried again.
    pub fn handle_fault(&self, addr: Vaddr, access: Access) -> Result<(), FaultError> {
        {
            let faults = FAULTS.get();
            // Only this CPU counts here.
            faults.store(faults.load(Relaxed) + 1, Relaxed);
        }
        let layout = self.layout.read();
        if let Some(vma) = layout.vmas.find(addr) {
            return self.fault_in(vma, page_floor(addr), access);
        }
        let below_stack = layout
            .vmas
            .find_at_or_above(addr)
            .is_some_and(|vma| vma.attr.flags.contains(VmFlags::GROWS_DOWN));
        drop(layout);
        if !below_stack {
            return Err(FaultError::NotMapped);
        }
        self.grow_stack(page_floor(addr))?;
        let layout = self.layout.read();
        let vma = layout.vmas.find(addr).ok_or(FaultError::NotMapped)?;
        self.fault_in(vma, page_floor(addr), access)
    }

    /// Brings in all pages of `start..end` (MAP_POPULATE, mlock); stops at the first error.
    pub(super) fn populate(&self, start: Vaddr, end: Vaddr) -> Result<(), FaultError> {
        let mut page = start;
        while page < end {
            let layout = self.layout.read();
            let vma = layout.vmas.find(page).ok_or(FaultError::NotMapped)?;
            let private_write =
                vma.attr.flags.contains(VmFlags::WRITE) && !vma.attr.flags.contains(VmFlags::SHARED);
            let access = if private_write { Access::Write } else { Access::Read };
            let stop = end.min(vma.end);
            while page < stop {
                self.fault_in(vma, page, access)?;
                page += PAGE_SIZE;
            }
        }
        Ok(())
    }

    /// Resolves an access to `page`, which lies in `vma`.
    fn fault_in(&self, vma: &Vma, page: Vaddr, access: Access) -> Result<(), FaultError> {
        let flags = vma.attr.flags;
        if !flags.intersects(access.needs()) {
            return Err(FaultError::Denied);
        }
        let write = access == Access::Write;
        match &vma.attr.backing {
            Backing::Anonymous => self.fault_anonymous(vma, page, write),
            Backing::Object(object, offset) => {
                let index = (offset + (page - vma.start) as u64) / PAGE_SIZE as u64;
                if write && !flags.contains(VmFlags::SHARED) {
                    self.fault_private_write(vma, page, object, index)
                } else {
                    self.fault_object(vma, page, object, index)
                }
            }
        }
    }

    fn fault_anonymous(&self, vma: &Vma, page: Vaddr, write: bool) -> Result<(), FaultError> {
        let mut mapper = self.space.lock();
        if let Some((present, references)) = mapper.query_refcount(page) {
            return if write {
                self.make_writable(&mut mapper, vma, page, present, references)
            } else {
                Ok(())
            };
        }
        let flags = vma.attr.flags;
        // What can't be written needs no page of its own, and must not get one that is writable.
        if !write && (vma.len() > SMALL_VMA || !flags.contains(VmFlags::WRITE)) {
            mapper.map(page, zero_page()?, flags.page_flags())?;
            self.count_in(1);
            return Ok(());
        }
        let pages = 1 + pages_ahead(&mapper, vma, page);
        let first = Frame::zeroed(AllocClass::User)?;
        // The others are only a help: without memory the program gets along with the first.
        let ahead = (1..pages).map_while(|_| Frame::zeroed(AllocClass::User).ok());
        let frames = core::iter::once(first).chain(ahead);
        let mapped = mapper.map_fresh_run(page, frames, writable_flags(flags))?;
        self.count_in(mapped);
        Ok(())
    }

    /// A read, or a fetch, or an access through a shared mapping that can be written: the program gets the object's own
    /// frames.
    fn fault_object(
        &self,
        vma: &Vma,
        page: Vaddr,
        object: &Arc<dyn MemoryObject>,
        index: u64,
    ) -> Result<(), FaultError> {
        let flags = vma.attr.flags.page_flags();
        if vma.attr.flags.contains(VmFlags::SHARED | VmFlags::WRITE) {
            return self.fault_shared_write(page, object, index, flags | PageFlags::WRITE);
        }
        if self.map_around(vma, page, object, index, flags)? {
            return Ok(());
        }
        let frame = object.frame(index, false)?;
        let mut mapper = self.space.lock();
        if mapper.map_absent(page, frame, flags)? {
            self.count_in(1);
        }
        Ok(())
    }

    /// Maps `page` and those around it that the object has at hand, in an aligned window. Returns
    /// whether the page is mapped now.
    fn map_around(
        &self,
        vma: &Vma,
        page: Vaddr,
        object: &Arc<dyn MemoryObject>,
        index: u64,
        flags: PageFlags,
    ) -> Result<bool, FaultError> {
        let window = page & !(self.window - 1);
        let start = window.max(vma.start);
        let end = (window + self.window).min(vma.end);
        let behind = (page - start) / PAGE_SIZE;
        if self.is_forked() && vma.attr.flags.contains(VmFlags::EXEC) {
            self.early.note_code(page);
        }
        let mut result = Ok(false);
        object.with_run(index - behind as u64, (end - start) / PAGE_SIZE, &mut |frames| {
            if let Some(Some(_)) = frames.get(behind) {
                let mut mapper = self.space.lock();
                result = mapper.map_object_run(start, frames, flags).map(|mapped| {
                    self.count_in(mapped);
                    true
                });
            }
        });
        Ok(result?)
    }

    /// Pages that can be written come one by one: the object wants to know which.
    fn fault_shared_write(
        &self,
        page: Vaddr,
        object: &Arc<dyn MemoryObject>,
        index: u64,
        flags: PageFlags,
    ) -> Result<(), FaultError> {
        let frame = object.frame(index, true)?;
        let mut mapper = self.space.lock();
        if mapper.map_absent(page, frame, flags)? {
            self.count_in(1);
        } else {
            // Present, but not writable: the mapping was read-only when the page came in.
            mapper.grant_run(page, 1, flags, |_, _| true);
        }
        Ok(())
    }

    /// A write through a private mapping of an object: the program gets a copy, unless it has one already.
    fn fault_private_write(
        &self,
        vma: &Vma,
        page: Vaddr,
        object: &Arc<dyn MemoryObject>,
        index: u64,
    ) -> Result<(), FaultError> {
        {
            let mut mapper = self.space.lock();
            if let Some((present, references)) = mapper.query_refcount(page) {
                return self.make_writable(&mut mapper, vma, page, present, references);
            }
        }
        let original = object.frame(index, false)?;
        let copy = Frame::copy_of(&original, AllocClass::User)?;
        let mut mapper = self.space.lock();
        if mapper.map_absent(page, copy, writable_flags(vma.attr.flags))? {
            self.count_in(1);
        }
        Ok(())
    }

    /// A write to a present page of a private mapping: the only owner goes on with the page, others get a copy.
    fn make_writable(
        &self,
        mapper: &mut Mapper,
        vma: &Vma,
        page: Vaddr,
        present: PageFlags,
        references: u32,
    ) -> Result<(), FaultError> {
        if present.contains(PageFlags::WRITE) {
            return Ok(());
        }
        if present.contains(OWNED) && references == 1 {
            unprotect_around(mapper, vma, page);
            return Ok(());
        }
        let Some((shared, _)) = mapper.query(page) else { return Ok(()) };
        if present.contains(OWNED) {
            self.early.note_write(page);
        }
        let copy = if is_zero_page(&shared) {
            Frame::zeroed(AllocClass::User)?
        } else {
            Frame::copy_of(&shared, AllocClass::User)?
        };
        mapper.map(page, copy, writable_flags(vma.attr.flags))?;
        Ok(())
    }

    /// Moves the start of the stack above down to `page`, if limits and the guard gap allow.
    fn grow_stack(&self, page: Vaddr) -> Result<(), FaultError> {
        let limits = Thread::try_current().map(|thread| thread.process.memory_limits());
        let mut layout = self.layout.write();
        layout.grow_stack(page, limits.as_ref()).ok_or(FaultError::NotMapped)
    }
}

impl Layout {
    fn grow_stack(&mut self, page: Vaddr, limits: Option<&super::MemoryLimits>) -> Option<()> {
        let stack = self.vmas.find_at_or_above(page)?;
        if stack.start <= page {
            return Some(());
        }
        let (start, size) = (stack.start, stack.end - page);
        if !stack.attr.flags.contains(VmFlags::GROWS_DOWN) || page < super::MMAP_MIN_ADDR {
            return None;
        }
        if limits.is_some_and(|limits| {
            size > limits.stack || self.vmas.mapped_bytes() + (start - page) > limits.address_space
        }) {
            return None;
        }
        // Another mapping must stay out of reach of a large frame that skips the guard.
        let neighbour = self.vmas.find_below(page + PAGE_SIZE);
        let accessible = |vma: &&Vma| vma.attr.flags.intersects(VmFlags::ACCESS);
        if neighbour.filter(accessible).is_some_and(|vma| page - vma.end < STACK_GUARD) {
            return None;
        }
        self.vmas.grow_down(start, page).ok()
    }
}

/// Makes `page` writable, and those that follow in the same state: after a fork whose child is gone, the parent gets
/// its pages back in a few faults.
fn unprotect_around(mapper: &mut Mapper, vma: &Vma, page: Vaddr) {
    let max = FAULT_AROUND.min((vma.end - page) / PAGE_SIZE);
    mapper
        .grant_run(page, max, PageFlags::WRITE, |flags, references| flags.contains(OWNED) && references == 1);
}

/// How many pages after `page` a program walking upwards will touch next: as many as lie present before it, up to a
/// window. Nothing is mapped ahead for scattered accesses; a walk over n pages takes O(log) faults at first and one per
/// window later, and wastes less than a window.
fn pages_ahead(mapper: &Mapper, vma: &Vma, page: Vaddr) -> usize {
    let behind = mapper.mapped_below(page, FAULT_AROUND.min((page - vma.start) / PAGE_SIZE));
    if behind == 0 {
        return 0;
    }
    let room = (vma.end - page) / PAGE_SIZE - 1;
    if room == 0 { 0 } else { mapper.absent_from(page + PAGE_SIZE, behind.min(room)) }
}

fn writable_flags(flags: VmFlags) -> PageFlags {
    flags.page_flags() | PageFlags::WRITE | OWNED
}

static ZERO_PAGE: spin::Once<Frame> = spin::Once::new();

/// The frame that all untouched anonymous pages show to readers.
pub(super) fn zero_page() -> Result<Frame, FaultError> {
    ZERO_PAGE.try_call_once(|| Frame::zeroed(AllocClass::Kernel)).cloned().map_err(FaultError::from)
}

pub(super) fn is_zero_page(frame: &Frame) -> bool {
    ZERO_PAGE.get().is_some_and(|zero| zero == frame)
}
