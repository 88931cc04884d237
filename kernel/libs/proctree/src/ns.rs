//! Pid namespaces: levels, their numbers and their init (section 9).
//!
//! A pid of a namespace at level n has n + 1 numbers: one in its own namespace, one in each above. A process
//! sees those whose pid has a number in its own namespace.

use crate::{
    arena::{Link, NoMemory, NsId, PidId, ProcId, ThreadId},
    kernel::{Error, Kernel, Sink},
    node::{NsLink, PidLink, ProcLink},
    pid::{NumberSpace, Numbers, Pid},
    table::{Refused, Table},
};

/// Levels below the initial namespace (rule 9.5).
const MAX_LEVEL: u32 = 32;

/// A pid, and the numbers that it has or had.
pub struct KeptPid {
    /// The pid itself.
    pub id: PidId,
    ns: NsId,
    numbers: Numbers,
}

/// A pid namespace.
pub(crate) struct Namespace {
    pub(crate) parent: NsLink,
    pub(crate) level: u8,
    /// Its init is dying or dead: no more pids (rules 6.14, 9.6).
    pub(crate) dead: bool,
    /// The process with number 1, until it is reaped.
    pub(crate) init: ProcLink,
    pub(crate) numbers: NumberSpace,
    /// Pids with a number here.
    pub(crate) pids: u32,
    /// Namespaces right below.
    pub(crate) namespaces: u32,
    /// The caller has a use for it, members or not.
    pub(crate) held: bool,
}

impl Namespace {
    pub(crate) fn new(parent: NsLink, level: u8, numbers: NumberSpace) -> Self {
        Namespace {
            parent,
            level,
            dead: false,
            init: Link::NONE,
            numbers,
            pids: 0,
            namespaces: 0,
            held: true,
        }
    }
}

impl<K: Kernel> Table<K> {
    // ---- namespaces -----------------------------------------------------------------------------

    /// A namespace below `parent`. ENOSPC beyond 32 levels; ENOMEM: no slot; ESRCH: stale id.
    pub fn add_namespace(
        &mut self,
        parent: NsId,
        numbers: NumberSpace,
    ) -> Result<NsId, Refused<NumberSpace>> {
        let Some(parent) = self.namespaces.resolve(parent) else {
            return Err(Refused { error: Error::Srch, given: numbers });
        };
        let level = self.namespaces[parent].level + 1;
        if u32::from(level) > MAX_LEVEL {
            return Err(Refused { error: Error::NoSpace, given: numbers });
        }
        if self.namespaces.free() == 0 {
            return Err(Refused { error: Error::NoMem, given: numbers });
        }
        let ns = self.namespaces.insert(Namespace::new(parent, level, numbers));
        self.namespaces[parent].namespaces += 1;
        Ok(self.namespaces.id(ns))
    }

    /// The caller has no use for a namespace any more (rule 9.15). It is removed as soon as it has neither pids
    /// nor namespaces below: now, or when the last of them goes. Its numbers go to the sink.
    pub fn release_namespace(&mut self, ns: NsId, sink: &mut impl Sink<K>) {
        if let Some(ns) = self.namespaces.resolve(ns)
            && self.namespaces[ns].parent.is_some()
        {
            self.namespaces[ns].held = false;
            self.remove_unused(ns, sink);
        }
    }

    /// Removes `ns` and those above it for which this was the last use.
    fn remove_unused(&mut self, ns: NsLink, sink: &mut impl Sink<K>) {
        let mut at = ns;
        loop {
            let node = &self.namespaces[at];
            if node.held || node.pids != 0 || node.namespaces != 0 {
                return;
            }
            let parent = node.parent;
            sink.namespace_freed(self.namespaces.remove(at).numbers);
            self.namespaces[parent].namespaces -= 1;
            at = parent;
        }
    }

    /// How many namespaces there are.
    pub fn namespace_count(&self) -> usize {
        self.namespaces.used()
    }

    /// No more pids in this namespace: its init is dying (rule 9.6).
    pub fn disable_namespace(&mut self, ns: NsId) {
        if let Some(ns) = self.namespaces.resolve(ns) {
            self.namespaces[ns].dead = true;
        }
    }

