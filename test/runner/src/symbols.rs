//! Puts the kernel's symbol table where the kernel itself can read it, for backtraces with names.
//!
//! The linker script ends with a nearly empty segment, `ksyms`, behind which there is nothing in memory. The table that this
//! file makes from the ELF's own symbols goes to the end of the file, and the segment's header is changed to load it:
//!
//! ```text
//! "FOSTRSYM", u32 length of all, u32 count
//! count times { u32 low half of the address, u32 offset of the name }, by address
//! the names, demangled, each with a NUL
//! ```

use crate::Outcome;

const MAGIC: &[u8; 8] = b"FOSTRSYM";
const HEADER: usize = 16;
const PT_LOAD: u64 = 1;
const SHT_SYMTAB: u64 = 2;
const STT_FUNC: u64 = 2;
const SHF_EXECINSTR: u64 = 4;
const PAGE: usize = 4096;

/// A little-endian ELF64 in memory.
struct Elf<'a>(&'a [u8]);

impl Elf<'_> {
    fn number(&self, at: usize, size: usize) -> Outcome<u64> {
        let bytes = self.0.get(at..at + size).ok_or("the kernel's ELF is cut short")?;
        Ok(bytes.iter().rev().fold(0, |value, &byte| value << 8 | u64::from(byte)))
    }

    fn at(&self, at: usize, size: usize) -> Outcome<usize> {
        Ok(self.number(at, size)? as usize)
    }

    /// Where the section headers are, each with its type and flags.
    fn sections(&self) -> Outcome<Vec<(usize, u64, u64)>> {
        let (table, size, count) = (self.at(0x28, 8)?, self.at(0x3a, 2)?, self.at(0x3c, 2)?);
        (0..count)
            .map(|i| table + i * size)
            .map(|header| Ok((header, self.number(header + 4, 4)?, self.number(header + 8, 8)?)))
            .collect()
    }

    fn string(&self, at: usize) -> Outcome<String> {
        let rest = self.0.get(at..).ok_or("a symbol's name lies outside of the ELF")?;
        let end = rest.iter().position(|&byte| byte == 0).ok_or("a symbol's name has no end")?;
        Ok(String::from_utf8_lossy(&rest[..end]).into())
    }

    /// Address and name of every function, by address.
    fn functions(&self) -> Outcome<Vec<(u32, String)>> {
        let sections = self.sections()?;
        let Some(&(symtab, ..)) = sections.iter().find(|section| section.1 == SHT_SYMTAB) else {
            return Ok(Vec::new());
        };
        let (offset, size, strings) =
            (self.at(symtab + 0x18, 8)?, self.at(symtab + 0x20, 8)?, self.at(symtab + 0x28, 4)?);
        let names = self.at(sections.get(strings).ok_or("the symbols have no names")?.0 + 0x18, 8)?;
        let mut functions = Vec::new();
        for symbol in (offset..offset + size).step_by(24) {
            let section = self.at(symbol + 6, 2)?;
            let executable = sections.get(section).is_some_and(|section| section.2 & SHF_EXECINSTR != 0);
            // Assembly labels are often without a type, and as good in a backtrace.
            if executable && matches!(self.number(symbol + 4, 1)? & 15, STT_FUNC | 0) {
                let name = self.string(names + self.at(symbol, 4)?)?;
                functions.push((self.number(symbol + 8, 8)? as u32, demangle(&name)));
            }
        }
        functions.sort();
        functions.dedup_by_key(|function| function.0);
        Ok(functions)
    }

    /// The header of the last segment to load.
    fn last_segment(&self) -> Outcome<usize> {
        let (table, size, count) = (self.at(0x20, 8)?, self.at(0x36, 2)?, self.at(0x38, 2)?);
        let mut last = None;
        for header in (0..count).map(|i| table + i * size) {
            if self.number(header, 4)? == PT_LOAD {
                last = last.max(Some((self.number(header + 0x18, 8)?, header)));
            }
        }
        Ok(last.ok_or("the kernel has nothing to load")?.1)
    }
}

fn demangle(name: &str) -> String {
    format!("{:#}", rustc_demangle::demangle(name))
}

fn table(functions: &[(u32, String)]) -> Vec<u8> {
    let mut entries = Vec::new();
    let mut names = Vec::new();
    for (address, name) in functions {
        let offset = HEADER + functions.len() * 8 + names.len();
        entries.extend(address.to_le_bytes());
        entries.extend((offset as u32).to_le_bytes());
        names.extend(name.bytes());
        names.push(0);
    }
    let length = HEADER + entries.len() + names.len();
    let mut table = MAGIC.to_vec();
    table.extend((length as u32).to_le_bytes());
    table.extend((functions.len() as u32).to_le_bytes());
    table.extend(entries);
    table.extend(names);
    table
}

/// The ELF with its symbols in the last segment; as it was, if that segment is not the one made for them.
pub fn embed(mut elf: Vec<u8>) -> Outcome<Vec<u8>> {
    let reader = Elf(&elf);
    let segment = reader.last_segment()?;
    let place = reader.at(segment + 8, 8)?;
    if elf.get(place..place + MAGIC.len()) != Some(MAGIC) {
        return Ok(elf);
    }
    let address = reader.number(segment + 0x10, 8)?;
    let mut section = None;
    for (header, ..) in reader.sections()? {
        if reader.number(header + 0x10, 8)? == address {
            section = Some(header);
        }
    }
    let table = table(&reader.functions()?);
    elf.resize(elf.len().next_multiple_of(PAGE), 0);
    let offset = elf.len();
    elf.extend(&table);
    let mut set = |at: usize, value: usize| elf[at..at + 8].copy_from_slice(&(value as u64).to_le_bytes());
    for (field, value) in [(8, offset), (0x20, table.len()), (0x28, table.len())] {
        set(segment + field, value);
    }
    // Debuggers go by the sections, which have to agree.
    if let Some(section) = section {
        set(section + 0x18, offset);
        set(section + 0x20, table.len());
    }
    Ok(elf)
}

#[cfg(test)]
mod tests {
    use super::{Elf, demangle, embed, table};

    #[test]
    fn the_table_leads_from_address_to_name() {
        let table = table(&[(0x1000, "a".into()), (0x2000, "b::c".into())]);
        assert_eq!(&table[..8], b"FOSTRSYM");
        let elf = Elf(&table);
        assert_eq!(elf.at(8, 4), Ok(table.len()));
        assert_eq!(elf.at(12, 4), Ok(2));
        assert_eq!(elf.at(24, 4), Ok(0x2000));
        assert_eq!(elf.string(elf.at(28, 4).unwrap()).unwrap(), "b::c");
    }

    #[test]
    fn names_are_readable() {
        assert_eq!(demangle("_ZN6foster7process4exit17h0123456789abcdefE"), "foster::process::exit");
        assert_eq!(demangle("__pvh_start"), "__pvh_start");
    }

    #[test]
    fn this_very_program_has_functions_and_no_place_for_a_table() {
        let own = std::fs::read(std::env::current_exe().unwrap()).unwrap();
        let functions = Elf(&own).functions().unwrap();
        assert!(functions.iter().any(|(_, name)| name.contains("this_very_program")));
        assert!(functions.is_sorted_by_key(|function| function.0));
        assert!(embed(own.clone()).unwrap() == own);
        assert!(embed(b"not an ELF".to_vec()).is_err());
    }
}
