//! The checker and the interpreter, by example and against arbitrary programs.

use bpf::{Data, Insn, MAX_LEN, Program};
use proptest::prelude::*;

const ARCH: u32 = 0xc000_003e;
const ALLOW: u32 = 0x7fff_0000;

fn insn(code: u16, k: u32) -> Insn {
    Insn { code, jt: 0, jf: 0, k }
}

fn jump(code: u16, k: u32, jt: u8, jf: u8) -> Insn {
    Insn { code, jt, jf, k }
}

const LD: u16 = 0x20;
const RET: u16 = 0x06;
const RET_A: u16 = 0x16;
const JEQ: u16 = 0x15;
const ST: u16 = 0x02;
const LD_MEM: u16 = 0x60;
const LD_IMM: u16 = 0x00;
const LDX_IMM: u16 = 0x01;

fn data(number: i32) -> Data {
    Data { number, arch: ARCH, instruction_pointer: 0x1234_5678_9abc, args: [1 << 40 | 7, 2, 3, 4, 5, 6] }
}

fn run(insns: &[Insn]) -> u32 {
    Program::check(insns).expect("a legal program").run(&data(39))
}

fn refused(insns: &[Insn]) -> bool {
    Program::check(insns).is_err()
}

#[test]
fn loads_see_the_data_as_it_lies_in_memory() {
    for (offset, want) in
        [(0, 39), (4, ARCH), (8, 0x5678_9abc), (12, 0x1234), (16, 7), (20, 1 << 8), (56, 6), (60, 0)]
    {
        assert_eq!(run(&[insn(LD, offset), insn(RET_A, 0)]), want, "offset {offset}");
    }
}

#[test]
fn loads_elsewhere_are_refused() {
    for offset in [1, 2, 63, 64, 68, u32::MAX, u32::MAX - 3] {
        assert!(refused(&[insn(LD, offset), insn(RET_A, 0)]), "offset {offset}");
    }
    // Bytes, half words, indirect loads.
    for code in [0x28, 0x30, 0x40, 0x48, 0x50, 0xb1] {
        assert!(refused(&[insn(code, 0), insn(RET_A, 0)]), "code {code:#x}");
    }
}

#[test]
fn arithmetic() {
    let alu = |op: u16, a: u32, b: u32| {
        let by_x = run(&[insn(LDX_IMM, b), insn(LD_IMM, a), insn(0x0c | op, 0), insn(RET_A, 0)]);
        if let Ok(program) = Program::check(&[insn(LD_IMM, a), insn(0x04 | op, b), insn(RET_A, 0)]) {
            assert_eq!(program.run(&data(0)), by_x);
        }
        by_x
    };
    assert_eq!(alu(0x00, u32::MAX, 2), 1);
    assert_eq!(alu(0x10, 1, 2), u32::MAX);
    assert_eq!(alu(0x20, 1 << 31, 2), 0);
    assert_eq!(alu(0x30, 7, 2), 3);
    assert_eq!(alu(0x30, 7, 0), 0);
    assert_eq!(alu(0x40, 5, 2), 7);
    assert_eq!(alu(0x50, 5, 4), 4);
    assert_eq!(alu(0xa0, 5, 4), 1);
    assert_eq!(alu(0x60, 1, 31), 1 << 31);
    assert_eq!(alu(0x60, 1, 33), 2);
    assert_eq!(alu(0x70, 1 << 31, 31), 1);
    assert_eq!(run(&[insn(LD_IMM, 1), insn(0x84, 0), insn(RET_A, 0)]), u32::MAX);
}

#[test]
fn a_division_by_zero_ends_the_program_with_0() {
    assert_eq!(run(&[insn(LD_IMM, 7), insn(0x3c, 0), insn(RET, ALLOW)]), 0);
    assert!(refused(&[insn(0x34, 0), insn(RET_A, 0)]));
    assert!(refused(&[insn(0x64, 32), insn(RET_A, 0)]));
    assert!(refused(&[insn(0x94, 3), insn(RET_A, 0)]), "remainder");
}

