//! User notification: filters that ask a process what shall become of a system call (seccomp_unotify(2)).
//!
//! # Data
//! * [`Notifier`]: the meeting place of those who ask and those who answer. The filter with the listener has it, and so has the
//!   open file that is the listener.
//! * [`Request`]: a call that waits for its answer, from the moment that it is made until its thread goes on.
//! * [`AddFd`]: a file that a listener wants the caller to get before it goes on; the caller's own thread installs it.
//!
//! # The way of a request
//! ```text
//!            RECV             SEND
//!   Waiting ─────▶ Received ─────▶ Answered      the thread takes the answer and goes on
//!      │               │
//!      └── a signal ───┴─────────▶ gone          the listener hears ENOENT; the call is restarted, or is EINTR
//! ```
//! With WAIT_KILLABLE_RECV only a fatal signal ends a request that was received. A listener that is closed answers all with
//! ENOSYS, and those that would be made later; a filter that nobody has any more hangs the listener up: that is when the filter
//! itself is dropped, which is why a thread lets go of its filters when it exits ([`release`](super::release)).
//!
//! # Locks
//! The notifier's ([`SECCOMP_NOTIFY`](lock_order::SECCOMP_NOTIFY)), a leaf but for memory. Threads and files that requests keep
//! are dropped with it released.

use alloc::collections::VecDeque;
use core::any::Any;

use bpf::Data;
use ostd::{
    sync::{SpinLock, WaitQueue},
    user::mem,
};

use super::filter::Filter;
use crate::{
    fs::{
        File, OpenFlags, anon,
        file::FileOps,
        poll::{PollEvents, PollTable},
    },
    lock_order,
    prelude::*,
    process::{
        Thread, pid, tree,
        wait_event::{wait_interruptible, wait_killable},
    },
};

/// Bytes of `struct seccomp_notif`, `seccomp_notif_resp` and `seccomp_data`.
pub const SIZES: [u16; 3] = [NOTIF_SIZE as u16, RESP_SIZE as u16, bpf::DATA_SIZE as u16];

const NOTIF_SIZE: usize = 80;
const RESP_SIZE: usize = 24;
const ADDFD_SIZE: usize = 24;

const NOTIF_RECV: u32 = 0xc050_2100;
const NOTIF_SEND: u32 = 0xc018_2101;
const NOTIF_ID_VALID: u32 = 0x4008_2102;
/// The same with a direction that was wrong once.
const NOTIF_ID_VALID_WRONG_DIR: u32 = 0x8008_2102;
const NOTIF_SET_FLAGS: u32 = 0x4008_2104;
/// Of any size: the size is in bits of their own.
const NOTIF_ADDFD: u32 = 0x4000_2103;
const SIZE_BITS: u32 = 0x3fff_0000;

/// SECCOMP_USER_NOTIF_FLAG_CONTINUE.
const FLAG_CONTINUE: u32 = 1;
/// SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP.
const FD_SYNC_WAKE_UP: usize = 1;

/// What becomes of the call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It is served.
    Continue,
    /// It is not, and this is its result.
    Value(i64),
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    Waiting,
    Received,
    /// A file is to be installed, whose number is the answer.
    Replying,
    Answered(Answer),
}

struct Request {
    id: u64,
    thread: Arc<Thread>,
    data: Data,
    phase: Phase,
    files: VecDeque<Arc<AddFd>>,
    /// Where the thread waits.
    queue: Arc<WaitQueue>,
}

/// A file that is to be installed in the caller.
struct AddFd {
    file: Arc<File>,
    /// The number it is to get.
    at: Option<i32>,
    cloexec: bool,
    /// Its number is the call's answer.
    send: bool,
    result: SpinLock<Option<Result<usize>>>,
    /// Where the listener waits.
    queue: WaitQueue,
}

impl AddFd {
    /// Installs it in the calling thread's table.
    fn install(&self, thread: &Thread) -> Result<usize> {
        let files = thread.files();
        match self.at {
            None => Ok(files.install(self.file.clone(), self.cloexec, 0)? as usize),
            Some(fd) => {
                files.replace(fd, self.file.clone(), self.cloexec)?;
                Ok(fd as usize)
            }
        }
    }

    fn finish(&self, result: Result<usize>) {
        *self.result.lock() = Some(result);
        self.queue.wake_all();
    }

    fn result(&self) -> Option<Result<usize>> {
        *self.result.lock()
    }
}

struct State {
    /// In the order in which they were made.
    requests: Vec<Request>,
    next_id: u64,
    /// How many receivers may go and look. A request that ends before it was received leaves its turn behind: the next receiver
    /// finds nothing (ENOENT) instead of waiting.
    turns: usize,
    /// Nobody listens any more.
    closed: bool,
    /// Nobody has the filter any more.
    abandoned: bool,
}

