//! The vDSO as a file: an ELF shared object of one page around code that is given (vdso(7)).
//!
//! A C library finds the page by AT_SYSINFO_EHDR and looks its functions up as in any shared object. glibc takes either hash
//! table and checks the version of a symbol, musl and Go want the older table; debuggers read the section headers, unwinders
//! the frame description. So there is all of that, and nothing else:
//!
//! ```text
//! ELF header, program headers
//! .dynsym .dynstr .hash .gnu.hash .gnu.version .gnu.version_d .dynamic .note
//! .eh_frame_hdr .eh_frame
//! section headers and their names
//! .text, at the offset that the code was assembled for
//! ```
//!
//! Every function has two names, as on Linux: `__vdso_name`, and `name`, which is weak and the tail of the same string.

#![cfg_attr(not(test), no_std)]
#![deny(unsafe_code)]

#[cfg(test)]
mod tests;

/// The size of the image.
pub const PAGE: usize = 4096;

/// The name by which debuggers know it.
const SONAME: &str = "linux-vdso.so.1";
/// The version of all symbols.
const VERSION: &str = "LINUX_2.6";
const PREFIX: &str = "__vdso_";

/// Buckets of the older hash table.
const BUCKETS: usize = 8;
const MAX_SYMBOLS: usize = 32;

/// A function in the code: its name, where it begins and how long it is.
#[derive(Clone, Copy, Debug)]
pub struct Function<'a> {
    pub name: &'a str,
    pub start: usize,
    pub len: usize,
}

/// What an image is made of.
pub struct Parts<'a> {
    pub code: &'a [u8],
    /// Where in the page the code has to be.
    pub code_offset: usize,
    pub functions: &'a [Function<'a>],
    /// The version of the kernel, as LINUX_VERSION_CODE has it.
    pub kernel_version: u32,
}

/// The page has no room for all that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooLarge;

/// Fills `page`, which is all zeros.
pub fn build(page: &mut [u8; PAGE], parts: &Parts) -> Result<(), TooLarge> {
    let end = parts.code_offset.checked_add(parts.code.len()).ok_or(TooLarge)?;
    if end > PAGE || 2 + 2 * parts.functions.len() > MAX_SYMBOLS {
        return Err(TooLarge);
    }
    let mut image = Image { page, at: HEADERS, limit: parts.code_offset };
    let layout = image.tables(parts)?;
    image.headers(parts, &layout);
    page[parts.code_offset..end].copy_from_slice(parts.code);
    Ok(())
}

const EHDR: usize = 64;
const PHDR: usize = 56;
const SHDR: usize = 64;
const PROGRAM_HEADERS: usize = 4;
const HEADERS: usize = EHDR + PROGRAM_HEADERS * PHDR;

const SYMBOL: usize = 24;
const GLOBAL: u8 = 1 << 4;
const WEAK: u8 = 2 << 4;
const FUNC: u8 = 2;
const OBJECT: u8 = 1;
const SHN_ABS: u16 = 0xfff1;

/// Tags of the dynamic section.
mod tag {
    pub const NULL: u64 = 0;
    pub const HASH: u64 = 4;
    pub const STRTAB: u64 = 5;
    pub const SYMTAB: u64 = 6;
    pub const STRSZ: u64 = 10;
    pub const SYMENT: u64 = 11;
    pub const SONAME: u64 = 14;
    pub const GNU_HASH: u64 = 0x6fff_fef5;
    pub const VERSYM: u64 = 0x6fff_fff0;
    pub const VERDEF: u64 = 0x6fff_fffc;
    pub const VERDEFNUM: u64 = 0x6fff_fffd;
}

/// Types of segments and sections.
mod kind {
    pub const PT_LOAD: u32 = 1;
    pub const PT_DYNAMIC: u32 = 2;
    pub const PT_NOTE: u32 = 4;
    pub const PT_GNU_EH_FRAME: u32 = 0x6474_e550;
    pub const SHT_PROGBITS: u32 = 1;
    pub const SHT_STRTAB: u32 = 3;
    pub const SHT_DYNAMIC: u32 = 6;
    pub const SHT_NOTE: u32 = 7;
    pub const SHT_DYNSYM: u32 = 11;
}

