//! Telling of what happens to files: who asked to hear of it, and the places that tell.
//!
//! # Data
//! * [`Mark`]: that one [`Listener`] wants to hear of some events of one inode. Listeners are what programs open:
//!   [`inotify`]; another kind needs nothing here but its own implementation of the trait.
//! * [`Marks`]: in each inode that has any ([`InodeBase::marks`]), its marks and the union of what they want.
//! * The inodes that have marks, for a file system that is unmounted.
//!
//! # What is told, and to whom
//! An event happens to an inode: opened, read, changed, ... Marks of that inode hear of it, and before them the marks of the
//! directory that the file's *dentry* is in, with its name there. Making, removing and renaming are events of the directory
//! alone. The functions below are called by whoever did the thing, after it was done.
//!
//! A mark keeps its inode, not its name: it stays through renames. It goes when its listener takes it away, when the file is
//! deleted (no name is left, and the last dentry goes: so not before it is closed) and when its file system is unmounted.
//!
//! # Cost
//! Where no inode of the machine has a mark, a hook is a load and a branch. Else it looks whether the inode has marks,
//! and whether the dentry's directory has: the answer "no" is kept in the dentry until any directory gets its first mark
//! ([`Dentry::watched_place`]), so that the parent is not looked at for each read.
//!
//! # Locks
//! An inode's marks ([`NOTIFY_MARKS`](lock_order::NOTIFY_MARKS)), held while its listeners are told, so that none hears of
//! anything behind the word that its mark is gone; then that of the marked inodes
//! ([`NOTIFY_INODES`](lock_order::NOTIFY_INODES)), or the listener's.

pub mod inotify;

use alloc::collections::BTreeMap;
use core::{
    cmp::Reverse,
    sync::atomic::{
        AtomicU32, AtomicU64, AtomicUsize,
        Ordering::{Acquire, Relaxed, Release},
    },
};

use bitflags::bitflags;
use ostd::sync::SpinLock;

use super::{
    dentry::Dentry,
    file::File,
    inode::{DevId, FileType, Inode, InodeBase},
};
use crate::{lock_order, prelude::*, process::credentials::Charge};

bitflags! {
    /// What happens to a file, with the numbers of inotify(7).
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Events: u32 {
        const ACCESS = 0x1;
        const MODIFY = 0x2;
        const ATTRIB = 0x4;
        const CLOSE_WRITE = 0x8;
        const CLOSE_NOWRITE = 0x10;
        const OPEN = 0x20;
        const MOVED_FROM = 0x40;
        const MOVED_TO = 0x80;
        const CREATE = 0x100;
        const DELETE = 0x200;
        const DELETE_SELF = 0x400;
        const MOVE_SELF = 0x800;
        // All up to here can be asked for. This one comes unasked,
        const UNMOUNT = 0x2000;
        // this says more about an event,
        const ISDIR = 0x4000_0000;
        // and these are how a mark differs from others: it does not hear of a file that was unlinked from the name,
        const EXCL_UNLINK = 0x0400_0000;
        // or it goes with the first event.
        const ONESHOT = 0x8000_0000;
    }
}

impl Events {
    /// What can be asked for.
    pub const ALL: Events = Events::from_bits_truncate(0xfff);
    /// What happens to the file itself, and not to its contents or attributes.
    const SELF: Events = Events::DELETE_SELF.union(Events::MOVE_SELF);
    /// What a mark may be given.
    pub const OF_MARK: Events = Events::ALL.union(Events::EXCL_UNLINK).union(Events::ONESHOT);
}

/// What a listener is told.
pub struct Event<'a> {
    pub mask: Events,
    /// The name in the directory whose mark it is.
    pub name: Option<&'a [u8]>,
    /// The two halves of a rename have the same, which is not 0.
    pub cookie: u32,
}

/// Who hears of events. Called with spin locks held, so it must not sleep.
pub trait Listener: Send + Sync {
    /// An event that the mark `id` wants.
    fn tell(&self, id: i32, event: &Event);

    /// The mark `id` is gone. A reference to it that is kept here is not the last.
    fn mark_gone(&self, id: i32);
}

