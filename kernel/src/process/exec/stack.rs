//! The stack of a new program, as the System V ABI wants it (rule 10.17):
//!
//! ```text
//!          [vvar], [vdso], somewhere in the topmost 512 KiB
//! top      8 zero bytes, path of the program (AT_EXECFN)
//!          environment strings, argument strings
//!          "x86_64", 16 random bytes
//!          auxiliary vector, envp[], argv[]
//! sp ->    argc                                            (16-byte aligned)
//! ```
//!
//! The pages are filled before they are mapped: nobody else knows them yet.

use ostd::{
    mm::{AllocClass, Frame},
    user::fpu,
};

use super::{args::Args, load::Loaded};
use crate::{
    mm::{MemoryLimits, STACK_TOP, VDSO_PAGES, Vm, page_floor, vdso_image},
    prelude::*,
    process::{Credentials, rseq},
};

const PLATFORM: &[u8] = b"x86_64\0";
/// Room that is mapped below what is filled, so that a small program never needs to grow its stack.
const HEADROOM: usize = 128 << 10;

mod at {
    pub const NULL: u64 = 0;
    pub const PHDR: u64 = 3;
    pub const PHENT: u64 = 4;
    pub const PHNUM: u64 = 5;
    pub const PAGESZ: u64 = 6;
    pub const BASE: u64 = 7;
    pub const FLAGS: u64 = 8;
    pub const ENTRY: u64 = 9;
    pub const UID: u64 = 11;
    pub const EUID: u64 = 12;
    pub const GID: u64 = 13;
    pub const EGID: u64 = 14;
    pub const PLATFORM: u64 = 15;
    pub const HWCAP: u64 = 16;
    pub const CLKTCK: u64 = 17;
    pub const SECURE: u64 = 23;
    pub const RANDOM: u64 = 25;
    pub const HWCAP2: u64 = 26;
    pub const RSEQ_FEATURE_SIZE: u64 = 27;
    pub const RSEQ_ALIGN: u64 = 28;
    pub const EXECFN: u64 = 31;
    pub const SYSINFO_EHDR: u64 = 33;
    pub const MINSIGSTKSZ: u64 = 51;
}

/// Words of the auxiliary vector that the kernel keeps (what PR_GET_AUXV and `/proc/pid/auxv` show).
pub const AUXV_WORDS: usize = 56;

/// Everything that the auxiliary vector tells besides addresses on the stack.
pub struct AuxInfo<'a> {
    pub program: &'a Loaded,
    /// Load bias of the interpreter, 0 without one.
    pub interpreter_base: usize,
    pub creds: &'a Credentials,
    /// Ids have changed: the C library must not trust the environment.
    pub secure: bool,
}

/// What chance decides about a program, asked for at once.
pub struct Random([u8; 24]);

impl Random {
    pub fn new() -> Random {
        let mut bytes = [0u8; 24];
        ostd::random::fill(&mut bytes);
        Random(bytes)
    }

    /// For the program itself (AT_RANDOM).
    fn for_program(&self) -> &[u8] {
        &self.0[..16]
    }

    /// Where its parts go: 64 bits, of which each part has its own.
    pub fn jitter(&self) -> usize {
        usize::from_le_bytes(core::array::from_fn(|i| self.0[16 + i]))
    }
}

/// Where things ended up.
pub struct StackLayout {
    pub sp: Vaddr,
    pub arg_start: Vaddr,
    pub env_start: Vaddr,
    pub env_end: Vaddr,
    pub auxv: Arc<[u64]>,
}

/// Frames for a range of addresses that ends at a page boundary, filled before they are mapped.
struct Pages {
    start: Vaddr,
    frames: Vec<Frame>,
}

impl Pages {
    fn new(start: Vaddr, end: Vaddr) -> Result<Pages> {
        let start = page_floor(start);
        let frames = (start..end).step_by(PAGE_SIZE).map(|_| Frame::zeroed(AllocClass::User));
        Ok(Pages { start, frames: frames.collect::<core::result::Result<_, _>>()? })
    }

    fn write(&mut self, addr: Vaddr, mut bytes: &[u8]) {
        let mut at = addr - self.start;
        while !bytes.is_empty() {
            let offset = at % PAGE_SIZE;
            let (now, later) = bytes.split_at(bytes.len().min(PAGE_SIZE - offset));
            self.frames[at / PAGE_SIZE].write(offset, now);
            at += now.len();
            bytes = later;
        }
    }
}

/// Writes words from an address upwards, in blocks.
struct Words<'a> {
    pages: &'a mut Pages,
    at: Vaddr,
    block: [u8; 512],
    len: usize,
}

impl Words<'_> {
    fn push(&mut self, word: usize) {
        if self.len == self.block.len() {
            self.flush();
        }
        self.block[self.len..][..size_of::<usize>()].copy_from_slice(&word.to_le_bytes());
        self.len += size_of::<usize>();
    }

    fn flush(&mut self) {
        self.pages.write(self.at, &self.block[..self.len]);
        self.at += self.len;
        self.len = 0;
    }
}

