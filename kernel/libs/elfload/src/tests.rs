//! Examples, and garbage: no input may panic, and whatever is accepted keeps the promises of [`Image`].

use super::*;
use proptest::prelude::*;

const MIN: u64 = 0x10000;
const END: u64 = 0x7fff_ffff_f000;

fn header(kind: u16, entry: u64, table_len: u16) -> Vec<u8> {
    let mut bytes = vec![0u8; HEADER_SIZE];
    bytes[..8].copy_from_slice(b"\x7fELF\x02\x01\x01\x00");
    bytes[16..18].copy_from_slice(&kind.to_le_bytes());
    bytes[18..20].copy_from_slice(&EM_X86_64.to_le_bytes());
    bytes[24..32].copy_from_slice(&entry.to_le_bytes());
    bytes[32..40].copy_from_slice(&64u64.to_le_bytes());
    bytes[54..56].copy_from_slice(&56u16.to_le_bytes());
    bytes[56..58].copy_from_slice(&table_len.to_le_bytes());
    bytes
}

#[allow(clippy::too_many_arguments)]
fn program_header(
    kind: u32,
    flags: u32,
    offset: u64,
    vaddr: u64,
    file_len: u64,
    mem_len: u64,
    align: u64,
) -> Vec<u8> {
    let mut bytes = Vec::new();
    bytes.extend(kind.to_le_bytes());
    bytes.extend(flags.to_le_bytes());
    for field in [offset, vaddr, vaddr, file_len, mem_len, align] {
        bytes.extend(field.to_le_bytes());
    }
    bytes
}

fn parse(file: &[u8]) -> Result<Image, Error> {
    let header = Header::parse(file)?;
    let table = file.get(header.table_offset as usize..).unwrap_or(&[]);
    Image::parse(&header, table, MIN, END)
}

fn with_segments(kind: u16, segments: &[Vec<u8>]) -> Result<Image, Error> {
    let mut file = header(kind, 0x401000, segments.len() as u16);
    segments.iter().for_each(|segment| file.extend(segment));
    parse(&file)
}

#[test]
fn a_static_program_is_read() {
    let image = with_segments(
        ET_EXEC,
        &[
            program_header(PT_LOAD, 4, 0, 0x400000, 0x500, 0x500, PAGE),
            program_header(PT_LOAD, 5, 0x1000, 0x401000, 0x2345, 0x2345, PAGE),
            program_header(PT_LOAD, 6, 0x3ff0, 0x404ff0, 0x100, 0x3000, PAGE),
            program_header(PT_GNU_STACK, 6, 0, 0, 0, 0, 16),
        ],
    )
    .unwrap();
    assert_eq!(image.kind, Kind::Fixed);
    assert_eq!(image.table_vaddr, Some(0x400040));
    assert_eq!((image.page_start(), image.page_end()), (0x400000, 0x408000));
    assert!(!image.exec_stack);
    let data = image.segments[2];
    assert_eq!((data.page_start(), data.file_page_end(), data.page_end()), (0x404000, 0x406000, 0x408000));
    assert_eq!(data.tail_to_clear(), (0x4050f0, 0x406000));
    assert_eq!(data.page_offset(), 0x3000);
}

#[test]
fn an_interpreter_is_found() {
    let image = with_segments(
        ET_DYN,
        &[
            program_header(PT_INTERP, 4, 0x318, 0x318, 28, 28, 1),
            program_header(PT_LOAD, 4, 0, 0, 0x700, 0x700, 0x200000),
        ],
    )
    .unwrap();
    assert_eq!(image.kind, Kind::Relocatable);
    assert_eq!(image.interpreter, Some(FileRange { offset: 0x318, len: 28 }));
    assert_eq!(image.align, 0x200000);
}

#[test]
fn what_contradicts_itself_is_malformed() {
    let good = program_header(PT_LOAD, 5, 0x1000, 0x401000, 0x100, 0x200, PAGE);
    assert!(with_segments(ET_EXEC, core::slice::from_ref(&good)).is_ok());
    let bad = [
        ("no segment", program_header(7, 5, 0, 0x401000, 1, 1, PAGE)),
        ("file larger than memory", program_header(PT_LOAD, 5, 0x1000, 0x401000, 0x300, 0x200, PAGE)),
        ("not congruent", program_header(PT_LOAD, 5, 0x1004, 0x401000, 0x100, 0x200, PAGE)),
        ("beyond the user's half", program_header(PT_LOAD, 5, 0x1000, END - 0x1000, 0x100, 0x1001, PAGE)),
        ("wraps around", program_header(PT_LOAD, 5, 0x1000, u64::MAX - 0xfff, 0x100, 0x2000, PAGE)),
        ("below the lowest address", program_header(PT_LOAD, 5, 0x1000, 0x1000, 0x100, 0x200, PAGE)),
        (
            "file offset overflows",
            program_header(PT_LOAD, 5, u64::MAX - 0xfff, 0x401000, 0x1000, 0x1000, PAGE),
        ),
    ];
    for (what, entry) in bad {
        assert_eq!(with_segments(ET_EXEC, &[entry]), Err(Error::BadSegment), "{what}");
    }
    let bad = [
        ("interpreter's name too short", program_header(PT_INTERP, 4, 0, 0, 1, 1, 1)),
        ("interpreter's name too long", program_header(PT_INTERP, 4, 0, 0, 4097, 4097, 1)),
    ];
    for (what, entry) in bad {
        assert_eq!(with_segments(ET_EXEC, &[entry]), Err(Error::Malformed), "{what}");
    }
    let overlap = program_header(PT_LOAD, 6, 0x1000, 0x401000, 0x100, 0x200, PAGE);
    assert_eq!(with_segments(ET_EXEC, &[good, overlap]), Err(Error::BadSegment));
}

