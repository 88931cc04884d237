//! epoll, eventfd, signalfd, timerfd and inotify.

use ostd::user::mem;

use super::{
    Args, Context,
    file::{check_range, file},
    poll::{deadline_in, set_mask},
};
use crate::{
    fs::{
        File, OpenFlags,
        access::{self, Access},
        at::{AT_FDCWD, Names, UserPath},
        event::{
            epoll::{self, Change, Epoll, Event},
            eventfd,
            signalfd::{self, SignalFd},
            timerfd::{self, TimerFile},
        },
        notify::inotify::{self, Inotify},
    },
    prelude::*,
    process::{
        Cap,
        signal::{self, SigSet},
    },
    time::{Timespec, itimer::Setting, read_timespec, timespec_to_ns, write_timespec},
};

/// The flags that all kinds have in common. EINVAL for others.
fn flags(raw: usize, allowed: OpenFlags) -> Result<OpenFlags> {
    let flags = OpenFlags::from_bits(raw as u32).ok_or(EINVAL)?;
    if allowed.contains(flags) { Ok(flags) } else { Err(EINVAL) }
}

const COMMON: OpenFlags = OpenFlags::CLOEXEC.union(OpenFlags::NONBLOCK);

fn install(ctx: &Context, file: Arc<File>, flags: OpenFlags) -> Result<usize> {
    Ok(ctx.thread.files().install(file, flags.contains(OpenFlags::CLOEXEC), 0)? as usize)
}

// ---- epoll ----

pub fn sys_epoll_create(ctx: &mut Context, [size, ..]: Args) -> Result<usize> {
    if size as i32 <= 0 {
        return Err(EINVAL);
    }
    install(ctx, epoll::new_file()?, OpenFlags::empty())
}

pub fn sys_epoll_create1(ctx: &mut Context, [raw, ..]: Args) -> Result<usize> {
    let flags = flags(raw, OpenFlags::CLOEXEC)?;
    install(ctx, epoll::new_file()?, flags)
}

/// Bytes of `struct epoll_event`, which is packed.
const EVENT_SIZE: usize = 12;

pub fn sys_epoll_ctl(ctx: &mut Context, [epfd, operation, fd, event, ..]: Args) -> Result<usize> {
    const ADD: u32 = 1;
    const DEL: u32 = 2;
    const MOD: u32 = 3;
    let operation = operation as u32;
    let change = match operation {
        DEL => Some(Change::Delete),
        _ => {
            let event = Event { events: mem::read(event)?, data: mem::read(event.wrapping_add(4))? };
            match operation {
                ADD => Some(Change::Add(event)),
                MOD => Some(Change::Modify(event)),
                _ => None,
            }
        }
    };
    let owner = file(ctx, epfd)?;
    let target = file(ctx, fd)?;
    epoll::control(&owner, &target, fd as i32, change)?;
    Ok(0)
}

fn epoll_wait(ctx: &Context, epfd: usize, list: usize, max: usize, deadline: Option<u64>) -> Result<usize> {
    let file = file(ctx, epfd)?;
    let max = max as i32;
    if max <= 0 || max as usize > i32::MAX as usize / EVENT_SIZE {
        return Err(EINVAL);
    }
    check_range(list, max as usize * EVENT_SIZE)?;
    let epoll = file.downcast::<Epoll>().ok_or(EINVAL)?;
    epoll.wait(max as usize, deadline, |index, event| {
        let addr = list + index * EVENT_SIZE;
        mem::write(addr, &event.events)?;
        Ok(mem::write(addr + 4, &event.data)?)
    })
}

fn deadline_ms(timeout: usize) -> Option<u64> {
    let timeout = timeout as i32;
    (timeout >= 0).then(|| deadline_in(timeout as u64 * 1_000_000))
}

pub fn sys_epoll_wait(ctx: &mut Context, [epfd, list, max, timeout, ..]: Args) -> Result<usize> {
    epoll_wait(ctx, epfd, list, max, deadline_ms(timeout))
}

/// Waits under another signal mask. After EINTR that mask stays until the signal is delivered.
fn epoll_pwait(ctx: &Context, args: Args, deadline: Option<u64>) -> Result<usize> {
    let [epfd, list, max, _, mask, size] = args;
    let masked = set_mask(ctx, mask, size)?;
    let result = epoll_wait(ctx, epfd, list, max, deadline);
    if masked && result != Err(EINTR) {
        signal::restore_temporary_mask(ctx.thread);
    }
    result
}

pub fn sys_epoll_pwait(ctx: &mut Context, args: Args) -> Result<usize> {
    epoll_pwait(ctx, args, deadline_ms(args[3]))
}

pub fn sys_epoll_pwait2(ctx: &mut Context, args: Args) -> Result<usize> {
    let deadline = match args[3] {
        0 => None,
        addr => Some(deadline_in(timespec_to_ns(read_timespec(addr)?)?)),
    };
    epoll_pwait(ctx, args, deadline)
}

// ---- eventfd ----

/// EFD_SEMAPHORE.
const SEMAPHORE: usize = 1;

pub fn sys_eventfd(ctx: &mut Context, [initial, ..]: Args) -> Result<usize> {
    let none = OpenFlags::empty();
    install(ctx, eventfd::new_file(initial as u32, false, none)?, none)
}

