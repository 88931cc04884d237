//! File contents, and pipes.

use ktest::ktest;

use super::{Tree, error};
use crate::{
    fs::{
        OpenFlags, dentry,
        io::{ReadBuf, WriteBuf},
        name_ops, pipe,
        poll::{PollEvents, ready_now},
        ramfs::RamFsOptions,
    },
    prelude::*,
};

const PAGE: u64 = PAGE_SIZE as u64;

#[ktest]
fn what_was_written_is_read_across_pages_and_holes() {
    let tree = Tree::new();
    let file = tree.file("/f");
    let data: Vec<u8> = (0..10_000u32).map(|n| n as u8).collect();
    assert_eq!(file.write_at(&mut WriteBuf::kernel(&data), 3 * PAGE - 100), Ok(10_000));
    assert_eq!(file.inode().base().size(), 3 * PAGE - 100 + 10_000);
    let mut back = vec![0xee; 20_000];
    let n = file.read_at(&mut ReadBuf::kernel(&mut back), 2 * PAGE).unwrap();
    assert_eq!(n as u64, PAGE - 100 + 10_000);
    assert!(back[..PAGE_SIZE - 100].iter().all(|&b| b == 0), "a hole reads as zeros");
    assert_eq!(back[PAGE_SIZE - 100..n], data);
    assert_eq!(file.inode().blocks(), 8 * 4, "the hole has no pages");
}

#[ktest]
fn the_frames_that_are_mapped_are_the_contents() {
    let tree = Tree::new();
    let file = tree.file("/f");
    file.write(&mut WriteBuf::kernel(b"hello")).unwrap();
    let frame = file.inode().page(0).unwrap();
    frame.write(0, b"J");
    let mut back = [0; 5];
    file.read_at(&mut ReadBuf::kernel(&mut back), 0).unwrap();
    assert_eq!(&back, b"Jello");
    assert!(file.inode().page(0).unwrap() == frame);
    assert_eq!(file.inode().page(1).err(), Some(ENXIO));
}

#[ktest]
fn what_was_cut_off_does_not_come_back() {
    let tree = Tree::new();
    let file = tree.file("/f");
    file.write(&mut WriteBuf::kernel(&[7; 9000])).unwrap();
    name_ops::resize(file.inode(), None, 5000, &tree.creds).unwrap();
    name_ops::resize(file.inode(), None, 9000, &tree.creds).unwrap();
    let mut back = vec![1; 9000];
    assert_eq!(file.read_at(&mut ReadBuf::kernel(&mut back), 0), Ok(9000));
    assert!(back[..5000].iter().all(|&b| b == 7));
    assert!(back[5000..].iter().all(|&b| b == 0));
}

#[ktest]
fn append_goes_to_the_end_and_offsets_are_kept() {
    let tree = Tree::new();
    tree.file("/f").write(&mut WriteBuf::kernel(b"12345")).unwrap();
    let file = tree.open("/f", OpenFlags::RDWR | OpenFlags::APPEND).unwrap();
    file.write(&mut WriteBuf::kernel(b"67")).unwrap();
    assert_eq!(file.pos(), 7);
    assert_eq!(file.seek(-2, 2), Ok(5));
    let mut back = [0; 10];
    assert_eq!(file.read(&mut ReadBuf::kernel(&mut back)), Ok(2));
    assert_eq!(&back[..2], b"67");
    assert_eq!(file.read(&mut ReadBuf::kernel(&mut back)), Ok(0));
    assert_eq!(error(file.seek(-1, 0)), Some(EINVAL));
    let write_only = tree.open("/f", OpenFlags::WRONLY).unwrap();
    assert_eq!(error(write_only.read(&mut ReadBuf::kernel(&mut back))), Some(EBADF));
}

#[ktest]
fn a_full_file_system_says_so_and_frees_what_is_removed() {
    let tree = Tree::with(RamFsOptions { max_pages: 4, ..RamFsOptions::unlimited() });
    let file = tree.file("/f");
    let data = vec![1; 6 * PAGE_SIZE];
    assert_eq!(file.write(&mut WriteBuf::kernel(&data)), Ok(4 * PAGE_SIZE));
    assert_eq!(error(file.write(&mut WriteBuf::kernel(b"x"))), Some(ENOSPC));
    drop(file);
    tree.op("/f").unwrap().unlink().unwrap();
    let file = tree.file("/g");
    assert_eq!(file.write(&mut WriteBuf::kernel(&data)), Ok(4 * PAGE_SIZE));
}

