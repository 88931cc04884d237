//! Tests in the booted kernel: programs made of a few bytes, loaded into address spaces that nobody runs in.

use ktest::ktest;
use ostd::mm::{AllocClass, Frame};

use super::{
    args::Args,
    program::{Built, Head, Parts, build_vm},
};
use crate::{
    mm::{FaultError, MemoryLimits, MemoryObject, ObjectId, ObjectName, tests::memory_in_use},
    prelude::*,
    process::Credentials,
};

/// A file in memory.
struct Bytes {
    frames: Vec<Frame>,
    len: usize,
}

impl Bytes {
    fn new(bytes: &[u8]) -> Arc<Bytes> {
        let frame = |chunk: &[u8]| {
            Frame::new_with(AllocClass::User, |frame| {
                frame.write(chunk);
            })
        };
        let frames = bytes.chunks(PAGE_SIZE).map(|chunk| frame(chunk).unwrap()).collect();
        Arc::new(Bytes { frames, len: bytes.len() })
    }
}

impl MemoryObject for Bytes {
    fn frame(&self, index: u64, _: bool) -> Result<Frame, FaultError> {
        self.frames.get(index as usize).cloned().ok_or(FaultError::Bus)
    }

    fn with_run(&self, _: u64, _: usize, _: &mut dyn FnMut(&[Option<Frame>])) {}

    fn size(&self) -> u64 {
        self.len as u64
    }

    fn id(&self) -> ObjectId {
        ObjectId(core::ptr::from_ref(self) as usize)
    }

    fn name(&self) -> ObjectName {
        ObjectName::default()
    }
}

const TEXT: u64 = 0x40_0000;
const DATA: u64 = 0x60_0000;

/// A program with a text page and a data segment that ends in a bss of three pages.
fn program() -> Vec<u8> {
    let mut file = vec![0u8; 64];
    file[..8].copy_from_slice(b"\x7fELF\x02\x01\x01\x00");
    file[16..20].copy_from_slice(&[2, 0, 62, 0]);
    file[24..32].copy_from_slice(&(TEXT + 0x1000).to_le_bytes());
    file[32..40].copy_from_slice(&64u64.to_le_bytes());
    file[54..58].copy_from_slice(&[56, 0, 2, 0]);
    let mut segment = |flags: u32, offset: u64, vaddr: u64, file_len: u64, mem_len: u64| {
        file.extend(1u32.to_le_bytes());
        file.extend(flags.to_le_bytes());
        for word in [offset, vaddr, vaddr, file_len, mem_len, 0x1000] {
            file.extend(word.to_le_bytes());
        }
    };
    segment(5, 0, TEXT, 0x1004, 0x1004);
    segment(6, 0x1004, DATA + 4, 8, 0x3000);
    file.resize(0x1000, 0xcc);
    file.extend([0x0f, 0x05, 0xeb, 0xfe]);
    file.extend(*b"datadata");
    // What follows in the file must not show up in the bss.
    file.extend([0xff; 100]);
    file
}

fn build(file: &[u8], args: &Args) -> Result<Built> {
    let object = Bytes::new(file);
    let head = Head::read(&*object)?;
    let parts = Parts { exe: None, object, head: &head, open_interpreter: &|_| Err(ENOENT) };
    build_vm(
        parts,
        args,
        b"/bin/test",
        &Credentials::root(),
        false,
        &MemoryLimits { stack: 8 << 20, ..MemoryLimits::NONE },
    )
}

fn words(built: &Built, count: usize) -> Vec<usize> {
    let mut bytes = vec![0u8; count * 8];
    assert_eq!(built.vm.read_remote(built.sp, &mut bytes), bytes.len());
    bytes.as_chunks::<8>().0.iter().map(|word| usize::from_le_bytes(*word)).collect()
}

fn string(built: &Built, addr: usize) -> Vec<u8> {
    let mut bytes = vec![0u8; 64];
    let len = built.vm.read_remote(addr, &mut bytes);
    bytes.truncate(len);
    let end = bytes.iter().position(|&byte| byte == 0).unwrap();
    bytes.truncate(end);
    bytes
}

#[ktest]
fn a_program_is_loaded_with_a_clean_bss() {
    let built = build(&program(), &Args::from_kernel(&[b"test"], &[])).unwrap();
    assert_eq!(built.entry, TEXT as usize + 0x1000);
    let mut bytes = [0u8; 16];
    assert_eq!(built.vm.read_remote(DATA as usize + 4, &mut bytes), 16);
    assert_eq!(&bytes, b"datadata\0\0\0\0\0\0\0\0");
    let mut bss = vec![1u8; 0x2ff0];
    assert_eq!(built.vm.read_remote(DATA as usize + 12, &mut bss), bss.len());
    assert!(bss.iter().all(|&byte| byte == 0));
    assert_eq!(built.vm.heap(), (DATA as usize + 0x4000, DATA as usize + 0x4000));
    assert!(!built.doomed);
}

