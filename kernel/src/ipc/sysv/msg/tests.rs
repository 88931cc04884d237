//! Tests in the booted kernel: who gets which message.

use ktest::ktest;

use super::{super::IPC_PRIVATE, *};
use crate::process::tree;

fn message(kind: i64, len: usize) -> Message {
    let mut message = Message::with_len(len).unwrap();
    message.kind = kind;
    message
}

fn queue(kinds: &[i64]) -> Queue {
    let mut queue = Queue::new(Perm::new(IPC_PRIVATE, 0o600, &Credentials::root()));
    for &kind in kinds {
        queue.put(message(kind, 8), LastPid::nobody(tree::root_ns()));
    }
    queue
}

#[ktest]
fn a_type_chooses_the_message() {
    let queue = queue(&[5, 3, 4, 3, 9]);
    let find = |kind, flags| Wanted::new(kind, flags).find(&queue.messages);
    assert_eq!(find(0, 0), Some(0));
    assert_eq!(find(3, 0), Some(1));
    assert_eq!(find(7, 0), None);
    assert_eq!(find(-4, 0), Some(1));
    assert_eq!(find(-2, 0), None);
    assert_eq!(find(5, MSG_EXCEPT), Some(1));
    assert_eq!(find(i64::MIN, 0), Some(1));
}

#[ktest]
fn room_goes_to_the_first_sender_that_fits() {
    let nobody = LastPid::nobody(tree::root_ns());
    let mut queue = queue(&[]);
    queue.max_bytes = 100;
    queue.put(message(1, 100), nobody);
    let creds = Credentials::root();
    for (kind, len) in [(2, 101), (3, 60), (4, 60), (5, 40)] {
        let (waiter, creds) = (Waiter::new(), creds.clone());
        queue.senders.push_back(Sender { waiter, message: message(kind, len), creds, pid: nobody });
    }
    assert_eq!(queue.take(0, nobody).map(|message| message.kind), Some(1));
    let kinds: Vec<i64> = queue.messages.iter().map(|message| message.kind).collect();
    assert_eq!((kinds, queue.bytes, queue.senders.len()), (vec![3, 5], 100, 2));
    assert_eq!(queue.take(0, nobody).map(|message| message.kind), Some(3));
    assert_eq!((queue.messages.len(), queue.senders.len()), (2, 1));
    // It is this task that was woken for each.
    ostd::task::park();
}

#[ktest]
fn a_message_goes_past_the_queue_to_who_waits() {
    let nobody = LastPid::nobody(tree::root_ns());
    let mut queue = queue(&[]);
    let creds = Credentials::root();
    for (wanted, longest) in [(Wanted::Of(2), 8), (Wanted::First, 4), (Wanted::First, 8)] {
        let (waiter, creds) = (Waiter::new(), creds.clone());
        queue.receivers.push_back(Receiver { waiter, wanted, longest, creds, pid: nobody });
    }
    queue.put(message(1, 8), nobody);
    // The second was told that it is too long, the third has it.
    assert_eq!((queue.receivers.len(), queue.messages.len()), (1, 0));
    queue.put(message(3, 8), nobody);
    assert_eq!((queue.receivers.len(), queue.messages.len()), (1, 1));
    ostd::task::park();
}