#[test]
fn jumps() {
    let program = |k| [insn(LD, 0), jump(JEQ, k, 0, 1), insn(RET, 1), insn(RET, 2)];
    assert_eq!(run(&program(39)), 1);
    assert_eq!(run(&program(40)), 2);
    assert_eq!(run(&[insn(0x05, 1), insn(RET, 1), insn(RET, 2)]), 2);
}

#[test]
fn jumps_out_of_the_program_are_refused() {
    assert!(refused(&[jump(JEQ, 0, 2, 0), insn(RET, 0), insn(RET, 0)]));
    assert!(refused(&[jump(JEQ, 0, 0, 2), insn(RET, 0), insn(RET, 0)]));
    assert!(!refused(&[jump(JEQ, 0, 1, 0), insn(RET, 0), insn(RET, 0)]));
    assert!(refused(&[insn(0x05, 1), insn(RET, 0)]));
    assert!(refused(&[insn(0x05, u32::MAX), insn(RET, 0)]));
}

#[test]
fn a_program_ends_with_a_return() {
    assert!(refused(&[]));
    assert!(refused(&[insn(LD, 0)]));
    assert!(refused(&[insn(RET, 0), insn(LD, 0)]));
    assert!(refused(&[insn(0x0e, 0)]), "a return of X");
}

#[test]
fn length() {
    assert!(Program::check(&vec![insn(RET, 0); MAX_LEN]).is_ok());
    assert!(refused(&vec![insn(RET, 0); MAX_LEN + 1]));
}

#[test]
fn scratch_memory_is_written_before_it_is_read() {
    assert!(refused(&[insn(LD_MEM, 0), insn(RET_A, 0)]));
    assert_eq!(run(&[insn(LD_IMM, 9), insn(ST, 15), insn(LD_IMM, 0), insn(LD_MEM, 15), insn(RET_A, 0)]), 9);
    assert!(refused(&[insn(ST, 16), insn(RET_A, 0)]));
    // Stored on one of two ways only.
    let one_way = [jump(JEQ, 0, 0, 1), insn(ST, 3), insn(LD_MEM, 3), insn(RET_A, 0)];
    assert!(refused(&one_way));
    let both_ways = [insn(ST, 3), jump(JEQ, 0, 0, 1), insn(ST, 4), insn(LD_MEM, 3), insn(RET_A, 0)];
    assert!(!refused(&both_ways));
}

#[test]
fn what_is_constant() {
    let insns = [insn(LD, 0), jump(JEQ, 39, 0, 1), insn(RET, 5), insn(LD, 16), insn(RET_A, 0)];
    let program = Program::check(&insns).expect("a legal program");
    assert_eq!(program.constant(39, ARCH), Some(5));
    assert_eq!(program.constant(40, ARCH), None);
}

#[test]
fn costs_are_linuxs() {
    let cost = |insns: &[Insn]| Program::check(insns).expect("a legal program").cost();
    assert_eq!(cost(&[insn(RET, 0)]), 5);
    assert_eq!(cost(&[insn(RET_A, 0)]), 4);
    assert_eq!(cost(&[insn(0x3c, 0), insn(RET_A, 0)]), 9);
    assert_eq!(cost(&[jump(JEQ, 0, 0, 1), insn(RET_A, 0), insn(RET_A, 0)]), 6);
    assert_eq!(cost(&[jump(JEQ, 1 << 31, 1, 1), insn(RET_A, 0), insn(RET_A, 0)]), 8);
}

/// Instructions that are likely to pass, so that long programs do, too.
fn any_insn() -> impl Strategy<Value = Insn> {
    let codes = prop::sample::select(vec![
        0x20u16, 0x00, 0x01, 0x02, 0x03, 0x60, 0x61, 0x80, 0x81, 0x04, 0x0c, 0x14, 0x1c, 0x24, 0x2c, 0x34,
        0x3c, 0x44, 0x4c, 0x54, 0x5c, 0x64, 0x6c, 0x74, 0x7c, 0x84, 0xa4, 0xac, 0x05, 0x15, 0x1d, 0x25, 0x2d,
        0x35, 0x3d, 0x45, 0x4d, 0x06, 0x16, 0x07, 0x87,
    ]);
    let k = prop_oneof![0u32..16, (0u32..16).prop_map(|w| w * 4), any::<u32>()];
    (codes, 0u8..4, 0u8..4, k).prop_map(|(code, jt, jf, k)| Insn { code, jt, jf, k })
}