impl State {
    fn find(&mut self, id: u64) -> Option<&mut Request> {
        self.requests.iter_mut().find(|request| request.id == id)
    }

    /// For what needs a request that was received and not answered. ENOENT, EINPROGRESS.
    fn received(&mut self, id: u64) -> Result<&mut Request> {
        let request = self.find(id).ok_or(ENOENT)?;
        if request.phase == Phase::Received { Ok(request) } else { Err(EINPROGRESS) }
    }

    fn remove(&mut self, id: u64) -> Option<Request> {
        let at = self.requests.iter().position(|request| request.id == id)?;
        Some(self.requests.remove(at))
    }
}

/// See the [module's description](self).
pub struct Notifier {
    state: SpinLock<State>,
    /// Receivers, and who polls the listener.
    queue: Arc<WaitQueue>,
    /// SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV
    wait_killable: bool,
}

/// What a thread that waits for its answer has to do.
enum Step {
    Install(Arc<AddFd>),
    /// From here on only fatal signals count.
    WaitKillable,
    Done(Answer),
}

impl Notifier {
    pub fn new(wait_killable: bool) -> Arc<Notifier> {
        let mut first = [0; 8];
        ostd::random::fill(&mut first);
        let state = State {
            requests: Vec::new(),
            next_id: u64::from_ne_bytes(first),
            turns: 0,
            closed: false,
            abandoned: false,
        };
        Arc::new(Notifier {
            state: SpinLock::new(lock_order::SECCOMP_NOTIFY, state),
            queue: Arc::new(WaitQueue::new()),
            wait_killable,
        })
    }

    /// Whether somebody listens.
    pub fn is_open(&self) -> bool {
        !self.state.lock().closed
    }

    /// Nobody has the filter any more.
    pub fn abandon(&self) {
        self.state.lock().abandoned = true;
        self.queue.wake_all();
    }

    /// Enters a request. ENOSYS if nobody listens.
    fn enter(&self, thread: &Arc<Thread>, data: Data) -> Result<(u64, Arc<WaitQueue>)> {
        let queue = Arc::new(WaitQueue::new());
        let id = {
            let mut state = self.state.lock();
            if state.closed {
                return Err(ENOSYS);
            }
            let id = state.next_id;
            state.next_id = id.wrapping_add(1);
            let (thread, queue) = (thread.clone(), queue.clone());
            let files = VecDeque::new();
            state.requests.push(Request { id, thread, data, phase: Phase::Waiting, files, queue });
            state.turns += 1;
            id
        };
        self.queue.wake_all();
        Ok((id, queue))
    }

    /// What there is to do for the thread of a request. `killable`: it waits so already.
    fn step(&self, id: u64, killable: bool) -> Option<Step> {
        let mut state = self.state.lock();
        let request = state.find(id)?;
        if let Some(file) = request.files.pop_front() {
            return Some(Step::Install(file));
        }
        match request.phase {
            Phase::Answered(answer) => Some(Step::Done(answer)),
            Phase::Received if self.wait_killable && !killable => Some(Step::WaitKillable),
            _ => None,
        }
    }

    fn install(&self, id: u64, thread: &Thread, add: &AddFd) {
        let result = add.install(thread);
        if add.send
            && let Some(request) = self.state.lock().find(id)
            && request.phase == Phase::Replying
        {
            request.phase = match result {
                Ok(fd) => Phase::Answered(Answer::Value(fd as i64)),
                Err(_) => Phase::Received,
            };
        }
        add.finish(result);
    }

    /// Waits for the answer to the request `id` of the calling thread.
    fn wait(&self, id: u64, thread: &Thread, queue: &WaitQueue) -> Result<Answer> {
        let mut killable = false;
        loop {
            let cond = || self.step(id, killable);
            let step = if killable { wait_killable(queue, cond) } else { wait_interruptible(queue, cond) };
            // What came together with the signal comes first.
            let step = step.or_else(|error| self.step(id, killable).ok_or(error))?;
            match step {
                Step::Install(add) => self.install(id, thread, &add),
                Step::WaitKillable => killable = true,
                Step::Done(answer) => return Ok(answer),
            }
        }
    }

    /// The calling thread asks about its call, and waits. ENOSYS if nobody listens, ERESTARTSYS.
    fn ask(&self, thread: &Arc<Thread>, data: Data) -> Result<Answer> {
        let (id, queue) = self.enter(thread, data)?;
        let answer = self.wait(id, thread, &queue);
        let request = self.state.lock().remove(id);
        for add in request.into_iter().flat_map(|request| request.files) {
            add.finish(Err(ESRCH));
        }
        answer
    }

