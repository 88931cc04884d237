//! getsockopt and setsockopt, level SOL_SOCKET (socket(7)).
//!
//! Most options are an `int`. One that is not built in is ENOPROTOOPT.

use core::sync::atomic::Ordering::Relaxed;

use ostd::user::mem;

use super::{
    base::{Direction, FOREVER, MAX_BUFFER, SockBase, Switches},
    control::SOL_SOCKET,
    socket::{Protocol, Socket},
};
use crate::{fs::caller, prelude::*, process::Cap, time::NSEC_PER_SEC};

pub const SO_PEERCRED: i32 = 17;
pub const SO_PEERGROUPS: i32 = 59;
pub const SO_PEERPIDFD: i32 = 77;

const SO_DEBUG: i32 = 1;
const SO_REUSEADDR: i32 = 2;
const SO_TYPE: i32 = 3;
const SO_ERROR: i32 = 4;
const SO_DONTROUTE: i32 = 5;
const SO_BROADCAST: i32 = 6;
const SO_SNDBUF: i32 = 7;
const SO_RCVBUF: i32 = 8;
const SO_KEEPALIVE: i32 = 9;
const SO_OOBINLINE: i32 = 10;
const SO_PRIORITY: i32 = 12;
const SO_LINGER: i32 = 13;
const SO_BSDCOMPAT: i32 = 14;
const SO_REUSEPORT: i32 = 15;
const SO_PASSCRED: i32 = 16;
const SO_RCVLOWAT: i32 = 18;
const SO_SNDLOWAT: i32 = 19;
const SO_RCVTIMEO: i32 = 20;
const SO_SNDTIMEO: i32 = 21;
const SO_ACCEPTCONN: i32 = 30;
const SO_SNDBUFFORCE: i32 = 32;
const SO_RCVBUFFORCE: i32 = 33;
const SO_PASSSEC: i32 = 34;
const SO_MARK: i32 = 36;
const SO_PROTOCOL: i32 = 38;
const SO_DOMAIN: i32 = 39;
const SO_RCVTIMEO_NEW: i32 = 66;
const SO_SNDTIMEO_NEW: i32 = 67;
const SO_PASSPIDFD: i32 = 76;
const SO_PASSRIGHTS: i32 = 83;

/// The least sizes of buffers, with what Linux adds to each message.
const MIN_SEND_BUFFER: usize = 4608;
const MIN_RECV_BUFFER: usize = 2304;

/// The value of an option on its way to the program.
pub struct OptionBuf {
    bytes: Vec<u8>,
    /// How much the program has room for.
    pub room: usize,
}

