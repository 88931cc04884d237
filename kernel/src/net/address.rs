//! Addresses as programs write them: a family and bytes that only the family understands (sockaddr(3type)).

use ostd::user::mem;

use crate::prelude::*;

/// The size of `struct sockaddr_storage`: no address is longer.
pub const MAX_LEN: usize = 128;

/// An address: see the [module's description](self).
#[derive(Clone)]
pub struct SockAddr {
    bytes: [u8; MAX_LEN],
    len: usize,
}

impl SockAddr {
    /// An address of `family` with `data` behind it. What does not fit is cut off; no family has such addresses.
    pub fn new(family: u16, data: &[u8]) -> SockAddr {
        let mut bytes = [0; MAX_LEN];
        let len = data.len().min(MAX_LEN - 2);
        bytes[..2].copy_from_slice(&family.to_ne_bytes());
        bytes[2..2 + len].copy_from_slice(&data[..len]);
        SockAddr { bytes, len: 2 + len }
    }

    /// Reads an argument. EINVAL for a length that no address has, EFAULT.
    pub fn read(addr: Vaddr, len: usize) -> Result<SockAddr> {
        let len = len as i32;
        if len < 0 || len as usize > MAX_LEN {
            return Err(EINVAL);
        }
        let len = len as usize;
        let mut bytes = [0; MAX_LEN];
        mem::copy_from_user(&mut bytes[..len], addr)?;
        Ok(SockAddr { bytes, len })
    }

    /// Gives an address to the program: as much as the length at `len_addr` allows, where the true length goes.
    pub fn write(address: Option<&SockAddr>, addr: Vaddr, len_addr: Vaddr) -> Result<()> {
        let room = mem::read::<i32>(len_addr)?;
        if room < 0 {
            return Err(EINVAL);
        }
        let bytes = address.map_or(&[][..], |address| &address.bytes[..address.len]);
        let fits = bytes.len().min(room as usize);
        mem::copy_to_user(addr, &bytes[..fits])?;
        mem::write(len_addr, &(bytes.len() as i32))?;
        Ok(())
    }

    /// The family; `None` if the address is too short to have one.
    pub fn family(&self) -> Option<u16> {
        (self.len >= 2).then(|| u16::from_ne_bytes([self.bytes[0], self.bytes[1]]))
    }

    /// What comes after the family.
    pub fn data(&self) -> &[u8] {
        &self.bytes[2.min(self.len)..self.len]
    }
}