/// Fills and maps the stack of `vm`. `path` becomes AT_EXECFN.
///
/// # Errors
/// ENOMEM; E2BIG when the strings leave no room within the stack limit.
pub fn build(
    vm: &Vm,
    args: &Args,
    path: &[u8],
    aux: &AuxInfo,
    exec_stack: bool,
    random: &Random,
    limits: &MemoryLimits,
) -> Result<StackLayout> {
    let jitter = random.jitter();
    // Within the topmost 512 KiB: the stack's page table stays one.
    let slack = jitter >> 16 & 0x7f;
    let top = STACK_TOP - (VDSO_PAGES + slack) * PAGE_SIZE;
    let vdso = top + (jitter >> 56) % (slack + 1) * PAGE_SIZE;
    let execfn = top - 8 - (path.len() + 1);
    let env_end = execfn;
    let env_start = env_end - args.envp.bytes();
    let arg_start = env_start - args.arg_bytes();
    let platform = arg_start - PLATFORM.len();
    let random_addr = (platform - 16) & !15;
    let (auxv, auxv_len) = auxiliary_vector(aux, vdso_image(vdso), platform, random_addr, execfn);
    let pointers = 1 + args.argc() + 1 + args.envp.len() + 1;
    let words = pointers + auxv_len;
    let sp = (random_addr - words * size_of::<usize>() - (jitter >> 24 & 0x1f) * 16) & !15;
    if top - sp > limits.stack {
        return Err(E2BIG);
    }

    let mut pages = Pages::new(sp, top)?;
    pages.write(random_addr, random.for_program());
    pages.write(platform, PLATFORM);
    pages.write(execfn, path);
    let mut at = arg_start;
    for piece in args.arg_pieces().chain(args.envp.pieces(0)) {
        pages.write(at, piece);
        at += piece.len();
    }
    write_pointers(&mut pages, sp, args, arg_start, env_start, &auxv[..auxv_len]);

    let low = page_floor(sp).saturating_sub(HEADROOM.min(limits.stack.saturating_sub(top - sp)));
    vm.map_stack(page_floor(low), top, exec_stack, pages.start, pages.frames, limits)?;
    vm.map_vdso(vdso)?;
    Ok(StackLayout { sp, arg_start, env_start, env_end, auxv: Arc::new(auxv) })
}

fn write_pointers(
    pages: &mut Pages,
    sp: Vaddr,
    args: &Args,
    arg_start: Vaddr,
    env_start: Vaddr,
    auxv: &[u64],
) {
    let mut words = Words { pages, at: sp, block: [0; 512], len: 0 };
    words.push(args.argc());
    let mut at = arg_start;
    for len in args.arg_lens() {
        words.push(at);
        at += len;
    }
    words.push(0);
    let mut at = env_start;
    for len in args.envp.lens() {
        words.push(at);
        at += len;
    }
    words.push(0);
    auxv.iter().for_each(|&word| words.push(word as usize));
    words.flush();
}

/// What a signal frame takes beside the FPU registers, alignment included (AT_MINSIGSTKSZ).
const FRAME_WITHOUT_FPU: usize = 1024;

/// The processor's features as AT_HWCAP tells them: CPUID 1, EDX.
fn hwcap() -> u32 {
    static HWCAP: spin::Once<u32> = spin::Once::new();
    *HWCAP.call_once(|| core::arch::x86_64::__cpuid(1).edx)
}

fn auxiliary_vector(
    aux: &AuxInfo,
    vdso: Vaddr,
    platform: Vaddr,
    random: Vaddr,
    execfn: Vaddr,
) -> ([u64; AUXV_WORDS], usize) {
    let program = aux.program;
    let table = program.image.table_vaddr.map_or(0, |addr| program.bias.wrapping_add(addr as usize));
    let creds = aux.creds;
    let pairs = [
        (at::SYSINFO_EHDR, vdso as u64),
        (at::MINSIGSTKSZ, (FRAME_WITHOUT_FPU + fpu::size()) as u64),
        (at::HWCAP, hwcap().into()),
        (at::PAGESZ, PAGE_SIZE as u64),
        (at::CLKTCK, crate::time::USER_HZ),
        (at::PHDR, table as u64),
        (at::PHENT, elfload::PROGRAM_HEADER_SIZE as u64),
        (at::PHNUM, program.image.table_len as u64),
        (at::BASE, aux.interpreter_base as u64),
        (at::FLAGS, 0),
        (at::ENTRY, program.entry() as u64),
        (at::UID, creds.uid.into()),
        (at::EUID, creds.euid.into()),
        (at::GID, creds.gid.into()),
        (at::EGID, creds.egid.into()),
        (at::SECURE, aux.secure.into()),
        (at::RANDOM, random as u64),
        (at::HWCAP2, 0),
        (at::EXECFN, execfn as u64),
        (at::PLATFORM, platform as u64),
        (at::RSEQ_FEATURE_SIZE, rseq::FEATURE_SIZE),
        (at::RSEQ_ALIGN, rseq::ALIGN),
        (at::NULL, 0),
    ];
    let mut words = [0; AUXV_WORDS];
    for (slot, (key, value)) in words.as_chunks_mut::<2>().0.iter_mut().zip(pairs) {
        *slot = [key, value];
    }
    (words, 2 * pairs.len())
}
