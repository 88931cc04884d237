//! A segment as memory that can be mapped.

use core::sync::atomic::{AtomicI32, Ordering::Relaxed};

use ostd::mm::Frame;

use super::REGISTRY;
use crate::{
    ipc::sysv::{LastPid, now_seconds},
    mm::{FaultError, MemoryObject, ObjectId, ObjectName, SharedMemory},
    prelude::*,
    process::Thread,
};

pub struct Segment {
    memory: SharedMemory,
    /// The key that it was made with.
    key: i32,
    /// Its id; written once, before anybody else knows of it.
    id: AtomicI32,
}

impl Segment {
    pub fn new(bytes: usize, key: i32) -> Result<Arc<Segment>> {
        super::super::check_room(0)?;
        Ok(Arc::new(Segment { memory: SharedMemory::new(bytes), key, id: AtomicI32::new(-1) }))
    }

    pub fn id(&self) -> i32 {
        self.id.load(Relaxed)
    }

    pub fn set_id(&self, id: i32) {
        self.id.store(id, Relaxed);
    }

    /// How many of its pages there are.
    pub fn resident(&self) -> usize {
        self.memory.resident()
    }
}

fn caller() -> Option<LastPid> {
    Thread::try_current().map(|thread| LastPid::of(&thread.process))
}

impl MemoryObject for Segment {
    fn frame(&self, index: u64, write: bool) -> Result<Frame, FaultError> {
        self.memory.frame(index, write)
    }

    fn with_run(&self, index: u64, max: usize, look: &mut dyn FnMut(&[Option<Frame>])) {
        self.memory.with_run(index, max, look);
    }

    fn size(&self) -> u64 {
        self.memory.size()
    }

    fn id(&self) -> ObjectId {
        self.memory.id()
    }

    fn name(&self) -> ObjectName {
        let path = format!("/SYSV{:08x} (deleted)", self.key).into_bytes();
        ObjectName { dev: 1, ino: self.id.load(Relaxed) as u64, path }
    }

    fn is_shared_memory(&self) -> bool {
        true
    }

    fn attached(&self) {
        let last = caller();
        if let Some(entry) = REGISTRY.lock().ids.get_mut(Segment::id(self)) {
            entry.attached = now_seconds();
            entry.last = last.or(entry.last);
        }
    }

    fn detach(self: Arc<Self>) {
        let last = caller();
        let mut registry = REGISTRY.lock();
        if let Some(entry) = registry.ids.get_mut(Segment::id(&self)) {
            entry.detached = now_seconds();
            entry.last = last.or(entry.last);
        }
        let gone = registry.release(self);
        drop(registry);
        drop(gone);
    }
}
