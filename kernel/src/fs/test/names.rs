//! Making, removing and renaming.

use ktest::ktest;

use super::{Tree, error};
use crate::{
    fs::{
        OpenFlags,
        dentry::{self, Dentry},
        mount::MountFlags,
        ramfs::{self, RamFsOptions},
    },
    prelude::*,
};

#[ktest]
fn open_makes_a_file_only_where_it_may() {
    let tree = Tree::new();
    let dir = tree.mkdir("/d").unwrap();
    let creat = OpenFlags::RDWR | OpenFlags::CREAT;
    assert_eq!(error(tree.open("/f", OpenFlags::RDWR)), Some(ENOENT));
    tree.open("/f", creat).unwrap();
    assert_eq!(error(tree.open("/f", creat | OpenFlags::EXCL)), Some(EEXIST));
    assert_eq!(error(tree.open("/new/", creat)), Some(EISDIR));
    assert_eq!(error(tree.open("/d", creat)), Some(EISDIR));
    assert_eq!(error(tree.open("/d", OpenFlags::RDWR)), Some(EISDIR));
    assert_eq!(error(tree.open("/f", OpenFlags::DIRECTORY)), Some(ENOTDIR));
    dir.inode().unwrap().base().set_perm(0o555);
    assert_eq!(error(tree.as_user(7).open("/d/x", creat)), Some(EACCES));
    tree.symlink("/made-through-link", "/l").unwrap();
    assert_eq!(error(tree.open("/l", OpenFlags::NOFOLLOW)), Some(ELOOP));
    assert_eq!(error(tree.open("/l", creat | OpenFlags::EXCL)), Some(EEXIST));
    tree.open("/l", creat).unwrap();
    assert!(tree.find("/made-through-link").is_ok());
}

#[ktest]
fn a_name_that_was_absent_is_seen_once_it_is_made() {
    let tree = Tree::new();
    for _ in 0..3 {
        assert_eq!(error(tree.find("/x")), Some(ENOENT));
        tree.mkdir("/x").unwrap();
        assert!(tree.find("/x").is_ok());
        tree.op("/x").unwrap().rmdir().unwrap();
    }
    tree.mkdir("/y").unwrap();
    dentry::shrink_all();
    assert!(tree.find("/y").is_ok(), "the cache is only a cache");
}

#[ktest]
fn names_looked_for_in_vain_go_with_their_directory() {
    let tree = Tree::new();
    let dir = tree.mkdir("/d").unwrap();
    for n in 0..200 {
        assert_eq!(error(tree.find(&format!("/d/none{n}"))), Some(ENOENT));
    }
    tree.mkdir("/d/none7").unwrap();
    tree.op("/d/none7").unwrap().rmdir().unwrap();
    assert!(Arc::strong_count(&dir.dentry) > 100, "they are remembered");
    tree.op("/d").unwrap().rmdir().unwrap();
    assert_eq!(Arc::strong_count(&dir.dentry), 1);
}

#[ktest]
fn volatile_directories_that_go_with_their_last_name_leave_the_cache() {
    let tree = Tree::new();
    let inode = tree.mkdir("/d").unwrap().inode().unwrap().clone();
    let root = Dentry::new_root(inode.clone(), true);
    let before = dentry::cached();
    let mut last = root.clone();
    for _ in 0..10 {
        last = dentry::insert(&last, b"d", inode.clone());
    }
    assert_eq!(dentry::cached(), before + 10);
    drop(last);
    assert_eq!(dentry::cached(), before);
    assert!(dentry::lookup(&root, b"d").is_none());
}

#[ktest]
fn removing_needs_the_right_call() {
    let tree = Tree::new();
    tree.mkdir("/d").unwrap();
    tree.file("/d/f");
    assert_eq!(error(tree.op("/d").unwrap().unlink()), Some(EISDIR));
    assert_eq!(error(tree.op("/d/f").unwrap().rmdir()), Some(ENOTDIR));
    assert_eq!(error(tree.op("/d/f/").unwrap().unlink()), Some(ENOTDIR));
    assert_eq!(error(tree.op("/d").unwrap().rmdir()), Some(ENOTEMPTY));
    assert_eq!(error(tree.op("/d/.").unwrap().rmdir()), Some(EINVAL));
    assert_eq!(error(tree.op("/d/..").unwrap().rmdir()), Some(ENOTEMPTY));
    assert_eq!(error(tree.op("/").unwrap().rmdir()), Some(EBUSY));
    tree.op("/d/f").unwrap().unlink().unwrap();
    let removed = tree.find("/d").unwrap();
    tree.op("/d").unwrap().rmdir().unwrap();
    assert!(removed.dentry.is_unhashed());
    assert_eq!(removed.text(&tree.root).0, b"/d (deleted)");
    assert_eq!(removed.inode().unwrap().base().nlink(), 0);
}

