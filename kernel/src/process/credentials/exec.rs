//! What execve(2) makes of credentials (capabilities(7), "Transformation of capabilities during execve()"; rules 1.20, 1.39, 10.16).
//!
//! ```text
//! P'(permitted)  = (file permitted & bounding) | (file inheritable & P(inheritable)) | P'(ambient)
//! P'(effective)  = file effective ? P'(permitted) : P'(ambient)
//! P'(ambient)    = 0 if ids change or the file has capabilities, else P(ambient)
//! ```
//! For root, a file without capabilities counts as one that has them all, unless SECBIT_NOROOT says otherwise.

use super::{CapSet, Credentials, SecureBits};
use crate::prelude::*;

/// The capabilities of a file: what its attribute `security.capability` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileCaps {
    pub permitted: CapSet,
    pub inheritable: CapSet,
    pub effective: bool,
    /// Uid of the root of the user namespace that it counts in (version 3); 0: in all.
    pub root_uid: u32,
}

/// Sizes of versions 2 and 3 of the attribute: a magic word, two words for each half of a set, and in version 3 the root's uid.
const SIZE_V1: usize = 12;
const SIZE_V2: usize = 20;
const SIZE_V3: usize = 24;
const VERSION_MASK: u32 = 0xff00_0000;
const VERSION_1: u32 = 0x0100_0000;
const VERSION_2: u32 = 0x0200_0000;
const VERSION_3: u32 = 0x0300_0000;
const EFFECTIVE: u32 = 1;

impl FileCaps {
    /// Decodes the attribute.
    ///
    /// # Errors
    /// EINVAL when version and length don't fit.
    pub fn decode(bytes: &[u8]) -> Result<FileCaps> {
        let (words, rest) = bytes.as_chunks::<4>();
        let word = |i: usize| words.get(i).map_or(0, |word| u32::from_le_bytes(*word));
        let magic = word(0);
        let halves = match (magic & VERSION_MASK, bytes.len()) {
            (VERSION_1, SIZE_V1) => 1,
            (VERSION_2, SIZE_V2) | (VERSION_3, SIZE_V3) => 2,
            _ => return Err(EINVAL),
        };
        debug_assert!(rest.is_empty());
        let set = |first: usize| {
            let high = if halves == 2 { word(first + 2) } else { 0 };
            CapSet(u64::from(word(first)) | u64::from(high) << 32) & CapSet::FULL
        };
        Ok(FileCaps {
            permitted: set(1),
            inheritable: set(2),
            effective: magic & EFFECTIVE != 0,
            root_uid: if bytes.len() == SIZE_V3 { word(5) } else { 0 },
        })
    }

    /// Whether `bytes` may be stored as the attribute: version 2 or 3.
    pub fn is_valid(bytes: &[u8]) -> bool {
        bytes.len() != SIZE_V1 && FileCaps::decode(bytes).is_ok()
    }

    /// What getxattr(2) shows of `bytes`: version 3 of the own root as version 2.
    pub fn shown(bytes: &[u8]) -> Vec<u8> {
        match FileCaps::decode(bytes) {
            Ok(caps) if bytes.len() == SIZE_V3 && caps.root_uid == 0 => {
                let mut shown = bytes[..SIZE_V2].to_vec();
                let magic = VERSION_2 | u32::from(caps.effective);
                shown[..4].copy_from_slice(&magic.to_le_bytes());
                shown
            }
            _ => bytes.to_vec(),
        }
    }
}

/// What a file that is executed gives, as far as the mount and no_new_privs let it.
#[derive(Clone, Copy, Default)]
pub struct Privileges {
    pub set_uid: Option<u32>,
    pub set_gid: Option<u32>,
    pub caps: Option<FileCaps>,
}

/// The credentials of a new program.
pub struct ExecCreds {
    pub creds: Credentials,
    /// The C library must not trust the environment (AT_SECURE).
    pub secure: bool,
    /// Personality flags that would help an attacker go.
    pub clear_personality: bool,
}

impl Credentials {
    /// What execve of a file with these `privileges` leads to. `no_new_privs` and `shares_fs` take away what would be gained.
    ///
    /// # Errors
    /// EPERM when the file's capabilities are to be effective and the bounding set doesn't let it have them all.
    pub fn after_exec(
        &self,
        privileges: &Privileges,
        no_new_privs: bool,
        shares_fs: impl FnOnce() -> bool,
    ) -> Result<ExecCreds> {
        let mut new = self.clone();
        new.euid = privileges.set_uid.unwrap_or(self.euid);
        new.egid = privileges.set_gid.unwrap_or(self.egid);
        let mut effective = new.take_file_caps(privileges)?;
        effective |= new.take_root_caps(self, privileges);

        let gains = !new.permitted.is_subset_of(self.permitted);
        let set_id = privileges.set_uid.is_some() || privileges.set_gid.is_some();
        let changed = new.euid != self.euid || !self.in_group(new.egid);
        if (changed || gains) && (no_new_privs || shares_fs()) {
            if no_new_privs || !self.capable(super::Cap::Setuid) {
                new.euid = new.uid;
                new.egid = new.gid;
            }
            new.permitted = new.permitted & self.permitted;
        }
        new.suid = new.euid;
        new.fsuid = new.euid;
        new.sgid = new.egid;
        new.fsgid = new.egid;
        if changed || privileges.caps.is_some() {
            new.ambient = CapSet::EMPTY;
        }
        new.permitted = new.permitted | new.ambient;
        new.effective = if effective { new.permitted } else { new.ambient };
        new.securebits.remove(SecureBits::KEEP_CAPS);

        let elevated = new.uid != 0 && (effective || !new.permitted.is_subset_of(new.ambient));
        let secure = changed || new.euid != self.uid || new.egid != self.gid || elevated;
        Ok(ExecCreds { creds: new, secure, clear_personality: set_id || gains })
    }

    /// The file's part of the permitted set. Returns whether it is effective.
    fn take_file_caps(&mut self, privileges: &Privileges) -> Result<bool> {
        let Some(file) = privileges.caps else {
            self.permitted = CapSet::EMPTY;
            return Ok(false);
        };
        self.permitted = self.bounding & file.permitted | self.inheritable & file.inheritable;
        // A program that knows nothing of capabilities must not run with half of what it needs.
        if file.effective && !file.permitted.is_subset_of(self.permitted) {
            return Err(EPERM);
        }
        Ok(file.effective)
    }

    /// What root has of any file. Returns whether it is effective. `self` has its new ids already.
    fn take_root_caps(&mut self, old: &Credentials, privileges: &Privileges) -> bool {
        if self.securebits.contains(SecureBits::NOROOT) {
            return false;
        }
        // A set-uid-root file with capabilities gives somebody else only those.
        if privileges.caps.is_some() && self.uid != 0 && self.euid == 0 {
            return false;
        }
        if self.euid == 0 || self.uid == 0 {
            self.permitted = old.bounding | old.inheritable;
        }
        self.euid == 0
    }
}
