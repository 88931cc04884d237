//! poll, ppoll, select and pselect6.

use ostd::{pod_struct, time, user::mem};

use super::{Args, Context};
use crate::{
    fs::{
        File, caller,
        poll::{PollEvents, wait_for},
    },
    prelude::*,
    process::signal::{self, SigSet},
    time::{NSEC_PER_SEC, Timespec, read_timespec, timespec_to_ns, write_timespec},
};

pod_struct! {
    struct PollFd {
        fd: i32,
        events: u16,
        revents: u16,
    }
}

/// A deadline from a relative timeout; 0 stays 0, which means not to wait.
pub(super) fn deadline_in(timeout_ns: u64) -> u64 {
    if timeout_ns == 0 { 0 } else { time::now_ns().saturating_add(timeout_ns) }
}

fn poll(ctx: &Context, list: usize, count: usize, deadline: Option<u64>) -> Result<usize> {
    if count > caller::max_fds() {
        return Err(EINVAL);
    }
    let at = |index| list.wrapping_add(index * size_of::<PollFd>());
    let table = ctx.thread.files();
    let mut wanted = Vec::new();
    let mut files = Vec::new();
    wanted.try_reserve_exact(count).map_err(|_| ENOMEM)?;
    files.try_reserve_exact(count).map_err(|_| ENOMEM)?;
    for index in 0..count {
        let mut entry: PollFd = mem::read(at(index))?;
        entry.revents = 0;
        let file = if entry.fd < 0 { None } else { table.get_any(entry.fd).ok() };
        if file.is_none() && entry.fd >= 0 {
            entry.revents = PollEvents::NVAL.bits() as u16;
        }
        files.push((file, PollEvents::from_bits_truncate(u32::from(entry.events)) | PollEvents::ALWAYS));
        wanted.push(entry);
    }
    let invalid = wanted.iter().filter(|entry| entry.revents != 0).count();
    let deadline = if invalid > 0 { Some(0) } else { deadline };
    let ready = wait_for(&files, deadline, |index, events| wanted[index].revents = events.bits() as u16)?;
    for (index, entry) in wanted.iter().enumerate() {
        mem::write(at(index) + 6, &entry.revents)?;
    }
    Ok(ready + invalid)
}

pub fn sys_poll(ctx: &mut Context, [list, count, timeout, ..]: Args) -> Result<usize> {
    let timeout = timeout as i32;
    let deadline = (timeout >= 0).then(|| deadline_in(timeout as u64 * 1_000_000));
    // Without a handler the call goes on with the time that is left.
    poll(ctx, list, count as u32 as usize, deadline).map_err(|e| if e == EINTR { ERESTARTNOHAND } else { e })
}

/// A relative time in the program's memory, which gets back what is left of it; none means for ever.
struct Timeout {
    addr: usize,
    deadline: Option<u64>,
}

impl Timeout {
    fn timespec(addr: usize) -> Result<Timeout> {
        if addr == 0 {
            return Ok(Timeout { addr, deadline: None });
        }
        let ns = timespec_to_ns(read_timespec(addr)?)?;
        Ok(Timeout { addr, deadline: Some(deadline_in(ns)) })
    }

    fn left(&self) -> Option<u64> {
        self.deadline.map(|deadline| deadline.saturating_sub(time::now_ns()))
    }

    /// As Linux: if the time can't be written back, the result stands all the same.
    fn write_back(&self) {
        if let Some(left) = self.left() {
            let _ = write_timespec(self.addr, Timespec::from_ns(left));
        }
    }
}

/// Sets a signal mask for the time of a call. EINVAL for a wrong size.
pub(super) fn set_mask(ctx: &Context, mask: usize, size: usize) -> Result<bool> {
    if mask == 0 {
        return Ok(false);
    }
    if size != size_of::<u64>() {
        return Err(EINVAL);
    }
    signal::set_temporary_mask(ctx.thread, SigSet(mem::read(mask)?));
    Ok(true)
}

/// Puts the mask back, unless a signal handler must run under it first.
fn restore_mask(ctx: &Context, was_set: bool, result: Result<usize>) -> Result<usize> {
    match result {
        Err(EINTR) => Err(ERESTARTNOHAND),
        other => {
            if was_set {
                signal::restore_temporary_mask(ctx.thread);
            }
            other
        }
    }
}

pub fn sys_ppoll(ctx: &mut Context, [list, count, timeout, mask, size, ..]: Args) -> Result<usize> {
    let timeout = Timeout::timespec(timeout)?;
    let masked = set_mask(ctx, mask, size)?;
    let result = poll(ctx, list, count as u32 as usize, timeout.deadline);
    timeout.write_back();
    restore_mask(ctx, masked, result)
}

