//! Tests of the process table, on the host.

mod model;
mod pgrp;
mod pids;
mod random;
mod reaper;
mod reparent;
mod wait;
mod world;
