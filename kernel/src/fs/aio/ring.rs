//! The ring of events that a context shares with its program: `struct aio_ring` of Linux, which libraries read directly.
//!
//! The program may write anything anywhere in it. The kernel takes only the head from there, as an index that it reduces;
//! where events go next it knows itself.

use core::sync::atomic::{Ordering::Release, fence};

use arrayvec::ArrayVec;
use ostd::mm::{AllocClass, Frame};

use super::Event;
use crate::{
    fs::mount,
    mm::{FaultError, MemoryObject, ObjectId, ObjectName},
    prelude::*,
};

const ID: usize = 0;
const NR: usize = 4;
const HEAD: usize = 8;
const TAIL: usize = 12;
const MAGIC: usize = 16;
const COMPAT_FEATURES: usize = 20;
const HEADER_LENGTH: usize = 28;

/// Bytes before the first event: the events do not straddle pages.
const HEADER: usize = 32;
const EVENT: usize = size_of::<Event>();

pub struct Ring {
    frames: Vec<Frame>,
    slots: u32,
    ino: u64,
}

impl Ring {
    /// A ring for at least `events`.
    ///
    /// # Errors
    /// ENOMEM
    pub fn new(events: u32) -> Result<Arc<Ring>> {
        use core::sync::atomic::{AtomicU64, Ordering::Relaxed};
        static NEXT_INO: AtomicU64 = AtomicU64::new(1);

        // One slot stays free, so that a full ring is not an empty one.
        let pages = (HEADER + EVENT * (events as usize + 2)).div_ceil(PAGE_SIZE);
        if !ostd::mm::user_room_ok(pages) {
            return Err(ENOMEM);
        }
        let mut frames = Vec::with_capacity(pages);
        for _ in 0..pages {
            frames.push(Frame::zeroed(AllocClass::User)?);
        }
        let slots = ((PAGE_SIZE * pages - HEADER) / EVENT) as u32;
        let ring = Ring { frames, slots, ino: NEXT_INO.fetch_add(1, Relaxed) };
        ring.set_word(NR, slots);
        ring.set_word(MAGIC, 0xa10a_10a1);
        ring.set_word(COMPAT_FEATURES, 1);
        ring.set_word(HEADER_LENGTH, HEADER as u32);
        Ok(Arc::new(ring))
    }

    pub fn slots(&self) -> u32 {
        self.slots
    }

    pub fn bytes(&self) -> usize {
        self.frames.len() * PAGE_SIZE
    }

    pub fn object_id(&self) -> ObjectId {
        ObjectId(core::ptr::from_ref(self) as usize)
    }

    fn set_word(&self, at: usize, value: u32) {
        self.frames[0].write(at, &value.to_ne_bytes());
    }

    pub fn set_id(&self, index: u32) {
        self.set_word(ID, index);
    }

    /// The slot of the oldest event that was not taken out.
    pub fn head(&self) -> u32 {
        let mut word = [0; 4];
        self.frames[0].read(HEAD, &mut word);
        u32::from_ne_bytes(word) % self.slots
    }

    pub fn set_head(&self, head: u32) {
        self.set_word(HEAD, head);
    }

    fn place(&self, slot: u32) -> (&Frame, usize) {
        let offset = HEADER + slot as usize * EVENT;
        (&self.frames[offset / PAGE_SIZE], offset % PAGE_SIZE)
    }

    /// Writes an event into `slot`; the ring then ends before `tail`.
    pub fn put(&self, slot: u32, event: &Event, tail: u32) {
        let (frame, offset) = self.place(slot);
        for (at, value) in
            [event.data, event.obj, event.res as u64, event.res2 as u64].into_iter().enumerate()
        {
            frame.write(offset + at * 8, &value.to_ne_bytes());
        }
        // Pairs with the program's load of the tail: who sees it sees the event.
        fence(Release);
        self.set_word(TAIL, tail);
    }

    pub fn get(&self, slot: u32) -> Event {
        let (frame, offset) = self.place(slot);
        let word = |at: usize| {
            let mut bytes = [0; 8];
            frame.read(offset + at, &mut bytes);
            u64::from_ne_bytes(bytes)
        };
        Event { data: word(0), obj: word(8), res: word(16) as i64, res2: word(24) as i64 }
    }
}

impl MemoryObject for Ring {
    fn frame(&self, index: u64, _write: bool) -> Result<Frame, FaultError> {
        let index = usize::try_from(index).or(Err(FaultError::Bus))?;
        self.frames.get(index).cloned().ok_or(FaultError::Bus)
    }

    fn with_run(&self, index: u64, max: usize, look: &mut dyn FnMut(&[Option<Frame>])) {
        let from = usize::try_from(index).unwrap_or(usize::MAX).min(self.frames.len());
        let run: ArrayVec<Option<Frame>, 16> =
            self.frames[from..].iter().take(max.min(16)).cloned().map(Some).collect();
        look(&run);
    }

    fn size(&self) -> u64 {
        self.bytes() as u64
    }

    fn id(&self) -> ObjectId {
        self.object_id()
    }

    fn name(&self) -> ObjectName {
        static DEV: spin::Once<u64> = spin::Once::new();
        let dev = *DEV.call_once(|| mount::anonymous_dev().encode());
        ObjectName { dev, ino: self.ino, path: b"/[aio] (deleted)".to_vec() }
    }
}

#[cfg(feature = "ktest")]
mod test {
    use super::*;

    #[ktest::ktest]
    fn events_go_around_and_a_forged_head_does_no_harm() {
        let ring = Ring::new(8).unwrap();
        assert_eq!(ring.slots(), 127);
        for n in 0..300u32 {
            let slot = n % ring.slots();
            let event = Event { data: u64::from(n), obj: 1, res: -1, res2: 0 };
            ring.put(slot, &event, (slot + 1) % ring.slots());
            let back = ring.get(slot);
            assert_eq!((back.data, back.obj, back.res, back.res2), (u64::from(n), 1, -1, 0));
        }
        ring.set_head(u32::MAX);
        assert!(ring.head() < ring.slots());
    }
}
