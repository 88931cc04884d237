//! The instructions: as programs write them, and as the interpreter wants them.

use crate::{DATA_SIZE, Invalid, SCRATCH};

/// `struct sock_filter`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Insn {
    pub code: u16,
    /// Jumps if true and if false: instructions to skip.
    pub jt: u8,
    pub jf: u8,
    pub k: u32,
}

/// Bytes of an [`Insn`] in memory.
const INSN_SIZE: usize = 8;

/// A checked instruction. Offsets of loads are word numbers; jumps are instructions to skip.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Op {
    Load(u8),
    LoadScratch(u8),
    LoadScratchX(u8),
    Store(u8),
    StoreX(u8),
    Set(u32),
    SetX(u32),
    AToX,
    XToA,
    Negate,
    Alu(Alu, u32),
    AluX(Alu),
    Jump(u32),
    JumpIf(Cond, u8, u8, u32),
    JumpIfX(Cond, u8, u8),
    Return(u32),
    ReturnA,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Alu {
    Add,
    Sub,
    Mul,
    Div,
    Or,
    And,
    Xor,
    Lsh,
    Rsh,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cond {
    Equal,
    Greater,
    GreaterOrEqual,
    Bits,
}

/// Parts of a code: class, what it works on.
mod code {
    pub const LD: u16 = 0x00;
    pub const LDX: u16 = 0x01;
    pub const ST: u16 = 0x02;
    pub const STX: u16 = 0x03;
    pub const ALU: u16 = 0x04;
    pub const JMP: u16 = 0x05;
    pub const RET: u16 = 0x06;
    pub const MISC: u16 = 0x07;

    /// Modes of loads (of words).
    pub const IMM: u16 = 0x00;
    pub const ABS: u16 = 0x20;
    pub const MEM: u16 = 0x60;
    pub const LEN: u16 = 0x80;

    pub const ALU_NEG: u16 = 0x80;
    pub const JA: u16 = 0x00;
    /// The operand is X, not k.
    pub const X: u16 = 0x08;
    pub const RET_A: u16 = 0x10;
    pub const TXA: u16 = 0x80;

    pub const LD_ABS: u16 = LD | ABS;
    pub const LD_LEN: u16 = LD | LEN;
    pub const LDX_LEN: u16 = LDX | LEN;
    pub const LD_IMM: u16 = LD | IMM;
    pub const LDX_IMM: u16 = LDX | IMM;
    pub const LD_MEM: u16 = LD | MEM;
    pub const LDX_MEM: u16 = LDX | MEM;
    pub const NEGATE: u16 = ALU | ALU_NEG;
    pub const JUMP: u16 = JMP | JA;
    pub const RETURN_A: u16 = RET | RET_A;
    pub const X_TO_A: u16 = MISC | TXA;
    pub const ALU_X: u16 = ALU | X;
    pub const JMP_X: u16 = JMP | X;
}

impl Insn {
    /// From the eight bytes of memory.
    pub fn from_bytes(bytes: [u8; INSN_SIZE]) -> Insn {
        let [c0, c1, jt, jf, k @ ..] = bytes;
        Insn { code: u16::from_le_bytes([c0, c1]), jt, jf, k: u32::from_le_bytes(k) }
    }

    /// Rules 3 and 4, and that the instruction is one that filters may use.
    pub(crate) fn decode(&self) -> Result<Op, Invalid> {
        let Insn { code, jt, jf, k } = *self;
        let scratch = || if (k as usize) < SCRATCH { Ok(k as u8) } else { Err(Invalid) };
        Ok(match code {
            code::LD_ABS if k < DATA_SIZE && k.is_multiple_of(4) => Op::Load((k / 4) as u8),
            code::LD_LEN => Op::Set(DATA_SIZE),
            code::LDX_LEN => Op::SetX(DATA_SIZE),
            code::LD_IMM => Op::Set(k),
            code::LDX_IMM => Op::SetX(k),
            code::LD_MEM => Op::LoadScratch(scratch()?),
            code::LDX_MEM => Op::LoadScratchX(scratch()?),
            code::ST => Op::Store(scratch()?),
            code::STX => Op::StoreX(scratch()?),
            code::NEGATE => Op::Negate,
            code::JUMP => Op::Jump(k),
            code::RET => Op::Return(k),
            code::RETURN_A => Op::ReturnA,
            code::MISC => Op::AToX,
            code::X_TO_A => Op::XToA,
            _ => match code & 0x0f {
                code::ALU => Op::Alu(self.alu()?.with_constant(k)?, k),
                code::ALU_X => Op::AluX(self.alu()?),
                code::JMP => Op::JumpIf(self.cond()?, jt, jf, k),
                code::JMP_X => Op::JumpIfX(self.cond()?, jt, jf),
                _ => return Err(Invalid),
            },
        })
    }

    fn alu(&self) -> Result<Alu, Invalid> {
        Ok(match self.code & !0x0f {
            0x00 => Alu::Add,
            0x10 => Alu::Sub,
            0x20 => Alu::Mul,
            0x30 => Alu::Div,
            0x40 => Alu::Or,
            0x50 => Alu::And,
            0x60 => Alu::Lsh,
            0x70 => Alu::Rsh,
            0xa0 => Alu::Xor,
            // Remainders exist in socket filters only.
            _ => return Err(Invalid),
        })
    }

    fn cond(&self) -> Result<Cond, Invalid> {
        Ok(match self.code & !0x0f {
            0x10 => Cond::Equal,
            0x20 => Cond::Greater,
            0x30 => Cond::GreaterOrEqual,
            0x40 => Cond::Bits,
            _ => return Err(Invalid),
        })
    }

    /// How many instructions Linux makes of this one, when it turns a filter into its internal form: the limit on a chain of
    /// filters counts those.
    pub(crate) fn cost(&self) -> u32 {
        match self.decode() {
            Ok(Op::AluX(Alu::Div)) => 5,
            Ok(Op::Return(_)) => 2,
            Ok(Op::JumpIf(cond, jt, jf, k)) => u32::from(k >> 31 == 1) + cond.cost(jt, jf),
            Ok(Op::JumpIfX(cond, jt, jf)) => cond.cost(jt, jf),
            _ => 1,
        }
    }
}

impl Alu {
    /// Rule 4.
    fn with_constant(self, k: u32) -> Result<Alu, Invalid> {
        match self {
            Alu::Div if k == 0 => Err(Invalid),
            Alu::Lsh | Alu::Rsh if k >= 32 => Err(Invalid),
            _ => Ok(self),
        }
    }
}

impl Cond {
    /// One when a side just goes on and the condition can be turned around if need be.
    fn cost(self, jt: u8, jf: u8) -> u32 {
        if jf == 0 || jt == 0 && self != Cond::Bits { 1 } else { 2 }
    }
}
