//! Mapping a program and its interpreter into a new address space.

use elfload::{Header, Image, Kind, Segment};
use ostd::mm::USER_END;

use crate::{
    mm::{MMAP_MIN_ADDR, MapRequest, MemoryLimits, MemoryObject, Placement, Vm, VmFlags, read_object},
    prelude::*,
};

/// Where position-independent programs go: two thirds up, as on Linux.
const PIE_BASE: usize = 0x5555_5555_4000;

/// A program or interpreter in its place.
pub struct Loaded {
    pub image: Image,
    /// Added to all addresses of the image.
    pub bias: usize,
    /// A part that had to be cleared lies beyond the end of the file: the program is doomed (SIGSEGV), as on Linux.
    pub doomed: bool,
}

impl Loaded {
    pub fn entry(&self) -> usize {
        self.bias.wrapping_add(self.image.entry as usize)
    }

    /// End of the last page.
    pub fn end(&self) -> usize {
        self.bias + self.image.page_end() as usize
    }

    /// Address range of the segments that `which` selects: lowest start, highest end of file contents.
    pub fn extent(&self, which: impl Fn(&Segment) -> bool) -> (usize, usize) {
        let mut chosen = self.image.segments.iter().filter(|segment| which(segment));
        let Some(first) = chosen.next() else { return (0, 0) };
        let last = chosen.next_back().unwrap_or(first);
        (self.bias + first.vaddr as usize, self.bias + (last.vaddr + last.file_len) as usize)
    }
}

/// Reads and checks the program headers. `head` is the start of the file. `None` when something is wrong with its segments: the
/// program is doomed.
///
/// # Errors
/// ENOEXEC for whatever else is wrong with the file, ENOMEM.
pub fn read_image(object: &dyn MemoryObject, head: &[u8]) -> Result<Option<Image>> {
    let header = Header::parse(head).or(Err(ENOEXEC))?;
    let size = header.table_size();
    let offset = header.table_offset as usize;
    let parse = |table: &[u8]| match Image::parse(&header, table, MMAP_MIN_ADDR as u64, USER_END as u64) {
        Ok(image) => Ok(Some(image)),
        Err(elfload::Error::BadSegment) => Ok(None),
        Err(_) => Err(ENOEXEC),
    };
    // The table nearly always follows the header.
    if let Some(table) = offset.checked_add(size).and_then(|end| head.get(offset..end)) {
        return parse(table);
    }
    let mut table = vec![0u8; size];
    let len = read_object(object, header.table_offset, &mut table).or(Err(ENOEXEC))?;
    parse(&table[..len])
}

/// The path in PT_INTERP, if there is one.
///
/// # Errors
/// EIO when it lies beyond the end of the file, ENOEXEC when it is not a C string.
pub fn interpreter_path(object: &dyn MemoryObject, image: &Image) -> Result<Option<Vec<u8>>> {
    let Some(range) = image.interpreter else { return Ok(None) };
    let mut path = vec![0u8; range.len as usize];
    if read_object(object, range.offset, &mut path)? < path.len() {
        return Err(EIO);
    }
    if path.last() != Some(&0) {
        return Err(ENOEXEC);
    }
    let len = path.iter().position(|&byte| byte == 0).unwrap_or(0);
    path.truncate(len);
    Ok(Some(path))
}

/// Where an image goes.
pub enum Base {
    /// A program: where it says, or at the usual place plus `shift` bytes for a position-independent one.
    Program { shift: usize },
    /// An interpreter: into the mmap area.
    Interpreter,
}

/// Maps all segments of `image`.
///
/// # Errors
/// ENOMEM (limits, memory), ENOEXEC when there is no room for it.
pub fn map_image(
    vm: &Arc<Vm>,
    object: &Arc<dyn MemoryObject>,
    image: Image,
    base: Base,
    limits: &MemoryLimits,
) -> Result<Loaded> {
    let bias = match (image.kind, base) {
        (Kind::Fixed, _) => 0,
        (Kind::Relocatable, Base::Program { shift }) => {
            let align = image.align as usize;
            // The lowest page of the image lands there, whatever its own number.
            ((PIE_BASE + shift) & !(align - 1)).wrapping_sub(image.page_start() as usize & !(align - 1))
        }
        (Kind::Relocatable, Base::Interpreter) => {
            let len = (image.page_end() - image.page_start()) as usize;
            vm.find_gap(len)?.wrapping_sub(image.page_start() as usize)
        }
    };
    let mut loaded = Loaded { image, bias, doomed: false };
    if loaded.image.page_end() as usize > USER_END.wrapping_sub(bias) {
        return Err(ENOEXEC);
    }
    for index in 0..loaded.image.segments.len() {
        let segment = loaded.image.segments[index];
        loaded.doomed |= !map_segment(vm, object, &segment, bias, limits)?;
    }
    Ok(loaded)
}

/// Maps one segment; false when the part to be cleared can't be reached.
fn map_segment(
    vm: &Arc<Vm>,
    object: &Arc<dyn MemoryObject>,
    segment: &Segment,
    bias: usize,
    limits: &MemoryLimits,
) -> Result<bool> {
    let mut access = VmFlags::empty();
    access.set(VmFlags::READ, segment.read);
    access.set(VmFlags::WRITE, segment.write);
    access.set(VmFlags::EXEC, segment.exec);
    let at = |addr: u64| bias.wrapping_add(addr as usize);
    let map = |start: u64, end: u64, object| {
        let request = MapRequest {
            placement: Placement::Fixed(at(start)),
            len: (end - start) as usize,
            flags: access | VmFlags::MAY_ACCESS,
            object,
            populate: false,
        };
        vm.mmap(request, limits)
    };
    let (start, file_end, end) = (segment.page_start(), segment.file_page_end(), segment.page_end());
    if file_end > start {
        map(start, file_end, Some((object.clone(), segment.page_offset())))?;
    }
    if end > file_end {
        map(file_end, end, None)?;
    }
    let (from, to) = segment.tail_to_clear();
    let len = (to - from) as usize;
    Ok(len == 0 || !segment.write || vm.clear_remote(at(from), len) == len)
}
