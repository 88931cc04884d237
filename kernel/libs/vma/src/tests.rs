//! Examples, and a comparison with a model that keeps one entry per page.

use super::*;
use proptest::prelude::*;

const PAGE: usize = 4096;
const PAGES: usize = 160;

/// `kind` distinguishes mappings, `offset` is the file offset in bytes (None: anonymous).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Attr {
    kind: u8,
    offset: Option<usize>,
    guard: usize,
}

impl Attributes for Attr {
    fn tail(&self, bytes: usize) -> Self {
        Attr { offset: self.offset.map(|offset| offset + bytes), ..*self }
    }
    fn grown_down(&self, bytes: usize) -> Self {
        Attr { offset: self.offset.map(|offset| offset - bytes), ..*self }
    }
    fn continues(&self, bytes: usize, next: &Self) -> bool {
        self.tail(bytes) == *next
    }
    fn guard_below(&self) -> usize {
        self.guard
    }
}

fn anon(kind: u8) -> Attr {
    Attr { kind, offset: None, guard: 0 }
}

fn file(kind: u8, page: usize) -> Attr {
    Attr { kind, offset: Some(page * PAGE), guard: 0 }
}

fn ranges(map: &VmaMap<Attr>) -> Vec<(usize, usize, u8)> {
    map.iter().map(|vma| (vma.start / PAGE, vma.end / PAGE, vma.attr.kind)).collect()
}

fn map_of(list: &[(usize, usize, Attr)]) -> VmaMap<Attr> {
    let mut map = VmaMap::new();
    for &(start, end, attr) in list {
        map.insert(start * PAGE, end * PAGE, attr).unwrap();
    }
    map
}

#[test]
fn anonymous_neighbours_merge_on_both_sides() {
    let map = map_of(&[(1, 2, anon(1)), (3, 4, anon(1)), (2, 3, anon(1))]);
    assert_eq!(ranges(&map), [(1, 4, 1)]);
    assert_eq!(map.mapped_bytes(), 3 * PAGE);
}

#[test]
fn file_neighbours_merge_only_when_the_offset_continues() {
    let map = map_of(&[(1, 2, file(1, 10)), (2, 3, file(1, 11)), (3, 4, file(1, 20))]);
    assert_eq!(ranges(&map), [(1, 3, 1), (3, 4, 1)]);
}

#[test]
fn a_hole_in_a_file_mapping_leaves_the_right_offset_behind() {
    let mut map = map_of(&[(0, 10, file(1, 100))]);
    let mut removed = Vec::new();
    map.remove(3 * PAGE, 5 * PAGE, |vma| removed.push(vma));
    assert_eq!(removed, [Vma { start: 3 * PAGE, end: 5 * PAGE, attr: file(1, 103) }]);
    assert_eq!(map.find(5 * PAGE).unwrap().attr, file(1, 105));
    assert_eq!(map.find(4 * PAGE), None);
    assert_eq!(map.find_at_or_above(4 * PAGE).unwrap().start, 5 * PAGE);
    assert_eq!(map.find_below(4 * PAGE).unwrap().end, 3 * PAGE);
}

#[test]
fn changing_attributes_and_back_merges_again() {
    let mut map = map_of(&[(0, 10, anon(1))]);
    map.update(2 * PAGE, 4 * PAGE, |attr| attr.kind = 2);
    assert_eq!(ranges(&map), [(0, 2, 1), (2, 4, 2), (4, 10, 1)]);
    map.update(2 * PAGE, 4 * PAGE, |attr| attr.kind = 1);
    assert_eq!(ranges(&map), [(0, 10, 1)]);
}

#[test]
fn overlap_and_empty_ranges_are_refused() {
    let mut map = map_of(&[(5, 8, anon(1))]);
    for (start, end) in [(4, 6), (6, 7), (7, 9), (4, 9), (3, 3), (9, 4)] {
        assert_eq!(map.insert(start * PAGE, end * PAGE, anon(2)), Err(Occupied), "{start}..{end}");
    }
    assert_eq!(ranges(&map), [(5, 8, 1)]);
}

