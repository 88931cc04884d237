//! Argument and environment strings on their way from the old program to the new one.
//!
//! They are kept in page-sized blocks, so that 6 MiB of arguments need no block of memory that is larger than a page.

use ostd::user::mem;

use crate::prelude::*;

/// Longest string, with its NUL (MAX_ARG_STRLEN).
const MAX_STRING: usize = 131_072;
/// What strings and pointers may take in any case (ARG_MAX).
const MIN_TOTAL: usize = 128 << 10;
/// And in no case more than this (three quarters of the default stack limit).
const MAX_TOTAL: usize = 6 << 20;

const BLOCK: usize = PAGE_SIZE;

/// A list of strings, each with its NUL.
#[derive(Default)]
pub struct Strings {
    /// All but the last are full.
    blocks: Vec<Vec<u8>>,
    /// Length of each, NUL included.
    lens: Vec<u32>,
    bytes: usize,
}

impl Strings {
    fn push_bytes(&mut self, mut bytes: &[u8]) {
        self.bytes += bytes.len();
        while !bytes.is_empty() {
            if self.blocks.last().is_none_or(|block| block.len() == BLOCK) {
                let capacity = if self.blocks.is_empty() { 512 } else { BLOCK };
                self.blocks.push(Vec::with_capacity(capacity));
            }
            if let Some(block) = self.blocks.last_mut() {
                let (now, later) = bytes.split_at(bytes.len().min(BLOCK - block.len()));
                block.extend_from_slice(now);
                bytes = later;
            }
        }
    }

    /// Appends a string; `string` has no NUL.
    fn push(&mut self, string: &[u8]) {
        self.push_bytes(string);
        self.push_bytes(&[0]);
        self.lens.push(string.len() as u32 + 1);
    }

    /// Appends the string at the user address `addr`, by way of `buffer`.
    ///
    /// # Errors
    /// EFAULT; E2BIG when it is too long or all strings together exceed `room` bytes.
    fn push_user(&mut self, mut addr: Vaddr, room: usize, buffer: &mut [u8]) -> Result<()> {
        let start = self.bytes;
        loop {
            let found = mem::strncpy_from_user(buffer, addr)?;
            match found {
                Some(len) => self.push_bytes(&buffer[..=len]),
                None => self.push_bytes(buffer),
            }
            if self.bytes - start > MAX_STRING || self.bytes > room {
                return Err(E2BIG);
            }
            if found.is_some() {
                self.lens.push((self.bytes - start) as u32);
                return Ok(());
            }
            addr = addr.wrapping_add(buffer.len());
        }
    }

    /// Number of strings.
    pub fn len(&self) -> usize {
        self.lens.len()
    }

    /// Bytes of all strings, NULs included.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Length of each string, NUL included.
    pub fn lens(&self) -> impl Iterator<Item = usize> {
        self.lens.iter().map(|&len| len as usize)
    }

    /// All bytes from offset `skip` on, in order, in pieces.
    pub fn pieces(&self, skip: usize) -> impl Iterator<Item = &[u8]> {
        let (block, offset) = (skip / BLOCK, skip % BLOCK);
        let rest = self.blocks.get(block..).unwrap_or(&[]).iter().map(Vec::as_slice);
        rest.enumerate()
            .map(move |(index, bytes)| if index == 0 { &bytes[offset.min(bytes.len())..] } else { bytes })
    }
}

/// Arguments and environment of a new program.
#[derive(Default)]
pub struct Args {
    /// Arguments that a script puts before the rest.
    prefix: Strings,
    argv: Strings,
    /// The first argument has been replaced by the prefix.
    skip_first: bool,
    pub envp: Strings,
}

