//! Core dumps: the memory and registers of a process that dies of a signal, left in a file for a debugger (core(5), rules 3.1,
//! 3.2, 1.37, 3.20).
//!
//! 1. [`die`] is where a signal whose default action is to dump core ends. Most processes want none (RLIMIT_CORE is 0): they just
//!    die.
//! 2. Else the death of the whole group begins with the signal as its status (3.4), and all other threads are killed as always. But
//!    on their way out they meet ([`meeting`]): each leaves its registers, and waits. Processes outside the group that share the
//!    memory go on (3.20).
//! 3. The file is made as [`pattern`] says, and filled: an ELF header, one segment of [`notes`], one for each mapping.
//! 4. If there was a file at all, the status gets the bit 0x80. The threads go on dying.
//!
//! Locks: the signal lock guards who takes part; nothing is held while the file is written.
//!
//! Not built in: patterns that begin with `|` or `@` (programs and sockets that take the core): nothing is dumped then.

mod file;
mod meeting;
mod notes;
pub mod pattern;

use core::sync::atomic::Ordering::Relaxed;

use ostd::user::fpu;

pub use self::meeting::Meeting;
use self::{file::CoreFile, meeting::ThreadState, pattern::Facts};
use super::{
    Thread, exit,
    rlimit::Resource,
    signal::{self, SigInfo},
};
use crate::{mm, prelude::*, syscall::Context};

/// The bit of a wait status that says that there is a core.
const DUMPED: i32 = 0x80;

/// Cores that can't be larger than this are not begun.
const MIN_CORE: u64 = PAGE_SIZE as u64;

/// dumpable: by root only, into a place that only root can have chosen.
const DUMP_ROOT: u8 = 2;

/// Ends the calling thread's process by `info`, whatever handlers there are for it, with a core dump if it may have one.
pub fn die(ctx: &mut Context, info: &SigInfo) {
    let process = ctx.thread.process.clone();
    let signo = i32::from(info.signo);
    if !wanted(ctx.thread) {
        let status = signal::begin_group_exit(&process, signo);
        return leave(ctx, status);
    }
    let meeting = match signal::begin_dump(&process, signo) {
        Ok(meeting) => meeting,
        Err(status) => return leave(ctx, status),
    };
    meeting.wait_for_others(|| process.signals.thread_count());
    let mut threads = vec![ThreadState::of(ctx)];
    threads.append(&mut meeting.take());
    let mut status = signo;
    match write(ctx.thread, info, &threads) {
        Ok(()) => {
            status |= DUMPED;
            signal::override_exit_status(&process, status);
        }
        Err(error) => debug!("no core of {}: {error}", process.pid()),
    }
    meeting.end();
    exit::exit_thread(ctx.thread, status);
}

/// Ends the calling thread, whose process is dying. If a core of it is being written, the thread is part of that first.
pub fn leave(ctx: &mut Context, status: i32) {
    if let Some(meeting) = signal::current_dump(&ctx.thread.process) {
        meeting.join(ThreadState::of(ctx));
    }
    exit::exit_thread(ctx.thread, status);
}

/// Whether there is any use in stopping everybody.
fn wanted(thread: &Thread) -> bool {
    let dumpable = thread.try_vm().map_or(0, |vm| vm.dumpable());
    dumpable != 0
        && thread.process.rlimit(Resource::Core) >= MIN_CORE
        && pattern::is_file()
        && there_is_memory(thread)
}

/// Headers and notes are made in the kernel's memory, which must not run out over it.
fn there_is_memory(thread: &Thread) -> bool {
    /// Bytes for a mapping: its headers, and its place in NT_FILE.
    const PER_MAPPING: usize = 512;
    let per_thread = 2 * (fpu::size() + PAGE_SIZE / 2);
    let bytes = thread.process.signals.thread_count() * per_thread + thread.vm().mappings() * PER_MAPPING;
    // The longest list is in one piece.
    const LISTED: usize = 128;
    let mut piece: Vec<u8> = Vec::new();
    ostd::mm::kernel_reserve_ok(2 + bytes / PAGE_SIZE)
        && piece.try_reserve_exact(thread.vm().mappings() * LISTED).is_ok()
}

fn write(thread: &Thread, info: &SigInfo, threads: &[ThreadState]) -> Result<()> {
    let vm = thread.vm();
    let creds = thread.creds();
    let facts = Facts {
        pid: thread.process.pid(),
        global_pid: thread.process.global_pid(),
        tid: thread.tid(),
        uid: creds.uid,
        gid: creds.gid,
        dumpable: vm.dumpable(),
        signo: info.signo,
        comm: thread.comm(),
        exe: vm.exe().map(|exe| exe.name(&thread.fs().root())).unwrap_or_default(),
        limit: thread.process.rlimit(Resource::Core),
    };
    let name = facts.name();
    let segments = vm.dump_segments();
    let notes = notes::all(thread, info, threads, &segments);
    let mut core = CoreFile::create(thread, &name, facts.dumpable == DUMP_ROOT, facts.limit)?;
    // From here on there is a core, even if the limit or the disk ends it early.
    let _ = core.fill(&vm, &segments, &notes);
    Ok(())
}

/// Whether a core of the process is being written (CoreDumping in /proc/PID/status).
pub fn is_dumping(thread: &Thread) -> bool {
    signal::current_dump(&thread.process).is_some()
}

/// The thread's nice value and real-time mark, as a note wants them.
fn nice_of(thread: &Thread) -> i8 {
    thread.nice.load(Relaxed) as i8
}

/// What a mapping contributes.
type Segment = mm::DumpSegment;