    /// The level: 0 for the initial namespace.
    pub fn ns_level(&self, ns: NsId) -> Option<u32> {
        let ns = self.namespaces.resolve(ns)?;
        Some(self.namespaces[ns].level.into())
    }

    /// The namespace above.
    pub fn ns_parent(&self, ns: NsId) -> Option<NsId> {
        let ns = self.namespaces.resolve(ns)?;
        Some(self.namespaces.id(self.namespaces[ns].parent.some()?))
    }

    /// The init of a namespace, once there is one and until it is reaped.
    pub fn ns_init(&self, ns: NsId) -> Option<ProcId> {
        let ns = self.namespaces.resolve(ns)?;
        Some(self.processes.id(self.namespaces[ns].init.some()?))
    }

    /// There is an init, or there was one.
    pub fn ns_had_init(&self, ns: NsId) -> bool {
        self.namespaces.resolve(ns).is_some_and(|ns| {
            let ns = &self.namespaces[ns];
            ns.dead || ns.init.is_some()
        })
    }

    /// Pids with a number in the namespace, those of namespaces below included: the init of a dying namespace
    /// waits until only its own threads are left (rule 9.6).
    pub fn ns_pids(&self, ns: NsId) -> usize {
        self.namespaces.resolve(ns).map_or(0, |ns| self.namespaces[ns].pids as usize)
    }

    /// The numbers of a namespace: pid_max, last.
    pub fn ns_numbers(&mut self, ns: NsId) -> Option<&mut NumberSpace> {
        let ns = self.namespaces.resolve(ns)?;
        Some(&mut self.namespaces[ns].numbers)
    }

    /// A namespace, `ns` or one above, whose bitmap is too short for the next number (or for those of `tids`), and the
    /// numbers it should have room for: to be seen to ([`NumberSpace::grow`]) before [`alloc_pid`](Self::alloc_pid).
    pub fn short_of_numbers(&self, ns: NsId, tids: &[u32]) -> Option<(NsId, u32)> {
        let mut at = self.namespaces.resolve(ns)?;
        let mut tids = tids.iter();
        while at.is_some() {
            let node = &self.namespaces[at];
            if let Some(room) = node.numbers.wanted_room(tids.next().copied()) {
                return Some((self.namespaces.id(at), room));
            }
            at = node.parent;
        }
        None
    }

    /// The process is the init of its namespace.
    pub fn is_ns_init(&self, process: ProcId) -> bool {
        self.processes.resolve(process).is_some_and(|process| self.is_init(process))
    }

    pub(crate) fn is_init(&self, process: ProcLink) -> bool {
        self.namespaces[self.processes[process].ns].init == process
    }

    // ---- pids ----------------------------------------------------------------------------------

    /// Takes a number in `ns` and in each above it (rule 6.17). `numbers` is from [`Numbers::for_level`] with
    /// the level of `ns`. EAGAIN: numbers exhausted. ENOMEM: the namespace's init is dead (6.14), or no slot.
    /// EINVAL: wrong level.
    pub fn alloc_pid(&mut self, ns: NsId, numbers: Numbers) -> Result<PidId, Refused<Numbers>> {
        self.alloc_pid_exact(ns, numbers, &[], &mut |_| true)
    }

    /// The same with given numbers for the innermost levels, innermost first (clone3's set_tid, rule 6.7).
    /// `permitted` is asked for each such namespace after the range checks. EINVAL: range, or not 1 in a
    /// namespace without init; EPERM; EEXIST: in use.
    pub fn alloc_pid_exact(
        &mut self,
        ns: NsId,
        mut numbers: Numbers,
        tids: &[u32],
        permitted: &mut dyn FnMut(NsId) -> bool,
    ) -> Result<PidId, Refused<Numbers>> {
        let taken = match self.namespaces.resolve(ns) {
            None => Err(Error::Srch),
            Some(_) if self.pids.free() == 0 => Err(Error::NoMem),
            Some(ns) => self.take_numbers(ns, &mut numbers, tids, permitted).map(|()| ns),
        };
        let ns = match taken {
            Ok(ns) => ns,
            Err(error) => {
                return Err(Refused { error, given: numbers });
            }
        };
        let pid = self.pids.insert(Pid::new(numbers, ns));
        Ok(self.pids.id(pid))
    }