#[ktest]
fn the_stack_holds_arguments_environment_and_auxv() {
    let args = Args::from_kernel(&[b"prog", b"", b"last"], &[b"A=1", b"B=2"]);
    let built = build(&program(), &args).unwrap();
    assert_eq!(built.sp % 16, 0);
    let words = words(&built, 8 + 46);
    assert_eq!((words[0], words[4], words[7]), (3, 0, 0));
    let strings: Vec<_> = [1, 2, 3, 5, 6].iter().map(|&i| string(&built, words[i])).collect();
    assert_eq!(strings, [&b"prog"[..], b"", b"last", b"A=1", b"B=2"]);
    let auxv: Vec<_> = words[8..].chunks(2).map(|pair| (pair[0], pair[1])).collect();
    let value = |key| auxv.iter().find(|pair| pair.0 == key).map(|pair| pair.1);
    assert_eq!(value(6), Some(PAGE_SIZE));
    assert_eq!((value(3), value(4), value(5)), (Some(TEXT as usize + 64), Some(56), Some(2)));
    assert_eq!((value(7), value(9)), (Some(0), Some(TEXT as usize + 0x1000)));
    assert_eq!(string(&built, value(31).unwrap()), b"/bin/test");
    assert_eq!(string(&built, value(15).unwrap()), b"x86_64");
    assert!(value(25).is_some_and(|random| random % 16 == 0));
    let mut magic = [0; 4];
    assert_eq!(built.vm.read_remote(value(33).unwrap(), &mut magic), 4);
    assert_eq!(&magic, b"\x7fELF");
    assert_eq!(auxv.last(), Some(&(0, 0)));
    let ranges = built.vm.ranges();
    let mut cmdline = vec![0u8; ranges.arg_end - ranges.arg_start];
    built.vm.read_remote(ranges.arg_start, &mut cmdline);
    assert_eq!(cmdline, b"prog\0\0last\0");
    assert_eq!(ranges.env_end - ranges.env_start, 8);
}

#[ktest]
fn arguments_larger_than_a_page_arrive_whole() {
    let long: Vec<u8> = (0..30_000u32).map(|index| b'a' + (index % 23) as u8).collect();
    let args = Args::from_kernel(&[b"prog", &long, b"end"], &[&long]);
    let built = build(&program(), &args).unwrap();
    let words = words(&built, 6);
    let mut bytes = vec![0u8; long.len() + 1];
    built.vm.read_remote(words[2], &mut bytes);
    assert!(bytes[..long.len()] == long && bytes[long.len()] == 0);
    assert_eq!(string(&built, words[3]), b"end");
}

#[ktest]
fn a_script_takes_the_place_of_the_first_argument() {
    let mut args = Args::from_kernel(&[b"argv0", b"x"], &[]);
    args.put_interpreter(b"/bin/awk", Some(b"-f"), b"/script1");
    args.put_interpreter(b"/bin/sh", None, b"/bin/awk");
    let built = build(&program(), &args).unwrap();
    let words = words(&built, 7);
    assert_eq!(words[0], 5);
    let strings: Vec<_> = words[1..6].iter().map(|&addr| string(&built, addr)).collect();
    assert_eq!(strings, [&b"/bin/sh"[..], b"/bin/awk", b"-f", b"/script1", b"x"]);
}

#[ktest]
fn garbage_and_truncated_files_are_no_programs() {
    let args = Args::from_kernel(&[b"x"], &[]);
    let good = program();
    for len in [0, 1, 4, 63, 64, 100, 64 + 111] {
        assert_eq!(build(&good[..len], &args).err(), Some(ENOEXEC), "{len} bytes");
    }
    let mut overlapping = good.clone();
    overlapping[64 + 56 + 16..][..8].copy_from_slice(&(TEXT + 4).to_le_bytes());
    assert!(build(&overlapping, &args).unwrap().doomed);
    // Cut behind the headers: loads, and dies at the first touch of what is missing.
    assert!(build(&good[..0x1000], &args).unwrap().doomed);
}

#[ktest]
fn loading_loses_no_frame() {
    let args = Args::from_kernel(&[b"x"], &[b"y"]);
    let file = program();
    let work = || {
        drop(build(&file, &args).unwrap());
        assert!(build(&file[..100], &args).is_err());
    };
    work();
    let before = memory_in_use();
    (0..8).for_each(|_| work());
    assert_eq!(memory_in_use(), before);
}
