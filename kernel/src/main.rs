//! Foster: a Linux-compatible framekernel whose heart is the process tree.
//!
//! This crate is safe Rust; whatever needs `unsafe` is in `ostd`. Read [`process`] first.
#![no_std]
#![no_main]
#![deny(unsafe_code)]

extern crate alloc;

mod error;
mod lock_order;
mod prelude;
