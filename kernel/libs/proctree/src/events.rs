//! Children with something to report, in child-list order: what makes `wait(-1)` O(log z) however many
//! children live.
//!
//! Each thread has one tree of those of its children that are zombies or have an unread stop or continue
//! report. The key is `seq`, which grows along the child list, so "the first reportable child" is the
//! leftmost node that matches; each node knows which reports there are below it ([`EventNode::all`]), so that
//! a search descends straight to it.
//!
//! The tree is a treap: the priority is a hash of the slot's index, so it needs no room and the shape is
//! random. Its *join* (all keys of one tree below all keys of the other) costs O(log z): a dying thread's
//! tree goes to the adopter in one step, since adopted children are appended behind all others (rule 2.13).
//!
//! A child reports one thing at a time: death hides the rest, a continue cancels a stop report and the other
//! way round (rules 4.11-4.13).

use crate::{
    arena::{Arena, Link, marker},
    kernel::Kernel,
    node::{ADOPTED, EventNode, ProcLink, Process},
};

type Processes<K> = Arena<marker::Process, Process<K>>;

/// Reports of a child of class 0; each other class has them [`CLASS_SHIFT`] higher.
pub(crate) const ZOMBIE: u16 = 1;
pub(crate) const STOPPED: u16 = 2;
pub(crate) const CONTINUED: u16 = 4;
const ANY: u16 = ZOMBIE | STOPPED | CONTINUED;
const CLASS_SHIFT: u32 = 3;

/// The bits of `report` for a child of this class.
pub(crate) const fn bits(report: u16, class: usize) -> u16 {
    report << (CLASS_SHIFT * class as u32)
}

/// The report in bits of any class.
pub(crate) fn report(bits: u16) -> u16 {
    (bits | bits >> CLASS_SHIFT | bits >> (2 * CLASS_SHIFT)) & ANY
}

/// Makes the bits of a node those of an adopted child: right for a tree as a whole only, whose nodes all change.
pub(crate) fn adopt(event: &mut EventNode) {
    event.own = bits(report(event.own), ADOPTED);
    event.all = bits(report(event.all), ADOPTED);
}

/// Gives `node` these report bits: puts it into the tree, changes it, or takes it out (0).
pub(crate) fn set<K: Kernel>(tree: &mut Processes<K>, root: &mut ProcLink, node: ProcLink, own: u16) {
    let event = &mut tree[node].event;
    if event.own == own {
        return;
    }
    let was = event.own;
    event.own = own;
    if was == 0 {
        insert(tree, root, node);
    } else if own == 0 {
        remove(tree, root, node);
    } else {
        refresh(tree, node);
    }
}

/// All of `right` behind all of `left`; returns the new root.
pub(crate) fn join<K: Kernel>(tree: &mut Processes<K>, left: ProcLink, right: ProcLink) -> ProcLink {
    let (mut left, mut right) = (left, right);
    let mut root = Link::NONE;
    // Where the next piece is hooked in: below `at`, on its right side if it came from `left`.
    let (mut at, mut at_right) = (Link::NONE, false);
    loop {
        let piece = match (left.some(), right.some()) {
            (Some(l), Some(r)) if priority(l) < priority(r) => r,
            (Some(l), _) => l,
            (None, _) => right,
        };
        if piece.is_some() {
            tree[piece].event.up = at;
        }
        match at.some() {
            None => root = piece,
            Some(at) if at_right => tree[at].event.right = piece,
            Some(at) => tree[at].event.left = piece,
        }
        if left.is_none() || right.is_none() {
            break;
        }
        at = piece;
        if piece == left {
            at_right = true;
            left = tree[piece].event.right;
        } else {
            at_right = false;
            right = tree[piece].event.left;
        }
    }
    if at.is_some() {
        refresh_path(tree, at);
    }
    root
}

/// The first node in order that has one of the bits of `mask`.
pub(crate) fn first<K: Kernel>(tree: &Processes<K>, root: ProcLink, mask: u16) -> Option<ProcLink> {
    let mut node = root.some()?;
    if tree[node].event.all & mask == 0 {
        return None;
    }
    loop {
        let event = &tree[node].event;
        if below(tree, event.left) & mask != 0 {
            node = event.left;
        } else if event.own & mask != 0 {
            return Some(node);
        } else {
            node = event.right.some()?;
        }
    }
}

/// The next node behind `node` that has one of the bits of `mask`.
pub(crate) fn next<K: Kernel>(tree: &Processes<K>, node: ProcLink, mask: u16) -> Option<ProcLink> {
    if let Some(found) = first(tree, tree[node].event.right, mask) {
        return Some(found);
    }
    let mut node = node;
    loop {
        let up = tree[node].event.up.some()?;
        let event = &tree[up].event;
        if event.left == node {
            if event.own & mask != 0 {
                return Some(up);
            }
            if let Some(found) = first(tree, event.right, mask) {
                return Some(found);
            }
        }
        node = up;
    }
}

