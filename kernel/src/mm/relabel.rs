//! prctl(PR_SET_MM): a program that restores another one says where its parts lie (rule 1.45). What is said here shows in
//! /proc/PID; only the heap's ends move anything.

use super::{Backing, MMAP_MIN_ADDR, ProgramRanges, Vm, Vma};
use crate::{
    fs::{inode, open::ExecFile},
    prelude::*,
};
use ostd::mm::USER_END;

/// All that can be said.
#[derive(Clone, Copy, Debug)]
pub struct ProgramMap {
    pub ranges: ProgramRanges,
    pub brk_start: Vaddr,
    pub brk: Vaddr,
}

impl ProgramMap {
    /// Whether the parts lie in user memory and the right way round, and the data segment within `data_limit`.
    fn check(&self, data_limit: usize) -> Result<()> {
        let r = &self.ranges;
        let all = [
            r.start_code,
            r.end_code,
            r.start_data,
            r.end_data,
            self.brk_start,
            self.brk,
            r.start_stack,
            r.arg_start,
            r.arg_end,
            r.env_start,
            r.env_end,
        ];
        let inside = all.iter().all(|addr| (MMAP_MIN_ADDR..USER_END).contains(addr));
        let ordered = r.start_code < r.end_code
            && r.start_data <= r.end_data
            && self.brk_start <= self.brk
            && r.arg_start <= r.arg_end
            && r.env_start <= r.env_end;
        if !(inside && ordered) {
            return Err(EINVAL);
        }
        let data = (self.brk - self.brk_start).saturating_add(r.end_data - r.start_data);
        if data > data_limit { Err(EINVAL) } else { Ok(()) }
    }
}

impl Vm {
    /// Changes what `change` says of the map. `must_exist`: something has to be mapped at or above this address.
    ///
    /// # Errors
    /// EINVAL when the result makes no sense, EFAULT when nothing is mapped there.
    pub fn relabel(
        &self,
        data_limit: usize,
        must_exist: Option<Vaddr>,
        change: impl FnOnce(&mut ProgramMap),
    ) -> Result<()> {
        let mut layout = self.layout.write();
        let mut map = ProgramMap { ranges: layout.ranges, brk_start: layout.brk_start, brk: layout.brk };
        change(&mut map);
        map.check(data_limit)?;
        if must_exist.is_some_and(|addr| layout.vmas.find_at_or_above(addr).is_none()) {
            return Err(EFAULT);
        }
        (layout.ranges, layout.brk_start, layout.brk) = (map.ranges, map.brk_start, map.brk);
        Ok(())
    }

    pub fn set_auxv(&self, auxv: Arc<[u64]>) {
        self.layout.write().auxv = auxv;
    }

    /// Makes `exe` the file that the program was started from.
    ///
    /// # Errors
    /// EBUSY while a part of the old one is mapped.
    pub fn set_exe(&self, exe: Arc<ExecFile>) -> Result<()> {
        let mut layout = self.layout.write();
        if let Some(old) = &layout.exe {
            let base = old.file().inode().base();
            let maps_old = |vma: &Vma| match &vma.attr.backing {
                Backing::Object(object, _) => {
                    let name = object.name();
                    name.ino == base.ino && name.dev == base.dev.encode()
                }
                Backing::Anonymous => false,
            };
            if !inode::same(old.file().inode(), exe.file().inode()) && layout.vmas.iter().any(maps_old) {
                return Err(EBUSY);
            }
        }
        let old = layout.exe.replace(exe);
        drop(layout);
        drop(old);
        Ok(())
    }
}
