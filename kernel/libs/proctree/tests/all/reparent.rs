//! Who adopts an orphan, and what the orphan goes through: section 2, and 1a and 1b with it.

use crate::world::*;
use proctree::{ChildPolicy, SIGCHLD};

#[test]
fn orphans_go_to_init_without_a_subreaper() {
    // 2.1 (c), 2.18
    let mut w = World::line(&["a", "b", "c"]);
    assert_eq!(w.getppid("c"), w.nr("b"));
    assert_eq!(w.exit("b"), "zombie");
    assert_eq!(w.parent("c"), "init");
    assert_eq!(w.getppid("c"), 1);
}

#[test]
fn orphans_go_to_the_nearest_subreaper() {
    // 2.1 (b), 2.3
    let mut w = World::line(&["outer", "inner", "a", "b"]);
    w.subreaper("outer", true);
    w.subreaper("inner", true);
    w.exit("a");
    assert_eq!(w.parent("b"), "inner");
    assert_eq!(w.getppid("b"), w.nr("inner"));
    assert_eq!(w.children("inner"), ["a", "b"]);
}
