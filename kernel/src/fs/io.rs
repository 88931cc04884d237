//! Buffers of reads and writes: where the data of a read goes to, and where that of a write comes from.
//!
//! Both are either memory of the calling program (one range, or the list of readv(2) and writev(2)) or memory of the
//! kernel. Whoever has the data (a page cache, a pipe) moves it in one copy, frame to program, and never sees which it
//! was. A fault in the middle is not an error: what was moved before counts, as in Linux; only a fault at once is EFAULT.

use ostd::{
    mm::{AllocClass, Frame},
    user::mem,
};

use crate::prelude::*;

/// The most bytes that one read or write moves, as in Linux.
pub const MAX_RW_COUNT: usize = 0x7fff_f000;

/// The longest list of readv and writev.
pub const IOV_MAX: usize = 1024;

ostd::pod_struct! {
    /// `struct iovec`.
    pub struct IoVec {
        pub base: usize,
        pub len: usize,
    }
}

/// Reads a list of buffers. EINVAL if it is too long or a length is negative; what exceeds [`MAX_RW_COUNT`] is cut off.
pub fn read_iovecs(addr: Vaddr, count: usize) -> Result<Vec<IoVec>> {
    if count > IOV_MAX {
        return Err(EINVAL);
    }
    let mut list = Vec::with_capacity(count);
    let mut total = 0usize;
    for i in 0..count {
        let mut iov = read_iovec(addr.wrapping_add(i * size_of::<IoVec>()))?;
        iov.len = iov.len.min(MAX_RW_COUNT - total);
        total += iov.len;
        list.push(iov);
    }
    Ok(list)
}

/// Reads one buffer of a list. EINVAL if its length is negative; what exceeds [`MAX_RW_COUNT`] is cut off.
pub fn read_iovec(addr: Vaddr) -> Result<IoVec> {
    let mut iov: IoVec = mem::read(addr)?;
    if iov.len as isize <= -1 {
        return Err(EINVAL);
    }
    iov.len = iov.len.min(MAX_RW_COUNT);
    Ok(iov)
}

/// The place in a program's buffers that is next.
enum User<'a> {
    One(Vaddr),
    /// A list, and how much of its first element is done.
    List(&'a [IoVec], usize),
}

impl User<'_> {
    /// Calls `copy(offset, address, len)` for the pieces of the next `want` bytes until it copies less than asked, and
    /// returns how much was copied.
    #[inline(always)]
    fn for_each(&mut self, want: usize, mut copy: impl FnMut(usize, Vaddr, usize) -> usize) -> usize {
        match self {
            User::One(addr) => {
                let copied = copy(0, *addr, want);
                *addr += copied;
                copied
            }
            User::List(list, done) => {
                let mut total = 0;
                while total < want {
                    let Some(first) = list.first() else { break };
                    let piece = (first.len - *done).min(want - total);
                    let copied = copy(total, first.base.wrapping_add(*done), piece);
                    total += copied;
                    *done += copied;
                    if copied < piece {
                        break;
                    }
                    if *done == first.len {
                        *list = &list[1..];
                        *done = 0;
                    }
                }
                total
            }
        }
    }
}

/// Where the data of a read goes to.
pub struct ReadBuf<'a> {
    to: ReadTarget<'a>,
    left: usize,
    done: usize,
}

enum ReadTarget<'a> {
    User(User<'a>),
    Kernel(&'a mut [u8]),
}

impl<'a> ReadBuf<'a> {
    #[inline]
    pub fn user(addr: Vaddr, len: usize) -> Self {
        ReadBuf { to: ReadTarget::User(User::One(addr)), left: len.min(MAX_RW_COUNT), done: 0 }
    }

    pub fn user_list(list: &'a [IoVec]) -> Self {
        let left = list.iter().map(|iov| iov.len).sum();
        ReadBuf { to: ReadTarget::User(User::List(list, 0)), left, done: 0 }
    }

    pub fn kernel(buf: &'a mut [u8]) -> Self {
        let left = buf.len();
        ReadBuf { to: ReadTarget::Kernel(buf), left, done: 0 }
    }

    /// Bytes that still fit.
    #[inline]
    pub fn left(&self) -> usize {
        self.left
    }

    /// Bytes moved so far.
    #[inline]
    pub fn done(&self) -> usize {
        self.done
    }

    /// Moves as much of `bytes` as fits. EFAULT if a fault came at once.
    pub fn put(&mut self, bytes: &[u8]) -> Result<usize> {
        self.transfer(
            bytes.len(),
            |at, addr, len| mem::copy_to_user_partial(addr, &bytes[at..at + len]),
            |to| to.copy_from_slice(&bytes[..to.len()]),
        )
    }

    /// Moves up to `len` bytes at `offset` of a frame.
    #[inline(always)]
    pub fn put_frame(&mut self, frame: &Frame, offset: usize, len: usize) -> Result<usize> {
        self.transfer(
            len,
            |at, addr, len| frame.copy_to_user(offset + at, len, addr).unwrap_or(0),
            |to| frame.read(offset, to),
        )
    }

    /// Moves up to `len` zeros.
    pub fn put_zeros(&mut self, len: usize) -> Result<usize> {
        self.transfer(len, |_, addr, len| mem::clear_user(addr, len).map_or(0, |()| len), |to| to.fill(0))
    }

    #[inline(always)]
    fn transfer(
        &mut self,
        len: usize,
        user: impl FnMut(usize, Vaddr, usize) -> usize,
        kernel: impl FnOnce(&mut [u8]),
    ) -> Result<usize> {
        let want = len.min(self.left);
        let moved = match &mut self.to {
            ReadTarget::User(u) => u.for_each(want, user),
            ReadTarget::Kernel(buf) => {
                let (now, later) = core::mem::take(buf).split_at_mut(want);
                kernel(now);
                *buf = later;
                want
            }
        };
        self.left -= moved;
        self.done += moved;
        if moved == 0 && want > 0 { Err(EFAULT) } else { Ok(moved) }
    }
}

/// Where the data of a write comes from.
pub struct WriteBuf<'a> {
    from: WriteSource<'a>,
    left: usize,
    done: usize,
}

