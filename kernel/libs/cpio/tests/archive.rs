//! Archives as tools write them, and as nobody should.

use cpio::{Error, Header, PATH_MAX, Parser, Sink};
use proptest::prelude::*;

#[derive(Default, Debug, PartialEq, Clone)]
struct Tree {
    done: Vec<(Header, Vec<u8>, Vec<u8>)>,
    open: Option<(Header, Vec<u8>, Vec<u8>)>,
    trailers: usize,
}

impl Sink for Tree {
    type Error = String;

    fn entry(&mut self, header: &Header, name: &[u8]) -> Result<(), String> {
        assert!(self.open.is_none(), "an entry within an entry");
        assert!(!name.is_empty() && !name.contains(&0) && name.len() < PATH_MAX);
        self.open = Some((*header, name.to_vec(), Vec::new()));
        Ok(())
    }

    fn data(&mut self, piece: &[u8]) -> Result<(), String> {
        assert!(!piece.is_empty());
        self.open.as_mut().expect("data outside an entry").2.extend_from_slice(piece);
        Ok(())
    }

    fn end(&mut self) -> Result<(), String> {
        let entry = self.open.take().expect("end outside an entry");
        assert_eq!(entry.0.size as usize, entry.2.len());
        self.done.push(entry);
        Ok(())
    }

    fn trailer(&mut self) {
        self.trailers += 1;
    }
}

fn entry(name: &[u8], mode: u32, data: &[u8]) -> Vec<u8> {
    let mut out = format!(
        "070701{:08x}{:08x}{:08x}{:08x}{:08x}{:08x}{:08x}{:08x}{:08x}{:08X}{:08x}{:08x}{:08x}",
        7,
        mode,
        1000,
        1001,
        1,
        0x5000_0000u32,
        data.len(),
        8,
        1,
        0xABu32,
        3,
        name.len() + 1,
        0
    )
    .into_bytes();
    out.extend_from_slice(name);
    out.push(0);
    out.resize(out.len().next_multiple_of(4), 0);
    out.extend_from_slice(data);
    out.resize(out.len().next_multiple_of(4), 0);
    out
}

fn archive(files: &[(&[u8], &[u8])]) -> Vec<u8> {
    let mut out: Vec<u8> = files.iter().flat_map(|(name, data)| entry(name, 0o100644, data)).collect();
    out.extend(entry(b"TRAILER!!!", 0, b""));
    out.resize(out.len().next_multiple_of(512), 0);
    out
}

fn parse(bytes: &[u8]) -> Result<(Tree, usize), Error<String>> {
    let mut tree = Tree::default();
    let mut parser = Parser::new();
    let used = parser.push(bytes, &mut tree)?;
    parser.finish()?;
    Ok((tree, used))
}

#[test]
fn headers_names_and_data_arrive() {
    let (tree, _) = parse(&archive(&[(b"bin/sh", b"#!"), (b"a", b""), (b"bcd", b"12345")])).unwrap();
    assert_eq!(tree.done.len(), 3);
    let (header, name, data) = &tree.done[0];
    assert_eq!((&name[..], &data[..]), (&b"bin/sh"[..], &b"#!"[..]));
    assert_eq!(
        *header,
        Header {
            ino: 7,
            mode: 0o100644,
            uid: 1000,
            gid: 1001,
            nlink: 1,
            mtime: 0x5000_0000,
            size: 2,
            dev: (8, 1),
            rdev: (0xab, 3)
        }
    );
    assert_eq!(tree.done[2].2, b"12345");
    assert_eq!(tree.trailers, 1);
}

#[test]
fn concatenated_archives_are_one_tree() {
    let mut bytes = archive(&[(b"one", b"1")]);
    bytes.extend(archive(&[(b"two", b"22")]));
    let (tree, used) = parse(&bytes).unwrap();
    assert_eq!(used, bytes.len());
    assert_eq!(tree.trailers, 2);
    assert_eq!(tree.done.iter().map(|e| &e.1[..]).collect::<Vec<_>>(), [b"one", b"two"]);
}

#[test]
fn another_format_after_the_trailer_is_left_to_the_caller() {
    let mut bytes = archive(&[(b"early", b"1")]);
    let plain = bytes.len();
    bytes.extend(b"\x1f\x8b\x08 gzip would start here");
    let (tree, used) = parse(&bytes).unwrap();
    assert_eq!(used, plain);
    assert_eq!(tree.done.len(), 1);
}

#[test]
fn each_cut_is_truncation_or_a_clean_boundary() {
    let bytes = archive(&[(b"first", b"abc"), (b"second", b"defg")]);
    for cut in 0..bytes.len() {
        match parse(&bytes[..cut]) {
            Ok((tree, _)) => assert!(tree.open.is_none()),
            Err(e) => assert_eq!(e, Error::Truncated, "cut at {cut}"),
        }
    }
}

#[test]
fn garbage_has_its_error() {
    assert_eq!(parse(b"070707 the old binary format").unwrap_err(), Error::BadMagic);
    let mut number = archive(&[(b"x", b"1")]);
    number[20] = b'z';
    assert_eq!(parse(&number).unwrap_err(), Error::BadNumber);
    let long = vec![b'n'; PATH_MAX];
    assert_eq!(parse(&archive(&[(&long, b"")])).unwrap_err(), Error::BadName);
    assert_eq!(parse(&archive(&[(b"", b"")])).unwrap_err(), Error::BadName);
    // A name that is not terminated.
    let mut open = entry(b"abc", 0o100644, b"");
    open[113] = b'd';
    assert_eq!(parse(&open).unwrap_err(), Error::BadName);
}

#[test]
fn an_absurd_size_is_truncation_and_allocates_nothing() {
    let mut bytes = entry(b"huge", 0o100644, b"few");
    bytes[54..62].copy_from_slice(b"ffffffff");
    assert_eq!(parse(&bytes).unwrap_err(), Error::Truncated);
}

proptest! {
    #[test]
    fn the_size_of_the_pieces_does_not_matter(
        files in proptest::collection::vec(("[a-z/]{1,40}", proptest::collection::vec(any::<u8>(), 0..300)), 0..8),
        cuts in proptest::collection::vec(1usize..200, 1..50),
    ) {
        let files: Vec<(&[u8], &[u8])> = files.iter().map(|(n, d)| (n.as_bytes(), &d[..])).collect();
        let bytes = archive(&files);
        let (whole, _) = parse(&bytes).unwrap();
        let mut tree = Tree::default();
        let mut parser = Parser::new();
        let mut rest = &bytes[..];
        for cut in cuts.iter().cycle() {
            let (piece, tail) = rest.split_at((*cut).min(rest.len()));
            prop_assert_eq!(parser.push(piece, &mut tree).unwrap(), piece.len());
            rest = tail;
            if rest.is_empty() {
                break;
            }
        }
        parser.finish::<String>().unwrap();
        prop_assert_eq!(parser.entries(), files.len());
        prop_assert_eq!(tree, whole);
    }

    #[test]
    fn no_input_panics(bytes in proptest::collection::vec(any::<u8>(), 0..2000)) {
        let _ = parse(&bytes);
    }

    #[test]
    fn no_damage_to_an_archive_panics(
        at in 0usize..600, value in any::<u8>(), cut in 0usize..1200,
    ) {
        let mut bytes = archive(&[(b"dir/file", b"contents"), (b"x", &[9; 333])]);
        let len = bytes.len();
        bytes[at % len] = value;
        let _ = parse(&bytes[..cut.min(len)]);
    }
}
