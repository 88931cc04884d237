//! What CPUID says of the processor, for /proc/cpuinfo.

use core::{
    arch::x86_64::{__cpuid, __cpuid_count, CpuidResult},
    fmt::Write,
};

use crate::prelude::*;

/// The names of the feature bits, in the order of Linux's list; empty for those that have none.
const LEAF1_EDX: [&str; 32] = [
    "fpu", "vme", "de", "pse", "tsc", "msr", "pae", "mce", "cx8", "apic", "", "sep", "mtrr", "pge", "mca",
    "cmov", "pat", "pse36", "pn", "clflush", "", "dts", "acpi", "mmx", "fxsr", "sse", "sse2", "ss", "ht",
    "tm", "ia64", "pbe",
];
const LEAF1_ECX: [&str; 32] = [
    "pni",
    "pclmulqdq",
    "dtes64",
    "monitor",
    "ds_cpl",
    "vmx",
    "smx",
    "est",
    "tm2",
    "ssse3",
    "cid",
    "sdbg",
    "fma",
    "cx16",
    "xtpr",
    "pdcm",
    "",
    "pcid",
    "dca",
    "sse4_1",
    "sse4_2",
    "x2apic",
    "movbe",
    "popcnt",
    "tsc_deadline_timer",
    "aes",
    "xsave",
    "",
    "avx",
    "f16c",
    "rdrand",
    "hypervisor",
];
const LEAF7_EBX: [&str; 32] = [
    "fsgsbase",
    "tsc_adjust",
    "sgx",
    "bmi1",
    "hle",
    "avx2",
    "",
    "smep",
    "bmi2",
    "erms",
    "invpcid",
    "rtm",
    "cqm",
    "",
    "mpx",
    "rdt_a",
    "avx512f",
    "avx512dq",
    "rdseed",
    "adx",
    "smap",
    "avx512ifma",
    "",
    "clflushopt",
    "clwb",
    "intel_pt",
    "avx512pf",
    "avx512er",
    "avx512cd",
    "sha_ni",
    "avx512bw",
    "avx512vl",
];

/// The lines of one processor but its number. All processors are alike.
pub fn describe() -> String {
    let base = __cpuid(0);
    let leaf1 = __cpuid(1);
    let (family, model) = family_and_model(leaf1.eax);
    let mut flags = String::new();
    name_flags(&mut flags, leaf1.edx, &LEAF1_EDX);
    name_flags(&mut flags, leaf1.ecx, &LEAF1_ECX);
    if base.eax >= 7 {
        name_flags(&mut flags, __cpuid_count(7, 0).ebx, &LEAF7_EBX);
    }
    let mut text = String::new();
    // Writing to a String does not fail.
    let _ = write!(
        text,
        "vendor_id\t: {}\ncpu family\t: {family}\nmodel\t\t: {model}\nmodel name\t: {}\nstepping\t: {}\n\
         fpu\t\t: yes\ncpuid level\t: {}\nflags\t\t:{flags}\naddress sizes\t: {}\n",
        text_of(&[base.ebx, base.edx, base.ecx]),
        brand(),
        leaf1.eax & 0xf,
        base.eax,
        address_sizes(),
    );
    text
}

fn family_and_model(signature: u32) -> (u32, u32) {
    let (family, model) = (signature >> 8 & 0xf, signature >> 4 & 0xf);
    let extended_model = signature >> 16 & 0xf;
    match family {
        0xf => (family + (signature >> 20 & 0xff), model | extended_model << 4),
        6 => (family, model | extended_model << 4),
        _ => (family, model),
    }
}

fn name_flags(out: &mut String, bits: u32, names: &[&str; 32]) {
    for (bit, name) in names.iter().enumerate() {
        if bits >> bit & 1 != 0 && !name.is_empty() {
            out.push(' ');
            out.push_str(name);
        }
    }
}

/// Registers as the characters in them.
fn text_of(words: &[u32]) -> String {
    let bytes = words.iter().flat_map(|word| word.to_le_bytes());
    bytes.take_while(|&byte| byte != 0).map(char::from).collect()
}

fn extended(leaf: u32) -> Option<CpuidResult> {
    (__cpuid(0x8000_0000).eax >= leaf).then(|| __cpuid(leaf))
}

fn brand() -> String {
    let leaves = (0x8000_0002..=0x8000_0004).filter_map(extended);
    let words: Vec<u32> = leaves.flat_map(|leaf| [leaf.eax, leaf.ebx, leaf.ecx, leaf.edx]).collect();
    text_of(&words).trim().to_string()
}

fn address_sizes() -> String {
    let eax = extended(0x8000_0008).map_or(0x3024, |leaf| leaf.eax);
    format!("{} bits physical, {} bits virtual", eax & 0xff, eax >> 8 & 0xff)
}