/// That a listener wants to hear of an inode.
pub struct Mark {
    /// The listener's name for it.
    pub id: i32,
    inode: Arc<dyn Inode>,
    listener: Arc<dyn Listener>,
    /// Events and flags; changed with the inode's marks locked.
    wanted: AtomicU32,
    _charge: Charge,
}

impl Mark {
    pub fn new(
        id: i32,
        inode: &Arc<dyn Inode>,
        listener: Arc<dyn Listener>,
        wanted: Events,
        charge: Charge,
    ) -> Arc<Mark> {
        let wanted = AtomicU32::new(wanted.bits());
        Arc::new(Mark { id, inode: inode.clone(), listener, wanted, _charge: charge })
    }

    pub fn inode(&self) -> &Arc<dyn Inode> {
        &self.inode
    }

    pub fn wanted(&self) -> Events {
        Events::from_bits_retain(self.wanted.load(Relaxed))
    }

    fn is_of(&self, listener: &Arc<dyn Listener>) -> bool {
        core::ptr::addr_eq(Arc::as_ptr(&self.listener), Arc::as_ptr(listener))
    }
}

/// The marks of an inode.
pub struct Marks {
    list: SpinLock<Vec<Arc<Mark>>>,
    /// What any of them wants: 0 if there are none.
    wanted: AtomicU32,
}

impl Marks {
    fn new() -> Marks {
        Marks { list: SpinLock::new(lock_order::NOTIFY_MARKS, Vec::new()), wanted: AtomicU32::new(0) }
    }

    /// After a change of `list`, which is locked.
    fn update_wanted(&self, list: &[Arc<Mark>]) {
        let wanted = list.iter().fold(Events::empty(), |all, mark| all | mark.wanted() & Events::ALL);
        let unasked = if list.is_empty() { Events::empty() } else { Events::UNMOUNT };
        // Release pairs with the Acquire of the generation in `watched_place`, which is bumped after this.
        self.wanted.store((wanted | unasked).bits(), Release);
    }

    fn has_any(&self) -> bool {
        self.wanted.load(Relaxed) != 0
    }

    /// Tells those who want to hear of it.
    fn tell(&self, event: &Event, unlinked: bool) {
        if self.wanted.load(Relaxed) & event.mask.bits() == 0 {
            return;
        }
        let mut spent = Vec::new();
        let mut list = self.list.lock();
        list.retain(|mark| {
            let wanted = mark.wanted();
            let hears = wanted & Events::ALL | Events::UNMOUNT;
            let heard = hears.intersects(event.mask) && !(unlinked && wanted.contains(Events::EXCL_UNLINK));
            if heard {
                mark.listener.tell(mark.id, event);
            }
            let ends = heard && wanted.contains(Events::ONESHOT);
            if ends {
                mark.listener.mark_gone(mark.id);
                spent.push(mark.clone());
            }
            !ends
        });
        if !spent.is_empty() {
            self.update_wanted(&list);
            self.note_empty(&list, &spent[0].inode);
        }
        drop(list);
    }

    /// Takes all away; the references are the caller's to drop, with nothing locked.
    fn take_all(&self) -> Vec<Arc<Mark>> {
        let mut list = self.list.lock();
        let all = core::mem::take(&mut *list);
        for mark in &all {
            mark.listener.mark_gone(mark.id);
        }
        self.update_wanted(&[]);
        if let Some(mark) = all.first() {
            self.note_empty(&[], &mark.inode);
        }
        all
    }

    /// After marks were taken away.
    fn note_empty(&self, list: &[Arc<Mark>], inode: &Arc<dyn Inode>) {
        if list.is_empty() {
            // The mark that was taken away keeps the inode.
            let kept = MARKED.lock().remove(&key(inode));
            drop(kept);
            ACTIVE.fetch_sub(1, Relaxed);
        }
    }
}

/// How many inodes have marks.
static ACTIVE: AtomicUsize = AtomicUsize::new(0);

/// How often a directory got its first mark, and one more: 0 is what no dentry has seen.
static GENERATION: AtomicU64 = AtomicU64::new(1);