    /// Gives back a pid that was not used; the caller drops the numbers outside its lock. `None`: stale, or
    /// in use.
    /// The init of a dying namespace may have waited for just this.
    pub fn cancel_pid(&mut self, pid: PidId, sink: &mut impl Sink<K>) -> Option<Numbers> {
        let pid = self.pids.resolve(pid)?;
        if !self.pids[pid].reserved {
            return None;
        }
        let node = self.pids.remove(pid);
        self.give_back(node.ns, &node.numbers);
        // The first process of a namespace that could not be made: the next one is to be number 1.
        let ns = &mut self.namespaces[node.ns];
        if ns.init.is_none() && ns.pids == 0 {
            ns.numbers.set_last(0);
        }
        let mut at = node.ns;
        while at.is_some() {
            let ns = &self.namespaces[at];
            if ns.dead {
                self.tell_quiet(at, sink);
            }
            at = ns.parent;
        }
        self.remove_unused(node.ns, sink);
        Some(node.numbers)
    }

    /// The numbers of a pid; `None` once they are free.
    pub fn numbers(&self, pid: PidId) -> Option<&Numbers> {
        Some(&self.pids[self.pids.resolve(pid)?].numbers)
    }

    /// The number of a pid as seen from a namespace: 0 if it is not visible there, or free.
    pub fn nr(&self, pid: PidId, ns: NsId) -> u32 {
        match (self.pids.resolve(pid), self.namespaces.resolve(ns)) {
            (Some(pid), Some(ns)) => self.number_in(pid, ns),
            _ => 0,
        }
    }

    /// A pid with its numbers, for somebody who will ask for them when they are free; `None` if they are.
    ///
    /// # Errors
    /// [`NoMemory`], for a pid of a namespace below the initial one.
    pub fn keep_numbers(&self, id: PidId) -> Result<Option<KeptPid>, NoMemory> {
        let Some(pid) = self.pids.resolve(id) else { return Ok(None) };
        let pid = &self.pids[pid];
        let mut numbers = Numbers::for_level(pid.numbers.level())?;
        numbers.copy_from(&pid.numbers);
        Ok(Some(KeptPid { id, ns: self.namespaces.id(pid.ns), numbers }))
    }

    /// The number of a kept pid as seen from a namespace: 0 if it was not visible there, or its own namespace is gone.
    pub fn kept_nr(&self, pid: &KeptPid, ns: NsId) -> u32 {
        match (self.namespaces.resolve(pid.ns), self.namespaces.resolve(ns)) {
            (Some(own), Some(ns)) if self.sees(ns, own) => {
                pid.numbers.at(self.namespaces[ns].level.into()).unwrap_or(0)
            }
            _ => 0,
        }
    }

    /// The number of a process as seen from a namespace: as [`nr`](Self::nr) of its pid.
    pub fn process_nr(&self, process: ProcId, ns: NsId) -> u32 {
        match (self.processes.resolve(process), self.namespaces.resolve(ns)) {
            (Some(process), Some(ns)) => self.number_in(self.processes[process].pid, ns),
            _ => 0,
        }
    }

    /// The process whose tgid this is, zombies included.
    pub fn pid_process(&self, pid: PidId) -> Option<ProcId> {
        let pid = self.pids.resolve(pid)?;
        Some(self.processes.id(self.pids[pid].process.some()?))
    }

    /// The thread whose tid this is, dead leaders included; none in a zombie.
    pub fn pid_thread(&self, pid: PidId) -> Option<ThreadId> {
        let pid = self.pids.resolve(pid)?;
        Some(self.threads.id(self.pids[pid].thread.some()?))
    }

    pub(crate) fn number_in(&self, pid: PidLink, ns: NsLink) -> u32 {
        let pid = &self.pids[pid];
        if pid.ns == ns {
            return pid.numbers.innermost();
        }
        if self.sees(ns, pid.ns) { pid.numbers.at(self.namespaces[ns].level.into()).unwrap_or(0) } else { 0 }
    }

    /// `inner` is `ns` or below it.
    pub(crate) fn sees(&self, ns: NsLink, inner: NsLink) -> bool {
        let level = self.namespaces[ns].level;
        let mut inner = inner;
        while self.namespaces[inner].level > level {
            inner = self.namespaces[inner].parent;
        }
        inner == ns
    }

