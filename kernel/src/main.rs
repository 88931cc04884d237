//! Foster: a Linux-compatible framekernel whose heart is the process tree.
#![no_std]
#![no_main]
#![deny(unsafe_code)]