#[ktest]
fn removed_files_give_their_frames_back() {
    let tree = Tree::new();
    dentry::shrink_all();
    let before = crate::fs::ramfs::total_pages();
    let file = tree.file("/f");
    file.write(&mut WriteBuf::kernel(&vec![1; 10 * PAGE_SIZE])).unwrap();
    assert_eq!(crate::fs::ramfs::total_pages(), before + 10);
    tree.op("/f").unwrap().unlink().unwrap();
    assert_eq!(crate::fs::ramfs::total_pages(), before + 10, "still open");
    drop(file);
    assert_eq!(crate::fs::ramfs::total_pages(), before);
}

#[ktest]
fn a_pipe_gives_bytes_in_order_whatever_the_sizes() {
    let (reader, writer) = pipe::new_pair(OpenFlags::NONBLOCK).unwrap();
    let (mut sent, mut got) = (0u32, 0u32);
    for round in 0..400u32 {
        let len = (round * 37 % 5000) as usize;
        let data: Vec<u8> = (0..len as u32).map(|n| (sent + n) as u8).collect();
        if let Ok(n) = writer.write(&mut WriteBuf::kernel(&data)) {
            sent += n as u32;
        }
        let mut back = vec![0; (round * 53 % 4500) as usize];
        if let Ok(n) = reader.read(&mut ReadBuf::kernel(&mut back)) {
            assert!(back[..n].iter().enumerate().all(|(at, &b)| b == (got + at as u32) as u8));
            got += n as u32;
        }
    }
    assert!(got > 500_000);
    assert_eq!(reader.ops().available(&reader), Ok((sent - got) as usize));
}

#[ktest]
fn a_small_write_to_a_pipe_goes_in_whole_or_not_at_all() {
    let (reader, writer) = pipe::new_pair(OpenFlags::NONBLOCK).unwrap();
    let all = vec![1; 64 * 1024 - 10];
    assert_eq!(writer.write(&mut WriteBuf::kernel(&all)), Ok(all.len()));
    assert_eq!(error(writer.write(&mut WriteBuf::kernel(&[2; 11]))), Some(EAGAIN));
    assert!(!ready_now(&writer).contains(PollEvents::OUT));
    assert_eq!(writer.write(&mut WriteBuf::kernel(&[2; 10])), Ok(10));
    // A large one may go in in part.
    let mut back = vec![0; 100];
    assert_eq!(reader.read(&mut ReadBuf::kernel(&mut back)), Ok(100));
    assert_eq!(writer.write(&mut WriteBuf::kernel(&[3; 5000])), Ok(100));
}

#[ktest]
fn the_end_of_a_pipe_is_seen_on_the_other_side() {
    let (reader, writer) = pipe::new_pair(OpenFlags::NONBLOCK).unwrap();
    let mut back = [0; 4];
    assert_eq!(error(reader.read(&mut ReadBuf::kernel(&mut back))), Some(EAGAIN));
    writer.write(&mut WriteBuf::kernel(b"ab")).unwrap();
    drop(writer);
    assert_eq!(ready_now(&reader), PollEvents::READABLE | PollEvents::HUP);
    assert_eq!(reader.read(&mut ReadBuf::kernel(&mut back)), Ok(2));
    assert_eq!(reader.read(&mut ReadBuf::kernel(&mut back)), Ok(0));
    let (reader, writer) = pipe::new_pair(OpenFlags::NONBLOCK).unwrap();
    drop(reader);
    assert_eq!(error(writer.write(&mut WriteBuf::kernel(b"x"))), Some(EPIPE));
    assert!(ready_now(&writer).contains(PollEvents::ERR));
}

#[ktest]
fn a_pipe_can_be_resized_around_its_contents() {
    let (reader, writer) = pipe::new_pair(OpenFlags::NONBLOCK).unwrap();
    let pipe = writer.ops().as_pipe().unwrap();
    writer.write(&mut WriteBuf::kernel(&[5; 9000])).unwrap();
    assert_eq!(error(pipe.set_capacity(8192)), Some(EBUSY));
    assert_eq!(pipe.set_capacity(9000), Ok(16384));
    assert_eq!(writer.write(&mut WriteBuf::kernel(&[6; 9000])), Ok(16384 - 9000));
    let mut back = vec![0; 20_000];
    assert_eq!(reader.read(&mut ReadBuf::kernel(&mut back)), Ok(16384));
    assert!(back[..9000].iter().all(|&b| b == 5) && back[9000..16384].iter().all(|&b| b == 6));
}
