//! Tests of the process table, on the host.

mod pgrp;
mod pids;
mod reparent;
mod wait;
mod world;
