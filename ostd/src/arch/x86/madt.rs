//! The ACPI table that tells of processors and interrupt controllers (MADT).

use super::apic::MAX_IO_APICS;
use crate::{
    boot::acpi::{self, HEADER_LEN, u16_at, u32_at, u64_at},
    cpu::MAX_CPUS,
    mm::Paddr,
};

/// An I/O APIC.
#[derive(Clone, Copy, Debug)]
pub(crate) struct IoApicInfo {
    pub(crate) paddr: Paddr,
    /// Its first global interrupt number.
    pub(crate) gsi_base: u32,
}

/// What the MADT says.
pub(crate) struct Madt {
    pub(crate) local_apic: Paddr,
    cpus: [u32; MAX_CPUS],
    num_cpus: usize,
    io_apics: [Option<IoApicInfo>; MAX_IO_APICS],
    /// For each ISA line: its global interrupt number and its flags (polarity and trigger mode).
    isa: [(u32, u16); 16],
}

impl Madt {
    /// What a PC has when no table says otherwise.
    fn standard() -> Self {
        Self {
            local_apic: 0xfee0_0000,
            cpus: [0; MAX_CPUS],
            num_cpus: 0,
            io_apics: [None; MAX_IO_APICS],
            isa: core::array::from_fn(|line| (line as u32, 0)),
        }
    }

    /// Reads the table.
    pub(crate) fn read() -> Self {
        let mut madt = Self::standard();
        if let Some(table) = acpi::find(b"APIC") {
            madt.parse(table);
        }
        if madt.io_apics[0].is_none() {
            madt.io_apics[0] = Some(IoApicInfo { paddr: 0xfec0_0000, gsi_base: 0 });
        }
        madt
    }

    fn parse(&mut self, table: &[u8]) {
        if let Some(paddr) = u32_at(table, HEADER_LEN) {
            self.local_apic = paddr as Paddr;
        }
        let mut rest = table.get(HEADER_LEN + 8..).unwrap_or(&[]);
        while rest.len() >= 2 {
            let len = rest[1] as usize;
            if len < 2 || len > rest.len() {
                break;
            }
            let (entry, next) = rest.split_at(len);
            // An entry that is too short for its kind is skipped.
            let _ = self.parse_entry(entry);
            rest = next;
        }
    }

    fn parse_entry(&mut self, entry: &[u8]) -> Option<()> {
        /// The processor is usable now. (One that can only be enabled later is not used.)
        const ENABLED: u32 = 1;
        match entry[0] {
            0 if u32_at(entry, 4)? & ENABLED != 0 => self.add_cpu(u32::from(*entry.get(3)?)),
            9 if u32_at(entry, 8)? & ENABLED != 0 => self.add_cpu(u32_at(entry, 4)?),
            1 => {
                let info = IoApicInfo { paddr: u32_at(entry, 4)? as Paddr, gsi_base: u32_at(entry, 8)? };
                if let Some(slot) = self.io_apics.iter_mut().find(|slot| slot.is_none()) {
                    *slot = Some(info);
                }
            }
            2 => {
                let line = self.isa.get_mut(*entry.get(3)? as usize)?;
                *line = (u32_at(entry, 4)?, u16_at(entry, 8)?);
            }
            5 => self.local_apic = u64_at(entry, 4)? as Paddr,
            _ => {}
        }
        Some(())
    }

    fn add_cpu(&mut self, apic_id: u32) {
        if self.num_cpus < MAX_CPUS && !self.cpus().contains(&apic_id) {
            self.cpus[self.num_cpus] = apic_id;
            self.num_cpus += 1;
        }
    }

    /// The local APIC ids of the usable CPUs.
    pub(crate) fn cpus(&self) -> &[u32] {
        &self.cpus[..self.num_cpus]
    }

    pub(crate) fn io_apics(&self) -> impl Iterator<Item = IoApicInfo> {
        self.io_apics.iter().flatten().copied()
    }

    /// The global interrupt number and flags of an ISA line.
    pub(crate) fn isa(&self, line: u8) -> (u32, u16) {
        self.isa.get(line as usize).copied().unwrap_or((u32::from(line), 0))
    }
}
