//! System V IPC: semget(2), semop(2), semctl(2), shmget(2), shmat(2), shmctl(2), msgget(2), msgsnd(2), msgrcv(2), msgctl(2).

use ostd::{time, user::mem};

use super::{Args, Context};
use crate::{
    ipc::sysv::{
        Stat,
        msg::{self, Message},
        sem::{self, LIMIT_OPS, Operation, Question},
        shm,
    },
    prelude::*,
    time::{read_timespec, timespec_to_ns},
};

const IPC_RMID: i32 = 0;
const IPC_SET: i32 = 1;
const IPC_STAT: i32 = 2;
const IPC_INFO: i32 = 3;
const GETPID: i32 = 11;
const GETVAL: i32 = 12;
const GETALL: i32 = 13;
const GETNCNT: i32 = 14;
const GETZCNT: i32 = 15;
const SETVAL: i32 = 16;
const SETALL: i32 = 17;
const SEM_STAT: i32 = 18;
const SEM_INFO: i32 = 19;
const SEM_STAT_ANY: i32 = 20;

pub fn sys_semget(ctx: &mut Context, [key, count, flags, ..]: Args) -> Result<usize> {
    sem::get(&ctx.thread.creds(), key as i32, count as i32, flags as i32).map(|id| id as usize)
}

pub fn sys_semop(ctx: &mut Context, [id, ops, count, ..]: Args) -> Result<usize> {
    operate(ctx, id as i32, ops, count as u32, None)
}

pub fn sys_semtimedop(ctx: &mut Context, [id, ops, count, timeout, ..]: Args) -> Result<usize> {
    let timeout = if timeout == 0 { None } else { Some(read_timespec(timeout)?) };
    let timeout = timeout.map(timespec_to_ns);
    operate(ctx, id as i32, ops, count as u32, timeout)
}

fn check_count(count: u32) -> Result<usize> {
    match count as usize {
        0 => Err(EINVAL),
        count if count > sem::limit(LIMIT_OPS) => Err(E2BIG),
        count => Ok(count),
    }
}

/// `timeout`: ns, or that it is none, which is told after the operations were read.
fn operate(ctx: &Context, id: i32, addr: usize, count: u32, timeout: Option<Result<u64>>) -> Result<usize> {
    let count = check_count(count)?;
    let mut ops = Vec::new();
    ops.try_reserve_exact(count).map_err(|_| ENOMEM)?;
    for at in 0..count {
        let [number, change, flags] = mem::read::<[i16; 3]>(addr.checked_add(at * 6).ok_or(EFAULT)?)?;
        ops.push(Operation { number: number as u16, change, flags });
    }
    if id < 0 {
        return Err(EINVAL);
    }
    let deadline = timeout.transpose()?.map(|ns| time::now_ns().saturating_add(ns));
    sem::operate(ctx.thread, id, ops, deadline)?;
    Ok(0)
}

pub fn sys_semctl(ctx: &mut Context, [id, number, command, arg, ..]: Args) -> Result<usize> {
    let (id, number, command) = (id as i32, number as i32, command as i32);
    if id < 0 {
        return Err(EINVAL);
    }
    let ask = |question| {
        // Any number that there is none of, once the set was found.
        let number = usize::try_from(number).unwrap_or(usize::MAX);
        sem::ask(ctx.thread, id, number, question)
    };
    let creds = ctx.thread.creds();
    match command {
        GETVAL => ask(Question::Value),
        GETPID => ask(Question::Pid),
        GETNCNT => ask(Question::Growing),
        GETZCNT => ask(Question::Zero),
        SETVAL => sem::set_value(ctx.thread, id, number, arg as i32).map(|()| 0),
        GETALL => {
            for (at, value) in sem::values(&creds, id)?.iter().enumerate() {
                mem::write(arg.checked_add(at * 2).ok_or(EFAULT)?, value)?;
            }
            Ok(0)
        }
        SETALL => set_all(ctx, id, arg),
        IPC_RMID => sem::remove(&creds, id).map(|()| 0),
        IPC_SET => {
            // The start of `struct semid64_ds`: key, uid, gid, creator's uid and gid, mode.
            let [_, uid, gid, _, _, mode] = mem::read::<[u32; 6]>(arg)?;
            sem::set_owner(&creds, id, uid, gid, mode).map(|()| 0)
        }
        IPC_STAT => stat(ctx, id, Stat::ById, arg).map(|_| 0),
        SEM_STAT => stat(ctx, id, Stat::ByIndex, arg),
        SEM_STAT_ANY => stat(ctx, id, Stat::AnyByIndex, arg),
        IPC_INFO | SEM_INFO => {
            let (highest, info) = sem::info(command == SEM_INFO);
            mem::write(arg, &info)?;
            Ok(highest)
        }
        _ => Err(EINVAL),
    }
}

fn set_all(ctx: &Context, id: i32, addr: usize) -> Result<usize> {
    let count = sem::count_for_setting(&ctx.thread.creds(), id)?;
    let mut values: Vec<u16> = Vec::new();
    values.try_reserve_exact(count).map_err(|_| ENOMEM)?;
    for at in 0..count {
        values.push(mem::read(addr.checked_add(at * 2).ok_or(EFAULT)?)?);
    }
    sem::set_values(ctx.thread, id, &values)?;
    Ok(0)
}

