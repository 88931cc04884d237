//! The vDSO: code that every program finds in its memory, and the page of clocks that the code reads (vdso(7)).
//!
//! Both are one frame each, made at boot and shared by all: `[vvar]`, which can only be read, and right behind it `[vdso]`,
//! a shared object that a C library finds by AT_SYSINFO_EHDR. Exec maps them above the stack, where the page table is
//! there anyway. A program may move them (together: the code finds its data by the distance), unmap them, or map
//! something else over them; a fork inherits what is there. Debuggers that write to the code get a copy of their own.
//!
//! What the code does is in `ostd::user::vdso`, how the image is made in the crate `vdso`, what the clocks say in
//! [`time::shared`](crate::time::shared).

use ostd::{
    mm::{AllocClass, Frame},
    user::vdso::{CODE_OFFSET, code, functions},
};
use spin::Once;

use super::{Backing, FaultError, MemoryObject, ObjectId, ObjectName, Vm, VmFlags, VmaAttr};
use crate::{prelude::*, syscall::system, time};

/// Pages that the two mappings take.
pub const VDSO_PAGES: usize = 2;

/// A page of the kernel's that programs have.
struct SpecialPage {
    frame: Frame,
    name: &'static [u8],
}

impl MemoryObject for SpecialPage {
    fn frame(&self, index: u64, _write: bool) -> Result<Frame, FaultError> {
        if index == 0 { Ok(self.frame.clone()) } else { Err(FaultError::Bus) }
    }

    fn with_run(&self, index: u64, _max: usize, look: &mut dyn FnMut(&[Option<Frame>])) {
        if index == 0 {
            look(&[Some(self.frame.clone())]);
        }
    }

    fn size(&self) -> u64 {
        PAGE_SIZE as u64
    }

    fn id(&self) -> ObjectId {
        ObjectId(core::ptr::from_ref(self) as usize)
    }

    /// As if it were no file: without device and inode.
    fn name(&self) -> ObjectName {
        ObjectName { dev: 0, ino: 0, path: self.name.to_vec() }
    }
}

/// The two objects that all programs share.
struct Pages {
    data: Arc<SpecialPage>,
    image: Arc<SpecialPage>,
}

static PAGES: Once<Pages> = Once::new();

/// Makes the pages. Once, at boot.
///
/// # Errors
/// ENOMEM.
pub fn init() -> Result<()> {
    let mut page = Box::new([0; PAGE_SIZE]);
    build_image(&mut page);
    let image = Frame::zeroed(AllocClass::Kernel)?;
    image.write(0, &page[..]);
    let data = time::shared::init()?.clone();
    let special = |frame, name| Arc::new(SpecialPage { frame, name });
    PAGES.call_once(|| Pages { data: special(data, b"[vvar]"), image: special(image, b"[vdso]") });
    Ok(())
}

fn build_image(page: &mut [u8; PAGE_SIZE]) {
    let (code, functions) = (code(), functions());
    let ends = functions[1..].iter().map(|&(_, start)| start).chain([code.len()]);
    let functions: Vec<_> = functions
        .iter()
        .zip(ends)
        .map(|(&(name, start), end)| vdso::Function { name, start, len: end - start })
        .collect();
    let [major, minor, patch] = system::RELEASE_NUMBERS;
    let parts = vdso::Parts {
        code,
        code_offset: CODE_OFFSET,
        functions: &functions,
        kernel_version: major << 16 | minor << 8 | patch,
    };
    // Of what the sizes are is fixed when the kernel is built.
    vdso::build(page, &parts).expect("the vDSO fits into its page");
}

/// Where the shared object begins if the two pages are at `start`.
pub fn vdso_image(start: Vaddr) -> Vaddr {
    start + PAGE_SIZE
}

impl Vm {
    /// Maps the two pages at `start`, which is free, for a new program.
    ///
    /// # Errors
    /// ENOMEM.
    pub fn map_vdso(&self, start: Vaddr) -> Result<()> {
        let pages = PAGES.get().ok_or(ENOMEM)?;
        let image_at = vdso_image(start);
        let data = VmFlags::READ | VmFlags::MAY_READ | VmFlags::SPECIAL | VmFlags::DONT_DUMP;
        let image = VmFlags::READ | VmFlags::EXEC | VmFlags::MAY_ACCESS | VmFlags::SPECIAL;
        let mut layout = self.layout.write();
        // Neither data nor locked: there is nothing to count.
        layout.vmas.insert(start, image_at, attributes(&pages.data, data)).map_err(|_| ENOMEM)?;
        let end = image_at + PAGE_SIZE;
        layout.vmas.insert(image_at, end, attributes(&pages.image, image)).map_err(|_| ENOMEM)?;
        let mut mapper = self.space.lock();
        // C libraries look at the object as they start; the clocks come by a fault, as most programs never read one.
        mapper.map(image_at, pages.image.frame.clone(), image.page_flags())?;
        self.count_in(1);
        Ok(())
    }
}

#[inline]
fn attributes(page: &Arc<SpecialPage>, flags: VmFlags) -> VmaAttr {
    VmaAttr { flags, backing: Backing::Object(page.clone(), 0) }
}
