//! From an opened file to a complete new address space.

use elfload::{Image, Script};

use super::{
    args::Args,
    load::{self, Base},
    open::{self, Opened},
    stack::{self, AuxInfo, Random},
};
use crate::{
    fs::open::ExecFile,
    mm::{MemoryLimits, MemoryObject, ProgramRanges, STACK_GUARD, STACK_TOP, Vm, read_object},
    prelude::*,
    process::{Credentials, Thread, credentials::ExecCreds},
};

/// Most scripts that may stand in for each other (rule 10.4: five are fine).
const MAX_SCRIPTS: usize = 5;

/// A program ready to run; nothing of the calling process has changed yet.
pub struct Program {
    pub vm: Arc<Vm>,
    pub entry: Vaddr,
    pub sp: Vaddr,
    /// Last part of the path, for comm; that of the script for scripts.
    pub name: Vec<u8>,
    /// The credentials that it runs with.
    pub creds: Arc<Credentials>,
    /// Ids have changed or differ, or capabilities have come.
    pub secure: bool,
    /// It may have more rights than before: see [`ExecCreds`].
    pub clear_personality: bool,
    /// The file may be executed but not read: the program may not be looked at (rule 1.35).
    pub unreadable: bool,
    /// To be killed by SIGSEGV instead of being started.
    pub doomed: bool,
}

impl Program {
    /// Builds the address space for `opened`.
    ///
    /// # Errors
    /// ENOEXEC for an unknown format or a bad file, ELOOP for too many scripts, ELIBBAD for a bad interpreter, ENOMEM, and
    /// what opening an interpreter gives.
    pub fn build(thread: &Thread, opened: Opened, mut args: Args) -> Result<Program> {
        let name = opened.name.clone();
        let path = opened.path.clone();
        let (opened, head) = resolve_scripts(thread, opened, &mut args)?;
        let limits = thread.process.memory_limits();
        let ExecCreds { creds, secure, clear_personality } = open::credentials(thread, &opened.exe)?;
        let unreadable = open::is_unreadable(thread, &opened.exe);
        let parts = Parts {
            exe: Some(opened.exe.clone()),
            object: opened.exe.file().clone(),
            head: &head,
            open_interpreter: &|path| open::open_interpreter(thread, path),
        };
        let built = build_vm(parts, &args, &path, &creds, secure, &limits)?;
        Ok(Program {
            vm: built.vm,
            entry: built.entry,
            sp: built.sp,
            name,
            creds: Arc::new(creds),
            secure,
            clear_personality,
            unreadable,
            doomed: built.doomed,
        })
    }
}

/// The first bytes of a file.
pub struct Head {
    bytes: [u8; elfload::SCRIPT_HEAD],
    len: usize,
}

impl Head {
    pub fn read(object: &dyn MemoryObject) -> Result<Head> {
        let mut bytes = [0; elfload::SCRIPT_HEAD];
        let len = read_object(object, 0, &mut bytes)?;
        Ok(Head { bytes, len })
    }

    pub fn bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

/// Follows the chain of scripts to the program that runs them.
fn resolve_scripts(thread: &Thread, mut opened: Opened, args: &mut Args) -> Result<(Opened, Head)> {
    for scripts in 0.. {
        let head = Head::read(&**opened.exe.file())?;
        let script = match Script::parse(head.bytes()) {
            None => return Ok((opened, head)),
            Some(script) => script.or(Err(ENOEXEC))?,
        };
        if opened.hidden_by_close_on_exec {
            // The interpreter could not open it (rule 10.5).
            return Err(ENOENT);
        }
        if scripts == MAX_SCRIPTS {
            break;
        }
        args.put_interpreter(script.interpreter, script.argument, &opened.path);
        opened = open::open_interpreter(thread, script.interpreter)?;
    }
    Err(ELOOP)
}

/// What an address space is built from.
pub struct Parts<'a> {
    /// None in tests only.
    pub exe: Option<Arc<ExecFile>>,
    pub object: Arc<dyn MemoryObject>,
    pub head: &'a Head,
    /// Opens the file that PT_INTERP names.
    pub open_interpreter: &'a dyn Fn(&[u8]) -> Result<Opened>,
}

/// A finished address space.
pub struct Built {
    pub vm: Arc<Vm>,
    pub entry: Vaddr,
    pub sp: Vaddr,
    pub doomed: bool,
}