/// A bijective hash of the index: no two nodes have the same priority.
fn priority(node: ProcLink) -> u32 {
    let mut x = node.raw();
    x = (x ^ x >> 16).wrapping_mul(0x7feb_352d);
    x = (x ^ x >> 15).wrapping_mul(0x846c_a68b);
    x ^ x >> 16
}

fn below<K: Kernel>(tree: &Processes<K>, node: ProcLink) -> u16 {
    if node.is_some() { tree[node].event.all } else { 0 }
}

/// Descends by key to where `node` outranks the tree, and splits what is below into its two sides.
fn insert<K: Kernel>(tree: &mut Processes<K>, root: &mut ProcLink, node: ProcLink) {
    let (seq, own, rank) = (tree[node].seq, tree[node].event.own, priority(node));
    let mut at = Link::NONE;
    let mut at_right = false;
    let mut cut = *root;
    while cut.is_some() && priority(cut) > rank {
        let next = &mut tree[cut];
        next.event.all |= own;
        at = cut;
        at_right = next.seq < seq;
        cut = if at_right { next.event.right } else { next.event.left };
    }
    tree[node].event = EventNode { up: at, left: Link::NONE, right: Link::NONE, own, all: own };
    match at.some() {
        None => *root = node,
        Some(at) if at_right => tree[at].event.right = node,
        Some(at) => tree[at].event.left = node,
    }
    if cut.is_some() {
        split(tree, node, cut, seq);
    }
}

/// Distributes the tree `cut` to the left and right of `node`, by key.
fn split<K: Kernel>(tree: &mut Processes<K>, node: ProcLink, cut: ProcLink, seq: u64) {
    // The ends of the two growing sides: the right edge of the left one, the left edge of the right one.
    let (mut low, mut high) = (node, node);
    let mut cut = cut;
    while cut.is_some() {
        if tree[cut].seq < seq {
            hook(tree, low, cut, low != node);
            low = cut;
            cut = tree[cut].event.right;
        } else {
            hook(tree, high, cut, high == node);
            high = cut;
            cut = tree[cut].event.left;
        }
    }
    if low != node {
        tree[low].event.right = Link::NONE;
        refresh_until(tree, low, node);
    }
    if high != node {
        tree[high].event.left = Link::NONE;
        refresh_until(tree, high, node);
    }
    pull(tree, node);
}

fn hook<K: Kernel>(tree: &mut Processes<K>, at: ProcLink, piece: ProcLink, on_right: bool) {
    if on_right {
        tree[at].event.right = piece;
    } else {
        tree[at].event.left = piece;
    }
    tree[piece].event.up = at;
}

fn remove<K: Kernel>(tree: &mut Processes<K>, root: &mut ProcLink, node: ProcLink) {
    let EventNode { up, left, right, .. } = tree[node].event;
    let rest = match (left.is_some(), right.is_some()) {
        (true, true) => join(tree, left, right),
        (true, false) => left,
        (false, _) => right,
    };
    tree[node].event = EventNode::NONE;
    if rest.is_some() {
        tree[rest].event.up = up;
    }
    match up.some() {
        None => *root = rest,
        Some(up) => {
            let event = &mut tree[up].event;
            if event.left == node {
                event.left = rest;
            } else {
                event.right = rest;
            }
            refresh(tree, up);
        }
    }
}

/// Recomputes the summary of one node.
fn pull<K: Kernel>(tree: &mut Processes<K>, node: ProcLink) -> bool {
    let event = &tree[node].event;
    let all = event.own | below(tree, event.left) | below(tree, event.right);
    let changed = event.all != all;
    tree[node].event.all = all;
    changed
}

/// Recomputes summaries from `node` up, until one does not change.
fn refresh<K: Kernel>(tree: &mut Processes<K>, node: ProcLink) {
    let mut node = node;
    while pull(tree, node) {
        node = tree[node].event.up;
        if node.is_none() {
            break;
        }
    }
}

/// Recomputes summaries from `node` to the root.
fn refresh_path<K: Kernel>(tree: &mut Processes<K>, node: ProcLink) {
    refresh_until(tree, node, Link::NONE);
}

/// Recomputes summaries from `node` up to, not including, `end`.
fn refresh_until<K: Kernel>(tree: &mut Processes<K>, node: ProcLink, end: ProcLink) {
    let mut node = node;
    while node != end && node.is_some() {
        pull(tree, node);
        node = tree[node].event.up;
    }
}