/// File system, inode number, address: of a file system the newest inodes come first.
type Key = (u32, Reverse<u64>, usize);

/// The inodes that have marks.
static MARKED: SpinLock<BTreeMap<Key, Arc<dyn Inode>>> =
    SpinLock::new(lock_order::NOTIFY_INODES, BTreeMap::new());

fn key(inode: &Arc<dyn Inode>) -> Key {
    let base = inode.base();
    (base.dev.0, Reverse(base.ino), Arc::as_ptr(inode).addr())
}

/// Whether anybody listens to anything.
#[inline]
pub fn is_active() -> bool {
    ACTIVE.load(Relaxed) != 0
}

/// What [`Dentry::watched_place`] compares with.
pub fn generation() -> u64 {
    // Acquire pairs with the Release in `mark`: who sees the new number sees the mark.
    GENERATION.load(Acquire)
}

/// Whether somebody listens to what happens in the directory (or other inode) `base`.
pub fn has_marks(base: &InodeBase) -> bool {
    base.marks.get().is_some_and(|marks| marks.has_any())
}

/// Marks `inode` for `listener`, or changes the mark that it has there. `update` is given what is wanted now, if there is a
/// mark, and says what shall be; `make` makes the mark. Returns its id.
pub fn mark(
    inode: &Arc<dyn Inode>,
    listener: &Arc<dyn Listener>,
    update: impl FnOnce(Option<Events>) -> Result<Events>,
    make: impl FnOnce(Events) -> Result<Arc<Mark>>,
) -> Result<i32> {
    let marks = inode.base().marks.call_once(|| Box::new(Marks::new()));
    let mut list = marks.list.lock();
    if let Some(mark) = list.iter().find(|mark| mark.is_of(listener)) {
        let wanted = update(Some(mark.wanted()))?;
        mark.wanted.store(wanted.bits(), Relaxed);
        marks.update_wanted(&list);
        return Ok(mark.id);
    }
    let mark = make(update(None)?)?;
    let id = mark.id;
    list.push(mark);
    marks.update_wanted(&list);
    if list.len() == 1 {
        MARKED.lock().insert(key(inode), inode.clone());
        ACTIVE.fetch_add(1, Relaxed);
        if inode.base().is_dir() {
            // Dentries that know of nobody look again. Release: see `generation`.
            GENERATION.fetch_add(1, Release);
        }
    }
    Ok(id)
}

/// Takes a mark away. False if it was gone already. Its listener hears that it is gone, unless `quietly`.
pub fn unmark(mark: &Arc<Mark>, quietly: bool) -> bool {
    let Some(marks) = mark.inode.base().marks.get() else { return false };
    let mut list = marks.list.lock();
    let Some(at) = list.iter().position(|other| Arc::ptr_eq(other, mark)) else { return false };
    let taken = list.remove(at);
    if !quietly {
        mark.listener.mark_gone(mark.id);
    }
    marks.update_wanted(&list);
    marks.note_empty(&list, &mark.inode);
    drop(list);
    drop(taken);
    true
}

fn tell(base: &InodeBase, mask: Events, name: Option<&[u8]>, cookie: u32, unlinked: bool) {
    if let Some(marks) = base.marks.get() {
        marks.tell(&Event { mask, name, cookie }, unlinked);
    }
}

fn is_dir(base: &InodeBase) -> Events {
    if base.is_dir() { Events::ISDIR } else { Events::empty() }
}

// ---- what happens ---------------------------------------------------------------------------------------------------

/// Something was done through an open file.
#[inline]
pub fn file_event(file: &File, what: Events) {
    if is_active() {
        tell_of_file(file, what);
    }
}

#[inline(never)]
fn tell_of_file(file: &File, what: Events) {
    if !file.is_told_of() {
        return;
    }
    let base = file.inode().base();
    let Some(path) = file.path() else {
        return tell(base, what, None, 0, false);
    };
    // Reads and writes of devices and FIFOs are nobody's business who can only look at the directory: nor do they show in
    // the times of the file.
    let private = what.intersects(Events::ACCESS | Events::MODIFY)
        && matches!(base.file_type(), FileType::Char | FileType::Block | FileType::Fifo | FileType::Socket);
    tell_of_name(&path.dentry, base, what, path.dentry.is_unhashed(), !private);
}

