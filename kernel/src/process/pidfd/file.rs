//! An open pidfd, and its node in pidfs.
//!
//! It can be polled, asked by ioctl and handed to the calls that take one; there is nothing to read, write, seek or map (rule
//! 11.6). The node has the number of the [`PidRef`], mode 0700 without a type, and attributes that nobody can change. To open
//! the descriptor's link in /proc gives another pidfd of the same pid, for the process.

use core::any::Any;

use ostd::user::mem;
use proctree::NsId;

use super::{PIDFD_AUTOKILL, PIDFD_THREAD, PidRef, State, info};
use crate::{
    fs::{
        file::{File, FileOps, OpenFlags},
        inode::{FsStat, Inode, InodeBase},
        poll::{PollEvents, PollTable},
    },
    prelude::*,
    process::{
        namespace::PidNs,
        pid,
        signal::{SIGKILL, SigInfo, send_process},
        tree,
    },
};

/// What is behind a pidfd.
pub struct PidFile {
    pid_ref: Arc<PidRef>,
    /// The process dies with the last descriptor.
    kills: bool,
}

/// f_type of fstatfs.
const PIDFS_MAGIC: u64 = 0x5049_4446;

/// The flags that stay in F_GETFL beside the usual ones.
const OWN_FLAGS: OpenFlags = PIDFD_THREAD.union(PIDFD_AUTOKILL);

impl PidFile {
    pub(super) fn open(pid_ref: Arc<PidRef>, flags: OpenFlags) -> Result<Arc<File>> {
        let inode = pid_ref.clone();
        let ops = PidFile { pid_ref, kills: flags.contains(PIDFD_AUTOKILL) };
        let file = File::new(Box::new(ops), inode, None, OpenFlags::RDWR | flags & OpenFlags::NONBLOCK)?;
        file.add_flags(flags & OWN_FLAGS);
        Ok(file)
    }

    pub fn pid_ref(&self) -> &Arc<PidRef> {
        &self.pid_ref
    }
}

/// What a file that should be a pidfd refers to.
///
/// # Errors
/// `EBADF` if it is none.
pub fn pid_of(file: &File) -> Result<&Arc<PidRef>> {
    Ok(file.downcast::<PidFile>().ok_or(EBADF)?.pid_ref())
}

/// FS_IOC_GETVERSION: the node's generation.
const GET_VERSION: u32 = 0x8008_7601;

impl FileOps for PidFile {
    fn directions(&self) -> (bool, bool) {
        (false, false)
    }

    /// As in Linux: pread is EINVAL as read is, not ESPIPE.
    fn takes_positions(&self) -> bool {
        true
    }

    fn poll<'a>(&'a self, _: &'a File, table: &mut PollTable<'a>) -> PollEvents {
        table.add_for(&self.pid_ref.queue, PollEvents::READABLE | PollEvents::HUP);
        match self.pid_ref.state() {
            State::Live => PollEvents::empty(),
            State::Dead => PollEvents::READABLE,
            State::Gone => PollEvents::READABLE | PollEvents::HUP,
        }
    }

    fn can_poll(&self) -> bool {
        true
    }

    fn as_any(&self) -> Option<&dyn Any> {
        Some(self)
    }

    fn ioctl(&self, _: &File, request: u32, arg: usize) -> Result<usize> {
        match request {
            GET_VERSION if arg == 0 => Err(EINVAL),
            GET_VERSION => {
                mem::write(arg, &0u32)?;
                Ok(0)
            }
            _ if info::is_request(request) => info::get(&self.pid_ref, info::size_of_request(request), arg),
            _ => info::namespace(&self.pid_ref, request, arg),
        }
    }

    fn anonymous_name(&self) -> String {
        String::from("anon_inode:[pidfd]")
    }

    /// Rule 11.8: the numbers from `ns` inward; 0 if it is not visible there, -1 once it was reaped.
    fn describe(&self, ns: NsId, out: &mut String) {
        let PidRef { key, pid_ns, .. } = &*self.pid_ref;
        let mut levels: Vec<(NsId, i64)> = Vec::new();
        if pid_ns.upwards().any(|above| above.id() == ns) {
            levels.extend(pid_ns.upwards().map(PidNs::id).take_while(|&id| id != ns).map(|id| (id, 0)));
        }
        levels.push((ns, 0));
        let table = tree::lock();
        for (ns, nr) in &mut levels {
            *nr = i64::from(table.nr(key.pid, *ns));
        }
        drop(table);
        if self.pid_ref.state() == State::Gone {
            levels = vec![(ns, -1)];
        }
        let numbers: Vec<String> = levels.iter().rev().map(|(_, nr)| nr.to_string()).collect();
        *out += &format!("Pid:\t{}\nNSpid:\t{}\n", numbers[0], numbers.join("\t"));
    }
}

impl Drop for PidFile {
    fn drop(&mut self) {
        if self.kills
            && let Some(thread) = pid::thread_of(&self.pid_ref.key)
        {
            // The kernel's own SIGKILL: no permission is asked for, and the init of a namespace dies of it too.
            send_process(&thread.process, None, SigInfo::kernel(SIGKILL));
        }
    }
}

impl Inode for PidRef {
    fn base(&self) -> &InodeBase {
        &self.base
    }

    fn open(self: Arc<Self>, _: OpenFlags) -> Result<Box<dyn FileOps>> {
        Ok(Box::new(PidFile { pid_ref: self, kills: false }))
    }

    fn may_resize(&self) -> Result<()> {
        Err(EOPNOTSUPP)
    }

    fn has_trusted_xattrs(&self) -> bool {
        true
    }

    fn is_private(&self) -> bool {
        true
    }

    fn may_change_attributes(&self) -> Result<()> {
        Err(EOPNOTSUPP)
    }

    fn statfs(&self) -> Result<FsStat> {
        Ok(FsStat { magic: PIDFS_MAGIC, block_size: PAGE_SIZE as u64, ..FsStat::default() })
    }
}