/// Loads a program, its interpreter and its stack into a new address space.
///
/// On Linux the old program is gone when the segments are mapped and the stack is built, so that what fails there is not an
/// error of the call but the program's death by SIGSEGV (rule 10.13): it is the same here, though nothing would be lost yet.
pub fn build_vm(
    parts: Parts,
    args: &Args,
    path: &[u8],
    creds: &Credentials,
    secure: bool,
    limits: &MemoryLimits,
) -> Result<Built> {
    let image = load::read_image(&*parts.object, parts.head.bytes())?;
    let interpreter = match &image {
        Some(image) => open_interpreter(&parts, image)?,
        None => None,
    };
    if !ostd::mm::kernel_reserve_ok(16) {
        return Err(ENOMEM);
    }
    let random = Random::new();
    let vm = Vm::new(mmap_base(limits, random.jitter()), parts.exe)?;
    let placed = image.ok_or(ENOEXEC).and_then(|image| {
        let what = Pieces { object: &parts.object, image, interpreter, args, path, creds, secure };
        place(&vm, what, &random, limits)
    });
    Ok(match placed {
        Ok((entry, sp, doomed)) => Built { vm, entry, sp, doomed },
        Err(_) => Built { vm, entry: 0, sp: 0, doomed: true },
    })
}

/// The file of PT_INTERP, and what it says; `None` in place of that if its segments are bad.
type Interpreter = (Arc<dyn MemoryObject>, Option<Image>);

fn open_interpreter(parts: &Parts, image: &Image) -> Result<Option<Interpreter>> {
    let Some(path) = load::interpreter_path(&*parts.object, image)? else { return Ok(None) };
    let opened = (parts.open_interpreter)(&path)?;
    let object: Arc<dyn MemoryObject> = opened.exe.file().clone();
    let head = Head::read(&*object)?;
    if head.bytes().len() < elfload::HEADER_SIZE {
        return Err(EIO);
    }
    let image = load::read_image(&*object, head.bytes())
        .map_err(|error| if error == ENOEXEC { ELIBBAD } else { error })?;
    Ok(Some((object, image)))
}

/// What goes into an address space.
struct Pieces<'a> {
    object: &'a Arc<dyn MemoryObject>,
    image: Image,
    interpreter: Option<Interpreter>,
    args: &'a Args,
    path: &'a [u8],
    creds: &'a Credentials,
    secure: bool,
}

/// Maps everything; returns the entry, the stack pointer and whether the program is doomed.
fn place(vm: &Arc<Vm>, what: Pieces, random: &Random, limits: &MemoryLimits) -> Result<(Vaddr, Vaddr, bool)> {
    let exec_stack = what.image.exec_stack;
    let shift = ((random.jitter() >> 32) & 0xff_ffff) * PAGE_SIZE;
    let program = load::map_image(vm, what.object, what.image, Base::Program { shift }, limits)?;
    let mut entry = program.entry();
    let mut doomed = program.doomed;
    let mut interpreter_base = 0;
    if let Some((object, image)) = what.interpreter {
        let loaded = load::map_image(vm, &object, image.ok_or(ELIBBAD)?, Base::Interpreter, limits)?;
        interpreter_base = loaded.bias;
        entry = loaded.entry();
        doomed |= loaded.doomed;
    }
    let aux = AuxInfo { program: &program, interpreter_base, creds: what.creds, secure: what.secure };
    let stack = stack::build(vm, what.args, what.path, &aux, exec_stack, random, limits)?;
    let (start_code, end_code) = program.extent(|segment| segment.exec);
    let (start_data, end_data) = program.extent(|segment| segment.write);
    let ranges = ProgramRanges {
        start_code,
        end_code,
        start_data,
        end_data,
        start_stack: stack.sp,
        arg_start: stack.arg_start,
        arg_end: stack.env_start,
        env_start: stack.env_start,
        env_end: stack.env_end,
    };
    vm.set_program(program.end(), ranges, stack.auxv);
    Ok((entry, stack.sp, doomed))
}

/// The top of the mmap area: below the room that the stack may take, and somewhere within the same page directory.
fn mmap_base(limits: &MemoryLimits, random: usize) -> Vaddr {
    let room = limits.stack.clamp(128 << 20, STACK_TOP / 6 * 5);
    let shift = (random & 0xffff) * PAGE_SIZE;
    (STACK_TOP - room - STACK_GUARD - shift) & !(PAGE_SIZE - 1)
}