/// The three sets of select: bit maps of descriptors.
struct FdSets {
    addrs: [usize; 3],
    /// Words of each set.
    words: usize,
    sets: [Vec<u64>; 3],
}

/// What makes a descriptor ready for each of the sets, as in Linux.
const SELECT_EVENTS: [PollEvents; 3] = [
    PollEvents::READABLE.union(PollEvents::RDBAND).union(PollEvents::HUP).union(PollEvents::ERR),
    PollEvents::WRITABLE.union(PollEvents::WRBAND).union(PollEvents::ERR),
    PollEvents::PRI,
];

impl FdSets {
    fn read(count: usize, addrs: [usize; 3]) -> Result<FdSets> {
        let words = count.div_ceil(64);
        let mut sets = [const { Vec::new() }; 3];
        for (set, addr) in sets.iter_mut().zip(addrs) {
            set.resize(words, 0);
            if addr != 0 {
                for (i, word) in set.iter_mut().enumerate() {
                    *word = mem::read(addr.wrapping_add(i * 8))?;
                }
            }
        }
        Ok(FdSets { addrs, words, sets })
    }

    fn contains(&self, set: usize, fd: usize) -> bool {
        self.sets[set][fd / 64] >> (fd % 64) & 1 != 0
    }

    fn write(&self) -> Result<()> {
        for (set, addr) in self.sets.iter().zip(self.addrs) {
            if addr != 0 {
                for (i, word) in set.iter().enumerate() {
                    mem::write(addr.wrapping_add(i * 8), word)?;
                }
            }
        }
        Ok(())
    }
}

fn select(ctx: &Context, count: usize, addrs: [usize; 3], deadline: Option<u64>) -> Result<usize> {
    let count = i32::try_from(count as u32).map_err(|_| EINVAL)? as usize;
    let table = ctx.thread.files();
    // Descriptors beyond the table can't be open.
    let count = count.min(table.capacity());
    let wanted = FdSets::read(count, addrs)?;
    let mut fds = Vec::new();
    let mut files: Vec<(Option<Arc<File>>, PollEvents)> = Vec::new();
    for fd in 0..count {
        let sets = (0..3).filter(|&set| wanted.contains(set, fd));
        let mask = sets.fold(PollEvents::empty(), |mask, set| mask | SELECT_EVENTS[set]);
        if !mask.is_empty() {
            files.push((Some(table.get_any(fd as i32)?), mask));
            fds.push(fd);
        }
    }
    let mut result = FdSets { sets: [const { Vec::new() }; 3], ..wanted };
    for set in &mut result.sets {
        set.resize(result.words, 0);
    }
    let mut bits = 0;
    wait_for(&files, deadline, |index, events| {
        let fd = fds[index];
        for (set, of_set) in SELECT_EVENTS.iter().enumerate() {
            if wanted.sets[set][fd / 64] >> (fd % 64) & 1 != 0 && events.intersects(*of_set) {
                result.sets[set][fd / 64] |= 1 << (fd % 64);
                bits += 1;
            }
        }
    })?;
    result.write()?;
    Ok(bits)
}

pub fn sys_select(ctx: &mut Context, [count, read, write, except, timeout, ..]: Args) -> Result<usize> {
    let deadline = match timeout {
        0 => None,
        addr => {
            let [sec, usec] = mem::read::<[i64; 2]>(addr)?;
            if sec < 0 || usec < 0 {
                return Err(EINVAL);
            }
            let ns =
                (sec as u64).saturating_mul(NSEC_PER_SEC).saturating_add((usec as u64).saturating_mul(1000));
            Some(deadline_in(ns))
        }
    };
    let result = select(ctx, count, [read, write, except], deadline);
    if let Some(deadline) = deadline {
        let left = deadline.saturating_sub(time::now_ns());
        // As Linux: if the time can't be written back, the result stands all the same.
        let _ = mem::write(timeout, &[left / NSEC_PER_SEC, left % NSEC_PER_SEC / 1000]);
    }
    result.map_err(|e| if e == EINTR { ERESTARTNOHAND } else { e })
}

pub fn sys_pselect6(ctx: &mut Context, [count, read, write, except, timeout, mask]: Args) -> Result<usize> {
    let mask = if mask == 0 { None } else { Some(mem::read::<[usize; 2]>(mask)?) };
    let timeout = Timeout::timespec(timeout)?;
    let masked = match mask {
        None => false,
        Some([mask, size]) => set_mask(ctx, mask, size)?,
    };
    let result = select(ctx, count, [read, write, except], timeout.deadline);
    timeout.write_back();
    restore_mask(ctx, masked, result)
}