const READ: u32 = 4;
const EXECUTE: u32 = 1;

/// Where a table lies.
#[derive(Clone, Copy, Default)]
struct Span {
    start: usize,
    len: usize,
}

/// Sections by number.
#[derive(Clone, Copy)]
enum Section {
    Symbols = 1,
    Strings,
    Dynamic,
    Note,
    FrameHeader,
    Frame,
    Text,
    Names,
}
const SECTIONS: usize = 9;
const SECTION_NAMES: &[u8] =
    b"\0.dynsym\0.dynstr\0.dynamic\0.note\0.eh_frame_hdr\0.eh_frame\0.text\0.shstrtab\0";

/// Where everything ended up.
struct Layout {
    sections: [Span; SECTIONS],
    headers: usize,
}

/// The names of all symbols, to be hashed: those of the functions twice, and that of the version.
fn names<'a>(parts: &Parts<'a>) -> impl Iterator<Item = (&'static str, &'a str)> {
    parts
        .functions
        .iter()
        .flat_map(|function| [(PREFIX, function.name), ("", function.name)])
        .chain([("", VERSION)])
}

/// The hash of the System V ABI.
fn sysv_hash(prefix: &str, name: &str) -> u32 {
    prefix.bytes().chain(name.bytes()).fold(0, |hash: u32, byte| {
        let hash = (hash << 4).wrapping_add(byte.into());
        let high = hash & 0xf000_0000;
        (hash ^ high >> 24) & !high
    })
}

/// The hash of DT_GNU_HASH.
fn gnu_hash(prefix: &str, name: &str) -> u32 {
    prefix
        .bytes()
        .chain(name.bytes())
        .fold(5381, |hash: u32, byte| hash.wrapping_mul(33).wrapping_add(byte.into()))
}

/// The page while it is filled from its start.
struct Image<'a> {
    page: &'a mut [u8; PAGE],
    at: usize,
    /// Where the code begins.
    limit: usize,
}

