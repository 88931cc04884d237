//! Entry from the boot loader.