    /// NOTIF_RECV: the oldest request that nobody has received.
    ///
    /// # Errors
    /// EINVAL if the buffer is not zero, EFAULT; ENOENT if the request is gone, or nobody is left to make one.
    fn receive(&self, addr: Vaddr) -> Result<()> {
        if mem::read::<[u64; NOTIF_SIZE / 8]>(addr)?.iter().any(|&word| word != 0) {
            return Err(EINVAL);
        }
        wait_interruptible(&self.queue, || {
            let mut state = self.state.lock();
            let turn = !state.abandoned && state.turns > 0;
            state.turns -= usize::from(turn);
            (turn || state.abandoned).then_some(())
        })?;
        let (id, thread, data, queue) = {
            let mut state = self.state.lock();
            let waits = |request: &&mut Request| request.phase == Phase::Waiting;
            let request = state.requests.iter_mut().find(waits).ok_or(ENOENT)?;
            request.phase = Phase::Received;
            (request.id, request.thread.clone(), request.data, request.queue.clone())
        };
        // The thread may have to wait in another way now, and the listener can be written to.
        queue.wake_all();
        self.queue.wake_all();
        let written = mem::write(addr, &encode(id, number(&thread), &data));
        if written.is_err() {
            self.receive_again(id);
        }
        Ok(written?)
    }

    /// What could not be given to the listener waits for it again.
    fn receive_again(&self, id: u64) {
        let mut state = self.state.lock();
        if let Ok(request) = state.received(id) {
            request.phase = Phase::Waiting;
            state.turns += 1;
        }
        drop(state);
        self.queue.wake_all();
    }

    /// NOTIF_SEND: the answer to a request.
    ///
    /// # Errors
    /// ENOENT if it is gone, EINPROGRESS if it was not received or has an answer; EINVAL, EFAULT.
    fn send(&self, addr: Vaddr) -> Result<()> {
        let [id, value, last] = mem::read::<[u64; RESP_SIZE / 8]>(addr)?;
        let (error, flags) = (last as i32, (last >> 32) as u32);
        let goes_on = flags & FLAG_CONTINUE != 0;
        if flags & !FLAG_CONTINUE != 0 || goes_on && (error != 0 || value != 0) {
            return Err(EINVAL);
        }
        let queue = {
            let mut state = self.state.lock();
            let request = state.received(id)?;
            let value = if error != 0 { i64::from(error) } else { value as i64 };
            request.phase = Phase::Answered(if goes_on { Answer::Continue } else { Answer::Value(value) });
            request.queue.clone()
        };
        queue.wake_all();
        Ok(())
    }

    /// NOTIF_ID_VALID: whether a request that was received still waits for its answer. ENOENT.
    fn check_id(&self, addr: Vaddr) -> Result<()> {
        let id = mem::read::<u64>(addr)?;
        self.state.lock().received(id).map(drop).map_err(|_| ENOENT)
    }

    /// NOTIF_ADDFD: gives the caller a file of the listener's. Returns its number there.
    ///
    /// # Errors
    /// EINVAL, EFAULT, E2BIG; EBADF; ENOENT, EINPROGRESS as [`send`](Self::send); EBUSY if others are to be installed before an
    /// answer; ESRCH if the caller goes first; what the installation says.
    fn add_fd(&self, addr: Vaddr, size: usize) -> Result<usize> {
        const SETFD: u32 = 1;
        const SEND: u32 = 2;
        let [id, first, second] = read_addfd(addr, size)?;
        let (flags, from) = (first as u32, (first >> 32) as u32);
        let (to, fd_flags) = (second as u32, (second >> 32) as u32);
        let cloexec = OpenFlags::CLOEXEC.bits();
        if fd_flags & !cloexec != 0 || flags & !(SETFD | SEND) != 0 || to != 0 && flags & SETFD == 0 {
            return Err(EINVAL);
        }
        let send = flags & SEND != 0;
        let add = Arc::new(AddFd {
            file: Thread::current().files().get(from as i32)?,
            at: (flags & SETFD != 0).then_some(to as i32),
            cloexec: fd_flags & cloexec != 0,
            send,
            result: SpinLock::new(lock_order::SECCOMP_NOTIFY, None),
            queue: WaitQueue::new(),
        });
        let queue = {
            let mut state = self.state.lock();
            let request = state.received(id)?;
            if send && !request.files.is_empty() {
                return Err(EBUSY);
            }
            if send {
                request.phase = Phase::Replying;
            }
            request.files.push_back(add.clone());
            request.queue.clone()
        };
        queue.wake_all();
        match wait_interruptible(&add.queue, || add.result()) {
            Ok(result) => result,
            Err(error) => self.withdraw(id, &add, error),
        }
    }