impl Image<'_> {
    fn put(&mut self, bytes: &[u8]) -> Result<(), TooLarge> {
        let end = self.at + bytes.len();
        if end > self.limit {
            return Err(TooLarge);
        }
        self.page[self.at..end].copy_from_slice(bytes);
        self.at = end;
        Ok(())
    }

    fn put_u16(&mut self, value: u16) -> Result<(), TooLarge> {
        self.put(&value.to_le_bytes())
    }

    fn put_u32(&mut self, value: u32) -> Result<(), TooLarge> {
        self.put(&value.to_le_bytes())
    }

    fn put_u64(&mut self, value: u64) -> Result<(), TooLarge> {
        self.put(&value.to_le_bytes())
    }

    /// The distance from here to `target`, as 32 bits.
    fn put_distance(&mut self, target: usize) -> Result<(), TooLarge> {
        self.put_u32((target as u32).wrapping_sub(self.at as u32))
    }

    /// Lets `fill` write a table, from the next multiple of 8 on.
    fn span(&mut self, fill: impl FnOnce(&mut Self) -> Result<(), TooLarge>) -> Result<Span, TooLarge> {
        self.at = self.at.next_multiple_of(8);
        let start = self.at;
        fill(self)?;
        Ok(Span { start, len: self.at - start })
    }

    fn tables(&mut self, parts: &Parts) -> Result<Layout, TooLarge> {
        let mut sections = [Span::default(); SECTIONS];
        let strings = self.span(|image| image.strings(parts))?;
        let symbols = self.span(|image| image.symbols(parts))?;
        let hash = self.span(|image| image.hash(parts))?;
        let gnu_hash = self.span(|image| image.gnu_hash(parts))?;
        let versions = self.span(|image| image.versions(parts))?;
        let definitions = self.span(Self::definitions)?;
        sections[Section::Dynamic as usize] = self.span(|image| {
            let entries = [
                (tag::SONAME, SONAME_AT),
                (tag::HASH, hash.start),
                (tag::GNU_HASH, gnu_hash.start),
                (tag::STRTAB, strings.start),
                (tag::SYMTAB, symbols.start),
                (tag::STRSZ, strings.len),
                (tag::SYMENT, SYMBOL),
                (tag::VERDEF, definitions.start),
                (tag::VERDEFNUM, 2),
                (tag::VERSYM, versions.start),
                (tag::NULL, 0),
            ];
            entries.iter().try_for_each(|&(tag, value)| {
                image.put_u64(tag)?;
                image.put_u64(value as u64)
            })
        })?;
        sections[Section::Note as usize] = self.span(|image| {
            // Lengths of name and contents, type, name.
            [6, 4, 0].into_iter().try_for_each(|word| image.put_u32(word))?;
            image.put(b"Linux\0\0\0")?;
            image.put_u32(parts.kernel_version)
        })?;
        let (header, frame) = self.unwinding(parts)?;
        sections[Section::FrameHeader as usize] = header;
        sections[Section::Frame as usize] = frame;
        sections[Section::Names as usize] = self.span(|image| image.put(SECTION_NAMES))?;
        sections[Section::Symbols as usize] = symbols;
        sections[Section::Strings as usize] = strings;
        sections[Section::Text as usize] = Span { start: parts.code_offset, len: parts.code.len() };
        let headers = self.at.next_multiple_of(8);
        if headers + SECTIONS * SHDR > self.limit {
            return Err(TooLarge);
        }
        Ok(Layout { sections, headers })
    }

    /// An empty string, the names of object and version, those of the functions.
    fn strings(&mut self, parts: &Parts) -> Result<(), TooLarge> {
        self.put(&[0])?;
        let fixed = [("", SONAME), ("", VERSION)].into_iter();
        let functions = parts.functions.iter().map(|function| (PREFIX, function.name));
        fixed.chain(functions).try_for_each(|(prefix, name)| {
            self.put(prefix.as_bytes())?;
            self.put(name.as_bytes())?;
            self.put(&[0])
        })
    }

    /// In the order of [`names`].
    fn symbols(&mut self, parts: &Parts) -> Result<(), TooLarge> {
        self.symbol(0, 0, 0, Span::default())?;
        let mut name = FUNCTIONS_AT;
        for function in parts.functions {
            let span = Span { start: parts.code_offset + function.start, len: function.len };
            self.symbol(name, GLOBAL | FUNC, Section::Text as u16, span)?;
            self.symbol(name + PREFIX.len(), WEAK | FUNC, Section::Text as u16, span)?;
            name += PREFIX.len() + function.name.len() + 1;
        }
        self.symbol(VERSION_AT, GLOBAL | OBJECT, SHN_ABS, Span::default())
    }

    fn symbol(&mut self, name: usize, info: u8, section: u16, span: Span) -> Result<(), TooLarge> {
        self.put_u32(name as u32)?;
        self.put(&[info, 0])?;
        self.put_u16(section)?;
        self.put_u64(span.start as u64)?;
        self.put_u64(span.len as u64)
    }

    /// DT_HASH: buckets, and for each symbol the next one in its bucket.
    fn hash(&mut self, parts: &Parts) -> Result<(), TooLarge> {
        let (mut buckets, mut chains, mut count) = ([0; BUCKETS], [0; MAX_SYMBOLS], 1);
        for (prefix, name) in names(parts) {
            let bucket = &mut buckets[sysv_hash(prefix, name) as usize % BUCKETS];
            chains[count] = *bucket;
            *bucket = count as u32;
            count += 1;
        }
        self.put_u32(BUCKETS as u32)?;
        self.put_u32(count as u32)?;
        buckets.iter().chain(&chains[..count]).try_for_each(|&word| self.put_u32(word))
    }

    /// DT_GNU_HASH: a single bucket with all symbols in it, behind a filter that lets everything pass. With a dozen symbols
    /// that is as fast as any.
    fn gnu_hash(&mut self, parts: &Parts) -> Result<(), TooLarge> {
        let count = names(parts).count();
        // Buckets, the first symbol, words of the filter, its shift; the filter; the bucket.
        [1, 1, 1, 0].into_iter().try_for_each(|word| self.put_u32(word))?;
        self.put_u64(u64::MAX)?;
        self.put_u32(1)?;
        names(parts).enumerate().try_for_each(|(i, (prefix, name))| {
            // The lowest bit ends a bucket.
            self.put_u32(gnu_hash(prefix, name) & !1 | u32::from(i + 1 == count))
        })
    }

    /// .gnu.version: all symbols but the first, which is none, are of the version that is number 2.
    fn versions(&mut self, parts: &Parts) -> Result<(), TooLarge> {
        self.put_u16(0)?;
        names(parts).try_for_each(|_| self.put_u16(2))
    }

    /// .gnu.version_d: the object itself, and the version.
    fn definitions(&mut self) -> Result<(), TooLarge> {
        const DEFINITION: u32 = 20;
        const AUXILIARY: u32 = 8;
        let both = [(SONAME, SONAME_AT, 1, DEFINITION + AUXILIARY), (VERSION, VERSION_AT, 0, 0)];
        for (i, (name, at, flags, next)) in both.into_iter().enumerate() {
            // Version of the format, flags (1: the object itself), number, count of names.
            [1, flags, i as u16 + 1, 1].into_iter().try_for_each(|half| self.put_u16(half))?;
            [sysv_hash("", name), DEFINITION, next, at as u32, 0]
                .into_iter()
                .try_for_each(|word| self.put_u32(word))?;
        }
        Ok(())
    }

    /// .eh_frame_hdr and .eh_frame. No function of the code touches the stack, so that one rule holds everywhere: the return
    /// address is where the stack pointer points.
    fn unwinding(&mut self, parts: &Parts) -> Result<(Span, Span), TooLarge> {
        /// Bytes of the header.
        const HEADER: usize = 20;
        const COMMON: usize = 24;
        let header_at = self.at.next_multiple_of(8);
        let frame_at = (header_at + HEADER).next_multiple_of(8);
        let description_at = frame_at + COMMON;
        let header = self.span(|image| {
            // Version; how the following are encoded: relative to themselves, 32 bits, relative to this header.
            image.put(&[1, 0x1b, 0x03, 0x3b])?;
            image.put_distance(frame_at)?;
            image.put_u32(1)?;
            image.put_u32((parts.code_offset - header_at) as u32)?;
            image.put_u32((description_at - header_at) as u32)
        })?;
        let frame = self.span(|image| {
            image.put_u32(COMMON as u32 - 4)?;
            image.put_u32(0)?;
            // Version 1, "zR", code and data alignment (-8), register of the return address, encoding of addresses.
            image.put(&[1, b'z', b'R', 0, 1, 0x78, 16, 1, 0x1b])?;
            // The frame begins at rsp + 8, the return address is 8 below that; two times nothing.
            image.put(&[0x0c, 7, 8, 0x90, 1, 0, 0])?;
            // The description of all the code: length, distance to what is common, range, no more.
            image.put_u32(20)?;
            image.put_u32((image.at - frame_at) as u32)?;
            image.put_distance(parts.code_offset)?;
            image.put_u32(parts.code.len() as u32)?;
            image.put(&[0; 8])?;
            // The end.
            image.put_u32(0)
        })?;
        Ok((header, frame))
    }

    /// The headers, in the places that were kept for them.
    fn headers(&mut self, parts: &Parts, layout: &Layout) {
        self.limit = PAGE;
        let section = |section: Section| layout.sections[section as usize];
        let all = Span { start: 0, len: parts.code_offset + parts.code.len() };
        // All of it fits: the room was kept by `tables`.
        let _ = (|| {
            self.at = 0;
            self.put(b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0")?;
            // A shared object for x86-64; no entry point.
            self.put_u16(3)?;
            self.put_u16(62)?;
            self.put_u32(1)?;
            [0, EHDR, layout.headers].into_iter().try_for_each(|word| self.put_u64(word as u64))?;
            self.put_u32(0)?;
            [EHDR, PHDR, PROGRAM_HEADERS, SHDR, SECTIONS, Section::Names as usize]
                .into_iter()
                .try_for_each(|half| self.put_u16(half as u16))?;
            self.segment(kind::PT_LOAD, READ | EXECUTE, all, PAGE)?;
            self.segment(kind::PT_DYNAMIC, READ, section(Section::Dynamic), 8)?;
            self.segment(kind::PT_NOTE, READ, section(Section::Note), 4)?;
            self.segment(kind::PT_GNU_EH_FRAME, READ, section(Section::FrameHeader), 4)?;
            self.at = layout.headers + SHDR;
            self.section_header(
                layout,
                Section::Symbols,
                kind::SHT_DYNSYM,
                (Section::Strings as u32, 1),
                SYMBOL,
            )?;
            self.section_header(layout, Section::Strings, kind::SHT_STRTAB, (0, 0), 0)?;
            self.section_header(
                layout,
                Section::Dynamic,
                kind::SHT_DYNAMIC,
                (Section::Strings as u32, 0),
                16,
            )?;
            self.section_header(layout, Section::Note, kind::SHT_NOTE, (0, 0), 0)?;
            self.section_header(layout, Section::FrameHeader, kind::SHT_PROGBITS, (0, 0), 0)?;
            self.section_header(layout, Section::Frame, kind::SHT_PROGBITS, (0, 0), 0)?;
            self.section_header(layout, Section::Text, kind::SHT_PROGBITS, (0, 0), 0)?;
            self.section_header(layout, Section::Names, kind::SHT_STRTAB, (0, 0), 0)
        })();
    }

    fn segment(&mut self, kind: u32, flags: u32, span: Span, align: usize) -> Result<(), TooLarge> {
        self.put_u32(kind)?;
        self.put_u32(flags)?;
        [span.start, span.start, span.start, span.len, span.len, align]
            .into_iter()
            .try_for_each(|word| self.put_u64(word as u64))
    }

    /// `link`: the section that it refers to, and what else belongs to its type.
    fn section_header(
        &mut self,
        layout: &Layout,
        section: Section,
        kind: u32,
        link: (u32, u32),
        entry: usize,
    ) -> Result<(), TooLarge> {
        const ALLOCATED: u64 = 2;
        const EXECUTED: u64 = 4;
        let span = layout.sections[section as usize];
        let flags = ALLOCATED | if matches!(section, Section::Text) { EXECUTED } else { 0 };
        self.put_u32(section_name(section as usize))?;
        self.put_u32(kind)?;
        [flags, span.start as u64, span.start as u64, span.len as u64]
            .into_iter()
            .try_for_each(|word| self.put_u64(word))?;
        self.put_u32(link.0)?;
        self.put_u32(link.1)?;
        self.put_u64(8)?;
        self.put_u64(entry as u64)
    }
}

/// Where in the strings the names are.
const SONAME_AT: usize = 1;
const VERSION_AT: usize = SONAME_AT + SONAME.len() + 1;
const FUNCTIONS_AT: usize = VERSION_AT + VERSION.len() + 1;

/// Where the name of a section is among their names.
fn section_name(number: usize) -> u32 {
    let ends = SECTION_NAMES.iter().enumerate().filter(|&(_, &byte)| byte == 0);
    ends.map(|(at, _)| at as u32 + 1).nth(number - 1).unwrap_or(0)
}
