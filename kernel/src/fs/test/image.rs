//! Unpacking an initramfs.

use ktest::ktest;

use super::{Tree, error};
use crate::{
    fs::{
        initramfs::unpack,
        inode::{DevId, FileType},
        io::ReadBuf,
    },
    prelude::*,
};

/// An archive entry.
fn entry(name: &str, mode: u32, ino: u32, nlink: u32, rdev: (u32, u32), data: &[u8]) -> Vec<u8> {
    let fields = [
        ino,
        mode,
        5,
        6,
        nlink,
        0x5f00_0000,
        data.len() as u32,
        8,
        1,
        rdev.0,
        rdev.1,
        name.len() as u32 + 1,
        0,
    ];
    let mut out = b"070701".to_vec();
    out.extend(fields.iter().flat_map(|field| format!("{field:08x}").into_bytes()));
    out.extend(name.bytes());
    out.push(0);
    out.resize(out.len().next_multiple_of(4), 0);
    out.extend(data);
    out.resize(out.len().next_multiple_of(4), 0);
    out
}

fn file(name: &str, data: &[u8]) -> Vec<u8> {
    entry(name, 0o100_644, 1, 1, (0, 0), data)
}

fn trailer() -> Vec<u8> {
    entry("TRAILER!!!", 0, 0, 1, (0, 0), b"")
}

fn read(tree: &Tree, path: &str) -> Vec<u8> {
    let file = tree.open(path, crate::fs::OpenFlags::empty()).unwrap();
    let mut data = vec![0; 100_000];
    let n = file.read(&mut ReadBuf::kernel(&mut data)).unwrap();
    data.truncate(n);
    data
}

#[ktest]
fn files_of_all_kinds_are_made() {
    let tree = Tree::new();
    let image = [
        entry(".", 0o40_700, 9, 2, (0, 0), b""),
        entry("bin", 0o40_750, 1, 2, (0, 0), b""),
        file("bin/sh", &[b'x'; 5000]),
        entry("dev/none", 0o20_600, 3, 1, (1, 3), b""),
        entry("null", 0o20_666, 3, 1, (1, 3), b""),
        entry("link", 0o120_777, 4, 1, (0, 0), b"bin/sh"),
        entry("first", 0o100_600, 5, 2, (0, 0), b""),
        entry("second", 0o100_600, 5, 2, (0, 0), b"data of both"),
        trailer(),
    ]
    .concat();
    assert_eq!(unpack(&image, &tree.root), Ok(8));
    assert_eq!(read(&tree, "/link").len(), 5000);
    assert_eq!(error(tree.find("/dev/none")), Some(ENOENT), "its directory is not in the archive");
    let bin = tree.find("/bin").unwrap();
    let base = bin.inode().unwrap().base();
    assert_eq!((base.mode(), base.uid(), base.gid()), (0o40_750, 5, 6));
    let null = tree.find("/null").unwrap();
    assert_eq!(null.inode().unwrap().base().file_type(), FileType::Char);
    assert_eq!(null.inode().unwrap().base().rdev, DevId::new(1, 3));
    assert_eq!(read(&tree, "/first"), b"data of both");
    assert_eq!(tree.find("/second").unwrap().inode().unwrap().base().nlink(), 2);
    assert_eq!(tree.root.inode().unwrap().base().mode(), 0o40_700);
}

#[ktest]
fn later_archives_add_to_and_replace_earlier_ones() {
    let tree = Tree::new();
    let plain = [file("a", b"old and longer"), trailer(), vec![0; 300]].concat();
    let zipped: &[u8] = include_bytes!("archive.cpio.gz");
    let image = [&plain[..], zipped, &[0; 12], &file("a", b"new"), &trailer()].concat();
    assert_eq!(unpack(&image, &tree.root), Ok(4));
    assert_eq!(read(&tree, "/a"), b"new");
    assert_eq!(read(&tree, "/etc/zipped"), b"from gzip\n".repeat(1000));
}

#[ktest]
fn a_damaged_image_is_an_error_and_keeps_what_came_before() {
    let zipped: &[u8] = include_bytes!("archive.cpio.gz");
    for cut in [5, 30, zipped.len() / 2, zipped.len() - 3] {
        let tree = Tree::new();
        let image = [&file("kept", b"1"), &trailer(), &zipped[..cut]].concat();
        assert!(unpack(&image, &tree.root).is_err(), "cut at {cut}");
        assert_eq!(read(&tree, "/kept"), b"1");
    }
    // Data and its checksum: what unpacks all the same is reported. The last four bytes are the length.
    for flipped in
        [zipped.len() - 40, zipped.len() - 20, zipped.len() - 8, zipped.len() - 5, zipped.len() - 4]
    {
        let mut image = zipped.to_vec();
        image[flipped] ^= 1;
        assert!(unpack(&image, &Tree::new().root).is_err(), "byte {flipped}");
    }
    let tree = Tree::new();
    assert!(unpack(b"\x7fELF is not an archive", &tree.root).is_err());
    assert!(unpack(&file("huge", b"x")[..100], &tree.root).is_err());
    let mut absurd = file("absurd", b"x");
    absurd[54..62].copy_from_slice(b"ffffffff");
    assert!(unpack(&absurd, &tree.root).is_err());
    assert_eq!(unpack(b"", &tree.root), Ok(0));
}

#[ktest]
fn names_do_not_leave_the_root() {
    let tree = Tree::new();
    let jail = tree.mkdir("/jail").unwrap();
    let image = [file("../../escaped", b"x"), file("/absolute", b"y"), trailer()].concat();
    assert_eq!(unpack(&image, &jail), Ok(2));
    assert_eq!(error(tree.find("/escaped")), Some(ENOENT));
    assert!(tree.find("/jail/escaped").is_ok() && tree.find("/jail/absolute").is_ok());
}