/// Returns the id.
fn stat(ctx: &Context, id: i32, which: Stat, addr: usize) -> Result<usize> {
    let (id, words) = sem::stat(&ctx.thread.creds(), id, which)?;
    mem::write(addr, &words)?;
    Ok(id as usize)
}

const SHM_LOCK: i32 = 11;
const SHM_UNLOCK: i32 = 12;
const SHM_STAT: i32 = 13;
const SHM_INFO: i32 = 14;
const SHM_STAT_ANY: i32 = 15;

pub fn sys_shmget(ctx: &mut Context, [key, bytes, flags, ..]: Args) -> Result<usize> {
    shm::get(ctx.thread, key as i32, bytes, flags as i32).map(|id| id as usize)
}

pub fn sys_shmat(ctx: &mut Context, [id, addr, flags, ..]: Args) -> Result<usize> {
    shm::attach(ctx.thread, id as i32, addr, flags as i32)
}

pub fn sys_shmdt(ctx: &mut Context, [addr, ..]: Args) -> Result<usize> {
    ctx.thread.vm().detach_segment(addr)?;
    Ok(0)
}

pub fn sys_shmctl(ctx: &mut Context, [id, command, arg, ..]: Args) -> Result<usize> {
    let (id, command) = (id as i32, command as i32);
    if id < 0 || command < 0 {
        return Err(EINVAL);
    }
    let stat = |which| {
        let (id, words) = shm::control::stat(ctx.thread, id, which)?;
        mem::write(arg, &words)?;
        Ok(id as usize)
    };
    let creds = ctx.thread.creds();
    match command {
        IPC_RMID => shm::control::remove(&creds, id).map(|()| 0),
        IPC_SET => {
            // The start of `struct shmid64_ds`: key, uid, gid, creator's uid and gid, mode.
            let [_, uid, gid, _, _, mode] = mem::read::<[u32; 6]>(arg)?;
            shm::control::set_owner(&creds, id, uid, gid, mode).map(|()| 0)
        }
        IPC_STAT => stat(Stat::ById).map(|_| 0),
        SHM_STAT => stat(Stat::ByIndex),
        SHM_STAT_ANY => stat(Stat::AnyByIndex),
        SHM_LOCK | SHM_UNLOCK => shm::control::lock(ctx.thread, id, command == SHM_LOCK).map(|()| 0),
        IPC_INFO => {
            let (highest, info) = shm::control::limits();
            mem::write(arg, &info)?;
            Ok(highest)
        }
        SHM_INFO => {
            let (highest, info) = shm::control::in_use();
            mem::write(arg, &info)?;
            Ok(highest)
        }
        _ => Err(EINVAL),
    }
}

const MSG_STAT: i32 = 11;
const MSG_INFO: i32 = 12;
const MSG_STAT_ANY: i32 = 13;

pub fn sys_msgget(ctx: &mut Context, [key, flags, ..]: Args) -> Result<usize> {
    msg::get(&ctx.thread.creds(), key as i32, flags as i32).map(|id| id as usize)
}

/// A message is its type and, behind it, its bytes.
const TYPE_SIZE: usize = size_of::<i64>();

pub fn sys_msgsnd(ctx: &mut Context, [id, addr, len, flags, ..]: Args) -> Result<usize> {
    let kind = mem::read::<i64>(addr)?;
    if (id as i32) < 0 || kind < 1 {
        return Err(EINVAL);
    }
    let mut message = Message::with_len(len)?;
    message.kind = kind;
    mem::copy_from_user(&mut message.data, addr.checked_add(TYPE_SIZE).ok_or(EFAULT)?)?;
    msg::send(ctx.thread, id as i32, message, flags as i32)?;
    Ok(0)
}

pub fn sys_msgrcv(ctx: &mut Context, [id, addr, len, kind, flags, ..]: Args) -> Result<usize> {
    let message = msg::receive(ctx.thread, id as i32, len, kind as i64, flags as i32)?;
    // It is out of its queue: to whom can't take it, it is lost.
    mem::write(addr, &message.kind)?;
    let len = len.min(message.data.len());
    mem::copy_to_user(addr.checked_add(TYPE_SIZE).ok_or(EFAULT)?, &message.data[..len])?;
    Ok(len)
}

pub fn sys_msgctl(ctx: &mut Context, [id, command, arg, ..]: Args) -> Result<usize> {
    let (id, command) = (id as i32, command as i32);
    if id < 0 || command < 0 {
        return Err(EINVAL);
    }
    let stat = |which| {
        let (id, words) = msg::control::stat(ctx.thread, id, which)?;
        mem::write(arg, &words)?;
        Ok(id as usize)
    };
    let creds = ctx.thread.creds();
    match command {
        IPC_RMID => msg::control::remove(&creds, id).map(|()| 0),
        IPC_SET => {
            let words = mem::read::<[u32; msg::control::STAT_WORDS]>(arg)?;
            let max_bytes = u64::from(words[22]) | u64::from(words[23]) << 32;
            msg::control::set(&creds, id, words[1], words[2], words[5], max_bytes).map(|()| 0)
        }
        IPC_STAT => stat(Stat::ById).map(|_| 0),
        MSG_STAT => stat(Stat::ByIndex),
        MSG_STAT_ANY => stat(Stat::AnyByIndex),
        IPC_INFO | MSG_INFO => {
            let (highest, info) = msg::control::info(command == MSG_INFO);
            mem::write(arg, &info)?;
            Ok(highest)
        }
        _ => Err(EINVAL),
    }
}