#[ktest]
fn links_are_counted() {
    let tree = Tree::new();
    let file = tree.file("/a");
    let base = file.inode().base();
    tree.op("/b").unwrap().link(&tree.find("/a").unwrap()).unwrap();
    assert_eq!(base.nlink(), 2);
    tree.op("/a").unwrap().unlink().unwrap();
    assert_eq!(base.nlink(), 1);
    assert!(tree.find("/b").is_ok());
    let root = tree.root.inode().unwrap().base();
    assert_eq!(root.nlink(), 2);
    tree.mkdir("/d").unwrap();
    assert_eq!(root.nlink(), 3);
    assert_eq!(error(tree.op("/e").unwrap().link(&tree.find("/d").unwrap())), Some(EPERM));
    tree.op("/d").unwrap().rmdir().unwrap();
    assert_eq!(root.nlink(), 2);
}

#[ktest]
fn rename_replaces_what_fits_and_nothing_else() {
    let tree = Tree::new();
    let rename = |from: &str, to: &str| {
        let (from, to) = (tree.op(from)?, tree.op(to)?);
        from.rename(&to, false, false)
    };
    tree.mkdir("/d").unwrap();
    tree.mkdir("/d/sub").unwrap();
    tree.mkdir("/empty").unwrap();
    let moved = tree.file("/f").inode().base().ino;
    let replaced = tree.file("/g");
    assert_eq!(error(rename("/none", "/x")), Some(ENOENT));
    assert_eq!(error(rename("/d", "/d/sub/in-itself")), Some(EINVAL));
    assert_eq!(error(rename("/d/sub", "/d")), Some(ENOTEMPTY));
    assert_eq!(error(rename("/f", "/d")), Some(EISDIR));
    assert_eq!(error(rename("/empty", "/f")), Some(ENOTDIR));
    assert_eq!(error(rename("/empty", "/d")), Some(ENOTEMPTY));
    assert_eq!(error(rename("/f", "/g/")), Some(ENOTDIR));
    rename("/f", "/g").unwrap();
    assert_eq!(error(tree.find("/f")), Some(ENOENT));
    assert_eq!(tree.find("/g").unwrap().inode().unwrap().base().ino, moved);
    assert_eq!(replaced.inode().base().nlink(), 0);
    // An open file and what is below a directory follow.
    let below = tree.find("/d/sub").unwrap();
    rename("/d", "/empty").unwrap();
    assert_eq!(below.text(&tree.root).0, b"/empty/sub");
    assert!(tree.find("/empty/sub").unwrap().is_same(&below));
    // Two names of one file: nothing happens.
    tree.op("/h").unwrap().link(&tree.find("/g").unwrap()).unwrap();
    rename("/g", "/h").unwrap();
    assert!(tree.find("/g").is_ok() && tree.find("/h").is_ok());
}

#[ktest]
fn exchange_and_no_replace() {
    let tree = Tree::new();
    let dir = tree.mkdir("/d").unwrap();
    let file = tree.file("/f");
    let (f, d, none) = (tree.op("/f").unwrap(), tree.op("/d").unwrap(), tree.op("/none").unwrap());
    assert_eq!(error(f.rename(&d, true, false)), Some(EEXIST));
    assert_eq!(error(f.rename(&none, false, true)), Some(ENOENT));
    f.rename(&d, false, true).unwrap();
    assert_eq!(tree.find("/d").unwrap().inode().unwrap().base().ino, file.inode().base().ino);
    assert!(tree.find("/f").unwrap().is_same(&dir));
    assert_eq!(dir.text(&tree.root).0, b"/f");
}

#[ktest]
fn nothing_moves_between_file_systems() {
    let tree = Tree::new();
    let at = tree.mkdir("/mnt").unwrap();
    let sb = ramfs::new("tmpfs", RamFsOptions::unlimited());
    tree.ns.mount(&at, sb, b"other", MountFlags::empty()).unwrap();
    tree.file("/f");
    let (from, to) = (tree.op("/f").unwrap(), tree.op("/mnt/f").unwrap());
    assert_eq!(error(from.rename(&to, false, false)), Some(EXDEV));
    assert_eq!(error(to.link(&tree.find("/f").unwrap())), Some(EXDEV));
    assert_eq!(error(tree.op("/mnt").unwrap().rmdir()), Some(EBUSY));
}

#[ktest]
fn a_sticky_directory_protects_the_files_of_others() {
    let tree = Tree::new();
    tree.mkdir("/tmp").unwrap().inode().unwrap().base().set_perm(0o1777);
    let (alice, bob) = (tree.as_user(1), tree.as_user(2));
    alice.file("/tmp/a");
    assert_eq!(error(bob.op("/tmp/a").unwrap().unlink()), Some(EPERM));
    assert_eq!(
        error(bob.op("/tmp/a").unwrap().rename(&bob.op("/tmp/b").unwrap(), false, false)),
        Some(EPERM)
    );
    alice.op("/tmp/a").unwrap().unlink().unwrap();
}
