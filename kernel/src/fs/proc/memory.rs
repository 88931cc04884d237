//! What a process's files say of its memory: maps, smaps, statm, cmdline, environ, auxv. A zombie has none (rule 12.3).
//!
//! Some are about the memory that the process had when they were opened: after its execve or end they are empty. An open file
//! does not keep the memory.

use alloc::sync::Weak;

use super::{
    node::TextFile,
    task::{Task, TaskRef},
};
use crate::{fs::file::FileOps, mm::Vm, prelude::*, process::Thread};

/// The address space; `None` for a zombie, or a thread that let go of it. ESRCH if there is no task.
pub fn vm_of(task: &TaskRef) -> Result<Option<Arc<Vm>>> {
    Ok(match task.find()? {
        Task::Live(thread) => thread.try_vm(),
        Task::Zombie(_) => None,
    })
}

/// The memory of who is looked at by a debugger; `None` if it has none any more.
///
/// # Errors
/// ESRCH if there is no task, EACCES without a debugger's rights, unless the memory is the reader's own.
pub fn inspected_vm(task: &TaskRef) -> Result<Option<Arc<Vm>>> {
    let Task::Live(thread) = task.find()? else { return Ok(None) };
    let Some(vm) = thread.try_vm() else { return Ok(None) };
    let reader = Thread::current();
    if Arc::ptr_eq(&vm, &reader.vm()) || reader.may_inspect(&thread) { Ok(Some(vm)) } else { Err(EACCES) }
}

/// A file that says of the memory what `fill` says, and ESRCH when the task is gone.
fn about_memory(task: &TaskRef, fill: fn(&Vm) -> Result<Vec<u8>>) -> Result<Box<dyn FileOps>> {
    let vm = inspected_vm(task)?.as_ref().map(Arc::downgrade);
    let task = *task;
    Ok(TextFile::keeping(false, move |out| {
        task.find()?;
        if let Some(vm) = vm.as_ref().and_then(Weak::upgrade) {
            *out = fill(&vm)?;
        }
        Ok(())
    }))
}

pub fn open_maps(task: &TaskRef) -> Result<Box<dyn FileOps>> {
    about_memory(task, Vm::maps)
}

pub fn open_smaps(task: &TaskRef) -> Result<Box<dyn FileOps>> {
    about_memory(task, Vm::smaps)
}

/// ESRCH, at the latest when it is read, if there is no memory.
pub fn open_smaps_rollup(task: &TaskRef) -> Result<Box<dyn FileOps>> {
    let vm = Arc::downgrade(&inspected_vm(task)?.ok_or(ESRCH)?);
    Ok(TextFile::keeping(false, move |out| {
        *out = vm.upgrade().ok_or(ESRCH)?.smaps_rollup();
        Ok(())
    }))
}

/// What can only be written.
pub fn no_text(_: &TaskRef, _: &mut Vec<u8>) -> Result<()> {
    Err(EINVAL)
}

/// 1, 2 or 3 forget which pages of all, of its own, of files were accessed; 4 which were written (nobody keeps that), 5 how
/// much memory there was at most.
pub fn clear_refs(task: &TaskRef, value: &[u8]) -> Result<()> {
    let text = core::str::from_utf8(value).map_err(|_| EINVAL)?.trim();
    let what: i32 = text.parse().map_err(|_| EINVAL)?;
    if !(1..=5).contains(&what) {
        return Err(EINVAL);
    }
    let Some(vm) = vm_of(task)? else { return Ok(()) };
    match what {
        1 => vm.clear_accessed(|_| true),
        2 => vm.clear_accessed(|owned| owned),
        3 => vm.clear_accessed(|owned| !owned),
        5 => vm.reset_max_rss(),
        _ => {}
    }
    Ok(())
}

pub fn statm(task: &TaskRef, out: &mut Vec<u8>) -> Result<()> {
    let usage = vm_of(task)?.map(|vm| vm.memory_use()).unwrap_or_default();
    let pages = |bytes: usize| bytes / PAGE_SIZE;
    let text = format!(
        "{} {} {} {} 0 {} 0\n",
        pages(usage.size),
        pages(usage.resident),
        pages(usage.shared),
        pages(usage.text),
        pages(usage.data + usage.stack)
    );
    out.extend_from_slice(text.as_bytes());
    Ok(())
}

/// More than this of arguments or environment is not shown.
const MAX: usize = 1 << 20;

fn read(vm: &Vm, start: usize, end: usize) -> Result<Vec<u8>> {
    let len = end.saturating_sub(start).min(MAX);
    let mut bytes = Vec::new();
    bytes.try_reserve_exact(len).map_err(|_| ENOMEM)?;
    bytes.resize(len, 0);
    let n = vm.read_remote(start, &mut bytes);
    bytes.truncate(n);
    Ok(bytes)
}

/// The arguments, each with its NUL. A program that has overwritten the last NUL (setproctitle) is shown up to the first
/// NUL, into its environment if need be.
pub fn cmdline(task: &TaskRef, out: &mut Vec<u8>) -> Result<()> {
    let Some(vm) = vm_of(task)? else { return Ok(()) };
    let ranges = vm.ranges();
    let mut text = read(&vm, ranges.arg_start, ranges.arg_end)?;
    if text.last().is_some_and(|&last| last != 0) {
        text.extend(read(&vm, ranges.env_start, ranges.env_end)?);
        let end = text.iter().position(|&b| b == 0).map_or(text.len(), |at| at + 1);
        text.truncate(end);
    }
    *out = text;
    Ok(())
}

pub fn open_environ(task: &TaskRef) -> Result<Box<dyn FileOps>> {
    let vm = Arc::downgrade(&inspected_vm(task)?.ok_or(ESRCH)?);
    Ok(TextFile::keeping(true, move |out| {
        if let Some(vm) = vm.upgrade() {
            let ranges = vm.ranges();
            *out = read(&vm, ranges.env_start, ranges.env_end)?;
        }
        Ok(())
    }))
}

/// The one thing that outlives the memory that it is about.
pub fn open_auxv(task: &TaskRef) -> Result<Box<dyn FileOps>> {
    let vm = inspected_vm(task)?.ok_or(ESRCH)?;
    let (vm, last) = (Arc::downgrade(&vm), vm.auxv());
    Ok(TextFile::keeping(true, move |out| {
        let words = vm.upgrade().map_or_else(|| last.clone(), |vm| vm.auxv());
        out.extend(words.iter().flat_map(|word| word.to_le_bytes()));
        Ok(())
    }))
}

/// Which parts of memory a core dump has (core(5)).
pub fn coredump_filter(task: &TaskRef, out: &mut Vec<u8>) -> Result<()> {
    if let Some(vm) = vm_of(task)? {
        out.extend_from_slice(format!("{:08x}\n", vm.dump_filter()).as_bytes());
    }
    Ok(())
}

/// Bits that mean nothing are ignored.
pub fn set_coredump_filter(task: &TaskRef, value: &[u8]) -> Result<()> {
    let text = core::str::from_utf8(value).map_err(|_| EINVAL)?.trim();
    let digits = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X"));
    let parsed = match digits {
        Some(digits) => u32::from_str_radix(digits, 16),
        None if text.len() > 1 && text.starts_with('0') => u32::from_str_radix(text, 8),
        None => text.parse(),
    };
    let filter = parsed.map_err(|_| EINVAL)?;
    vm_of(task)?.ok_or(ESRCH)?.set_dump_filter(filter as u16);
    Ok(())
}
