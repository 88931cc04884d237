//! In-kernel unit tests: `#[ktest]` functions, run in the booted kernel.
//!
//! The macro leaves a [`KtestItem`] in the link section `.ktest_array` for each function. [`run_all`] runs those whose name
//! (`module::path::function`) contains the filter, one after the other, each in the task of the caller, and ends the
//! machine with a status:
//!
//! ```text
//! ktest: test ostd::sync::test::mutex_excludes ... ok
//! ktest: 12 passed, 0 failed, 30 filtered out
//! ```
//!
//! A panic fails the test that runs and ends the machine; the runner starts it again with `ktest.skip=<n>`.

pub use ktest::ktest;

use crate::{console, power};
use core::{
    fmt::Write,
    slice,
    sync::atomic::{AtomicPtr, AtomicUsize, Ordering},
};

/// One test function.
#[repr(C)]
pub struct KtestItem {
    /// The path of the module that holds it.
    pub module: &'static str,
    /// Its name.
    pub name: &'static str,
    /// The function.
    pub function: fn(),
}

unsafe extern "C" {
    static __ktests_start: [usize; 0];
    static __ktests_end: [usize; 0];
}

fn items() -> &'static [KtestItem] {
    let start = (&raw const __ktests_start).cast::<KtestItem>();
    let end = (&raw const __ktests_end).cast::<KtestItem>();
    // SAFETY: the linker script puts the two symbols around the section, which holds nothing but items.
    unsafe { slice::from_raw_parts(start, (end as usize - start as usize) / size_of::<KtestItem>()) }
}

/// The test that runs, for [`panicked`].
static RUNNING: AtomicPtr<KtestItem> = AtomicPtr::new(core::ptr::null_mut());
static PASSED: AtomicUsize = AtomicUsize::new(0);

/// Exit codes: QEMU's status is twice the code and one.
const ALL_PASSED: u8 = 0x10;
const SOME_FAILED: u8 = 0x11;

struct Out;

impl Write for Out {
    fn write_str(&mut self, text: &str) -> core::fmt::Result {
        console::write(text.as_bytes());
        Ok(())
    }
}

/// Runs the tests that the command line selects: `ktest.filter=<part of the name>`, `ktest.skip=<number>`.
pub fn run_from_cmdline() -> ! {
    let mut filter = "";
    let mut skip = 0;
    for word in crate::boot::cmdline().split_ascii_whitespace() {
        if let Some(value) = word.strip_prefix("ktest.filter=") {
            filter = value;
        } else if let Some(value) = word.strip_prefix("ktest.skip=") {
            skip = value.parse().unwrap_or(0);
        }
    }
    run_all(filter, skip)
}

/// Runs the tests whose name contains `filter`, but the first `skip` of them, and ends the machine: exit status 33 when
/// all passed, 35 otherwise.
pub fn run_all(filter: &str, skip: usize) -> ! {
    let matches = |item: &&KtestItem| {
        // `module::name` without memory for the whole: the filter may lie across the two.
        let mut full = FullName::new();
        // A name that is cut off still contains what fits.
        let _ = write!(full, "{}::{}", item.module, item.name);
        full.as_str().contains(filter)
    };
    let selected = items().iter().filter(matches).count();
    for item in items().iter().filter(matches).skip(skip) {
        // Lines of their own, so that a test that hangs has a name, whatever it prints.
        let _ = write!(Out, "ktest: test {}::{} ...\r\n", item.module, item.name);
        RUNNING.store(core::ptr::from_ref(item).cast_mut(), Ordering::Release);
        (item.function)();
        RUNNING.store(core::ptr::null_mut(), Ordering::Release);
        PASSED.fetch_add(1, Ordering::Relaxed);
        let _ = write!(Out, "ktest: test {}::{} ... ok\r\n", item.module, item.name);
    }
    let passed = PASSED.load(Ordering::Relaxed);
    let _ = write!(Out, "ktest: {passed} passed, 0 failed, {} filtered out\r\n", items().len() - selected);
    power::debug_exit(ALL_PASSED)
}

/// Called by the panic code once the report is printed: if a test runs, it has failed, and the machine ends.
pub(crate) fn panicked(message: core::fmt::Arguments) {
    let item = RUNNING.swap(core::ptr::null_mut(), Ordering::AcqRel);
    // SAFETY: it is null or an item of the section.
    let Some(item) = (unsafe { item.as_ref() }) else { return };
    let _ = write!(Out, "\r\nktest: test {}::{} ... FAILED: {message}\r\n", item.module, item.name);
    power::debug_exit(SOME_FAILED)
}

/// Memory for a test's full name.
struct FullName {
    bytes: [u8; 256],
    len: usize,
}

impl FullName {
    fn new() -> Self {
        Self { bytes: [0; 256], len: 0 }
    }

    fn as_str(&self) -> &str {
        core::str::from_utf8(&self.bytes[..self.len]).unwrap_or("")
    }
}

impl Write for FullName {
    fn write_str(&mut self, text: &str) -> core::fmt::Result {
        let room = &mut self.bytes[self.len..];
        let len = text.len().min(room.len());
        room[..len].copy_from_slice(&text.as_bytes()[..len]);
        self.len += len;
        Ok(())
    }
}
