//! The image is read back as a C library reads it.

use super::*;

const CODE: &[u8] = &[0xc3; 0x60];
const FUNCTIONS: &[Function] = &[
    Function { name: "clock_gettime", start: 0, len: 0x20 },
    Function { name: "time", start: 0x20, len: 0x10 },
    Function { name: "getcpu", start: 0x30, len: 0x30 },
];

fn image() -> Box<[u8; PAGE]> {
    let mut page = Box::new([0; PAGE]);
    let parts = Parts { code: CODE, code_offset: 0x800, functions: FUNCTIONS, kernel_version: 0x61200 };
    build(&mut page, &parts).unwrap();
    page
}

fn half(page: &[u8], at: usize) -> usize {
    u16::from_le_bytes(page[at..at + 2].try_into().unwrap()).into()
}

fn word(page: &[u8], at: usize) -> usize {
    u32::from_le_bytes(page[at..at + 4].try_into().unwrap()) as usize
}

fn long(page: &[u8], at: usize) -> usize {
    u64::from_le_bytes(page[at..at + 8].try_into().unwrap()) as usize
}

fn string(page: &[u8], at: usize) -> &str {
    let len = page[at..].iter().position(|&byte| byte == 0).unwrap();
    core::str::from_utf8(&page[at..at + len]).unwrap()
}

/// Start and length of the segment of this type.
fn segment(page: &[u8], kind: u32) -> (usize, usize) {
    let headers = long(page, 32);
    let at =
        (0..half(page, 56)).map(|i| headers + i * 56).find(|&at| word(page, at) == kind as usize).unwrap();
    (long(page, at + 8), long(page, at + 32))
}

fn dynamic(page: &[u8], tag: u64) -> usize {
    let (start, len) = segment(page, kind::PT_DYNAMIC);
    let at = (start..start + len).step_by(16).find(|&at| long(page, at) == tag as usize).unwrap();
    long(page, at + 8)
}

fn symbol_name(page: &[u8], index: usize) -> &str {
    string(page, dynamic(page, tag::STRTAB) + word(page, dynamic(page, tag::SYMTAB) + index * SYMBOL))
}

fn find_by_sysv_hash(page: &[u8], name: &str) -> Option<usize> {
    let table = dynamic(page, tag::HASH);
    let buckets = word(page, table);
    let mut index = word(page, table + 8 + sysv_hash("", name) as usize % buckets * 4);
    while index != 0 {
        if symbol_name(page, index) == name {
            return Some(index);
        }
        index = word(page, table + 8 + (buckets + index) * 4);
    }
    None
}

fn find_by_gnu_hash(page: &[u8], name: &str) -> Option<usize> {
    let table = dynamic(page, tag::GNU_HASH);
    let (buckets, first, filter) = (word(page, table), word(page, table + 4), word(page, table + 8));
    let hash = gnu_hash("", name) as usize;
    let bucket_at = table + 16 + filter * 8;
    let mut index = word(page, bucket_at + hash % buckets * 4);
    loop {
        let found = word(page, bucket_at + (buckets + index - first) * 4);
        if found | 1 == hash | 1 && symbol_name(page, index) == name {
            return Some(index);
        }
        if found & 1 != 0 {
            return None;
        }
        index += 1;
    }
}

#[test]
fn hashes_are_those_of_the_abi() {
    assert_eq!(sysv_hash("", VERSION), 0x3ae_75f6);
    assert_eq!(sysv_hash("print", "f"), 0x077905a6);
    assert_eq!(gnu_hash("", "printf"), 0x156b2bb8);
    assert_eq!(gnu_hash("", ""), 5381);
}

#[test]
fn every_function_is_found_by_both_names_in_both_tables() {
    let page = image();
    for function in FUNCTIONS {
        for name in [function.name.to_string(), format!("__vdso_{}", function.name)] {
            let index = find_by_sysv_hash(&page[..], &name).unwrap();
            assert_eq!(find_by_gnu_hash(&page[..], &name), Some(index));
            let symbol = dynamic(&page[..], tag::SYMTAB) + index * SYMBOL;
            assert_eq!(long(&page[..], symbol + 8), 0x800 + function.start);
            assert_eq!(long(&page[..], symbol + 16), function.len);
            assert_ne!(half(&page[..], symbol + 6), 0, "defined");
            assert_eq!(half(&page[..], dynamic(&page[..], tag::VERSYM) + 2 * index), 2);
        }
    }
    assert_eq!(find_by_sysv_hash(&page[..], "__vdso_getrandom"), None);
    assert_eq!(find_by_gnu_hash(&page[..], "__vdso_getrandom"), None);
}

#[test]
fn the_version_is_defined() {
    let page = image();
    let strings = dynamic(&page[..], tag::STRTAB);
    assert_eq!(string(&page[..], strings + dynamic(&page[..], tag::SONAME)), "linux-vdso.so.1");
    let base = dynamic(&page[..], tag::VERDEF);
    let version = base + word(&page[..], base + 16);
    assert_eq!(half(&page[..], version + 4), 2);
    assert_eq!(word(&page[..], version + 8), sysv_hash("", "LINUX_2.6") as usize);
    let name = version + word(&page[..], version + 12);
    assert_eq!(string(&page[..], strings + word(&page[..], name)), "LINUX_2.6");
}

#[test]
fn headers_describe_what_is_there() {
    let page = image();
    assert_eq!(segment(&page[..], kind::PT_LOAD), (0, 0x800 + CODE.len()));
    assert_eq!(&page[0x800..0x800 + CODE.len()], CODE);
    let (note, len) = segment(&page[..], kind::PT_NOTE);
    assert_eq!((len, string(&page[..], note + 12), word(&page[..], note + 20)), (24, "Linux", 0x61200));
    let names = long(&page[..], long(&page[..], 40) + half(&page[..], 62) * SHDR + 24);
    let sections: Vec<_> = (1..half(&page[..], 60))
        .map(|i| string(&page[..], names + word(&page[..], long(&page[..], 40) + i * SHDR)))
        .collect();
    assert_eq!(
        sections,
        [".dynsym", ".dynstr", ".dynamic", ".note", ".eh_frame_hdr", ".eh_frame", ".text", ".shstrtab"]
    );
}

#[test]
fn the_frame_description_covers_the_code() {
    let page = image();
    let (header, _) = segment(&page[..], kind::PT_GNU_EH_FRAME);
    let relative = |at: usize| at.wrapping_add_signed(word(&page[..], at) as i32 as isize);
    let frame = relative(header + 4);
    let description = header + word(&page[..], header + 16);
    assert_eq!(header + word(&page[..], header + 12), 0x800);
    assert_eq!(description, frame + 4 + word(&page[..], frame));
    assert_eq!(relative(description + 8), 0x800);
    assert_eq!(word(&page[..], description + 12), CODE.len());
    let end = description + 4 + word(&page[..], description);
    assert_eq!(word(&page[..], end), 0, "the list ends");
}

#[test]
fn what_does_not_fit_is_refused() {
    let mut page = Box::new([0; PAGE]);
    let parts = |code_offset| Parts { code: CODE, code_offset, functions: FUNCTIONS, kernel_version: 0 };
    assert_eq!(build(&mut page, &parts(0x200)), Err(TooLarge));
    assert_eq!(build(&mut page, &parts(PAGE - 16)), Err(TooLarge));
}
