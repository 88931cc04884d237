//! listen, connect, accept and close of sockets that have connections.
//!
//! connect makes the socket for the other side itself and puts it into the backlog of the one that listens; from then on
//! the connection is whole, and bytes can be sent before anybody accepts. accept only takes it out.

use alloc::collections::VecDeque;
use core::sync::atomic::Ordering::SeqCst;

use super::{Core, State, UnixSocket, gc, name, packet};
use crate::{
    net::{
        address::SockAddr,
        base::{Direction, SHUT_BOTH, SHUT_RECV, SockType, Switches},
        credentials::Peer,
    },
    prelude::*,
};

/// /proc/sys/net/core/somaxconn
pub const MAX_BACKLOG: usize = 4096;

/// Connections that nobody has accepted.
#[derive(Default)]
pub struct Backlog(VecDeque<UnixSocket>);

impl Backlog {
    /// The sockets in it, for the search for cycles.
    pub fn cores(&self) -> Vec<Arc<Core>> {
        self.0.iter().map(|socket| socket.core.clone()).collect()
    }
}

/// listen(2). EOPNOTSUPP for datagrams; EINVAL without a name, or with a connection.
pub fn listen(socket: &UnixSocket, backlog: i32) -> Result<()> {
    let core = &socket.core;
    if !core.is_connection_based() {
        return Err(EOPNOTSUPP);
    }
    if core.name.lock().is_none() {
        return Err(EINVAL);
    }
    let me = Peer::current();
    let mut peer = core.peer.lock();
    if core.state() != State::Listening && !core.change_state(State::Unconnected, State::Listening) {
        return Err(EINVAL);
    }
    *peer = me;
    drop(peer);
    // A negative number is a very large one.
    packet::set_limit(core, (backlog as u32 as usize).min(MAX_BACKLOG));
    core.room.wake_all();
    Ok(())
}

/// What became of a connection that was offered.
enum Offer {
    Taken,
    /// Here it is again.
    Full(UnixSocket),
    /// The one that listened has just been closed; there may be another with the same name.
    Closed(UnixSocket),
}

/// connect(2). ECONNREFUSED if nobody listens; EAGAIN if the backlog is full and the caller does not wait; EISCONN.
pub fn connect(socket: &UnixSocket, address: &SockAddr, nonblocking: bool) -> Result<()> {
    let core = &socket.core;
    let name = name::parse(address)?;
    socket.autobind_if_wanted()?;
    let patience = core.base.patience(Direction::Send, nonblocking);
    // Everything that can fail for want of memory comes first.
    let mut server = super::create(core.base.sock_type as u32, 0)?;
    *server.core.peer.lock() = Peer::current();
    loop {
        let listener = name::find(&name, core.base.sock_type)?;
        server = match offer(socket, &listener, server)? {
            Offer::Taken => return Ok(()),
            Offer::Closed(server) => server,
            Offer::Full(server) => {
                let changed = || (!listener.is_full() || listener.state() != State::Listening).then_some(());
                patience.wait(&listener.room, changed)?;
                server
            }
        };
    }
}

fn offer(socket: &UnixSocket, listener: &Core, server: UnixSocket) -> Result<Offer> {
    let core = &socket.core;
    let mut backlog = listener.backlog.lock();
    if listener.is_dead() {
        return Ok(Offer::Closed(server));
    }
    let refused = listener.state() != State::Listening || listener.base.shutdown() & SHUT_RECV != 0;
    if !refused && listener.is_full() {
        return Ok(Offer::Full(server));
    }
    if refused || !core.change_state(State::Unconnected, State::Connected) {
        drop(backlog);
        return Err(match core.state() {
            _ if refused => ECONNREFUSED,
            State::Listening => EINVAL,
            _ => EISCONN,
        });
    }
    let listening = listener.peer.lock().clone();
    *core.peer.lock() = listening;
    *server.core.name.lock() = listener.name();
    server.core.set_state(State::Connected);
    server.peer.call_once(|| core.clone());
    socket.peer.call_once(|| server.core.clone());
    listener.waiting.fetch_add(1, SeqCst);
    backlog.0.push_back(server);
    drop(backlog);
    listener.base.readable.wake_all();
    // Who polls the connecting socket sees that it is connected.
    core.base.wake_all();
    Ok(Offer::Taken)
}

/// accept(2). EINVAL if the socket does not listen, or was shut down.
pub fn accept(socket: &UnixSocket, nonblocking: bool) -> Result<UnixSocket> {
    let core = &*socket.core;
    if !core.is_connection_based() {
        return Err(EOPNOTSUPP);
    }
    if core.state() != State::Listening {
        return Err(EINVAL);
    }
    let look = || {
        if let Err(e) = core.base.check_error() {
            return Some(Err(e));
        }
        if let Some(server) = core.backlog.lock().0.pop_front() {
            return Some(Ok(server));
        }
        (core.base.shutdown() & SHUT_RECV != 0).then_some(Err(EINVAL))
    };
    let server = core.base.patience(Direction::Recv, nonblocking).wait(&core.base.readable, look)??;
    core.waiting.fetch_sub(1, SeqCst);
    core.room.wake_all();
    server.core.base.switch(core.base.switches() & Switches::INHERITED, true);
    Ok(server)
}

/// The end of a socket. The peer sees the end of file, or ECONNRESET if it had sent what nobody has read.
pub fn release(socket: &UnixSocket) {
    let core = &*socket.core;
    if core.dead.swap(true, SeqCst) {
        return;
    }
    name::unbind(core);
    let was_accepted = core.file.get().is_some();
    core.set_state(State::Unconnected);
    let refused = core::mem::take(&mut core.backlog.lock().0);
    core.base.shut_down(SHUT_BOTH);
    let unread = core.base.sock_type == SockType::Stream && core.stream.lock().unread() > 0
        || core.base.sock_type != SockType::Stream && core.waiting.load(SeqCst) > 0;
    if let Some(peer) = socket.peer.get() {
        if unread || !was_accepted {
            peer.base.set_error(ECONNRESET);
        }
        peer.base.shut_down(SHUT_BOTH);
    }
    drop(refused);
    let in_flight = core.stream.lock().empty();
    drop(in_flight);
    core.drop_packets();
    let target = core.target.lock().take();
    drop(target);
    gc::collect_if_needed();
}
