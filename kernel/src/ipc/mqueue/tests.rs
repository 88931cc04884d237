//! Tests in the booted kernel: the order of messages, and what queues are charged.

use ktest::ktest;

use super::{queue::State, *};

const SMALL: Capacity = Capacity { messages: 4, size: 16 };

fn used(user: u32) -> u64 {
    TOTALS.lock().bytes.get(&user).copied().unwrap_or(0)
}

#[ktest]
fn messages_come_by_priority_and_then_in_order() {
    let mut state = State::new();
    for (priority, byte) in [(3, 1), (7, 2), (3, 3), (0, 4), (MAX_PRIORITY - 1, 5)] {
        let mut message = Message::with_len(priority, 1).unwrap();
        message.data[0] = byte;
        state.put(message);
    }
    let order: Vec<u8> = core::iter::from_fn(|| state.take()).map(|message| message.data[0]).collect();
    assert_eq!(order, [5, 2, 1, 3, 4]);
}

#[ktest]
fn a_queue_is_charged_to_its_user_until_it_is_gone() {
    let creds = Credentials { uid: 4711, ..(*Credentials::root()).clone() };
    let bytes = SMALL.bytes();
    assert_eq!(bytes, 4 * 16 + 4 * 48 + 4 * 48);
    let first = Charge::new(&creds, 2 * bytes, SMALL).unwrap();
    let second = Charge::new(&creds, 2 * bytes, SMALL).unwrap();
    assert_eq!(Charge::new(&creds, 2 * bytes, SMALL).err(), Some(EMFILE));
    assert_eq!(used(4711), 2 * bytes);
    drop(first);
    assert_eq!(used(4711), bytes);
    drop(second);
    assert!(!TOTALS.lock().bytes.contains_key(&4711));
}

#[ktest]
fn nobody_asks_for_more_than_there_may_be() {
    let refused = |messages, size, privileged| Capacity { messages, size }.check(privileged).is_err();
    assert!(refused(0, 1, true) && refused(1, 0, true) && refused(-1, 1, true));
    assert!(refused(11, 1, false) && !refused(11, 1, true));
    assert!(refused(1, 8193, false) && !refused(1, 8193, true));
    assert!(refused(HARD_MAX_MESSAGES + 1, 1, true) && refused(1, HARD_MAX_SIZE + 1, true));
}