enum WriteSource<'a> {
    User(User<'a>),
    Kernel(&'a [u8]),
}

impl<'a> WriteBuf<'a> {
    #[inline]
    pub fn user(addr: Vaddr, len: usize) -> Self {
        WriteBuf { from: WriteSource::User(User::One(addr)), left: len.min(MAX_RW_COUNT), done: 0 }
    }

    pub fn user_list(list: &'a [IoVec]) -> Self {
        let left = list.iter().map(|iov| iov.len).sum();
        WriteBuf { from: WriteSource::User(User::List(list, 0)), left, done: 0 }
    }

    pub fn kernel(buf: &'a [u8]) -> Self {
        WriteBuf { from: WriteSource::Kernel(buf), left: buf.len(), done: 0 }
    }

    /// Bytes that are still to be taken.
    #[inline]
    pub fn left(&self) -> usize {
        self.left
    }

    /// Bytes moved so far.
    #[inline]
    pub fn done(&self) -> usize {
        self.done
    }

    /// Declares everything behind the next `len` bytes not part of the write.
    pub fn truncate(&mut self, len: usize) {
        self.left = self.left.min(len);
    }

    /// Drops everything that is left, as if it had been taken.
    pub fn skip_all(&mut self) -> usize {
        let skipped = core::mem::take(&mut self.left);
        self.done += skipped;
        skipped
    }

    /// Takes bytes until `buf` is full or none are left. EFAULT if a fault came at once.
    pub fn take(&mut self, buf: &mut [u8]) -> Result<usize> {
        let want = buf.len().min(self.left);
        let moved = match &mut self.from {
            WriteSource::User(u) => {
                u.for_each(want, |at, addr, len| mem::copy_from_user_partial(&mut buf[at..at + len], addr))
            }
            WriteSource::Kernel(from) => {
                buf[..want].copy_from_slice(&from[..want]);
                *from = &from[want..];
                want
            }
        };
        self.account(moved, want)
    }

    /// Takes up to `len` bytes into a frame at `offset`.
    #[inline(always)]
    pub fn take_frame(&mut self, frame: &Frame, offset: usize, len: usize) -> Result<usize> {
        let want = len.min(self.left);
        let moved = match &mut self.from {
            WriteSource::User(u) => {
                u.for_each(want, |at, addr, len| frame.copy_from_user(offset + at, len, addr).unwrap_or(0))
            }
            WriteSource::Kernel(from) => {
                frame.write(offset, &from[..want]);
                *from = &from[want..];
                want
            }
        };
        self.account(moved, want)
    }

    /// Takes up to `max` bytes into the start of a new frame, which nobody had to clear before. ENOMEM; EFAULT if a fault
    /// came at once.
    pub fn take_new_frame(&mut self, max: usize) -> Result<(Frame, usize)> {
        let want = max.min(self.left).min(PAGE_SIZE);
        let from = &mut self.from;
        let mut moved = 0;
        let frame = Frame::new_with(AllocClass::User, |writer| {
            moved = match from {
                WriteSource::User(u) => u.for_each(want, |_, addr, len| writer.write_user(addr, len)),
                WriteSource::Kernel(from) => {
                    let written = writer.write(&from[..want]);
                    *from = &from[written..];
                    written
                }
            };
        })?;
        Ok((frame, self.account(moved, want)?))
    }

    #[inline]
    fn account(&mut self, moved: usize, want: usize) -> Result<usize> {
        self.left -= moved;
        self.done += moved;
        if moved == 0 && want > 0 { Err(EFAULT) } else { Ok(moved) }
    }
}

/// What a read or write returns that may have stopped early: the bytes moved, or the error if there were none.
pub fn moved_or(done: usize, result: Result<()>) -> Result<usize> {
    match result {
        Err(e) if done == 0 => Err(e),
        _ => Ok(done),
    }
}
