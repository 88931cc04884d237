//! Random bytes: ChaCha20 with fast key erasure, seeded from what the processor has.
//!
//! A state is a key; a refill runs the cipher over a counter, takes the first 32 bytes of the stream as the next
//! key, and hands out the rest, erasing what it handed out: neither older nor newer output follows from the state.
//! The seed is RDSEED, RDRAND and the jitter of the time-stamp counter, as far as they are there; every refill mixes
//! a little more in.

use crate::arch::x86::features;
use crate::sync::IrqSpinLock;
use crate::sync::rank::ranks;
use core::arch::x86_64::_rdtsc;

/// Blocks of a refill; the first half block is the next key.
const BLOCKS: usize = 4;
const BLOCK: usize = 64;

struct Generator {
    key: [u32; 8],
    /// What is left of the stream: the bytes from `at` on.
    stream: [u8; BLOCKS * BLOCK],
    at: usize,
    seeded: bool,
}

static GENERATOR: IrqSpinLock<Generator> = IrqSpinLock::new(
    ranks::RANDOM,
    Generator { key: [0; 8], stream: [0; BLOCKS * BLOCK], at: BLOCKS * BLOCK, seeded: false },
);

/// Fills `buf` with unpredictable bytes. Never blocks. Callable from any context.
pub fn fill(buf: &mut [u8]) {
    let mut generator = GENERATOR.lock();
    let mut done = 0;
    while done < buf.len() {
        if generator.at == BLOCKS * BLOCK {
            generator.refill();
        }
        let from = generator.at;
        let len = (buf.len() - done).min(BLOCKS * BLOCK - from);
        buf[done..done + len].copy_from_slice(&generator.stream[from..from + len]);
        generator.stream[from..from + len].fill(0);
        generator.at += len;
        done += len;
    }
}

impl Generator {
    fn refill(&mut self) {
        // Once many, so that the key is full of what little each word may hold; later one per refill.
        let words = if self.seeded { 1 } else { 64 };
        self.seeded = true;
        for i in 0..words {
            self.mix(entropy(), i);
        }
        let mut next = [0; BLOCKS * BLOCK];
        for (i, out) in next.chunks_exact_mut(BLOCK).enumerate() {
            block(&self.key, i as u32, out);
        }
        self.rekey(&next);
        self.stream = next;
        self.stream[..32].fill(0);
        self.at = 32;
    }

    /// Changes the key by a word that may be known to others in part.
    fn mix(&mut self, word: u64, round: usize) {
        self.key[round * 2 % 8] ^= word as u32;
        self.key[round * 2 % 8 + 1] ^= (word >> 32) as u32;
        if round % 4 == 3 {
            let mut out = [0; BLOCK];
            block(&self.key, u32::MAX, &mut out);
            self.rekey(&out);
        }
    }

    fn rekey(&mut self, stream: &[u8]) {
        for (word, bytes) in self.key.iter_mut().zip(stream.chunks_exact(4)) {
            *word = u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
        }
    }
}

/// One ChaCha20 block (RFC 8439) with this counter and nonce 0.
fn block(key: &[u32; 8], counter: u32, out: &mut [u8]) {
    let mut input = [0; 16];
    input[..4].copy_from_slice(&[0x6170_7865, 0x3320_646e, 0x7962_2d32, 0x6b20_6574]);
    input[4..12].copy_from_slice(key);
    input[12] = counter;
    let mut x = input;
    for _ in 0..10 {
        quarter(&mut x, 0, 4, 8, 12);
        quarter(&mut x, 1, 5, 9, 13);
        quarter(&mut x, 2, 6, 10, 14);
        quarter(&mut x, 3, 7, 11, 15);
        quarter(&mut x, 0, 5, 10, 15);
        quarter(&mut x, 1, 6, 11, 12);
        quarter(&mut x, 2, 7, 8, 13);
        quarter(&mut x, 3, 4, 9, 14);
    }
    for ((out, x), input) in out.chunks_exact_mut(4).zip(x).zip(input) {
        out.copy_from_slice(&x.wrapping_add(input).to_le_bytes());
    }
}

#[inline(always)]
fn quarter(x: &mut [u32; 16], a: usize, b: usize, c: usize, d: usize) {
    x[a] = x[a].wrapping_add(x[b]);
    x[d] = (x[d] ^ x[a]).rotate_left(16);
    x[c] = x[c].wrapping_add(x[d]);
    x[b] = (x[b] ^ x[c]).rotate_left(12);
    x[a] = x[a].wrapping_add(x[b]);
    x[d] = (x[d] ^ x[a]).rotate_left(8);
    x[c] = x[c].wrapping_add(x[d]);
    x[b] = (x[b] ^ x[c]).rotate_left(7);
}

/// A word from the hardware's generators, as far as there are any, and from the clock.
fn entropy() -> u64 {
    // SAFETY: every processor with long mode has the instruction.
    let mut word = unsafe { _rdtsc() };
    if features::get().rdseed {
        word = word.rotate_left(32) ^ hardware(rdseed).unwrap_or(0);
    }
    if features::get().rdrand {
        word = word.rotate_left(32) ^ hardware(rdrand).unwrap_or(0);
    }
    word
}

/// Asks a generator up to ten times: it may have run dry.
fn hardware(read: fn() -> (u64, bool)) -> Option<u64> {
    (0..10).map(|_| read()).find(|(_, valid)| *valid).map(|(value, _)| value)
}

fn rdseed() -> (u64, bool) {
    let (value, valid): (u64, u8);
    // SAFETY: the caller found the instruction in CPUID; it changes two registers.
    unsafe {
        core::arch::asm!("rdseed {}", "setc {}", out(reg) value, out(reg_byte) valid, options(nomem, nostack))
    };
    (value, valid != 0)
}

fn rdrand() -> (u64, bool) {
    let (value, valid): (u64, u8);
    // SAFETY: as in `rdseed`.
    unsafe {
        core::arch::asm!("rdrand {}", "setc {}", out(reg) value, out(reg_byte) valid, options(nomem, nostack))
    };
    (value, valid != 0)
}

#[cfg(feature = "ktest")]
mod test {
    use super::*;
    use crate::ktest::ktest;

    /// The test vector of RFC 8439, appendix A.1, number 1: key, counter and nonce all zero.
    #[ktest]
    fn block_function_matches_the_rfc() {
        let mut out = [0; BLOCK];
        block(&[0; 8], 0, &mut out);
        assert_eq!(out[..8], [0x76, 0xb8, 0xe0, 0xad, 0xa0, 0xf1, 0x3d, 0x90]);
        assert_eq!(out[60..], [0xb2, 0xee, 0x65, 0x86]);
    }

    #[ktest]
    fn output_does_not_repeat_and_fills_everything() {
        let (mut a, mut b) = ([0u8; 1000], [0u8; 1000]);
        fill(&mut a);
        fill(&mut b);
        assert!(a != b);
        // 100 zero bytes in a row would be 1 in 2^800.
        assert!(a.chunks(100).all(|chunk| chunk.iter().any(|&byte| byte != 0)));
    }
}
