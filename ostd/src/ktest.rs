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

/// Runs the tests whose name contains `filter`, but the first `skip` of them, and ends the machine: exit status 33 when
/// all passed, 35 otherwise.
pub fn run_all(_filter: &str, _skip: usize) -> ! {
    todo!()
}
