//! What a process's files say of its memory: maps, statm, cmdline, environ, auxv. A zombie has none (rule 12.3).

use super::task::{Task, TaskRef};
use crate::{mm::Vm, prelude::*};

/// The address space; `None` for a zombie, or a thread that let go of it. ESRCH if there is no task.
pub fn vm_of(task: &TaskRef) -> Result<Option<Arc<Vm>>> {
    Ok(match task.find()? {
        Task::Live(thread) => thread.try_vm(),
        Task::Zombie(_) => None,
    })
}

pub fn maps(task: &TaskRef, out: &mut Vec<u8>) -> Result<()> {
    if let Some(vm) = vm_of(task)? {
        *out = vm.maps()?;
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

pub fn environ(task: &TaskRef, out: &mut Vec<u8>) -> Result<()> {
    let vm = vm_of(task)?.ok_or(ESRCH)?;
    let ranges = vm.ranges();
    *out = read(&vm, ranges.env_start, ranges.env_end)?;
    Ok(())
}

pub fn auxv(task: &TaskRef, out: &mut Vec<u8>) -> Result<()> {
    let vm = vm_of(task)?.ok_or(ESRCH)?;
    out.extend(vm.auxv().iter().flat_map(|word| word.to_le_bytes()));
    Ok(())
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
