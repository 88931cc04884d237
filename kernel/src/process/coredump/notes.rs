//! The notes of a core: what debuggers want to know besides memory (linux/elfcore.h).
//!
//! In the order of Linux: NT_PRSTATUS of the thread that dumps, then what is of the process (NT_PRPSINFO, NT_SIGINFO, NT_AUXV, NT_FILE),
//! then that thread's registers of other kinds (NT_FPREGSET, NT_X86_XSTATE), then the same of each other thread.

use super::{Segment, meeting::ThreadState, nice_of};
use crate::{
    prelude::*,
    process::{Thread, group, signal::SigInfo},
};

const NT_PRSTATUS: u32 = 1;
const NT_FPREGSET: u32 = 2;
const NT_PRPSINFO: u32 = 3;
const NT_AUXV: u32 = 6;
const NT_X86_XSTATE: u32 = 0x202;
const NT_SIGINFO: u32 = 0x5349_4749;
const NT_FILE: u32 = 0x4649_4c45;

const PRSTATUS: usize = 336;
const PRPSINFO: usize = 136;
/// Bytes of the registers that FXSAVE knows.
const FXSAVE: usize = 512;
/// Where in them the features of the whole area are told.
const XCR0: usize = 464;

/// The notes of a process. `threads`: the one that dumps first.
pub fn all(thread: &Thread, info: &SigInfo, threads: &[ThreadState], segments: &[Segment]) -> Vec<u8> {
    let mut out = Vec::new();
    let ids = Ids::of(thread);
    for (index, state) in threads.iter().enumerate() {
        put(&mut out, b"CORE", NT_PRSTATUS, &prstatus(state, info, &ids));
        if index == 0 {
            put(&mut out, b"CORE", NT_PRPSINFO, &prpsinfo(thread, &ids));
            put(&mut out, b"CORE", NT_SIGINFO, &info.encode());
            put(&mut out, b"CORE", NT_AUXV, &auxv(thread));
            put(&mut out, b"CORE", NT_FILE, &files(segments));
        }
        put_fpu(&mut out, &state.fpu);
    }
    out
}

/// One note: lengths, type, and name and contents filled up to words.
fn put(out: &mut Vec<u8>, name: &[u8], kind: u32, contents: &[u8]) {
    for word in [name.len() as u32 + 1, contents.len() as u32, kind] {
        out.extend_from_slice(&word.to_le_bytes());
    }
    for part in [name, &[0]] {
        out.extend_from_slice(part);
    }
    out.resize(out.len().next_multiple_of(4), 0);
    out.extend_from_slice(contents);
    out.resize(out.len().next_multiple_of(4), 0);
}

/// Who the process is, in its own namespace.
struct Ids {
    ppid: u32,
    pgrp: u32,
    session: u32,
}

impl Ids {
    fn of(thread: &Thread) -> Ids {
        let process = &thread.process;
        Ids {
            ppid: process.getppid(),
            pgrp: group::getpgid(process, 0).unwrap_or(0),
            session: group::getsid(process, 0).unwrap_or(0),
        }
    }
}

/// Writes values at their offsets.
struct Record<const N: usize>([u8; N]);

impl<const N: usize> Record<N> {
    fn put(&mut self, at: usize, bytes: &[u8]) {
        self.0[at..at + bytes.len()].copy_from_slice(bytes);
    }

    fn put32(&mut self, at: usize, values: &[u32]) {
        for (i, value) in values.iter().enumerate() {
            self.put(at + 4 * i, &value.to_le_bytes());
        }
    }

    fn put64(&mut self, at: usize, values: &[u64]) {
        for (i, value) in values.iter().enumerate() {
            self.put(at + 8 * i, &value.to_le_bytes());
        }
    }
}

/// `struct elf_prstatus`
fn prstatus(state: &ThreadState, info: &SigInfo, ids: &Ids) -> [u8; PRSTATUS] {
    let mut record = Record([0; PRSTATUS]);
    record.put32(0, &[info.signo.into()]);
    record.put(12, &u16::from(info.signo).to_le_bytes());
    record.put64(16, &[state.pending, state.blocked]);
    record.put32(32, &[state.tid, ids.ppid, ids.pgrp, ids.session]);
    for (at, ns) in [48, 64].into_iter().zip(state.times) {
        record.put64(at, &[ns / 1_000_000_000, ns % 1_000_000_000 / 1000]);
    }
    record.put64(112, &state.registers);
    // There are FPU registers.
    record.put32(328, &[1]);
    record.0
}

/// `struct elf_prpsinfo`
fn prpsinfo(thread: &Thread, ids: &Ids) -> [u8; PRPSINFO] {
    const ARGS: usize = 79;
    let mut record = Record([0; PRPSINFO]);
    let creds = thread.creds();
    record.put(1, &[b'R', 0, nice_of(thread) as u8]);
    record.put32(16, &[creds.uid, creds.gid, thread.tid(), ids.ppid, ids.pgrp, ids.session]);
    record.put(40, &thread.comm());
    let vm = thread.vm();
    let ranges = vm.ranges();
    let mut args = [0u8; ARGS];
    let len = ranges.arg_end.saturating_sub(ranges.arg_start).min(ARGS);
    let len = vm.read_remote(ranges.arg_start, &mut args[..len]);
    args[..len].iter_mut().filter(|byte| **byte == 0).for_each(|byte| *byte = b' ');
    record.put(56, &args[..len]);
    record.0
}

/// Up to and with AT_NULL.
fn auxv(thread: &Thread) -> Vec<u8> {
    let auxv = thread.vm().auxv();
    let pairs = auxv.as_chunks::<2>().0;
    let len = pairs.iter().position(|pair| pair[0] == 0).map_or(pairs.len(), |at| at + 1);
    pairs[..len].as_flattened().iter().flat_map(|word| word.to_le_bytes()).collect()
}

/// Which files are mapped where: count, size of a page, ranges with offsets in pages, names.
fn files(segments: &[Segment]) -> Vec<u8> {
    let mapped = || segments.iter().filter_map(|segment| Some((segment, segment.file.as_ref()?)));
    let mut words = vec![mapped().count() as u64, PAGE_SIZE as u64];
    for (segment, (_, page)) in mapped() {
        words.extend([segment.start as u64, segment.end as u64, *page]);
    }
    let mut out: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
    for (_, (name, _)) in mapped() {
        out.extend_from_slice(name);
        out.push(0);
    }
    out
}

fn put_fpu(out: &mut Vec<u8>, area: &[u8]) {
    let Some(legacy) = area.get(..FXSAVE) else { return };
    put(out, b"CORE", NT_FPREGSET, legacy);
    if area.len() > FXSAVE {
        let mut extended = area.to_vec();
        extended[XCR0..XCR0 + 8].copy_from_slice(&ostd::user::fpu::features().to_le_bytes());
        put(out, b"LINUX", NT_X86_XSTATE, &extended);
    }
}
