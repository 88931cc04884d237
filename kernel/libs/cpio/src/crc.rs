//! The checksum of gzip (RFC 1952, section 8): CRC-32, eight bytes at a time.

/// The polynomial, its bits reversed.
const POLYNOMIAL: u32 = 0xedb8_8320;

/// `TABLES[n][b]`: what byte `b` does to the checksum when `n` bytes follow it.
static TABLES: [[u32; 256]; 8] = tables();

const fn tables() -> [[u32; 256]; 8] {
    let mut tables = [[0; 256]; 8];
    let mut byte = 0;
    while byte < 256 {
        let mut crc = byte as u32;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 1 != 0 { crc >> 1 ^ POLYNOMIAL } else { crc >> 1 };
            bit += 1;
        }
        tables[0][byte] = crc;
        byte += 1;
    }
    let mut following = 1;
    while following < 8 {
        let mut byte = 0;
        while byte < 256 {
            let before = tables[following - 1][byte];
            tables[following][byte] = before >> 8 ^ tables[0][(before & 0xff) as usize];
            byte += 1;
        }
        following += 1;
    }
    tables
}

/// A checksum of what has been added so far.
#[derive(Clone, Copy, Debug)]
pub struct Crc32(u32);

impl Crc32 {
    pub const fn new() -> Crc32 {
        Crc32(!0)
    }

    pub fn add(&mut self, bytes: &[u8]) {
        let mut crc = self.0;
        let mut chunks = bytes.chunks_exact(8);
        for chunk in &mut chunks {
            let first = crc ^ u32::from_le_bytes([chunk[0], chunk[1], chunk[2], chunk[3]]);
            let [a, b, c, d] = first.to_le_bytes();
            let of = |following: usize, byte: u8| TABLES[following][byte as usize];
            crc = of(7, a)
                ^ of(6, b)
                ^ of(5, c)
                ^ of(4, d)
                ^ of(3, chunk[4])
                ^ of(2, chunk[5])
                ^ of(1, chunk[6])
                ^ of(0, chunk[7]);
        }
        for &byte in chunks.remainder() {
            crc = crc >> 8 ^ TABLES[0][(crc as u8 ^ byte) as usize];
        }
        self.0 = crc;
    }

    pub const fn value(self) -> u32 {
        !self.0
    }
}

impl Default for Crc32 {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use super::Crc32;

    fn crc(bytes: &[u8]) -> u32 {
        let mut crc = Crc32::new();
        crc.add(bytes);
        crc.value()
    }

    #[test]
    fn known_values() {
        assert_eq!(crc(b""), 0);
        assert_eq!(crc(b"123456789"), 0xcbf4_3926);
        assert_eq!(crc(&[0; 32]), 0x190a_55ad);
        assert_eq!(crc(b"The quick brown fox jumps over the lazy dog"), 0x414f_a339);
    }

    #[test]
    fn pieces_add_up_and_a_flipped_bit_shows() {
        let mut text: Vec<u8> = (0..1000u32).map(|n| (n * 7 % 251) as u8).collect();
        let whole = crc(&text);
        for cut in [1, 7, 8, 9, 500, 999] {
            let mut pieces = Crc32::new();
            pieces.add(&text[..cut]);
            pieces.add(&text[cut..]);
            assert_eq!(pieces.value(), whole);
        }
        text[500] ^= 0x10;
        assert_ne!(crc(&text), whole);
    }
}