/// A file's attributes, times or size were changed. `dentry` is the name it was found by, if it has one.
#[inline]
pub fn changed(inode: &Arc<dyn Inode>, dentry: Option<&Arc<Dentry>>, what: Events) {
    if is_active() && !what.is_empty() {
        match dentry {
            Some(dentry) => tell_of_name(dentry, inode.base(), what, false, true),
            None => tell(inode.base(), what | is_dir(inode.base()), None, 0, false),
        }
    }
}

fn tell_of_name(dentry: &Dentry, base: &InodeBase, what: Events, unlinked: bool, with_parent: bool) {
    let mask = what | is_dir(base);
    if with_parent
        && let Some((parent, name)) = dentry.watched_place()
        && let Some(parent) = parent.inode()
    {
        tell(parent.base(), mask, Some(&name), 0, unlinked);
    }
    tell(base, mask, None, 0, unlinked);
}

/// `name` was made in `dir`.
#[inline]
pub fn created(dir: &Arc<dyn Inode>, name: &[u8], node: &Arc<dyn Inode>) {
    if is_active() {
        tell(dir.base(), Events::CREATE | is_dir(node.base()), Some(name), 0, false);
    }
}

/// `name` was removed from `dir`.
#[inline]
pub fn removed(dir: &Arc<dyn Inode>, name: &[u8], node: &Arc<dyn Inode>) {
    if is_active() {
        tell(dir.base(), Events::DELETE | is_dir(node.base()), Some(name), 0, false);
    }
}

/// The file has one name more or less.
#[inline]
pub fn link_count_changed(inode: &Arc<dyn Inode>) {
    if is_active() {
        tell(inode.base(), Events::ATTRIB | is_dir(inode.base()), None, 0, false);
    }
}

/// A name in a directory.
#[derive(Clone, Copy)]
pub struct Place<'a> {
    pub dir: &'a Arc<dyn Inode>,
    pub name: &'a [u8],
}

/// `node` was moved, in the place of `replaced` if that was there.
#[inline]
pub fn moved(from: Place, to: Place, node: &Arc<dyn Inode>, replaced: Option<&Arc<dyn Inode>>) {
    if is_active() {
        tell_of_move(from, to, node, replaced);
    }
}

#[inline(never)]
fn tell_of_move(from: Place, to: Place, node: &Arc<dyn Inode>, replaced: Option<&Arc<dyn Inode>>) {
    static COOKIE: AtomicU32 = AtomicU32::new(0);
    // 0 is the cookie of what is no rename.
    let cookie = COOKIE.fetch_add(1, Relaxed).wrapping_add(1).max(1);
    let dir = is_dir(node.base());
    tell(from.dir.base(), Events::MOVED_FROM | dir, Some(from.name), cookie, false);
    tell(to.dir.base(), Events::MOVED_TO | dir, Some(to.name), cookie, false);
    if let Some(replaced) = replaced {
        link_count_changed(replaced);
    }
    tell(node.base(), Events::MOVE_SELF | dir, None, 0, false);
}

/// A dentry of `inode` goes. If that has no name left, it is deleted.
#[inline]
pub fn dentry_gone(inode: &Arc<dyn Inode>) {
    if is_active() && inode.base().nlink() == 0 {
        end_marks(inode, Events::DELETE_SELF);
    }
}

/// The file system `dev` is not mounted any more.
pub fn unmounted(dev: DevId) {
    if !is_active() {
        return;
    }
    let inodes: Vec<Arc<dyn Inode>> = {
        let marked = MARKED.lock();
        let of_dev = (dev.0, Reverse(u64::MAX), 0)..=(dev.0, Reverse(0), usize::MAX);
        marked.range(of_dev).map(|(_, inode)| inode.clone()).collect()
    };
    for inode in &inodes {
        end_marks(inode, Events::UNMOUNT);
    }
}

