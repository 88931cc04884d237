//! /proc/pid/ns: the namespaces of a task as links (namespaces(7)).
//!
//! Who may not look into the task may not read the links. Of a zombie only the pid and user namespaces are left (rule 12.3).

use super::{
    node::TaskLink,
    task::{Task, TaskRef},
};
use crate::{
    fs::{
        inode::LinkTarget,
        nsfs::{Namespace, NsKind},
    },
    prelude::*,
    process::tree,
};

/// The entries: names and where they lead.
pub const ENTRIES: &[(&str, TaskLink)] = &[
    ("cgroup", |task| of_live(task, NsKind::Cgroup)),
    ("ipc", |task| of_live(task, NsKind::Ipc)),
    ("mnt", |task| of_live(task, NsKind::Mnt)),
    ("net", |task| of_live(task, NsKind::Net)),
    ("pid", pid),
    ("pid_for_children", pid_for_children),
    ("time", |task| of_live(task, NsKind::Time)),
    ("time_for_children", |task| of_live(task, NsKind::Time)),
    ("user", user),
    ("uts", |task| of_live(task, NsKind::Uts)),
];

type Link = Result<(LinkTarget, Vec<u8>)>;

fn link(ns: Namespace) -> Link {
    Ok((LinkTarget::Place(ns.place()), ns.text().into_bytes()))
}

/// A kind with one instance, which every task has that has not exited.
fn of_live(task: &TaskRef, kind: NsKind) -> Link {
    if task.inspect_zombie()?.has_exited() {
        return Err(ENOENT);
    }
    link(Namespace::Initial(kind))
}

fn user(task: &TaskRef) -> Link {
    task.inspect_zombie()?;
    link(Namespace::Initial(NsKind::User))
}

fn pid(task: &TaskRef) -> Link {
    link(Namespace::Pid(task.inspect_zombie()?.pid_ns()?))
}

/// ENOENT as long as a new namespace has no init.
fn pid_for_children(task: &TaskRef) -> Link {
    match task.inspect_zombie()? {
        Task::Live(thread) if !thread.has_exited() => {
            let ns = thread.namespaces().pid_for_children;
            if !tree::lock().ns_had_init(ns.id()) {
                return Err(ENOENT);
            }
            link(Namespace::Pid(ns))
        }
        _ => Err(ENOENT),
    }
}
