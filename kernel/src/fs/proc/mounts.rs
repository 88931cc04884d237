//! /proc/pid/mounts and mountinfo: the mounts that a process can reach.

use super::task::TaskRef;
use crate::{
    fs::{
        self, Path,
        mount::{Mount, MountFlags},
    },
    prelude::*,
};

/// Spaces and the like as octal numbers, so that a line keeps its fields.
fn escaped(text: &[u8], out: &mut Vec<u8>) {
    for &byte in text {
        if matches!(byte, b' ' | b'\t' | b'\n' | b'\\') {
            out.extend_from_slice(format!("\\{byte:03o}").as_bytes());
        } else {
            out.push(byte);
        }
    }
}

fn options(flags: MountFlags) -> String {
    let mut text = String::from(if flags.contains(MountFlags::RDONLY) { "ro" } else { "rw" });
    let named = [
        (MountFlags::NOSUID, ",nosuid"),
        (MountFlags::NODEV, ",nodev"),
        (MountFlags::NOEXEC, ",noexec"),
        (MountFlags::NOATIME, ",noatime"),
        (MountFlags::NODIRATIME, ",nodiratime"),
        (MountFlags::RELATIME, ",relatime"),
    ];
    for (flag, name) in named {
        if flags.contains(flag) {
            text.push_str(name);
        }
    }
    text
}

/// Calls `line` for each mount that can be reached from the task's root, with the text of its place.
fn each(task: &TaskRef, mut line: impl FnMut(&Arc<Mount>, &[u8])) -> Result<()> {
    let root: Path = task.live().map_err(|_| EINVAL)?.try_fs().ok_or(EINVAL)?.root();
    for mount in fs::mount_ns().list() {
        let (place, reachable) = mount.root_path().text(&root);
        if reachable {
            line(&mount, &place);
        }
    }
    Ok(())
}

pub fn mounts(task: &TaskRef, out: &mut Vec<u8>) -> Result<()> {
    each(task, |mount, place| {
        escaped(&mount.source, out);
        out.push(b' ');
        escaped(place, out);
        let rest = format!(" {} {} 0 0\n", mount.sb.fs_type, options(mount.flags()));
        out.extend_from_slice(rest.as_bytes());
    })
}

pub fn mountinfo(task: &TaskRef, out: &mut Vec<u8>) -> Result<()> {
    each(task, |mount, place| {
        let parent = mount.mount_point().map_or(mount.id, |point| point.mount.id);
        let dev = mount.sb.dev;
        let head = format!("{} {parent} {}:{} ", mount.id, dev.major(), dev.minor());
        out.extend_from_slice(head.as_bytes());
        // The part of the file system that is seen.
        escaped(&mount.root.path_in_fs(), out);
        out.push(b' ');
        escaped(place, out);
        let rest = format!(" {} - {} ", options(mount.flags()), mount.sb.fs_type);
        out.extend_from_slice(rest.as_bytes());
        escaped(&mount.source, out);
        let read_only = mount.flags().contains(MountFlags::RDONLY);
        out.extend_from_slice(if read_only { b" ro\n" } else { b" rw\n" });
    })
}