pub fn sys_eventfd2(ctx: &mut Context, [initial, raw, ..]: Args) -> Result<usize> {
    let flags = flags(raw & !SEMAPHORE, COMMON)?;
    install(ctx, eventfd::new_file(initial as u32, raw & SEMAPHORE != 0, flags)?, flags)
}

// ---- signalfd ----

fn signalfd(ctx: &Context, fd: usize, set: usize, size: usize, raw: usize) -> Result<usize> {
    if size != size_of::<SigSet>() {
        return Err(EINVAL);
    }
    let wanted = SigSet(mem::read(set)?);
    let flags = flags(raw, COMMON)?;
    if fd as i32 == -1 {
        return install(ctx, signalfd::new_file(wanted, flags)?, flags);
    }
    file(ctx, fd)?.downcast::<SignalFd>().ok_or(EINVAL)?.set_wanted(wanted);
    Ok(fd as u32 as usize)
}

pub fn sys_signalfd(ctx: &mut Context, [fd, set, size, ..]: Args) -> Result<usize> {
    signalfd(ctx, fd, set, size, 0)
}

pub fn sys_signalfd4(ctx: &mut Context, [fd, set, size, flags, ..]: Args) -> Result<usize> {
    signalfd(ctx, fd, set, size, flags)
}

// ---- timerfd ----

pub fn sys_timerfd_create(ctx: &mut Context, [clock, raw, ..]: Args) -> Result<usize> {
    let flags = flags(raw, COMMON)?;
    match clock as i32 {
        // CLOCK_REALTIME, MONOTONIC, BOOTTIME.
        0 | 1 | 7 => {}
        // The alarm clocks, which would wake a sleeping machine.
        8 | 9 => check_alarm(ctx)?,
        _ => return Err(EINVAL),
    }
    install(ctx, timerfd::new_file(clock as u32, flags)?, flags)
}

fn check_alarm(ctx: &Context) -> Result<()> {
    if ctx.thread.creds().capable(Cap::WakeAlarm) { Ok(()) } else { Err(EPERM) }
}

fn write_setting(addr: usize, setting: Setting) -> Result<()> {
    write_timespec(addr, Timespec::from_ns(setting.interval_ns))?;
    write_timespec(addr.wrapping_add(16), Timespec::from_ns(setting.value_ns))
}

pub fn sys_timerfd_settime(ctx: &mut Context, [fd, flags, new, old, ..]: Args) -> Result<usize> {
    const ABSTIME: usize = 1;
    const CANCEL_ON_SET: usize = 2;
    let (interval, value) = (read_timespec(new)?, read_timespec(new.wrapping_add(16))?);
    if flags as u32 as usize & !(ABSTIME | CANCEL_ON_SET) != 0 {
        return Err(EINVAL);
    }
    let (interval_ns, value_ns) = (timespec_to_ns(interval)?, timespec_to_ns(value)?);
    let file = file(ctx, fd)?;
    let timer = file.downcast::<TimerFile>().ok_or(EINVAL)?;
    if timer.is_alarm() {
        check_alarm(ctx)?;
    }
    let setting = Setting { value_ns, interval_ns };
    let previous = timer.set(setting, flags & ABSTIME != 0, flags & CANCEL_ON_SET != 0);
    if old != 0 {
        write_setting(old, previous)?;
    }
    Ok(0)
}

pub fn sys_timerfd_gettime(ctx: &mut Context, [fd, setting, ..]: Args) -> Result<usize> {
    let file = file(ctx, fd)?;
    let timer = file.downcast::<TimerFile>().ok_or(EINVAL)?;
    write_setting(setting, timer.get())?;
    Ok(0)
}

// ---- inotify ----

pub fn sys_inotify_init(ctx: &mut Context, _: Args) -> Result<usize> {
    let none = OpenFlags::empty();
    install(ctx, inotify::new_file(none)?, none)
}

pub fn sys_inotify_init1(ctx: &mut Context, [raw, ..]: Args) -> Result<usize> {
    let flags = flags(raw, COMMON)?;
    install(ctx, inotify::new_file(flags)?, flags)
}

pub fn sys_inotify_add_watch(ctx: &mut Context, [fd, path, mask, ..]: Args) -> Result<usize> {
    let mask = mask as u32;
    inotify::check_mask(mask)?;
    let file = file(ctx, fd)?;
    inotify::check_combination(mask)?;
    let inotify = file.downcast::<Inotify>().ok_or(EINVAL)?;
    let path = UserPath::read(path)?;
    let names = Names::of(ctx.thread);
    let place = names.find(AT_FDCWD, path.bytes(), mask & inotify::IN_DONT_FOLLOW == 0)?;
    if mask & inotify::IN_ONLYDIR != 0 && !place.inode()?.base().is_dir() {
        return Err(ENOTDIR);
    }
    access::check_path(&place, &names.creds, Access::READ)?;
    Ok(inotify.add_watch(place.inode()?, mask)? as usize)
}

pub fn sys_inotify_rm_watch(ctx: &mut Context, [fd, wd, ..]: Args) -> Result<usize> {
    file(ctx, fd)?.downcast::<Inotify>().ok_or(EINVAL)?.remove_watch(wd as i32)?;
    Ok(0)
}
