//! The descriptor table.

use ktest::ktest;

use super::{Tree, error};
use crate::{
    fs::{File, FileTable},
    prelude::*,
};

fn is(table: &FileTable, fd: i32, file: &Arc<File>) -> bool {
    table.get_any(fd).is_ok_and(|found| Arc::ptr_eq(&found, file))
}

#[ktest]
fn the_lowest_free_number_is_given_out() {
    let file = Tree::new().file("/f");
    let table = FileTable::new();
    for fd in 0..130 {
        assert_eq!(table.install(file.clone(), false, 0), Ok(fd));
    }
    table.close(64).unwrap();
    table.close(3).unwrap();
    assert_eq!(table.install(file.clone(), false, 10), Ok(64));
    assert_eq!(table.install(file.clone(), false, 0), Ok(3));
    assert_eq!(table.install(file.clone(), false, 200), Ok(200));
    assert_eq!(table.install(file.clone(), false, 0), Ok(130));
    assert_eq!(error(table.install(file, false, 1024)), Some(EMFILE));
    assert_eq!(error(table.close(131)), Some(EBADF));
    assert_eq!(error(table.get(-1)), Some(EBADF));
    assert_eq!(table.list_from(128), [128, 129, 130, 200]);
}

#[ktest]
fn tables_part_at_the_first_change_after_a_fork() {
    let tree = Tree::new();
    let (a, b) = (tree.file("/a"), tree.file("/b"));
    let parent = FileTable::new();
    parent.install(a.clone(), false, 0).unwrap();
    let child = parent.dup_for_fork();
    assert!(is(&child, 0, &a));
    child.close(0).unwrap();
    assert!(is(&parent, 0, &a));
    assert_eq!(error(child.get_any(0)), Some(EBADF));
    parent.install(b.clone(), false, 0).unwrap();
    assert_eq!(error(child.get_any(1)), Some(EBADF));
    child.install(b.clone(), false, 0).unwrap();
    assert!(is(&parent, 0, &a) && is(&child, 0, &b));
}

#[ktest]
fn a_file_is_closed_when_the_last_table_lets_go() {
    let file = Tree::new().file("/f");
    let parent = FileTable::new();
    parent.install(file.clone(), false, 0).unwrap();
    let child = parent.dup_for_fork();
    parent.close(0).unwrap();
    assert_eq!(Arc::strong_count(&file), 2);
    drop(child);
    assert_eq!(Arc::strong_count(&file), 1);
}

#[ktest]
fn exec_closes_what_is_marked() {
    let file = Tree::new().file("/f");
    let table = FileTable::new();
    for cloexec in [false, true, false, true] {
        table.install(file.clone(), cloexec, 0).unwrap();
    }
    assert_eq!(table.is_cloexec(1), Ok(true));
    table.set_cloexec(3, false).unwrap();
    let other = table.dup_for_fork();
    table.close_on_exec().unwrap();
    assert_eq!(table.list_from(0), [0, 2, 3]);
    assert_eq!(other.list_from(0), [0, 1, 2, 3], "the parent keeps its own");
    // A number that is used again starts unmarked.
    table.install(file, false, 0).unwrap();
    assert_eq!(table.is_cloexec(1), Ok(false));
}

#[ktest]
fn ranges_are_closed_or_marked() {
    let file = Tree::new().file("/f");
    let table = FileTable::new();
    for _ in 0..8 {
        table.install(file.clone(), false, 0).unwrap();
    }
    table.close_range(2, 4, false).unwrap();
    assert_eq!(table.list_from(0), [0, 1, 5, 6, 7]);
    table.close_range(6, u32::MAX, true).unwrap();
    table.close_on_exec().unwrap();
    assert_eq!(table.list_from(0), [0, 1, 5]);
    table.replace(1, file.clone(), true).unwrap();
    assert_eq!(error(table.replace(1024, file, false)), Some(EBADF));
}
