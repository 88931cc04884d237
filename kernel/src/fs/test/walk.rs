//! The path walk (path_resolution(7)).

use ktest::ktest;

use super::{Tree, error};
use crate::{
    fs::{
        Path,
        mount::MountFlags,
        path::Walker,
        ramfs::{self, RamFsOptions},
    },
    prelude::*,
};

fn same(a: &Path, b: &Path) -> bool {
    a.is_same(b)
}

#[ktest]
fn dots_slashes_and_names_lead_to_the_same_place() {
    let tree = Tree::new();
    tree.mkdir("/a").unwrap();
    let b = tree.mkdir("/a/b").unwrap();
    for path in ["/a/b", "a/b", "//a///b//", "/a/./b/.", "/a/b/../b", "/../../a/b", "a/../a/b/../../a/b"] {
        assert!(same(&tree.find(path).unwrap(), &b), "{path}");
    }
    assert!(same(&tree.find("/").unwrap(), &tree.root));
    assert!(same(&tree.find("/..").unwrap(), &tree.root));
}

#[ktest]
fn what_is_missing_and_what_is_no_directory_have_their_errors() {
    let tree = Tree::new();
    tree.mkdir("/d").unwrap();
    tree.file("/d/f");
    assert_eq!(error(tree.find("")), Some(ENOENT));
    assert_eq!(error(tree.find("/none")), Some(ENOENT));
    assert_eq!(error(tree.find("/none/x")), Some(ENOENT));
    assert_eq!(error(tree.find("/d/f/x")), Some(ENOTDIR));
    assert_eq!(error(tree.find("/d/f/")), Some(ENOTDIR));
    assert_eq!(error(tree.find("/d/f/.")), Some(ENOTDIR));
    assert_eq!(error(tree.find("/d/f/..")), Some(ENOTDIR));
    let long = alloc::format!("/{}", "n".repeat(256));
    assert_eq!(error(tree.find(&long)), Some(ENAMETOOLONG));
    assert_eq!(error(tree.find(&long[..256])), Some(ENOENT));
}

#[ktest]
fn links_are_followed_from_their_directory_or_the_root() {
    let tree = Tree::new();
    tree.mkdir("/a").unwrap();
    tree.mkdir("/a/b").unwrap();
    let target = tree.mkdir("/a/t").unwrap();
    tree.symlink("t", "/a/relative").unwrap();
    tree.symlink("/a/t", "/a/b/absolute").unwrap();
    tree.symlink("../t", "/a/b/up").unwrap();
    tree.symlink("/a/b/up/", "/chain").unwrap();
    for path in ["/a/relative", "/a/b/absolute", "/a/b/up", "/chain", "/chain/", "/a/b/up/../relative"] {
        assert!(same(&tree.find(path).unwrap(), &target), "{path}");
    }
    let link = Walker::new(&tree.creds, &tree.root, tree.root.clone()).find(b"/chain", false).unwrap();
    assert!(link.inode().unwrap().base().is_symlink());
    tree.symlink("nowhere", "/dangling").unwrap();
    assert_eq!(error(tree.find("/dangling")), Some(ENOENT));
}

#[ktest]
fn forty_links_are_followed_and_one_more_is_a_loop() {
    let tree = Tree::new();
    let end = tree.mkdir("/link0").unwrap();
    for n in 1..=41 {
        tree.symlink(&alloc::format!("link{}", n - 1), &alloc::format!("/link{n}")).unwrap();
    }
    assert!(same(&tree.find("/link40").unwrap(), &end));
    assert_eq!(error(tree.find("/link41")), Some(ELOOP));
    tree.symlink("self", "/self").unwrap();
    assert_eq!(error(tree.find("/self")), Some(ELOOP));
    assert_eq!(error(tree.find("/self/x")), Some(ELOOP));
}

#[ktest]
fn a_directory_that_can_not_be_searched_hides_what_is_in_it() {
    let tree = Tree::new();
    let closed = tree.mkdir("/closed").unwrap();
    tree.mkdir("/closed/inner").unwrap();
    closed.inode().unwrap().base().set_perm(0o600);
    let user = tree.as_user(1000);
    assert_eq!(error(user.find("/closed/inner")), Some(EACCES));
    assert_eq!(error(user.find("/closed/none")), Some(EACCES));
    assert_eq!(error(user.find("/closed/.")), Some(EACCES));
    assert!(user.find("/closed").is_ok());
    assert!(tree.find("/closed/inner").is_ok(), "root searches everything");
}

#[ktest]
fn owner_group_and_others_have_their_bits() {
    let tree = Tree::new();
    let dir = tree.mkdir("/d").unwrap();
    tree.mkdir("/d/x").unwrap();
    let base = dir.inode().unwrap().base();
    base.set_owner(Some(1000), Some(2000));
    for (perm, owner, group, other) in
        [(0o100, true, false, false), (0o010, false, true, false), (0o001, false, false, true)]
    {
        base.set_perm(perm);
        assert_eq!(tree.as_user(1000).find("/d/x").is_ok(), owner, "{perm:o}");
        assert_eq!(tree.as_user(2000).find("/d/x").is_ok(), group, "{perm:o}");
        assert_eq!(tree.as_user(3000).find("/d/x").is_ok(), other, "{perm:o}");
    }
}

#[ktest]
fn mounts_are_crossed_in_both_directions() {
    let tree = Tree::new();
    tree.mkdir("/mnt").unwrap();
    let covered = tree.mkdir("/mnt/covered").unwrap();
    let at = tree.find("/mnt").unwrap();
    let sb = ramfs::new("tmpfs", RamFsOptions::unlimited());
    tree.ns.mount(&at, sb, b"new", MountFlags::empty()).unwrap();
    assert_eq!(error(tree.find("/mnt/covered")), Some(ENOENT));
    let inner = tree.mkdir("/mnt/inner").unwrap();
    assert!(!Arc::ptr_eq(&inner.mount, &covered.mount));
    assert!(same(&tree.find("/mnt/inner/../..").unwrap(), &tree.root));
    assert_eq!(inner.text(&tree.root).0, b"/mnt/inner");
    // A second mount on the same place covers the first.
    let at = tree.find("/mnt").unwrap();
    let sb = ramfs::new("tmpfs", RamFsOptions::unlimited());
    tree.ns.mount(&at, sb, b"newer", MountFlags::empty()).unwrap();
    assert_eq!(error(tree.find("/mnt/inner")), Some(ENOENT));
    tree.ns.unmount(&tree.find("/mnt").unwrap(), false).unwrap();
    assert_eq!(error(tree.ns.unmount(&tree.find("/mnt").unwrap(), false)), Some(EBUSY));
    drop(inner);
    drop(at);
    tree.ns.unmount(&tree.find("/mnt").unwrap(), false).unwrap();
    assert!(same(&tree.find("/mnt/covered").unwrap(), &covered));
    assert_eq!(error(tree.ns.unmount(&tree.find("/mnt").unwrap(), false)), Some(EINVAL));
}

#[ktest]
fn the_root_of_a_process_is_not_left_upwards() {
    let tree = Tree::new();
    let jail = tree.mkdir("/jail").unwrap();
    tree.mkdir("/jail/home").unwrap();
    tree.mkdir("/secret").unwrap();
    let find = |path: &str| Walker::new(&tree.creds, &jail, jail.clone()).find(path.as_bytes(), true);
    assert!(same(&find("/..").unwrap(), &jail));
    assert!(same(&find("/home/../../..").unwrap(), &jail));
    assert_eq!(error(find("/../secret")), Some(ENOENT));
}
