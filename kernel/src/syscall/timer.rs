//! POSIX timers: timer_create(2), timer_settime(2), timer_gettime(2), timer_getoverrun(2), timer_delete(2).

use ostd::user::mem;

use super::{Args, Context};
use crate::{
    prelude::*,
    time::{
        Clock, Timespec,
        itimer::Setting,
        posix_timer::{self, SigEvent},
        timespec_to_ns,
    },
};

/// Bytes of `struct sigevent`.
const SIGEVENT_SIZE: usize = 64;

fn read_event(addr: usize) -> Result<SigEvent> {
    let mut bytes = [0u8; SIGEVENT_SIZE];
    mem::copy_from_user(&mut bytes, addr)?;
    let word = |at: usize| i32::from_ne_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
    let value = word(0) as u32 as u64 | (word(4) as u32 as u64) << 32;
    Ok(SigEvent { value, signo: word(8), notify: word(12), thread: word(16) })
}

pub fn sys_timer_create(ctx: &mut Context, args: Args) -> Result<usize> {
    let [raw, event, id_addr, ..] = args;
    let event = if event == 0 { None } else { Some(read_event(event)?) };
    let clock = Clock::for_timer(raw, ctx.thread).or_else(|e| check_id_place(raw, id_addr).and(Err(e)))?;
    let timers = &ctx.process().posix_timers;
    let asked = match timers.is_used() && timers.restores_ids() {
        true => match mem::read::<i32>(id_addr)? {
            id @ 0.. => Some(id),
            _ => return Err(EINVAL),
        },
        false => None,
    };
    let id = posix_timer::create(ctx.thread, raw as i32, clock, event, asked)?;
    if let Err(error) = mem::write(id_addr, &id) {
        // Nobody knows of it.
        posix_timer::delete(ctx.process(), id)?;
        return Err(error.into());
    }
    Ok(0)
}

/// Whether a process or thread has the clock `raw` is found only after the place of the timer's number is known to be good.
fn check_id_place(raw: usize, addr: usize) -> Result<()> {
    const KIND: i32 = 7;
    /// Clocks that are open files, of which there are none.
    const KIND_FILE: i32 = 3;
    let raw = raw as i32;
    if raw < 0 && raw & KIND != KIND_FILE {
        mem::write(addr, &mem::read::<i32>(addr)?)?;
    }
    Ok(())
}

/// `struct itimerspec`: the interval, then the value.
fn read_setting(addr: usize) -> Result<Setting> {
    let [isec, insec, sec, nsec] = mem::read::<[i64; 4]>(addr)?;
    let interval_ns = timespec_to_ns(Timespec { sec: isec, nsec: insec })?;
    let value_ns = timespec_to_ns(Timespec { sec, nsec })?;
    Ok(Setting { value_ns, interval_ns })
}

fn write_setting(addr: usize, setting: Setting) -> Result<()> {
    let [interval, value] = [setting.interval_ns, setting.value_ns].map(Timespec::from_ns);
    Ok(mem::write(addr, &[interval.sec, interval.nsec, value.sec, value.nsec])?)
}

pub fn sys_timer_settime(ctx: &mut Context, args: Args) -> Result<usize> {
    const TIMER_ABSTIME: u32 = 1;
    let [id, flags, new, old, ..] = args;
    if new == 0 {
        return Err(EINVAL);
    }
    let setting = read_setting(new)?;
    let absolute = flags as u32 & TIMER_ABSTIME != 0;
    let before = posix_timer::set(ctx.process(), id as i32, setting, absolute)?;
    if old != 0 {
        write_setting(old, before)?;
    }
    Ok(0)
}

pub fn sys_timer_gettime(ctx: &mut Context, args: Args) -> Result<usize> {
    write_setting(args[1], posix_timer::get(ctx.process(), args[0] as i32)?)?;
    Ok(0)
}

pub fn sys_timer_getoverrun(ctx: &mut Context, args: Args) -> Result<usize> {
    Ok(posix_timer::overrun(ctx.process(), args[0] as i32)? as usize)
}

pub fn sys_timer_delete(ctx: &mut Context, args: Args) -> Result<usize> {
    posix_timer::delete(ctx.process(), args[0] as i32)?;
    Ok(0)
}
