//! /proc/pid/mounts, mountinfo and mountstats: the mounts that a process can reach from the root directory that it had when
//! the file was opened.

use super::{node::TextFile, task::TaskRef};
use crate::{
    fs::{
        self, Path,
        file::FileOps,
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

/// Makes the line of one mount that can be reached, from the text of its place.
type Line = fn(&Mount, &[u8], &mut Vec<u8>);

/// EINVAL for who has no root directory any more.
fn open(task: &TaskRef, line: Line) -> Result<Box<dyn FileOps>> {
    let root: Path = task.live().map_err(|_| EINVAL)?.try_fs().ok_or(EINVAL)?.root();
    Ok(TextFile::keeping(false, move |out| {
        for mount in fs::mount_ns().list() {
            let (place, reachable) = mount.root_path().text(&root);
            if reachable {
                line(&mount, &place, out);
            }
        }
        Ok(())
    }))
}

pub fn open_mounts(task: &TaskRef) -> Result<Box<dyn FileOps>> {
    open(task, |mount, place, out| {
        escaped(&mount.source, out);
        out.push(b' ');
        escaped(place, out);
        let rest = format!(" {} {} 0 0\n", mount.sb.fs_type, options(mount.flags()));
        out.extend_from_slice(rest.as_bytes());
    })
}

pub fn open_mountstats(task: &TaskRef) -> Result<Box<dyn FileOps>> {
    open(task, |mount, place, out| {
        out.extend_from_slice(b"device ");
        escaped(&mount.source, out);
        out.extend_from_slice(b" mounted on ");
        escaped(place, out);
        out.extend_from_slice(format!(" with fstype {}\n", mount.sb.fs_type).as_bytes());
    })
}

pub fn open_mountinfo(task: &TaskRef) -> Result<Box<dyn FileOps>> {
    open(task, |mount, place, out| {
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
