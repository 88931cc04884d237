//! Writes cpio archives in the "newc" format, which is what a kernel takes as an initramfs.
//!
//! Each member is a 110-byte header of hexadecimal fields, its name with a NUL, and its content, the last two padded to four
//! bytes; a member called `TRAILER!!!` ends the archive. Owner and time stamps are zero, so that equal input gives equal output.

const DIRECTORY: u32 = 0o040_000;
const REGULAR: u32 = 0o100_000;
const SYMLINK: u32 = 0o120_000;
const CHARACTER_DEVICE: u32 = 0o020_000;

#[derive(Default)]
pub struct Archive {
    bytes: Vec<u8>,
    members: u32,
    directories: Vec<String>,
}

impl Archive {
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a directory, and those above it, unless they are there.
    pub fn directory(&mut self, path: &str) {
        if path.is_empty() || self.directories.iter().any(|d| d == path) {
            return;
        }
        self.parents(path);
        self.directories.push(path.into());
        self.member(path, DIRECTORY | 0o755, (0, 0), b"");
    }

    pub fn file(&mut self, path: &str, mode: u32, content: &[u8]) {
        self.parents(path);
        self.member(path, REGULAR | mode, (0, 0), content);
    }

    pub fn symlink(&mut self, path: &str, target: &str) {
        self.parents(path);
        self.member(path, SYMLINK | 0o777, (0, 0), target.as_bytes());
    }

    pub fn character_device(&mut self, path: &str, mode: u32, major: u32, minor: u32) {
        self.parents(path);
        self.member(path, CHARACTER_DEVICE | mode, (major, minor), b"");
    }

    /// Ends the archive.
    pub fn finish(mut self) -> Vec<u8> {
        self.member("TRAILER!!!", 0, (0, 0), b"");
        self.bytes
    }

    fn parents(&mut self, path: &str) {
        if let Some((parent, _)) = path.rsplit_once('/') {
            self.directory(parent);
        }
    }

    fn member(&mut self, name: &str, mode: u32, device: (u32, u32), content: &[u8]) {
        let inode = self.members;
        self.members += 1;
        let links = if mode & DIRECTORY == DIRECTORY { 2 } else { 1 };
        let size = u32::try_from(content.len()).expect("newc holds files below 4 GiB");
        let name_size = u32::try_from(name.len() + 1).expect("a path is short");
        let (major, minor) = device;
        self.bytes.extend_from_slice(b"070701");
        for field in [inode, mode, 0, 0, links, 0, size, 0, 0, major, minor, name_size, 0] {
            self.bytes.extend_from_slice(format!("{field:08X}").as_bytes());
        }
        self.bytes.extend_from_slice(name.as_bytes());
        self.bytes.push(0);
        self.pad();
        self.bytes.extend_from_slice(content);
        self.pad();
    }

    fn pad(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }
}

#[cfg(test)]
mod tests {
    use super::Archive;

    #[test]
    fn members_are_aligned_and_the_trailer_comes_last() {
        let mut archive = Archive::new();
        archive.file("bin/a", 0o755, b"12345");
        archive.symlink("bin/b", "a");
        let bytes = archive.finish();
        assert_eq!(bytes.len() % 4, 0);
        let headers: Vec<usize> = (0..bytes.len() - 5).filter(|&i| &bytes[i..i + 6] == b"070701").collect();
        assert_eq!(headers.len(), 4, "bin, bin/a, bin/b and the trailer");
        assert!(headers.iter().all(|at| at % 4 == 0));
        assert!(String::from_utf8_lossy(&bytes[headers[3]..]).contains("TRAILER!!!\0"));
    }

    #[test]
    fn directories_above_a_file_come_once_and_before_it() {
        let mut archive = Archive::new();
        archive.file("a/b/one", 0o644, b"");
        archive.file("a/b/two", 0o644, b"");
        let text = String::from_utf8_lossy(&archive.finish()).into_owned();
        assert_eq!(text.matches("a/b\0").count(), 1);
        assert!(text.find("a/b\0") < text.find("a/b/one\0"));
    }

    #[test]
    fn the_header_holds_mode_and_size() {
        let mut archive = Archive::new();
        archive.file("f", 0o640, &[7; 18]);
        let bytes = archive.finish();
        assert_eq!(&bytes[14..22], b"000081A0");
        assert_eq!(&bytes[54..62], b"00000012");
        assert_eq!(&bytes[112..130], &[7; 18]);
    }
}
