//! Classic BPF as seccomp(2) filters use it: a checker, and an interpreter for what has passed it.
//!
//! A program is a list of [`Insn`]s over two 32-bit registers (A, X) and 16 words of scratch memory; it reads the 64 bytes of
//! [`Data`] and ends by returning a word. [`Program::check`] refuses whatever could go wrong when it runs, and keeps the rest in
//! a decoded form. What it guarantees:
//!
//! 1. every jump goes forward, to an instruction of the program: so [`Program::run`] takes at most one step per instruction;
//! 2. the last instruction returns, so no program falls off its end;
//! 3. every load is of an aligned word within the data, every use of scratch memory within its 16 words, and of a word that was
//!    stored to before on each way that leads there;
//! 4. no constant divides by zero or shifts by more than 31.
//!
//! A division by X = 0 ends the program with 0. The errors are one: EINVAL. See bpf(4) of the BSDs, seccomp(2).

#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

use alloc::vec::Vec;

mod constant;
mod decode;

pub use decode::Insn;
use decode::{Alu, Cond, Op};

/// The most instructions of a program (BPF_MAXINSNS).
pub const MAX_LEN: usize = 4096;

/// Words of scratch memory.
const SCRATCH: usize = 16;

/// `struct seccomp_data`: what a filter sees of a system call.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Data {
    pub number: i32,
    /// AUDIT_ARCH_*.
    pub arch: u32,
    pub instruction_pointer: u64,
    pub args: [u64; 6],
}

/// Bytes of [`Data`].
pub const DATA_SIZE: u32 = 64;

impl Data {
    /// The data as the words that programs load, low halves first.
    fn words(&self) -> [u32; DATA_SIZE as usize / 4] {
        let mut words = [0; DATA_SIZE as usize / 4];
        words[0] = self.number as u32;
        words[1] = self.arch;
        let long = [self.instruction_pointer].into_iter().chain(self.args);
        for (pair, value) in words[2..].as_chunks_mut::<2>().0.iter_mut().zip(long) {
            *pair = [value as u32, (value >> 32) as u32];
        }
        words
    }
}

/// The program breaks a rule of the [module's head](self): EINVAL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Invalid;

/// A program that was checked.
#[derive(Clone, Debug)]
pub struct Program {
    ops: Vec<Op>,
    cost: u32,
}

impl Program {
    /// Checks a program.
    pub fn check(insns: &[Insn]) -> Result<Program, Invalid> {
        if insns.is_empty() || insns.len() > MAX_LEN {
            return Err(Invalid);
        }
        let ops = insns.iter().map(Insn::decode).collect::<Result<Vec<Op>, Invalid>>()?;
        check_jumps(&ops)?;
        if !matches!(ops.last(), Some(Op::Return(_) | Op::ReturnA)) {
            return Err(Invalid);
        }
        check_scratch(&ops)?;
        // Three for what Linux puts before each program.
        let cost = 3 + insns.iter().map(Insn::cost).sum::<u32>();
        Ok(Program { ops, cost })
    }

    /// Number of instructions.
    #[allow(clippy::len_without_is_empty, reason = "no program is empty")]
    pub fn len(&self) -> usize {
        self.ops.len()
    }

    /// What it counts against the limit of a chain of filters: the instructions that Linux's own form of it has.
    pub fn cost(&self) -> u32 {
        self.cost
    }

    /// What the program returns for `data`.
    pub fn run(&self, data: &Data) -> u32 {
        let words = data.words();
        let (mut a, mut x) = (0u32, 0u32);
        let mut scratch = [0u32; SCRATCH];
        let mut rest = self.ops.as_slice();
        while let Some((op, next)) = rest.split_first() {
            let mut skip = 0;
            match *op {
                Op::Load(word) => a = words[usize::from(word) % words.len()],
                Op::LoadScratch(i) => a = scratch[usize::from(i) % SCRATCH],
                Op::LoadScratchX(i) => x = scratch[usize::from(i) % SCRATCH],
                Op::Store(i) => scratch[usize::from(i) % SCRATCH] = a,
                Op::StoreX(i) => scratch[usize::from(i) % SCRATCH] = x,
                Op::Set(k) => a = k,
                Op::SetX(k) => x = k,
                Op::AToX => x = a,
                Op::XToA => a = x,
                Op::Negate => a = a.wrapping_neg(),
                Op::Alu(alu, k) => a = alu.apply(a, k).unwrap_or(0),
                Op::AluX(alu) => match alu.apply(a, x) {
                    Some(result) => a = result,
                    None => return 0,
                },
                Op::Jump(by) => skip = by as usize,
                Op::JumpIf(cond, jt, jf, k) => skip = usize::from(if cond.holds(a, k) { jt } else { jf }),
                Op::JumpIfX(cond, jt, jf) => skip = usize::from(if cond.holds(a, x) { jt } else { jf }),
                Op::Return(k) => return k,
                Op::ReturnA => return a,
            }
            rest = next.get(skip..).unwrap_or(&[]);
        }
        // Not reached: the checker has seen to it that each way ends in a return. 0 is the strictest answer.
        0
    }
}

impl Alu {
    /// The result; `None` for a division by zero.
    fn apply(self, a: u32, b: u32) -> Option<u32> {
        Some(match self {
            Alu::Add => a.wrapping_add(b),
            Alu::Sub => a.wrapping_sub(b),
            Alu::Mul => a.wrapping_mul(b),
            Alu::Div => a.checked_div(b)?,
            Alu::Or => a | b,
            Alu::And => a & b,
            Alu::Xor => a ^ b,
            Alu::Lsh => a.wrapping_shl(b),
            Alu::Rsh => a.wrapping_shr(b),
        })
    }
}

impl Cond {
    fn holds(self, a: u32, b: u32) -> bool {
        match self {
            Cond::Equal => a == b,
            Cond::Greater => a > b,
            Cond::GreaterOrEqual => a >= b,
            Cond::Bits => a & b != 0,
        }
    }
}

/// Rule 1.
fn check_jumps(ops: &[Op]) -> Result<(), Invalid> {
    for (at, op) in ops.iter().enumerate() {
        let behind = ops.len() - at - 1;
        let furthest = match *op {
            Op::Jump(by) => by as usize,
            Op::JumpIf(_, jt, jf, _) | Op::JumpIfX(_, jt, jf) => usize::from(jt.max(jf)),
            _ => continue,
        };
        if furthest >= behind {
            return Err(Invalid);
        }
    }
    Ok(())
}

/// The last part of rule 3: what each instruction may rely on is the intersection over all ways that lead to it.
fn check_scratch(ops: &[Op]) -> Result<(), Invalid> {
    let mut known = alloc::vec![u16::MAX; ops.len()];
    let mut valid = 0u16;
    for (at, op) in ops.iter().enumerate() {
        valid &= known[at];
        let mut promise = |by: usize| known[at + 1 + by] &= valid;
        match *op {
            Op::Store(i) | Op::StoreX(i) => valid |= 1 << i,
            Op::LoadScratch(i) | Op::LoadScratchX(i) if valid & 1 << i == 0 => return Err(Invalid),
            Op::Jump(by) => {
                promise(by as usize);
                valid = u16::MAX;
            }
            Op::JumpIf(_, jt, jf, _) | Op::JumpIfX(_, jt, jf) => {
                promise(jt.into());
                promise(jf.into());
                valid = u16::MAX;
            }
            _ => {}
        }
    }
    Ok(())
}
