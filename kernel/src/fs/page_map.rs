//! The pages of a file: index → frame.
//!
//! The first pages (4 MiB) stand in a vector, the rest, of files that are long or sparse, in a tree. The frames are the
//! file's contents: programs map them as they are.

use alloc::collections::BTreeMap;

use ostd::mm::Frame;

use crate::prelude::*;

/// Pages that the vector holds at most.
const DENSE: u64 = 1024;

/// The pages of one file.
#[derive(Default)]
pub struct PageMap {
    dense: Vec<Option<Frame>>,
    sparse: BTreeMap<u64, Frame>,
}

impl PageMap {
    #[inline]
    pub fn get(&self, index: u64) -> Option<&Frame> {
        if index < DENSE { self.dense.get(index as usize)?.as_ref() } else { self.sparse.get(&index) }
    }

    /// The pages from `index` on, at most `max`; none where files are long or sparse.
    #[inline]
    pub fn dense_run(&self, index: u64, max: usize) -> &[Option<Frame>] {
        let rest = usize::try_from(index).ok().and_then(|index| self.dense.get(index..)).unwrap_or(&[]);
        &rest[..max.min(rest.len())]
    }

    /// Stores a frame and returns what was there.
    pub fn insert(&mut self, index: u64, frame: Frame) -> Option<Frame> {
        if index >= DENSE {
            return self.sparse.insert(index, frame);
        }
        let at = index as usize;
        if at >= self.dense.len() {
            self.dense.resize_with(at + 1, || None);
        }
        self.dense[at].replace(frame)
    }

    /// Takes the pages from `first` up to `end` (exclusive) out, for the caller to drop without a lock.
    pub fn remove_range(&mut self, first: u64, end: u64) -> Vec<Frame> {
        let mut removed = Vec::new();
        let dense_len = self.dense.len() as u64;
        if first < dense_len {
            let (from, to) = (first as usize, end.min(dense_len) as usize);
            removed.extend(self.dense[from..to].iter_mut().filter_map(Option::take));
            if end >= dense_len {
                self.dense.truncate(from);
            }
        }
        if end > DENSE {
            let mut tail = self.sparse.split_off(&first.max(DENSE));
            let mut rest = tail.split_off(&end);
            removed.extend(tail.into_values());
            self.sparse.append(&mut rest);
        }
        removed
    }
}

#[cfg(feature = "ktest")]
mod test {
    use ostd::mm::AllocClass;

    use super::*;

    fn frame(byte: u8) -> Frame {
        let frame = Frame::zeroed(AllocClass::Kernel).unwrap();
        frame.write(0, &[byte]);
        frame
    }

    fn byte(map: &PageMap, index: u64) -> Option<u8> {
        let mut byte = [0];
        map.get(index)?.read(0, &mut byte);
        Some(byte[0])
    }

    #[ktest::ktest]
    fn pages_are_found_near_and_far() {
        let mut map = PageMap::default();
        for (n, index) in [0, 5, DENSE - 1, DENSE, 1 << 40].into_iter().enumerate() {
            assert!(map.insert(index, frame(n as u8)).is_none());
        }
        assert_eq!(byte(&map, 5), Some(1));
        assert_eq!(byte(&map, 4), None);
        assert_eq!(byte(&map, DENSE), Some(3));
        assert_eq!(byte(&map, 1 << 40), Some(4));
        assert!(map.insert(5, frame(9)).is_some());
        assert_eq!(byte(&map, 5), Some(9));
    }

    #[ktest::ktest]
    fn a_range_is_removed_across_both_parts() {
        let mut map = PageMap::default();
        for index in [1, 2, DENSE - 1, DENSE + 1, DENSE + 7] {
            map.insert(index, frame(index as u8));
        }
        assert_eq!(map.remove_range(2, DENSE + 7).len(), 3);
        assert!(map.get(1).is_some() && map.get(DENSE + 7).is_some());
        assert!(map.get(2).is_none() && map.get(DENSE - 1).is_none() && map.get(DENSE + 1).is_none());
        assert_eq!(map.remove_range(0, u64::MAX).len(), 2);
    }
}
