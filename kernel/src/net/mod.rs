//! Sockets.
//!
//! | file | what it tells |
//! |---|---|
//! | [`socket`] | an open file that is a socket, and what a family of protocols has to offer ([`Protocol`]) |
//! | [`base`] | what sockets of all families have: options, buffer sizes, timeouts, the pending error |
//! | [`address`] | `struct sockaddr` |
//! | [`message`] | flags and parts of a message; what goes in and comes out with its bytes |
//! | [`control`] | ancillary data as programs write and read it (cmsg(3)) |
//! | [`credentials`] | who sent a message, who is at the other end |
//! | [`option`](mod@option) | getsockopt and setsockopt of level SOL_SOCKET |
//! | [`unix`] | AF_UNIX |
//!
//! A system call finds the [`Socket`](socket::Socket) behind a descriptor, decodes its arguments, and calls the socket's
//! [`Protocol`]. A new family is one more type that implements it, and a line in [`create`].
//!
//! Locks: see each family. What is here takes none on the way of the data.

pub mod address;
pub mod base;
pub mod control;
pub mod credentials;
pub mod message;
pub mod option;
pub mod socket;
pub mod unix;

pub use socket::{Protocol, Socket};

use crate::prelude::*;

pub const AF_UNSPEC: u16 = 0;
pub const AF_UNIX: u16 = 1;
/// Families have numbers below this.
const AF_MAX: i32 = 46;
/// Types of sockets have numbers below this.
const SOCK_MAX: u32 = 11;

/// socket(2). EAFNOSUPPORT for a family that is not built in; what else is wrong is the family's to say.
pub fn create(family: i32, socket_type: u32, protocol: i32) -> Result<Box<dyn Protocol>> {
    check_family_and_type(family, socket_type)?;
    match family as u16 {
        AF_UNIX => Ok(Box::new(unix::create(socket_type, protocol)?)),
        _ => Err(EAFNOSUPPORT),
    }
}

/// socketpair(2): two sockets connected to one another. EOPNOTSUPP if the family has no such thing.
pub fn create_pair(
    family: i32,
    socket_type: u32,
    protocol: i32,
) -> Result<(Box<dyn Protocol>, Box<dyn Protocol>)> {
    check_family_and_type(family, socket_type)?;
    match family as u16 {
        AF_UNIX => {
            let (a, b) = unix::create_pair(socket_type, protocol)?;
            Ok((Box::new(a), Box::new(b)))
        }
        _ => Err(EAFNOSUPPORT),
    }
}

fn check_family_and_type(family: i32, socket_type: u32) -> Result<()> {
    if !(0..AF_MAX).contains(&family) {
        return Err(EAFNOSUPPORT);
    }
    if socket_type >= SOCK_MAX { Err(EINVAL) } else { Ok(()) }
}