#[inline(never)]
fn end_marks(inode: &Arc<dyn Inode>, last: Events) {
    if let Some(marks) = inode.base().marks.get() {
        marks.tell(&Event { mask: last | is_dir(inode.base()), name: None, cookie: 0 }, false);
        drop(marks.take_all());
    }
}

#[cfg(feature = "ktest")]
mod test {
    use super::*;
    use crate::fs::{
        dentry,
        inode::NewNode,
        mount::SuperBlock,
        ramfs::{self, RamFsOptions},
    };

    /// Counts what it hears.
    #[derive(Default)]
    struct Ear {
        told: AtomicUsize,
        gone: AtomicUsize,
    }

    impl Listener for Ear {
        fn tell(&self, _: i32, _: &Event) {
            self.told.fetch_add(1, Relaxed);
        }

        fn mark_gone(&self, _: i32) {
            self.gone.fetch_add(1, Relaxed);
        }
    }

    fn tree() -> Arc<SuperBlock> {
        ramfs::new("tmpfs", RamFsOptions::unlimited())
    }

    fn make(dir: &Arc<Dentry>, name: &[u8], file_type: FileType) -> Arc<Dentry> {
        let new = NewNode { mode: file_type.mode_bits() | 0o755, uid: 0, gid: 0, rdev: DevId(0) };
        let inode = dir.inode().unwrap().create(name, new).unwrap();
        dentry::insert(dir, name, inode)
    }

    fn listen(ear: &Arc<Ear>, dentry: &Dentry) -> Arc<Mark> {
        let (inode, listener) = (dentry.inode().unwrap(), ear.clone() as Arc<dyn Listener>);
        let charge = Charge::new(|user| &user.inotify_watches, usize::MAX).unwrap();
        let new = Mark::new(1, inode, listener.clone(), Events::ALL, charge);
        mark(inode, &listener, |_| Ok(Events::ALL), |_| Ok(new.clone())).unwrap();
        new
    }

    /// A dentry that knows that nobody watches its directory learns when somebody does, also by moving.
    #[ktest::ktest]
    fn dentries_learn_of_the_first_mark_and_of_moves() {
        let sb = tree();
        let (one, other) = (make(&sb.root, b"one", FileType::Dir), make(&sb.root, b"other", FileType::Dir));
        let file = make(&one, b"file", FileType::Regular);
        let ear = Arc::new(Ear::default());
        assert!(file.watched_place().is_none() && file.watched_place().is_none());
        let first = listen(&ear, &one);
        assert!(file.watched_place().is_some_and(|(dir, name)| Arc::ptr_eq(&dir, &one) && *name == *b"file"));
        assert!(unmark(&first, true) && !unmark(&first, true));
        assert!(file.watched_place().is_none());
        let second = listen(&ear, &other);
        assert!(file.watched_place().is_none());
        dentry::rename(&file, &other, b"moved");
        assert!(file.watched_place().is_some_and(|(_, name)| *name == *b"moved"));
        dentry::rename(&file, &one, b"file");
        assert!(file.watched_place().is_none());
        assert!(unmark(&second, false));
        assert_eq!((ear.told.load(Relaxed), ear.gone.load(Relaxed)), (0, 1));
    }

    /// The end of a file system takes all marks of it, and of no other.
    #[ktest::ktest]
    fn an_unmount_ends_the_marks_of_one_file_system() {
        let (gone, stays) = (tree(), tree());
        let ears = [Arc::new(Ear::default()), Arc::new(Ear::default())];
        let marks = [listen(&ears[0], &gone.root), listen(&ears[1], &stays.root)];
        let active = ACTIVE.load(Relaxed);
        drop(gone);
        assert_eq!((ears[0].told.load(Relaxed), ears[0].gone.load(Relaxed)), (1, 1));
        assert_eq!((ears[1].told.load(Relaxed), ears[1].gone.load(Relaxed)), (0, 0));
        assert_eq!(ACTIVE.load(Relaxed), active - 1);
        assert!(!unmark(&marks[0], true) && unmark(&marks[1], true));
    }
}