    /// A signal came before the file was installed: it is not to be, unless that has begun.
    fn withdraw(&self, id: u64, add: &Arc<AddFd>, error: Errno) -> Result<usize> {
        let withdrawn = {
            let mut state = self.state.lock();
            state.find(id).and_then(|request| {
                let at = request.files.iter().position(|other| Arc::ptr_eq(other, add))?;
                if add.send {
                    request.phase = Phase::Received;
                }
                request.files.remove(at)
            })
        };
        match withdrawn {
            Some(_) => Err(error),
            None => wait_killable(&add.queue, || add.result())?,
        }
    }

    /// The listener is closed.
    fn close(&self) {
        let mut queues = Vec::new();
        {
            let mut state = self.state.lock();
            state.closed = true;
            for request in &mut state.requests {
                if !matches!(request.phase, Phase::Answered(_)) {
                    request.phase = Phase::Answered(Answer::Value(-(ENOSYS as i64)));
                    queues.push(request.queue.clone());
                }
            }
        }
        for queue in queues {
            queue.wake_all();
        }
    }
}

/// The thread's number as the caller knows it; 0 if it does not.
fn number(thread: &Thread) -> u32 {
    let (theirs, mine) = (thread.process.ns(), Thread::current().process.ns());
    if theirs == mine {
        return thread.tid();
    }
    pid::lookup(theirs, thread.tid()).map_or(0, |pid| tree::lock().nr(pid, mine))
}

/// `struct seccomp_notif`.
fn encode(id: u64, pid: u32, data: &Data) -> [u64; NOTIF_SIZE / 8] {
    let call = u64::from(data.number as u32) | u64::from(data.arch) << 32;
    let [a, b, c, d, e, f] = data.args;
    [id, pid.into(), call, data.instruction_pointer, a, b, c, d, e, f]
}

/// `struct seccomp_notif_addfd`, as far as it is known: what lies behind that must be 0.
fn read_addfd(addr: Vaddr, size: usize) -> Result<[u64; ADDFD_SIZE / 8]> {
    if !(ADDFD_SIZE..PAGE_SIZE).contains(&size) {
        return Err(EINVAL);
    }
    let mut rest = vec![0u8; size - ADDFD_SIZE];
    mem::copy_from_user(&mut rest, addr.wrapping_add(ADDFD_SIZE))?;
    if rest.iter().any(|&byte| byte != 0) {
        return Err(E2BIG);
    }
    Ok(mem::read(addr)?)
}

/// What becomes of a call that `filter` wants to be asked about. ENOSYS if nobody listens, ERESTARTSYS.
pub fn ask(thread: &Arc<Thread>, filter: &Filter, data: &Data) -> Result<Answer> {
    filter.notifier().ok_or(ENOSYS)?.ask(thread, *data)
}

/// The open file of a listener.
pub struct Listener(Arc<Notifier>);

impl Listener {
    pub fn new_file(notifier: Arc<Notifier>) -> Result<Arc<File>> {
        anon::new_file(Box::new(Listener(notifier)), OpenFlags::empty())
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.0.close();
    }
}

impl FileOps for Listener {
    fn poll<'a>(&'a self, _: &'a File, table: &mut PollTable<'a>) -> PollEvents {
        table.add(&self.0.queue);
        let state = self.0.state.lock();
        let any = |phase| state.requests.iter().any(|request| request.phase == phase);
        let mut events = PollEvents::empty();
        events.set(PollEvents::READABLE, any(Phase::Waiting));
        events.set(PollEvents::WRITABLE, any(Phase::Received));
        events.set(PollEvents::HUP, state.abandoned);
        events
    }

    fn can_poll(&self) -> bool {
        true
    }

    fn ioctl(&self, _: &File, request: u32, arg: usize) -> Result<usize> {
        match request {
            NOTIF_RECV => self.0.receive(arg)?,
            NOTIF_SEND => self.0.send(arg)?,
            NOTIF_ID_VALID | NOTIF_ID_VALID_WRONG_DIR => self.0.check_id(arg)?,
            // A hint to the scheduler that whoever is woken may have this CPU: it is taken without being followed.
            NOTIF_SET_FLAGS if arg & !FD_SYNC_WAKE_UP == 0 => {}
            _ if request & !SIZE_BITS == NOTIF_ADDFD => {
                return self.0.add_fd(arg, ((request & SIZE_BITS) >> 16) as usize);
            }
            _ => return Err(EINVAL),
        }
        Ok(0)
    }

    fn as_any(&self) -> Option<&dyn Any> {
        Some(self)
    }

    fn anonymous_name(&self) -> String {
        String::from("anon_inode:seccomp notify")
    }
}
