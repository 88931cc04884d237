//! The files about the whole system.

use core::fmt::Write;

use ostd::{
    boot,
    cpu::{self, CpuId},
    irq, mm,
    task::{cpu_times_ns, switches},
    time,
};

use super::sys;
use crate::{
    fs,
    prelude::*,
    process::{record, usage},
    sched,
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
            "Character devices:\n  1 mem\n  4 ttyS\n  5 /dev/tty\n  5 /dev/console\n  5 /dev/ptmx\n128 ptm\n136 pts\n\n\
             Block devices:\n",
        ),
    )
}

/// Terminals by driver: ps(1) finds the names of controlling terminals here.
pub fn tty_drivers(out: &mut Vec<u8>) -> Result<()> {
    const DRIVERS: [(&str, &str, u32, &str, &str); 6] = [
        ("/dev/tty", "/dev/tty", 5, "0", "system:/dev/tty"),
        ("/dev/console", "/dev/console", 5, "1", "system:console"),
        ("/dev/ptmx", "/dev/ptmx", 5, "2", "system"),
        ("serial", "/dev/ttyS", 4, "64", "serial"),
        ("pty_slave", "/dev/pts", 136, "0-1048575", "pty:slave"),
        ("pty_master", "/dev/ptm", 128, "0-1048575", "pty:master"),
    ];
    let line = |(driver, name, major, minors, kind): (&str, &str, u32, &str, &str)| {
        format!("{driver:20} {name:13} {major:3} {minors:>7} {kind}\n")
    };
    give(out, DRIVERS.into_iter().map(line).collect())
}

/// The serial port: enabled, preferred, where the kernel's messages go.
pub fn consoles(out: &mut Vec<u8>) -> Result<()> {
    give(out, String::from("ttyS0                -W- (EC  p a)    4:64\n"))
}

/// What there is to say of disks without one.
pub fn no_disks(_: &mut Vec<u8>) -> Result<()> {
    Ok(())
}

/// How often each CPU was interrupted by what: by lines that something has come in on, and by the CPUs themselves.
pub fn interrupts(out: &mut Vec<u8>) -> Result<()> {
    let counts: Vec<irq::Counts> = cpu::all().map(irq::counts).collect();
    let mut text = String::from("    ");
    for number in 0..counts.len() {
        put!(text, "{:>11}", format!("CPU{number}"));
    }
    text.push_str("       \n");
    let mut line = |label: &str, figure: &dyn Fn(&irq::Counts) -> u32, what: &str| {
        put!(text, "{label:>3}:");
        for count in &counts {
            put!(text, " {:>10}", figure(count));
        }
        put!(text, "   {what}\n");
    };
    for number in 0..counts.first().map_or(0, |count| count.lines.len()) {
        if counts.iter().any(|count| count.lines[number] != 0) {
            let name = if number == SERIAL_LINE { "ttyS0" } else { "" };
            let what = format!("IO-APIC {number:>3}-edge      {name}");
            line(&number.to_string(), &|count| count.lines[number], &what);
        }
    }
    line("LOC", &|count| count.timer, "Local timer interrupts");
    line("RES", &|count| count.reschedule, "Rescheduling interrupts");
    line("CAL", &|count| count.call, "Function call interrupts");
    give(out, text)
}

/// The line of the serial console, COM1.
const SERIAL_LINE: usize = 4;

/// Memory and page faults, as far as they are counted.
pub fn vmstat(out: &mut Vec<u8>) -> Result<()> {
    let stats = mm::stats();
    let lines = [
        ("nr_free_pages", stats.free as u64),
        ("nr_file_pages", fs::ramfs::total_pages() as u64),
        ("nr_slab_unreclaimable", stats.kernel_heap as u64),
        ("nr_page_table_pages", stats.page_tables as u64),
        ("nr_kernel_stack", (stats.kernel_stacks * PAGE_SIZE / 1024) as u64),
        ("pgfault", crate::mm::fault_count()),
        // All that is mapped is in memory.
        ("pgmajfault", 0),
    ];
    give(out, lines.into_iter().map(|(name, value)| format!("{name} {value}\n")).collect())
}

pub fn swaps(out: &mut Vec<u8>) -> Result<()> {
    give(out, String::from("Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n"))
}

pub fn meminfo(out: &mut Vec<u8>) -> Result<()> {
    let stats = mm::stats();
    // All files are in memory, and count as Linux's in tmpfs do.
    let file_pages = fs::ramfs::total_pages() + crate::mm::shared_pages();
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

/// User, system and idle time of the given CPUs, ns.
fn cpu_times(cpus: impl Iterator<Item = CpuId>) -> (u64, u64, u64) {
    let now = time::now_ns();
    cpus.map(cpu_times_ns).fold((0, 0, 0), |(user, system, idle), (u, s)| {
        (user + u, system + s, idle + now.saturating_sub(u + s))
    })
}

pub fn uptime(out: &mut Vec<u8>) -> Result<()> {
    let hundredths = |ns: u64| (ns / NSEC_PER_SEC, ns % NSEC_PER_SEC / 10_000_000);
    let (_, _, idle) = cpu_times(cpu::all());
    let (up, idle) = (hundredths(time::now_ns()), hundredths(idle));
    give(out, format!("{}.{:02} {}.{:02}\n", up.0, up.1, idle.0, idle.1))
}

pub fn stat(out: &mut Vec<u8>) -> Result<()> {
    let running = sched::runnable();
    let ticks = usage::ns_to_ticks;
    let line = |name: &str, (user, system, idle)| {
        format!("{name} {} 0 {} {} 0 0 0 0 0 0\n", ticks(user), ticks(system), ticks(idle))
    };
    let mut text = line("cpu ", cpu_times(cpu::all()));
    for cpu in cpu::all() {
        text.push_str(&line(&format!("cpu{}", cpu.as_usize()), cpu_times(core::iter::once(cpu))));
    }
    let switches = switches();
    let counts: Vec<irq::Counts> = cpu::all().map(irq::counts).collect();
    let lines: [u64; 16] =
        core::array::from_fn(|line| counts.iter().map(|count| u64::from(count.lines[line])).sum());
    let own: u64 =
        counts.iter().flat_map(|count| [count.timer, count.reschedule, count.call]).map(u64::from).sum();
    put!(text, "intr {}", own + lines.iter().sum::<u64>());
    for count in lines {
        put!(text, " {count}");
    }
    put!(text, "\nctxt {switches}\nbtime {}\n", time::boot_epoch_ns() / NSEC_PER_SEC);
    put!(text, "processes {}\nprocs_running {running}\nprocs_blocked 0\n", record::forks());
    give(out, text)
}

/// The averages are sampled when somebody asks: the number of running threads, weighted by the time since the last time.
pub fn loadavg(out: &mut Vec<u8>) -> Result<()> {
    let running = sched::runnable();
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
