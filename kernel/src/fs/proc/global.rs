//! The files about the whole system.

use core::fmt::Write;

use ostd::{boot, cpu, mm, time};
use proctree::Body;

use super::{sys, task};
use crate::{
    fs,
    prelude::*,
    process::{Usage, record, tree, usage},
    syscall::system,
    time::NSEC_PER_SEC,
};

/// Writing to a `String` does not fail.
macro_rules! put {
    ($out:expr, $($arg:tt)*) => {
        let _ = write!($out, $($arg)*);
    };
}

fn give(out: &mut Vec<u8>, text: String) -> Result<()> {
    *out = text.into_bytes();
    Ok(())
}

pub fn cmdline(out: &mut Vec<u8>) -> Result<()> {
    give(out, format!("{}\n", boot::cmdline()))
}

pub fn version(out: &mut Vec<u8>) -> Result<()> {
    give(out, format!("Linux version {} (foster@rust) (rustc) {}\n", system::RELEASE, system::VERSION))
}

pub fn filesystems(out: &mut Vec<u8>) -> Result<()> {
    give(out, fs::FILE_SYSTEMS.iter().map(|name| format!("nodev\t{name}\n")).collect())
}

pub fn devices(out: &mut Vec<u8>) -> Result<()> {
    give(
        out,
        String::from(
            "Character devices:\n  1 mem\n  4 ttyS\n  5 /dev/tty\n  5 /dev/console\n\nBlock devices:\n",
        ),
    )
}

pub fn swaps(out: &mut Vec<u8>) -> Result<()> {
    give(out, String::from("Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n"))
}

pub fn meminfo(out: &mut Vec<u8>) -> Result<()> {
    let stats = mm::stats();
    let file_pages = fs::ramfs::total_pages();
    let lines = [
        ("MemTotal", stats.total),
        ("MemFree", stats.free),
        ("MemAvailable", stats.free),
        ("Buffers", 0),
        ("Cached", file_pages),
        ("SwapCached", 0),
        ("SwapTotal", 0),
        ("SwapFree", 0),
        ("Dirty", 0),
        ("Writeback", 0),
        ("Shmem", file_pages),
        ("KReclaimable", 0),
        ("Slab", stats.kernel_heap),
        ("SReclaimable", 0),
        ("SUnreclaim", stats.kernel_heap),
        ("KernelStack", stats.kernel_stacks),
        ("PageTables", stats.page_tables),
    ];
    let line = |(name, frames): (&str, usize)| {
        let label = format!("{name}:");
        format!("{label:15} {:8} kB\n", frames * PAGE_SIZE / 1024)
    };
    give(out, lines.into_iter().map(line).collect())
}

/// slabinfo(5): the size classes of the kernel's heap.
pub fn slabinfo(out: &mut Vec<u8>) -> Result<()> {
    let mut text = String::from(
        "slabinfo - version: 2.1\n# name            <active_objs> <num_objs> <objsize> <objperslab> <pagesperslab> \
         : tunables <limit> <batchcount> <sharedfactor> : slabdata <active_slabs> <num_slabs> <sharedavail>\n",
    );
    for class in mm::heap_classes() {
        let (size, per_slab, slabs) = (class.size, class.objects_per_slab, class.slabs);
        let name = format!("kmalloc-{size}");
        put!(
            text,
            "{name:17} {:6} {:6} {size:6} {per_slab:4} {:4} : tunables    0    0    0 : slabdata {slabs:6} {slabs:6}      0\n",
            class.used,
            slabs * per_slab,
            class.frames_per_slab
        );
    }
    give(out, text)
}

/// What all processes together have used: those that live, and the zombies.
fn total_usage() -> (Usage, usize) {
    let live = tree::all_processes();
    let mut running = 0;
    let mut total = Usage::default();
    for process in &live {
        total.add(&usage::of_process(process));
        let waited = *process.waited_children.lock();
        total.add(&waited);
        let threads = crate::process::signal::threads(process);
        running += threads.iter().filter(|thread| task::state(thread).0 == 'R').count();
    }
    let table = tree::lock();
    for process in table.processes() {
        if let Some(Body::Zombie(record)) = table.body(process) {
            total.add(&record.usage);
        }
    }
    (total, running)
}

/// Time in which no process ran, over all CPUs.
fn idle_ns(used: &Usage) -> u64 {
    let total = time::now_ns() * cpu::num_cpus() as u64;
    total.saturating_sub(used.user_ns + used.system_ns)
}

pub fn uptime(out: &mut Vec<u8>) -> Result<()> {
    let hundredths = |ns: u64| (ns / NSEC_PER_SEC, ns % NSEC_PER_SEC / 10_000_000);
    let (used, _) = total_usage();
    let (up, idle) = (hundredths(time::now_ns()), hundredths(idle_ns(&used)));
    give(out, format!("{}.{:02} {}.{:02}\n", up.0, up.1, idle.0, idle.1))
}

pub fn stat(out: &mut Vec<u8>) -> Result<()> {
    let (used, running) = total_usage();
    let cpus = cpu::num_cpus() as u64;
    let ticks = usage::ns_to_ticks;
    // Time is accounted to processes; each CPU is shown with an equal part.
    let line = |name: &str, part: u64| {
        let (user, system) = (ticks(used.user_ns / part), ticks(used.system_ns / part));
        format!("{name} {user} 0 {system} {} 0 0 0 0 0 0\n", ticks(idle_ns(&used) / part))
    };
    let mut text = line("cpu ", 1);
    for cpu in 0..cpus {
        text.push_str(&line(&format!("cpu{cpu}"), cpus));
    }
    let switches = used.voluntary_switches + used.involuntary_switches;
    put!(text, "intr 0\nctxt {switches}\nbtime {}\n", time::boot_epoch_ns() / NSEC_PER_SEC);
    put!(text, "processes {}\nprocs_running {running}\nprocs_blocked 0\n", sys::last_pid());
    give(out, text)
}

/// The averages are sampled when somebody asks: the number of running threads, weighted by the time since the last time.
pub fn loadavg(out: &mut Vec<u8>) -> Result<()> {
    let (_, running) = total_usage();
    let loads = fs::loadavg::sample(running).map(|load| (load / 1000, load % 1000 / 10));
    let mut text = String::new();
    for (whole, hundredths) in loads {
        put!(text, "{whole}.{hundredths:02} ");
    }
    put!(text, "{running}/{} {}\n", record::thread_total(), sys::last_pid());
    give(out, text)
}

pub fn cpuinfo(out: &mut Vec<u8>) -> Result<()> {
    let mut text = String::new();
    for cpu in 0..cpu::num_cpus() {
        put!(text, "processor\t: {cpu}\n{}\n", super::cpuinfo::describe());
    }
    give(out, text)
}
