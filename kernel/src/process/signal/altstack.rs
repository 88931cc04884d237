//! The alternate signal stack of a thread (sigaltstack(2), rule 7.35).

use crate::prelude::*;

pub const SS_ONSTACK: u32 = 1;
pub const SS_DISABLE: u32 = 2;
pub const SS_AUTODISARM: u32 = 1 << 31;

/// The smallest `ss_size` that is accepted, in bytes.
pub const MINSIGSTKSZ: u64 = 2048;

#[derive(Clone, Copy, Debug)]
pub struct AltStack {
    pub base: u64,
    pub size: u64,
    /// `SS_DISABLE` or `SS_AUTODISARM` or nothing.
    pub flags: u32,
}

impl AltStack {
    pub const DISABLED: AltStack = AltStack { base: 0, size: 0, flags: SS_DISABLE };

    /// What a process starts with: disabled as well, though nobody said so.
    pub const NONE: AltStack = AltStack { base: 0, size: 0, flags: 0 };

    /// Checks what a program passes to sigaltstack(2).
    ///
    /// # Errors
    /// `EINVAL` for an unknown mode, `ENOMEM` for a stack below [`MINSIGSTKSZ`].
    pub fn from_user(base: u64, flags: u32, size: u64) -> Result<AltStack> {
        match flags & !SS_AUTODISARM {
            SS_DISABLE => Ok(AltStack { flags, ..AltStack::DISABLED }),
            0 | SS_ONSTACK if size < MINSIGSTKSZ => Err(ENOMEM),
            0 | SS_ONSTACK => Ok(AltStack { base, size, flags: flags & SS_AUTODISARM }),
            _ => Err(EINVAL),
        }
    }

    pub fn is_enabled(&self) -> bool {
        self.size != 0
    }

    /// Whether `sp` lies on this stack. One that disarms itself on entry is never "on".
    pub fn contains(&self, sp: u64) -> bool {
        self.flags & SS_AUTODISARM == 0 && sp > self.base && sp - self.base <= self.size
    }

    /// `ss_flags` as a program reads them with its stack pointer at `sp`.
    pub fn flags_at(&self, sp: u64) -> u32 {
        let mode = match self.is_enabled() {
            false => SS_DISABLE,
            true if self.contains(sp) => SS_ONSTACK,
            true => 0,
        };
        mode | (self.flags & SS_AUTODISARM)
    }
}
