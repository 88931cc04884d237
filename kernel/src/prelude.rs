//! What nearly every module of the kernel uses.

pub use alloc::{
    boxed::Box,
    format,
    string::{String, ToString},
    sync::{Arc, Weak},
    vec,
    vec::Vec,
};

pub use log::{debug, error, info, warn};
pub use ostd::mm::{PAGE_SIZE, Vaddr};

pub use crate::error::{Errno, Errno::*, Result};
