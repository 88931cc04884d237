//! /proc/pid/reaper: a process as a reaper (docs/reaper.md), in the numbers of the mount's pid namespace.

use core::fmt::Write;

use proctree::Autoreap;

use super::task::{Task, TaskRef};
use crate::{
    prelude::*,
    process::{reaper, tree},
};

pub fn reaper(task: &TaskRef, out: &mut Vec<u8>) -> Result<()> {
    let process = match task.find()? {
        Task::Live(thread) => thread.process.id(),
        Task::Zombie(process) => process,
    };
    let status = reaper::status_of(&tree::lock(), process, task.ns).ok_or(ESRCH)?;
    let of = &status.of;
    let autoreap = match of.autoreap {
        Autoreap::Off => "off",
        Autoreap::Quiet => "quiet",
        Autoreap::Signal => "signal",
    };
    let mut text = String::new();
    // Writing to a String does not fail.
    let _ = write!(
        text,
        "Pid:\t{}\nId:\t{}\nReaper:\t{}\nAbove:\t{}\n\
         Subreaper:\t{}\nInit:\t{}\nAdopted:\t{}\nAutoreap:\t{autoreap}\n\
         Children:\t{}\nAdoptedChildren:\t{}\nZombieChildren:\t{}\n\
         Descendants:\t{}\nZombies:\t{}\nReapers:\t{}\n",
        status.pid,
        process.to_bits(),
        status.reaper,
        status.above,
        of.is_subreaper as u32,
        of.is_init as u32,
        of.is_adopted as u32,
        of.children,
        of.adopted,
        of.zombies,
        of.descendants,
        of.dead,
        of.reapers,
    );
    out.extend_from_slice(text.as_bytes());
    Ok(())
}
