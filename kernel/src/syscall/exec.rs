//! execve(2), execveat(2).

use ostd::user::mem;

use super::{Args, Context};
use crate::{
    prelude::*,
    process::exec::{
        self, AT_FDCWD, Target,
        flags::{AT_EMPTY_PATH, AT_EXECVE_CHECK, AT_SYMLINK_NOFOLLOW},
    },
};

const PATH_MAX: usize = 4096;

pub fn sys_execve(ctx: &mut Context, args: Args) -> Result<usize> {
    let [path, argv, envp, ..] = args;
    let target = Target { dirfd: AT_FDCWD, path: read_path(path)?, empty_path: false, no_follow: false };
    exec::execve(ctx, target, argv, envp)?;
    Ok(0)
}

pub fn sys_execveat(ctx: &mut Context, args: Args) -> Result<usize> {
    let [dirfd, path, argv, envp, flags, _] = args;
    let flags = flags as u32;
    // The path comes first (rule 10.1).
    let path = read_path(path)?;
    if flags & !(AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW | AT_EXECVE_CHECK) != 0 {
        return Err(EINVAL);
    }
    let target = Target {
        dirfd: dirfd as i32,
        path,
        empty_path: flags & AT_EMPTY_PATH != 0,
        no_follow: flags & AT_SYMLINK_NOFOLLOW != 0,
    };
    if flags & AT_EXECVE_CHECK != 0 {
        exec::check(ctx, target, argv, envp)?;
    } else {
        exec::execve(ctx, target, argv, envp)?;
    }
    Ok(0)
}

/// Copies a path from user memory, in small steps: nearly all are short.
fn read_path(addr: Vaddr) -> Result<Vec<u8>> {
    let mut path = Vec::new();
    let mut buffer = [0u8; 128];
    loop {
        let found = mem::strncpy_from_user(&mut buffer, addr.wrapping_add(path.len()))?;
        path.extend_from_slice(&buffer[..found.unwrap_or(buffer.len())]);
        match found {
            Some(_) => return Ok(path),
            None if path.len() >= PATH_MAX => return Err(ENAMETOOLONG),
            None => {}
        }
    }
}
