//! The file itself.

use super::Segment;
use crate::{
    fs::{
        self, File, OpenFlags,
        io::WriteBuf,
        name_ops::{self, NameOp},
        open::{self, OpenHow},
    },
    mm::Vm,
    prelude::*,
    process::Thread,
};

const EHDR: usize = 64;
const PHDR: usize = 56;
const PT_LOAD: u32 = 1;
const PT_NOTE: u32 = 4;

/// A core that is being written. Pages that were never touched are left out, as holes.
pub struct CoreFile {
    file: Arc<File>,
    pos: u64,
    written: u64,
    /// RLIMIT_CORE: counts what is written, not holes.
    limit: u64,
}

impl CoreFile {
    /// Makes the file. `safe`: the process is not its user's business, so the name must be one that only root can have chosen, and
    /// the file is root's.
    ///
    /// # Errors
    /// Whatever open(2) gives; EINVAL when what is there can't be trusted.
    pub fn create(thread: &Thread, name: &[u8], safe: bool, limit: u64) -> Result<CoreFile> {
        let mut creds = (*thread.creds()).clone();
        let context = thread.fs();
        let (root, start) = match safe {
            true if name.first() != Some(&b'/') => return Err(EINVAL),
            true => (fs::root(), fs::root()),
            false => context.root_and_cwd(),
        };
        if safe {
            creds.fsuid = 0;
        } else if let Ok(op) = NameOp::new(&creds, &root, start.clone(), name) {
            // An old core makes way. If it can't, the open says so.
            let _ = op.unlink();
        }
        let flags = OpenFlags::CREAT | OpenFlags::EXCL | OpenFlags::WRONLY | OpenFlags::NOFOLLOW;
        let how = OpenHow::new(flags.bits(), 0o600, context.umask())?;
        let file = open::open(&creds, &root, start, name, how)?;
        let base = file.inode().base();
        let trusted = base.is_regular()
            && base.nlink() == 1
            && base.uid() == creds.fsuid
            && base.mode() & 0o677 == 0o600;
        if !trusted {
            return Err(EINVAL);
        }
        Ok(CoreFile { file, pos: 0, written: 0, limit })
    }

    /// Writes headers, notes and memory.
    ///
    /// # Errors
    /// EFBIG at the limit, or what write(2) gives: the core ends there.
    pub fn fill(&mut self, vm: &Vm, segments: &[Segment], notes: &[u8]) -> Result<()> {
        let headers = headers(segments, notes.len());
        self.emit(&headers)?;
        self.emit(notes)?;
        self.skip_to(self.pos.next_multiple_of(PAGE_SIZE as u64));
        let mut page = [0u8; PAGE_SIZE];
        for segment in segments {
            let end = self.pos + segment.file_len as u64;
            for addr in (segment.start..segment.start + segment.file_len).step_by(PAGE_SIZE) {
                match vm.dump_page(addr) {
                    Some(frame) => {
                        frame.read(0, &mut page);
                        self.emit(&page)?;
                    }
                    None => self.skip_to(self.pos + PAGE_SIZE as u64),
                }
            }
            self.skip_to(end);
        }
        if self.file.inode().base().size() < self.pos {
            name_ops::resize(self.file.inode(), None, self.pos, &Thread::current().creds())?;
        }
        Ok(())
    }

    fn emit(&mut self, bytes: &[u8]) -> Result<()> {
        if self.written + bytes.len() as u64 > self.limit {
            return Err(EFBIG);
        }
        let mut done = 0;
        while done < bytes.len() {
            done += match self.file.write_at(&mut WriteBuf::kernel(&bytes[done..]), self.pos + done as u64)? {
                0 => return Err(EIO),
                n => n,
            };
        }
        self.pos += bytes.len() as u64;
        self.written += bytes.len() as u64;
        Ok(())
    }

    fn skip_to(&mut self, pos: u64) {
        self.pos = pos;
    }
}

/// The ELF header and the program headers: one for the notes, which follow them, and one for each segment, from the next page on.
fn headers(segments: &[Segment], notes_len: usize) -> Vec<u8> {
    let count = 1 + segments.len();
    let notes_at = EHDR + count * PHDR;
    let mut out = Vec::with_capacity(notes_at);
    // 64 bits, little-endian, version 1, System V.
    out.extend_from_slice(b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0");
    put16(&mut out, 4); // ET_CORE
    put16(&mut out, 62); // EM_X86_64
    put32(&mut out, 1);
    put64(&mut out, &[0, EHDR as u64, 0]);
    put32(&mut out, 0);
    for half in [EHDR, PHDR, count.min(0xffff), 0, 0, 0] {
        put16(&mut out, half as u16);
    }
    put32(&mut out, PT_NOTE);
    put32(&mut out, 0);
    put64(&mut out, &[notes_at as u64, 0, 0, notes_len as u64, 0, 4]);
    let mut offset = (notes_at + notes_len).next_multiple_of(PAGE_SIZE);
    for segment in segments {
        put32(&mut out, PT_LOAD);
        put32(&mut out, segment.rights);
        let (start, len) = (segment.start as u64, (segment.end - segment.start) as u64);
        put64(&mut out, &[offset as u64, start, 0, segment.file_len as u64, len, PAGE_SIZE as u64]);
        offset += segment.file_len;
    }
    out
}

fn put16(out: &mut Vec<u8>, value: u16) {
    out.extend_from_slice(&value.to_le_bytes());
}

fn put32(out: &mut Vec<u8>, value: u32) {
    out.extend_from_slice(&value.to_le_bytes());
}

fn put64(out: &mut Vec<u8>, values: &[u64]) {
    values.iter().for_each(|value| out.extend_from_slice(&value.to_le_bytes()));
}