#[test]
fn a_stack_grows_down_into_free_room_only() {
    let mut map = map_of(&[(1, 2, anon(1)), (8, 10, anon(2))]);
    map.grow_down(8 * PAGE, 5 * PAGE).unwrap();
    assert_eq!(ranges(&map), [(1, 2, 1), (5, 10, 2)]);
    assert_eq!(map.grow_down(5 * PAGE, PAGE), Err(Occupied));
    assert_eq!(map.grow_down(6 * PAGE, 4 * PAGE), Err(Occupied));
    assert_eq!(map.mapped_bytes(), 6 * PAGE);
}

#[test]
fn gaps_come_from_the_top_and_leave_the_guard_free() {
    let mut map = VmaMap::new();
    map.insert(90 * PAGE, 95 * PAGE, Attr { kind: 9, offset: None, guard: 10 * PAGE }).unwrap();
    let top = 100 * PAGE;
    assert_eq!(map.find_gap_top_down(5 * PAGE, PAGE, top), Some(95 * PAGE));
    assert_eq!(map.find_gap_top_down(6 * PAGE, PAGE, top), Some(74 * PAGE));
    assert_eq!(map.find_gap_top_down(6 * PAGE, 75 * PAGE, top), None);
    assert_eq!(map.find_gap_bottom_up(80 * PAGE, PAGE, top), None);
    assert_eq!(map.find_gap_bottom_up(79 * PAGE, PAGE, top), Some(PAGE));
}

#[test]
fn a_hole_made_above_the_last_search_is_found_again() {
    let mut map = map_of(&[(0, 100, anon(1))]);
    let top = 100 * PAGE;
    map.remove(10 * PAGE, 20 * PAGE, drop);
    assert_eq!(map.find_gap_top_down(4 * PAGE, 0, top), Some(16 * PAGE));
    map.remove(50 * PAGE, 60 * PAGE, drop);
    assert_eq!(map.find_gap_top_down(4 * PAGE, 0, top), Some(56 * PAGE));
}

#[test]
fn tens_of_thousands_of_vmas_stay_sorted() {
    let mut map = VmaMap::new();
    for index in 0..30_000usize {
        // Every second page, in an order that hits all chunks.
        let page = (index * 7919) % 30_000 * 2;
        map.insert(page * PAGE, (page + 1) * PAGE, anon(1)).unwrap();
    }
    assert_eq!(map.len(), 30_000);
    assert!(map.iter().zip(map.iter().skip(1)).all(|(a, b)| a.end < b.start));
    assert_eq!(map.find(59_998 * PAGE).unwrap().start, 59_998 * PAGE);
    map.remove(0, 60_000 * PAGE, drop);
    assert!(map.is_empty() && map.chunks.is_empty());
    assert_eq!(map.mapped_bytes(), 0);
}

#[derive(Clone, Debug)]
enum Op {
    Insert(usize, usize, Attr),
    Remove(usize, usize),
    Update(usize, usize, u8),
    GapDown(usize),
    GapUp(usize),
    MapGap(usize, u8),
}

fn op() -> impl Strategy<Value = Op> {
    let range = (0..PAGES, 1..12usize).prop_map(|(start, len)| (start, (start + len).min(PAGES)));
    let attr = (0..3u8, prop::option::of(0..4usize)).prop_map(|(kind, page)| match page {
        Some(page) => file(kind, page),
        None => anon(kind),
    });
    prop_oneof![
        6 => (range.clone(), attr).prop_map(|((s, e), a)| Op::Insert(s, e, a)),
        3 => range.clone().prop_map(|(s, e)| Op::Remove(s, e)),
        3 => (range, 0..3u8).prop_map(|((s, e), k)| Op::Update(s, e, k)),
        2 => (1..20usize).prop_map(Op::GapDown),
        1 => (1..20usize).prop_map(Op::GapUp),
        3 => (1..8usize, 0..3u8).prop_map(|(len, kind)| Op::MapGap(len, kind)),
    ]
}