impl OptionBuf {
    pub fn put(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    pub fn put_int(&mut self, value: i32) {
        self.put(&value.to_ne_bytes());
    }
}

/// Options that are one of the [`Switches`].
fn switch_of(name: i32) -> Option<Switches> {
    Some(match name {
        SO_DEBUG => Switches::DEBUG,
        SO_REUSEADDR => Switches::REUSE_ADDR,
        SO_DONTROUTE => Switches::DONT_ROUTE,
        SO_BROADCAST => Switches::BROADCAST,
        SO_KEEPALIVE => Switches::KEEP_ALIVE,
        SO_OOBINLINE => Switches::OOB_INLINE,
        SO_REUSEPORT => Switches::REUSE_PORT,
        SO_PASSCRED => Switches::PASS_CRED,
        SO_PASSSEC => Switches::PASS_SEC,
        SO_PASSPIDFD => Switches::PASS_PIDFD,
        _ => return None,
    })
}

fn direction_of(name: i32) -> Direction {
    if matches!(name, SO_RCVTIMEO | SO_RCVTIMEO_NEW) { Direction::Recv } else { Direction::Send }
}

/// getsockopt(2).
pub fn get(socket: &Socket, level: i32, name: i32, addr: Vaddr, len_addr: Vaddr) -> Result<()> {
    let room = usize::try_from(mem::read::<i32>(len_addr)?).map_err(|_| EINVAL)?;
    let mut out = OptionBuf { bytes: Vec::new(), room };
    let protocol = socket.protocol();
    let result = match level {
        SOL_SOCKET => get_socket_option(protocol, name, &mut out),
        _ => protocol.option(level, name, &mut out),
    };
    if result == Err(ERANGE) {
        // The caller learns how much room is needed.
        mem::write(len_addr, &(out.bytes.len() as i32))?;
    }
    result?;
    let len = out.bytes.len().min(room);
    mem::copy_to_user(addr, &out.bytes[..len])?;
    mem::write(len_addr, &(len as i32))?;
    Ok(())
}

fn get_socket_option(protocol: &dyn Protocol, name: i32, out: &mut OptionBuf) -> Result<()> {
    let base = protocol.base();
    if let Some(switch) = switch_of(name) {
        out.put_int(i32::from(base.switches().contains(switch)));
        return Ok(());
    }
    match name {
        SO_TYPE => out.put_int(base.sock_type as i32),
        SO_DOMAIN => out.put_int(base.family.into()),
        SO_PROTOCOL => out.put_int(base.protocol),
        SO_ERROR => out.put_int(base.take_error_number() as i32),
        SO_ACCEPTCONN => out.put_int(i32::from(protocol.is_listening())),
        SO_SNDBUF => out.put_int(base.send_buffer.load(Relaxed) as i32),
        SO_RCVBUF => out.put_int(base.recv_buffer.load(Relaxed) as i32),
        SO_RCVLOWAT => out.put_int(base.recv_low.load(Relaxed) as i32),
        SO_SNDLOWAT => out.put_int(1),
        SO_PRIORITY => out.put_int(base.priority.load(Relaxed) as i32),
        SO_MARK => out.put_int(base.mark.load(Relaxed) as i32),
        SO_BSDCOMPAT => {}
        SO_PASSRIGHTS => out.put_int(i32::from(!base.switches().contains(Switches::NO_RIGHTS))),
        SO_LINGER => {
            out.put_int(i32::from(base.switches().contains(Switches::LINGER)));
            out.put_int(base.linger_secs.load(Relaxed) as i32);
        }
        SO_RCVTIMEO | SO_SNDTIMEO | SO_RCVTIMEO_NEW | SO_SNDTIMEO_NEW => {
            let ns = base.timeout(direction_of(name)).load(Relaxed);
            let ns = if ns == FOREVER { 0 } else { ns };
            out.put(&(ns / NSEC_PER_SEC).to_ne_bytes());
            out.put(&(ns % NSEC_PER_SEC / 1000).to_ne_bytes());
        }
        _ => return protocol.socket_option(name, out),
    }
    Ok(())
}

/// setsockopt(2).
pub fn set(socket: &Socket, level: i32, name: i32, addr: Vaddr, len: usize) -> Result<()> {
    let len = usize::try_from(len as i32).map_err(|_| EINVAL)?;
    let protocol = socket.protocol();
    match level {
        SOL_SOCKET => set_socket_option(protocol.base(), name, addr, len),
        _ => protocol.set_option(level, name, addr, len),
    }
}

fn set_socket_option(base: &SockBase, name: i32, addr: Vaddr, len: usize) -> Result<()> {
    if len < size_of::<i32>() {
        return Err(EINVAL);
    }
    let value: i32 = mem::read(addr)?;
    if let Some(switch) = switch_of(name) {
        check_switch(base, name, value != 0)?;
        base.switch(switch, value != 0);
        return Ok(());
    }
    match name {
        SO_TYPE | SO_DOMAIN | SO_PROTOCOL | SO_ERROR | SO_ACCEPTCONN | SO_SNDLOWAT => {
            return Err(ENOPROTOOPT);
        }
        SO_SNDBUF => set_buffer(&base.send_buffer, value.min(MAX_BUFFER as i32), MIN_SEND_BUFFER),
        SO_RCVBUF => set_buffer(&base.recv_buffer, value.min(MAX_BUFFER as i32), MIN_RECV_BUFFER),
        SO_SNDBUFFORCE => {
            require(Cap::NetAdmin)?;
            set_buffer(&base.send_buffer, value.max(0), MIN_SEND_BUFFER);
        }
        SO_RCVBUFFORCE => {
            require(Cap::NetAdmin)?;
            set_buffer(&base.recv_buffer, value.max(0), MIN_RECV_BUFFER);
        }
        SO_RCVLOWAT => {
            let low = if value < 0 { i32::MAX } else { value.max(1) };
            base.recv_low.store(low as usize, Relaxed);
        }
        SO_PRIORITY => {
            if !(0..=6).contains(&value) {
                require(Cap::NetAdmin)?;
            }
            base.priority.store(value as u32, Relaxed);
        }
        SO_MARK => {
            require(Cap::NetAdmin)?;
            base.mark.store(value as u32, Relaxed);
        }
        SO_BSDCOMPAT => {}
        SO_PASSRIGHTS => base.switch(Switches::NO_RIGHTS, value == 0),
        SO_LINGER => {
            if len < 2 * size_of::<i32>() {
                return Err(EINVAL);
            }
            let [on, seconds]: [i32; 2] = mem::read(addr)?;
            base.switch(Switches::LINGER, on != 0);
            base.linger_secs.store(seconds as u32, Relaxed);
        }
        SO_RCVTIMEO | SO_SNDTIMEO | SO_RCVTIMEO_NEW | SO_SNDTIMEO_NEW => {
            set_timeout(base, direction_of(name), addr, len)?;
        }
        _ => return Err(ENOPROTOOPT),
    }
    Ok(())
}

fn require(cap: Cap) -> Result<()> {
    if caller::is_capable(cap) { Ok(()) } else { Err(EPERM) }
}

/// What some of the switches ask for.
fn check_switch(base: &SockBase, name: i32, on: bool) -> Result<()> {
    match name {
        SO_DEBUG if on => require(Cap::NetAdmin).map_err(|_| EACCES),
        // Only families of the internet share ports.
        SO_REUSEPORT if on && base.family == super::AF_UNIX => Err(EOPNOTSUPP),
        _ => Ok(()),
    }
}

/// As Linux: what is asked for is doubled, to have room for what comes with the bytes.
fn set_buffer(buffer: &core::sync::atomic::AtomicUsize, value: i32, least: usize) {
    // A negative value counts as a very large unsigned one, which the maximum has cut off before.
    let value = if value < 0 { MAX_BUFFER } else { value as usize };
    buffer.store((value * 2).clamp(least, i32::MAX as usize), Relaxed);
}

/// A `struct timeval`. 0 means for ever, a negative time not at all; EDOM for bad microseconds.
fn set_timeout(base: &SockBase, direction: Direction, addr: Vaddr, len: usize) -> Result<()> {
    if len < 16 {
        return Err(EINVAL);
    }
    let [seconds, micros]: [i64; 2] = mem::read(addr)?;
    if !(0..1_000_000).contains(&micros) {
        return Err(EDOM);
    }
    let ns = match (seconds, micros) {
        (..0, _) => 0,
        (0, 0) => FOREVER,
        _ => (seconds as u64).saturating_mul(NSEC_PER_SEC).saturating_add(micros as u64 * 1000),
    };
    base.timeout(direction).store(ns, Relaxed);
    Ok(())
}