    fn take_numbers(
        &mut self,
        ns: NsLink,
        numbers: &mut Numbers,
        tids: &[u32],
        permitted: &mut dyn FnMut(NsId) -> bool,
    ) -> Result<(), Error> {
        let level = u32::from(self.namespaces[ns].level);
        if numbers.level() != level || tids.len() > level as usize + 1 {
            return Err(Error::Inval);
        }
        let mut at = ns;
        for taken in 0..=level {
            let id = self.namespaces.id(at);
            let tid = tids.get(taken as usize).copied();
            match self.take_number(at, tid, &mut || permitted(id)) {
                Ok(nr) => numbers.set(level - taken, nr),
                Err(error) => {
                    self.give_back_from(ns, numbers, taken);
                    return Err(error);
                }
            }
            at = self.namespaces[at].parent;
        }
        // Linux looks at this last, too: a dead namespace is ENOMEM only if the numbers are to be had.
        if self.namespaces[ns].dead {
            self.give_back(ns, numbers);
            return Err(Error::NoMem);
        }
        Ok(())
    }

    fn take_number(
        &mut self,
        ns: NsLink,
        tid: Option<u32>,
        permitted: &mut dyn FnMut() -> bool,
    ) -> Result<u32, Error> {
        let node = &mut self.namespaces[ns];
        let nr = match tid {
            None => node.numbers.alloc().ok_or(Error::Again)?,
            Some(tid) => {
                if tid == 0 || tid >= node.numbers.pid_max() || (tid != 1 && node.init.is_none()) {
                    return Err(Error::Inval);
                }
                if !permitted() {
                    return Err(Error::Perm);
                }
                if !node.numbers.alloc_exact(tid) {
                    return Err(Error::Exist);
                }
                tid
            }
        };
        node.pids += 1;
        Ok(nr)
    }

    /// Frees the numbers of all levels.
    fn give_back(&mut self, ns: NsLink, numbers: &Numbers) {
        self.give_back_from(ns, numbers, numbers.level() + 1);
    }

    /// Frees the numbers of the `levels` innermost levels.
    fn give_back_from(&mut self, ns: NsLink, numbers: &Numbers, levels: u32) {
        let mut at = ns;
        for taken in 0..levels {
            let nr = match taken {
                0 => numbers.innermost(),
                _ => numbers.at(numbers.level() - taken).unwrap_or(0),
            };
            let node = &mut self.namespaces[at];
            node.numbers.free(nr);
            node.pids -= 1;
            at = node.parent;
        }
    }

    /// A user of the pid is gone: if it was the last, its numbers are free (rule 0.4).
    pub(crate) fn release_pid(&mut self, pid: PidLink, sink: &mut impl Sink<K>) {
        if !self.pids[pid].is_unused() || pid == self.pid_zero {
            return;
        }
        let id = self.pids.id(pid);
        let node = self.pids.remove(pid);
        self.give_back(node.ns, &node.numbers);
        sink.number_freed(self.namespaces.id(node.ns), node.numbers.innermost());
        let ns = &self.namespaces[node.ns];
        if ns.dead {
            self.tell_quiet(node.ns, sink);
        }
        if ns.parent.is_some() {
            self.release_above(node.ns, &node.numbers, sink);
        }
        sink.pid_freed(id, node.numbers);
    }

    /// The rest of the above for a pid of `ns`, which is not the initial namespace.
    #[cold]
    fn release_above(&mut self, ns: NsLink, numbers: &Numbers, sink: &mut impl Sink<K>) {
        let mut at = self.namespaces[ns].parent;
        while at.is_some() {
            let above = &self.namespaces[at];
            sink.number_freed(self.namespaces.id(at), numbers.at(above.level.into()).unwrap_or(0));
            if above.dead {
                self.tell_quiet(at, sink);
            }
            at = above.parent;
        }
        self.remove_unused(ns, sink);
    }

    /// Tells the init of a dying namespace when only its own threads are left.
    fn tell_quiet(&self, ns: NsLink, sink: &mut impl Sink<K>) {
        let node = &self.namespaces[ns];
        let init = node.init.some().map(|init| &self.processes[init]);
        if node.pids <= init.map_or(0, |init| init.threads.max(1)) {
            sink.namespace_quiet(self.namespaces.id(ns), init.and_then(|init| init.payload()));
        }
    }
}
