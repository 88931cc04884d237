//! Load averages, for /proc/loadavg.
//!
//! Linux samples the number of running threads every five seconds. Here nothing ticks for that: whoever reads the averages
//! takes the sample, which counts for all the time since the one before, with the same exponential decay over 1, 5 and 15
//! minutes.

use ostd::sync::SpinLock;

use crate::{lock_order, time::NSEC_PER_SEC};

struct Averages {
    sampled_ns: u64,
    /// In thousandths.
    loads: [u64; 3],
}

static AVERAGES: SpinLock<Averages> =
    SpinLock::new(lock_order::LOADAVG, Averages { sampled_ns: 0, loads: [0; 3] });

const MINUTES: [u64; 3] = [1, 5, 15];

/// Takes a sample and returns the averages, in thousandths.
pub fn sample(running: usize) -> [u64; 3] {
    let now = ostd::time::now_ns();
    let mut averages = AVERAGES.lock();
    let passed = now.saturating_sub(averages.sampled_ns);
    averages.sampled_ns = now;
    let target = running as u64 * 1000;
    for (load, minutes) in averages.loads.iter_mut().zip(MINUTES) {
        *load = decay(*load, target, passed, minutes * 60 * NSEC_PER_SEC);
    }
    averages.loads
}

/// Moves `load` towards `target` as after `passed` of an exponential decay with time constant `period`: in steps of an
/// eighth of the period, each by a linear approximation.
fn decay(mut load: u64, target: u64, passed: u64, period: u64) -> u64 {
    let step = period / 8;
    let mut left = passed.min(period * 8);
    while left > 0 {
        let part = left.min(step);
        // part / (period + part / 2) is e^-x to the second order.
        let (part_ms, period_ms) = (part / 1_000_000, period / 1_000_000);
        let scale = period_ms + part_ms / 2;
        load = (load * (scale - part_ms) + target * part_ms) / scale.max(1);
        left -= part;
    }
    load
}

#[cfg(feature = "ktest")]
mod test {
    use super::*;

    #[ktest::ktest]
    fn a_constant_load_is_approached() {
        let minute = 60 * NSEC_PER_SEC;
        let after_one = decay(0, 1000, minute, minute);
        assert!((600..=660).contains(&after_one), "{after_one}: 1 - 1/e");
        assert!(decay(0, 1000, 20 * minute, minute) >= 990);
        assert_eq!(decay(500, 500, minute, minute), 500);
        assert!(decay(1000, 0, 10 * minute, minute) <= 10);
    }
}