/// One entry per page.
type Model = Vec<Option<Attr>>;

fn model_gaps(model: &Model, len: usize) -> Vec<usize> {
    (0..=PAGES.saturating_sub(len))
        .filter(|&s| s + len <= PAGES && model[s..s + len].iter().all(Option::is_none))
        .collect()
}

fn check(map: &VmaMap<Attr>, model: &Model) {
    let mut flat: Model = vec![None; PAGES];
    let mut previous: Option<&Vma<Attr>> = None;
    for vma in map.iter() {
        assert!(vma.start < vma.end);
        if let Some(lower) = previous {
            assert!(lower.end <= vma.start);
            assert!(
                lower.end < vma.start || !lower.attr.continues(lower.len(), &vma.attr),
                "unmerged: {lower:?} {vma:?}"
            );
        }
        for (index, slot) in flat[vma.start / PAGE..vma.end / PAGE].iter_mut().enumerate() {
            *slot = Some(vma.attr.tail(index * PAGE));
        }
        previous = Some(vma);
    }
    assert_eq!(&flat, model);
    assert_eq!(map.len(), map.iter().count());
    assert_eq!(map.mapped_bytes(), model.iter().flatten().count() * PAGE);
    assert!(map.chunks.iter().all(|chunk| !chunk.is_empty() && chunk.len() <= CHUNK));
    for (page, slot) in model.iter().enumerate() {
        let found = map.find(page * PAGE + 5).map(|vma| vma.attr.tail(page * PAGE - vma.start));
        assert_eq!(&found, slot);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn agrees_with_a_map_of_single_pages(ops in prop::collection::vec(op(), 1..120)) {
        let mut map = VmaMap::new();
        let mut model: Model = vec![None; PAGES];
        for op in ops {
            match op {
                Op::Insert(start, end, attr) => {
                    let free = start < end && model[start..end].iter().all(Option::is_none);
                    prop_assert_eq!(map.is_free(start * PAGE, end * PAGE) && start < end, free);
                    prop_assert_eq!(map.insert(start * PAGE, end * PAGE, attr).is_ok(), free);
                    if free {
                        for (index, slot) in model[start..end].iter_mut().enumerate() {
                            *slot = Some(attr.tail(index * PAGE));
                        }
                    }
                }
                Op::Remove(start, end) => {
                    let mut removed = 0;
                    map.remove(start * PAGE, end * PAGE, |vma| removed += vma.len() / PAGE);
                    prop_assert_eq!(removed, model[start..end].iter().flatten().count());
                    model[start..end].fill(None);
                }
                Op::Update(start, end, kind) => {
                    prop_assert_eq!(map.covers(start * PAGE, end * PAGE), model[start..end].iter().all(Option::is_some));
                    map.update(start * PAGE, end * PAGE, |attr| attr.kind = kind);
                    model[start..end].iter_mut().flatten().for_each(|attr| attr.kind = kind);
                }
                Op::GapDown(len) => {
                    let expected = model_gaps(&model, len).last().map(|page| page * PAGE);
                    prop_assert_eq!(map.find_gap_top_down(len * PAGE, 0, PAGES * PAGE), expected);
                }
                Op::GapUp(len) => {
                    let expected = model_gaps(&model, len).first().map(|page| page * PAGE);
                    prop_assert_eq!(map.find_gap_bottom_up(len * PAGE, 0, PAGES * PAGE), expected);
                }
                Op::MapGap(len, kind) => {
                    if let Some(start) = map.find_gap_top_down(len * PAGE, 0, PAGES * PAGE) {
                        map.insert(start, start + len * PAGE, anon(kind)).unwrap();
                        model[start / PAGE..start / PAGE + len].fill(Some(anon(kind)));
                    }
                }
            }
            check(&map, &model);
        }
    }
}
