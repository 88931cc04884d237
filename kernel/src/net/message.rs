//! What goes in and comes out of a socket with the bytes of a message.

use bitflags::bitflags;

use super::{address::SockAddr, credentials::Sender, unix::rights::InFlight};
use crate::{fs::File, prelude::*};

bitflags! {
    /// Flags of send(2) and recv(2).
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct MsgFlags: u32 {
        const OOB = 0x1;
        const PEEK = 0x2;
        /// The result says that ancillary data was cut off.
        const CTRUNC = 0x8;
        /// Asks for, and says, the true length of a message that was cut off.
        const TRUNC = 0x20;
        const DONTWAIT = 0x40;
        const EOR = 0x80;
        const WAITALL = 0x100;
        const ERRQUEUE = 0x2000;
        const NOSIGNAL = 0x4000;
        const WAITFORONE = 0x10000;
        const CMSG_CLOEXEC = 0x4000_0000;
    }
}

/// What a message takes along beside its bytes.
#[derive(Default)]
pub struct Ancillary {
    pub files: Vec<Arc<File>>,
    pub sender: Option<Sender>,
}

/// A message to be sent, but its bytes.
pub struct Outgoing<'a> {
    pub flags: MsgFlags,
    /// Where to; `None` for the peer.
    pub to: Option<&'a SockAddr>,
    pub ancillary: Option<Ancillary>,
}

impl Outgoing<'_> {
    /// Only bytes, for the peer.
    #[inline]
    pub fn plain(flags: MsgFlags) -> Self {
        Outgoing { flags, to: None, ancillary: None }
    }
}

/// What is wanted of a message and what came with it, but its bytes.
pub struct Incoming {
    pub flags: MsgFlags,
    /// Whether [`from`](Self::from) is to be filled in.
    pub wants_name: bool,
    pub from: Option<SockAddr>,
    /// MSG_TRUNC and the like, of the result.
    pub result: MsgFlags,
    /// For a socket that asked for it.
    pub sender: Option<Sender>,
    pub files: Option<ReceivedFiles>,
}

/// Descriptors that came with a message.
pub enum ReceivedFiles {
    Taken(InFlight),
    /// They stay in the message (MSG_PEEK).
    Peeked(Vec<Arc<File>>),
}

impl ReceivedFiles {
    pub fn into_files(self) -> Vec<Arc<File>> {
        match self {
            ReceivedFiles::Taken(in_flight) => in_flight.land(),
            ReceivedFiles::Peeked(files) => files,
        }
    }
}

impl Incoming {
    #[inline]
    pub fn new(flags: MsgFlags) -> Self {
        Incoming {
            flags,
            wants_name: false,
            from: None,
            result: MsgFlags::empty(),
            sender: None,
            files: None,
        }
    }
}
