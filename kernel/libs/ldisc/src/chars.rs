//! What kind of character a byte is: Linux takes bytes beyond ASCII as Latin-1, but for the continuation bytes of UTF-8.

/// Below space, and DEL.
pub fn is_control(byte: u8) -> bool {
    byte.is_ascii_control()
}

/// Part of a word to VWERASE: letters, digits, underscores.
pub fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || is_latin1_letter(byte)
}

fn is_latin1_letter(byte: u8) -> bool {
    byte >= 0xc0 && byte != 0xd7 && byte != 0xf7
}

pub fn to_upper(byte: u8) -> u8 {
    match byte {
        b'a'..=b'z' => byte - 0x20,
        // Sharp s is a small letter, so it is moved too, to where no letter is.
        0xdf..=0xff if is_latin1_letter(byte) => byte - 0x20,
        _ => byte,
    }
}

pub fn to_lower(byte: u8) -> u8 {
    match byte {
        b'A'..=b'Z' => byte + 0x20,
        0xc0..=0xde if is_latin1_letter(byte) => byte + 0x20,
        _ => byte,
    }
}

/// Whether a byte continues a UTF-8 character, and so takes no column of its own.
pub fn is_continuation(byte: u8) -> bool {
    byte & 0xc0 == 0x80
}
