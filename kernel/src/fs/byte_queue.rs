//! A queue of bytes in frames: what pipes and stream sockets hold between a write and a read.
//!
//! Bytes are copied program to frame to program. A frame that is filled at once is never cleared before; an emptied queue
//! keeps one frame, so that small messages allocate nothing. Whoever owns the queue locks it and bounds its length.

use alloc::collections::VecDeque;

use ostd::mm::Frame;

use super::io::{ReadBuf, WriteBuf};
use crate::prelude::*;

/// See the [module's description](self).
#[derive(Default)]
pub struct ByteQueue {
    /// The first byte is at `head` of the first frame; the frames are full up to the last byte.
    frames: VecDeque<Frame>,
    head: usize,
    len: usize,
}

impl ByteQueue {
    /// Bytes in the queue.
    #[inline]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Moves up to `max` bytes out until the queue is empty or the buffer full; returns how many. EFAULT if a fault came
    /// before the first.
    #[inline]
    pub fn read(&mut self, buf: &mut ReadBuf, max: usize) -> Result<usize> {
        let wanted = max.min(self.len);
        match self.frames.front() {
            // Small messages lie in one frame.
            Some(frame) if self.head + wanted <= PAGE_SIZE => {
                let moved = buf.put_frame(frame, self.head, wanted)?;
                self.consume(moved);
                Ok(moved)
            }
            _ => self.read_frames(buf, max),
        }
    }

    fn read_frames(&mut self, buf: &mut ReadBuf, max: usize) -> Result<usize> {
        let end = self.len - max.min(self.len);
        let before = self.len;
        while self.len > end && buf.left() > 0 {
            let Some(frame) = self.frames.front() else { break };
            let wanted = (PAGE_SIZE - self.head).min(self.len - end);
            let fits = wanted.min(buf.left());
            let moved = match buf.put_frame(frame, self.head, wanted) {
                Ok(moved) => moved,
                Err(_) if self.len < before => break,
                Err(e) => return Err(e),
            };
            self.consume(moved);
            if moved < fits {
                break;
            }
        }
        Ok(before - self.len)
    }

    /// Takes `count` bytes of the first frame away.
    #[inline]
    fn consume(&mut self, count: usize) {
        self.head += count;
        self.len -= count;
        if self.len == 0 {
            // One frame stays for the next message.
            if self.frames.len() > 1 {
                self.frames.truncate(1);
            }
            self.head = 0;
        } else if self.head == PAGE_SIZE {
            self.frames.pop_front();
            self.head = 0;
        }
    }

    /// As [`read`](Self::read), from `skip` bytes behind the first, and leaves everything where it is.
    pub fn peek(&self, buf: &mut ReadBuf, skip: usize, max: usize) -> Result<usize> {
        let mut at = self.head + skip;
        let end = at + max.min(self.len.saturating_sub(skip));
        let start = at;
        while at < end && buf.left() > 0 {
            let wanted = (PAGE_SIZE - at % PAGE_SIZE).min(end - at);
            let fits = wanted.min(buf.left());
            let moved = match buf.put_frame(&self.frames[at / PAGE_SIZE], at % PAGE_SIZE, wanted) {
                Ok(moved) => moved,
                Err(_) if at > start => break,
                Err(e) => return Err(e),
            };
            at += moved;
            if moved < fits {
                break;
            }
        }
        Ok(at - start)
    }

    /// Moves bytes in until `room` is used up or the buffer is empty; returns how many. Of a frame whose copy hits a fault
    /// nothing goes in: EFAULT if that is the first one. ENOMEM likewise.
    #[inline]
    pub fn write(&mut self, buf: &mut WriteBuf, room: usize) -> Result<usize> {
        let wanted = room.min(buf.left());
        let end = self.head + self.len;
        match self.frames.front() {
            // What goes behind a small message mostly finds room in the same frame.
            Some(frame) if end + wanted <= PAGE_SIZE => {
                let moved = buf.take_frame(frame, end, wanted)?;
                if moved < wanted {
                    return Err(EFAULT);
                }
                self.len += moved;
                Ok(moved)
            }
            _ => self.write_frames(buf, room),
        }
    }

    fn write_frames(&mut self, buf: &mut WriteBuf, room: usize) -> Result<usize> {
        let before = self.len;
        while buf.left() > 0 && self.len - before < room {
            let wanted = room - (self.len - before);
            match self.write_step(buf, wanted) {
                Ok(moved) => self.len += moved,
                Err(_) if self.len > before => break,
                Err(e) => return Err(e),
            }
        }
        Ok(self.len - before)
    }

    /// Fills the last frame, or a new one.
    #[inline]
    fn write_step(&mut self, buf: &mut WriteBuf, room: usize) -> Result<usize> {
        let end = self.head + self.len;
        let (index, offset) = (end / PAGE_SIZE, end % PAGE_SIZE);
        let wanted = (PAGE_SIZE - offset).min(room);
        let fits = wanted.min(buf.left());
        let moved = match self.frames.get(index) {
            Some(frame) => buf.take_frame(frame, offset, wanted)?,
            None => {
                let (frame, moved) = buf.take_new_frame(wanted)?;
                self.frames.push_back(frame);
                moved
            }
        };
        if moved == fits { Ok(moved) } else { Err(EFAULT) }
    }

    /// Drops everything.
    pub fn clear(&mut self) {
        *self = ByteQueue::default();
    }
}

#[cfg(feature = "ktest")]
mod test {
    use super::*;

    fn put(queue: &mut ByteQueue, bytes: &[u8], room: usize) -> usize {
        queue.write(&mut WriteBuf::kernel(bytes), room).unwrap()
    }

    fn take(queue: &mut ByteQueue, max: usize) -> Vec<u8> {
        let mut out = vec![0; max];
        let n = queue.read(&mut ReadBuf::kernel(&mut out), max).unwrap();
        out.truncate(n);
        out
    }

    #[ktest::ktest]
    fn bytes_come_out_in_order_across_frames() {
        let pattern: Vec<u8> = (0..3 * PAGE_SIZE + 77).map(|i| (i % 251) as u8).collect();
        let mut queue = ByteQueue::default();
        assert_eq!(put(&mut queue, &pattern[..100], 1000), 100);
        assert_eq!(put(&mut queue, &pattern[100..], usize::MAX), pattern.len() - 100);
        let mut peeked = vec![0; 5000];
        assert_eq!(queue.peek(&mut ReadBuf::kernel(&mut peeked), 4000, usize::MAX), Ok(5000));
        assert_eq!(peeked, pattern[4000..9000]);
        let mut all = take(&mut queue, 4097);
        all.extend(take(&mut queue, pattern.len()));
        assert_eq!(all, pattern);
        assert_eq!(queue.len(), 0);
    }

    #[ktest::ktest]
    fn room_and_maximum_are_kept() {
        let mut queue = ByteQueue::default();
        assert_eq!(put(&mut queue, b"abcdef", 4), 4);
        assert_eq!(take(&mut queue, 3), b"abc");
        assert_eq!(queue.peek(&mut ReadBuf::kernel(&mut [0; 4]), 1, 9), Ok(0));
        assert_eq!(take(&mut queue, 3), b"d");
    }
}