/// The same semantics in the plainest way, with everything asserted that the checker promises.
fn naive(insns: &[Insn], data: &Data) -> u32 {
    let mut bytes = Vec::new();
    bytes.extend(data.number.to_le_bytes());
    bytes.extend(data.arch.to_le_bytes());
    bytes.extend(data.instruction_pointer.to_le_bytes());
    data.args.iter().for_each(|arg| bytes.extend(arg.to_le_bytes()));
    let (mut a, mut x, mut pc) = (0u32, 0u32, 0usize);
    let mut mem = [None; 16];
    for _ in 0..insns.len() {
        let Insn { code, jt, jf, k } = insns[pc];
        pc += 1;
        let operand = if code & 8 != 0 { x } else { k };
        match (code & 7, code) {
            (_, 0x20) => {
                a = u32::from_le_bytes(bytes[k as usize..k as usize + 4].try_into().expect("4 bytes"))
            }
            (_, 0x00) => a = k,
            (_, 0x01) => x = k,
            (_, 0x80) => a = 64,
            (_, 0x81) => x = 64,
            (_, 0x60) => a = mem[k as usize].expect("stored before"),
            (_, 0x61) => x = mem[k as usize].expect("stored before"),
            (2, _) => mem[k as usize] = Some(a),
            (3, _) => mem[k as usize] = Some(x),
            (4, _) => {
                a = match code & 0xf0 {
                    0x00 => a.wrapping_add(operand),
                    0x10 => a.wrapping_sub(operand),
                    0x20 => a.wrapping_mul(operand),
                    0x30 if operand == 0 => return 0,
                    0x30 => a / operand,
                    0x40 => a | operand,
                    0x50 => a & operand,
                    0x60 => a << (operand & 31),
                    0x70 => a >> (operand & 31),
                    0x80 => 0u32.wrapping_sub(a),
                    0xa0 => a ^ operand,
                    _ => unreachable!("no such operation passes"),
                }
            }
            (5, 0x05) => pc += k as usize,
            (5, _) => {
                let holds = match code & 0xf0 {
                    0x10 => a == operand,
                    0x20 => a > operand,
                    0x30 => a >= operand,
                    0x40 => a & operand != 0,
                    _ => unreachable!("no such condition passes"),
                };
                pc += usize::from(if holds { jt } else { jf });
            }
            (6, 0x06) => return k,
            (6, _) => return a,
            (7, 0x07) => x = a,
            (7, _) => a = x,
            _ => unreachable!("no such class passes"),
        }
    }
    panic!("more steps than instructions");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4000, max_global_rejects: 1_000_000, ..ProptestConfig::default() })]

    /// Whatever passes the checker ends within its length, stays within its data, and does what the plain version does.
    #[test]
    fn checked_programs_are_safe(mut insns in prop::collection::vec(any_insn(), 0..24), number: i32, ip: u64, args: [u64; 6]) {
        insns.push(insn(RET_A, 0));
        if let Ok(program) = Program::check(&insns) {
            let data = Data { number, arch: ARCH, instruction_pointer: ip, args };
            let result = program.run(&data);
            prop_assert_eq!(result, naive(&insns, &data));
            if let Some(constant) = program.constant(number, ARCH) {
                prop_assert_eq!(constant, result);
            }
        }
    }

    /// Any bytes at all: the checker says yes or no, and what it lets pass runs.
    #[test]
    fn arbitrary_bytes(raw in prop::collection::vec(any::<[u8; 8]>(), 0..40), number: i32) {
        let insns: Vec<Insn> = raw.into_iter().map(Insn::from_bytes).collect();
        if let Ok(program) = Program::check(&insns) {
            program.run(&Data { number, ..Data::default() });
        }
    }
}
