//! Finding out beforehand what a program says to a system call, whatever its arguments are.
//!
//! Most filters look at nothing but the number for most calls. Running such a filter once, when it is installed, saves running
//! it at each call.

use crate::{Alu, Op, Program, SCRATCH};

impl Program {
    /// What the program returns for every call `number` of `arch`; `None` if that depends on anything else, or is not easy to
    /// see.
    pub fn constant(&self, number: i32, arch: u32) -> Option<u32> {
        let data = [number as u32, arch];
        // An unknown value is None.
        let (mut a, mut x) = (Some(0u32), Some(0u32));
        let mut scratch = [None; SCRATCH];
        let mut rest = self.ops.as_slice();
        while let Some((op, next)) = rest.split_first() {
            let mut skip = 0;
            match *op {
                Op::Load(word) => a = data.get(usize::from(word)).copied(),
                Op::LoadScratch(i) => a = scratch[usize::from(i) % SCRATCH],
                Op::LoadScratchX(i) => x = scratch[usize::from(i) % SCRATCH],
                Op::Store(i) => scratch[usize::from(i) % SCRATCH] = a,
                Op::StoreX(i) => scratch[usize::from(i) % SCRATCH] = x,
                Op::Set(k) => a = Some(k),
                Op::SetX(k) => x = Some(k),
                Op::AToX => x = a,
                Op::XToA => a = x,
                Op::Negate => a = a.map(u32::wrapping_neg),
                Op::Alu(alu, k) => a = a.map(|a| alu.apply(a, k).unwrap_or(0)),
                // The program may end here.
                Op::AluX(Alu::Div) => match Alu::Div.apply(a?, x?) {
                    Some(result) => a = Some(result),
                    None => return Some(0),
                },
                Op::AluX(alu) => a = a.zip(x).and_then(|(a, x)| alu.apply(a, x)),
                Op::Jump(by) => skip = by as usize,
                Op::JumpIf(cond, jt, jf, k) => skip = usize::from(if cond.holds(a?, k) { jt } else { jf }),
                Op::JumpIfX(cond, jt, jf) => skip = usize::from(if cond.holds(a?, x?) { jt } else { jf }),
                Op::Return(k) => return Some(k),
                Op::ReturnA => return a,
            }
            rest = next.get(skip..)?;
        }
        None
    }
}
