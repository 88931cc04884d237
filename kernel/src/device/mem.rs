//! The memory devices: null, zero, full, random, urandom, kmsg (null(4), full(4), random(4)).

use crate::{
    fs::{
        file::{File, FileOps, MapKind},
        inode::DevId,
        io::{ReadBuf, WriteBuf},
    },
    prelude::*,
};

pub const NULL: DevId = DevId::new(1, 3);
pub const ZERO: DevId = DevId::new(1, 5);
pub const FULL: DevId = DevId::new(1, 7);
pub const RANDOM: DevId = DevId::new(1, 8);
pub const URANDOM: DevId = DevId::new(1, 9);
pub const KMSG: DevId = DevId::new(1, 11);

pub(super) fn open(rdev: DevId) -> Option<Box<dyn FileOps>> {
    Some(match rdev {
        NULL => Box::new(Memory::Null),
        ZERO => Box::new(Memory::Zero),
        FULL => Box::new(Memory::Full),
        RANDOM | URANDOM => Box::new(Memory::Random),
        KMSG => Box::new(Kmsg),
        _ => return None,
    })
}

/// The devices that have no state: they differ in what is read and in what becomes of what is written.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Memory {
    /// The end of the file; takes everything.
    Null,
    /// Zeros; takes everything.
    Zero,
    /// Zeros; has no room for anything.
    Full,
    /// random and urandom: the same generator, which is ready from the start. What is written would be mixed into the pool;
    /// the generator has no need of it.
    Random,
}

impl FileOps for Memory {
    fn read_at(&self, _: &File, buf: &mut ReadBuf, _: u64) -> Result<usize> {
        match self {
            Memory::Null => Ok(0),
            Memory::Zero | Memory::Full => read_zeros(buf),
            Memory::Random => read_random(buf),
        }
    }

    fn write_at(&self, _: &File, buf: &mut WriteBuf, pos: u64) -> Result<(usize, u64)> {
        if *self == Memory::Full {
            return Err(ENOSPC);
        }
        Ok((buf.skip_all(), pos))
    }

    fn has_owner(&self) -> bool {
        *self == Memory::Random
    }

    fn is_seekable(&self) -> bool {
        true
    }

    /// The offset stays at the start, whatever is asked for.
    fn seek(&self, _: &File, _: u64, _: i64, _: u32) -> Result<u64> {
        Ok(0)
    }

    fn map_kind(&self, _: &File) -> MapKind {
        match self {
            Memory::Zero => MapKind::Anonymous,
            _ => MapKind::None,
        }
    }

    fn ioctl(&self, _: &File, request: u32, arg: usize) -> Result<usize> {
        /// RNDGETENTCNT: bits of entropy in the pool.
        const RNDGETENTCNT: u32 = 0x8004_5200;
        if *self != Memory::Random || request != RNDGETENTCNT {
            return Err(ENOTTY);
        }
        ostd::user::mem::write(arg, &256u32)?;
        Ok(0)
    }
}

fn read_zeros(buf: &mut ReadBuf) -> Result<usize> {
    if buf.left() > 0 {
        buf.put_zeros(buf.left())?;
    }
    Ok(buf.done())
}

/// Fills a buffer with random bytes; stops at a fault.
fn read_random(buf: &mut ReadBuf) -> Result<usize> {
    let mut bytes = [0; 256];
    while buf.left() > 0 {
        let piece = bytes.len().min(buf.left());
        ostd::random::fill(&mut bytes[..piece]);
        match buf.put(&bytes[..piece]) {
            Ok(moved) if moved == piece => {}
            Err(e) if buf.done() == 0 => return Err(e),
            _ => break,
        }
    }
    Ok(buf.done())
}

/// Takes messages of programs for the kernel's log, which can't be read back.
struct Kmsg;

/// The longest message, as in Linux.
const KMSG_MAX: usize = 1024;

impl FileOps for Kmsg {
    fn read_at(&self, file: &File, _: &mut ReadBuf, _: u64) -> Result<usize> {
        if file.is_nonblocking() { Err(EAGAIN) } else { Ok(0) }
    }

    fn write_at(&self, _: &File, buf: &mut WriteBuf, pos: u64) -> Result<(usize, u64)> {
        if buf.left() > KMSG_MAX {
            return Err(EINVAL);
        }
        let mut text = vec![0; buf.left()];
        let n = buf.take(&mut text)?;
        let text = String::from_utf8_lossy(&text[..n]);
        // An optional priority "<n>" stands before the text.
        let (level, message) = match text.strip_prefix('<').and_then(|rest| rest.split_once('>')) {
            Some((level, message)) => (level.parse::<u32>().unwrap_or(4) & 7, message),
            None => (4, &*text),
        };
        let message = message.trim_end_matches('\n');
        match level {
            0..=3 => error!("{message}"),
            4 => warn!("{message}"),
            5..=6 => info!("{message}"),
            _ => debug!("{message}"),
        }
        Ok((n, pos))
    }
}