impl Args {
    /// Copies both lists from user memory. An argv that is NULL or empty becomes one empty string (rule 10.7).
    ///
    /// # Errors
    /// EFAULT; E2BIG by the limits of rule 10.6.
    pub fn from_user(argv: Vaddr, envp: Vaddr, stack_limit: usize, path_len: usize) -> Result<Args> {
        let limit = (stack_limit / 4).clamp(MIN_TOTAL, MAX_TOTAL);
        let argv = read_pointers(argv, limit)?;
        let envp = read_pointers(envp, limit)?;
        let pointers = (argv.len().max(1) + envp.len()) * size_of::<usize>();
        let room =
            limit.checked_sub(pointers).and_then(|room| room.checked_sub(path_len + 1)).ok_or(E2BIG)?;
        if !ostd::mm::kernel_reserve_ok(1) {
            return Err(ENOMEM);
        }
        let mut args = Args::default();
        args.argv.lens.reserve(argv.len());
        args.envp.lens.reserve(envp.len());
        // Where strings pass through: their length is not known, and user memory is no slice.
        let mut buffer = [0u8; 256];
        for addr in envp {
            args.envp.push_user(addr, room, &mut buffer)?;
            check_memory(&args.envp)?;
        }
        let room = room - args.envp.bytes;
        for &addr in &argv {
            args.argv.push_user(addr, room, &mut buffer)?;
            check_memory(&args.argv)?;
        }
        if argv.is_empty() {
            args.argv.push(b"");
        }
        Ok(args)
    }

    /// Arguments and environment of a program that the kernel starts itself.
    pub fn from_kernel(argv: &[&[u8]], envp: &[&[u8]]) -> Args {
        let mut args = Args::default();
        argv.iter().for_each(|string| args.argv.push(string));
        envp.iter().for_each(|string| args.envp.push(string));
        args
    }

    /// Replaces the first argument by what a script's first line asks for, and the script's own path (rule 10.4).
    pub fn put_interpreter(&mut self, interpreter: &[u8], argument: Option<&[u8]>, script: &[u8]) {
        let mut prefix = Strings::default();
        prefix.push(interpreter);
        if let Some(argument) = argument {
            prefix.push(argument);
        }
        prefix.push(script);
        // The first string of an earlier prefix is that script's argv[0]: it goes, as the first argument does.
        if let [first, rest @ ..] = self.prefix.lens.as_slice() {
            self.prefix.pieces(*first as usize).for_each(|piece| prefix.push_bytes(piece));
            prefix.lens.extend_from_slice(rest);
        }
        self.prefix = prefix;
        self.skip_first = true;
    }

    /// Bytes at the start of argv that are not passed on.
    fn skipped(&self) -> usize {
        if self.skip_first { self.argv.lens().next().unwrap_or(0) } else { 0 }
    }

    /// Number of arguments.
    pub fn argc(&self) -> usize {
        self.prefix.len() + self.argv.len() - usize::from(self.skip_first)
    }

    /// Bytes of all arguments, NULs included.
    pub fn arg_bytes(&self) -> usize {
        self.prefix.bytes() + self.argv.bytes() - self.skipped()
    }

    /// Length of each argument, NUL included.
    pub fn arg_lens(&self) -> impl Iterator<Item = usize> {
        self.prefix.lens().chain(self.argv.lens().skip(usize::from(self.skip_first)))
    }

    /// The bytes of all arguments, in order, in pieces.
    pub fn arg_pieces(&self) -> impl Iterator<Item = &[u8]> {
        self.prefix.pieces(0).chain(self.argv.pieces(self.skipped()))
    }
}

/// Strings that go on for megabytes must leave the kernel its reserve.
fn check_memory(strings: &Strings) -> Result<()> {
    if strings.bytes > BLOCK && !ostd::mm::kernel_reserve_ok(strings.bytes / BLOCK) {
        Err(ENOMEM)
    } else {
        Ok(())
    }
}

/// Reads a NULL-terminated list of pointers; a NULL list is empty. More than can be allowed is E2BIG at once.
fn read_pointers(list: Vaddr, limit: usize) -> Result<Vec<Vaddr>> {
    if list == 0 {
        return Ok(Vec::new());
    }
    let mut pointers = Vec::with_capacity(8);
    loop {
        let at = list.wrapping_add(pointers.len() * size_of::<Vaddr>());
        match mem::read::<Vaddr>(at)? {
            0 => return Ok(pointers),
            pointer => pointers.push(pointer),
        }
        if pointers.len() * size_of::<Vaddr>() > limit {
            return Err(E2BIG);
        }
    }
}