#[test]
fn every_truncation_is_refused() {
    let mut file = header(ET_EXEC, 0x401000, 1);
    file.extend(program_header(PT_LOAD, 5, 0x1000, 0x401000, 0x100, 0x200, PAGE));
    for len in 0..file.len() {
        assert!(parse(&file[..len]).is_err(), "{len} bytes");
    }
    assert!(parse(&file).is_ok());
}

#[test]
fn other_machines_are_the_wrong_kind() {
    for (at, value) in [(18, 3), (16, 1), (16, 4)] {
        let mut file = header(ET_EXEC, 0, 1);
        file[at] = value;
        assert_eq!(Header::parse(&file), Err(Error::WrongKind), "byte {at}");
    }
    let mut file = header(ET_EXEC, 0, 1);
    (file[4], file[5]) = (1, 2);
    assert!(Header::parse(&file).is_ok(), "class and byte order do not matter");
    assert_eq!(Header::parse(b"#!/bin/sh\n"), Err(Error::NotElf));
    assert_eq!(Header::parse(b""), Err(Error::NotElf));
}

type Line<'a> = (&'a [u8], Option<&'a [u8]>);

fn script(head: &[u8]) -> Option<Result<Line<'_>, ()>> {
    Some(Script::parse(head)?.map(|script| (script.interpreter, script.argument)))
}

#[test]
fn script_lines_are_read() {
    assert_eq!(script(b"#!/bin/sh\necho"), Some(Ok((&b"/bin/sh"[..], None))));
    assert_eq!(script(b"#!/bin/sh"), Some(Ok((&b"/bin/sh"[..], None))));
    assert_eq!(script(b"#! \t/bin/sh  -e  x \t\n"), Some(Ok((&b"/bin/sh"[..], Some(&b"-e  x"[..])))));
    assert_eq!(script(b"\x7fELF"), None);
    assert_eq!(script(b"#"), None);
}

#[test]
fn scripts_without_an_interpreter_are_refused() {
    for head in [&b"#!\n"[..], b"#!   \t \n/bin/sh"] {
        assert_eq!(script(head), Some(Err(())), "{head:?}");
    }
    let mut blank = b"#!".to_vec();
    blank.resize(256, b' ');
    assert_eq!(script(&blank), Some(Err(())));
}

#[test]
fn a_line_without_end_has_what_the_padding_of_the_head_makes_of_it() {
    for head in [&b"#!"[..], b"#! ", b"#!\0/bin/sh", b"#!\0\n"] {
        assert_eq!(script(head), Some(Ok((&b""[..], None))), "{head:?}");
    }
    assert_eq!(script(b"#!/bin/sh "), Some(Ok((&b"/bin/sh"[..], Some(&b""[..])))));
    assert_eq!(script(b"#!/bin/sh -e\0\n"), Some(Ok((&b"/bin/sh"[..], Some(&b"-e"[..])))));
    assert_eq!(script(b"#!/bin/sh -e "), Some(Ok((&b"/bin/sh"[..], Some(&b"-e "[..])))));
}

#[test]
fn a_long_line_needs_a_whole_name_only() {
    let mut long_name = b"#!/".to_vec();
    long_name.resize(400, b'a');
    assert_eq!(script(&long_name), Some(Err(())));
    let mut long_argument = b"#!/bin/sh ".to_vec();
    long_argument.resize(400, b'b');
    let (name, argument) = script(&long_argument).unwrap().unwrap();
    assert_eq!((name, argument.unwrap().len()), (&b"/bin/sh"[..], 245));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn garbage_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
        let _ = parse(&bytes);
        let _ = Script::parse(&bytes);
    }

    /// Valid magic, random everything else that matters.
    #[test]
    fn what_is_accepted_keeps_its_promises(
        kind in prop_oneof![Just(ET_EXEC), Just(ET_DYN)],
        entries in prop::collection::vec((
            prop_oneof![4 => Just(PT_LOAD), 1 => Just(PT_INTERP), 1 => Just(PT_GNU_STACK), 1 => any::<u32>()],
            any::<u32>(),
            prop_oneof![4 => 0..0x8000u64, 1 => any::<u64>()],
            prop_oneof![4 => 0x10000..0x80000u64, 1 => any::<u64>()],
            prop_oneof![4 => 0..0x3000u64, 1 => any::<u64>()],
            prop_oneof![4 => 0..0x5000u64, 1 => any::<u64>()],
            any::<bool>(),
        ), 1..6),
    ) {
        let table: Vec<_> = entries
            .iter()
            .map(|&(kind, flags, offset, vaddr, file_len, mem_len, congruent)| {
                let vaddr = if congruent { vaddr - vaddr % PAGE + offset % PAGE } else { vaddr };
                program_header(kind, flags, offset, vaddr, file_len, mem_len, offset)
            })
            .collect();
        if let Ok(image) = with_segments(kind, &table) {
            let mut floor = if kind == ET_EXEC { MIN } else { 0 };
            prop_assert!(!image.segments.is_empty());
            prop_assert!(image.align.is_power_of_two() && image.align >= PAGE);
            for segment in &image.segments {
                prop_assert!(segment.page_start() >= floor);
                prop_assert!(segment.page_start() <= segment.file_page_end() && segment.file_page_end() <= segment.page_end());
                prop_assert!(segment.file_len <= segment.mem_len && segment.page_end() <= END);
                let (from, to) = segment.tail_to_clear();
                prop_assert!(from <= to && to <= segment.file_page_end().max(from));
                floor = segment.page_end();
            }
            if let Some(range) = image.interpreter {
                prop_assert!((2..=MAX_INTERPRETER).contains(&range.len));
            }
        }
    }
}
