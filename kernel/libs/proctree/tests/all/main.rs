//! Tests of the process table, on the host.

mod reparent;
mod world;
