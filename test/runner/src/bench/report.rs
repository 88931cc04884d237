//! The comparison as a table on the terminal, as `docs/bench.md`, and as a picture, `docs/bench.svg`.

use std::fmt::Write;

use super::{Figures, Kernel, Unit};
use crate::{Outcome, workspace};

/// One row of the comparison; a ratio below 1 is in Foster's favour.
struct Compared {
    name: String,
    unit: Unit,
    linux: f64,
    foster: f64,
    /// Of the runs without `-icount`; none for memory, which is the same in both.
    wall: Option<(f64, f64)>,
}

impl Compared {
    fn ratio(&self) -> f64 {
        ratio(self.linux, self.foster)
    }
}

/// An operation or an object may cost nothing that can be measured; the mean stays finite all the same.
fn ratio(linux: f64, foster: f64) -> f64 {
    foster.max(1.0) / linux.max(1.0)
}

pub fn write(version: &str, linux: &Kernel, foster: &Kernel) -> Outcome<()> {
    let rows = compare(linux, foster)?;
    let mean = geometric_mean(rows.iter().map(Compared::ratio));
    let wall_mean = geometric_mean(rows.iter().filter_map(|row| row.wall).map(|(l, f)| ratio(l, f)));
    print!("{}", terminal(&rows, mean, wall_mean));
    let docs = workspace::root().join("docs");
    std::fs::create_dir_all(&docs).map_err(|e| format!("cannot make docs: {e}"))?;
    workspace::write(&docs.join("bench.md"), markdown(version, &rows, mean, wall_mean))?;
    workspace::write(&docs.join("bench.svg"), picture(version, &rows, mean))?;
    println!("\nwrote docs/bench.md and docs/bench.svg");
    Ok(())
}

fn compare(linux: &Kernel, foster: &Kernel) -> Outcome<Vec<Compared>> {
    let missing = |kernel: &str, name: &str| format!("{kernel} has no figure for '{name}'");
    linux
        .instructions
        .rows
        .iter()
        .map(|row| {
            let theirs = |figures: &Figures| figures.value(&row.name);
            Ok(Compared {
                name: row.name.clone(),
                unit: row.unit,
                linux: row.value,
                foster: theirs(&foster.instructions).ok_or_else(|| missing("Foster", &row.name))?,
                wall: theirs(&linux.wall).zip(theirs(&foster.wall)).filter(|_| row.unit == Unit::Time),
            })
        })
        .collect()
}

fn geometric_mean(ratios: impl Iterator<Item = f64>) -> f64 {
    let (sum, count) = ratios.fold((0.0, 0.0), |(sum, count), ratio| (sum + ratio.ln(), count + 1.0));
    if count == 0.0 { 1.0 } else { (sum / count).exp() }
}

/// "1,234,567" for instructions; "12.3 KiB" for memory.
pub fn quantity(value: f64, unit: Unit) -> String {
    match unit {
        Unit::Time => thousands(value.round().max(0.0) as u64),
        Unit::Bytes => format!("{:.1} KiB", value / 1024.0),
    }
}

/// A ratio: two digits that matter, also where it is small.
fn share(ratio: f64) -> String {
    if ratio < 0.095 { format!("{ratio:.3}") } else { format!("{ratio:.2}") }
}

fn thousands(value: u64) -> String {
    let digits = value.to_string();
    let mut text = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

fn duration(nanoseconds: f64) -> String {
    match nanoseconds {
        n if n < 1e4 => format!("{n:.0} ns"),
        n if n < 1e7 => format!("{:.1} us", n / 1e3),
        n => format!("{:.1} ms", n / 1e6),
    }
}

fn terminal(rows: &[Compared], mean: f64, wall_mean: f64) -> String {
    let mut text = String::new();
    let width = rows.iter().map(|row| row.name.len()).max().unwrap_or(0);
    let head = ["Linux", "Foster", "ratio", "wall Linux", "wall Foster", "ratio"];
    let [a, b, c, d, e, f] = head;
    // Writing to a String cannot fail.
    let _ = writeln!(
        text,
        "\n{:width$}  {a:>14} {b:>14} {c:>6}   {d:>11} {e:>11} {f:>6}",
        "instructions per operation"
    );
    for row in rows {
        let (linux, foster) = (quantity(row.linux, row.unit), quantity(row.foster, row.unit));
        let _ = write!(text, "{:width$}  {linux:>14} {foster:>14} {:>6}", row.name, share(row.ratio()));
        if let Some((linux, foster)) = row.wall {
            let _ = write!(
                text,
                "   {:>11} {:>11} {:>6}",
                duration(linux),
                duration(foster),
                share(ratio(linux, foster))
            );
        }
        text.push('\n');
    }
    let _ = writeln!(
        text,
        "{:width$}  {:>14} {:>14} {mean:>6.2}   {:>11} {:>11} {wall_mean:>6.2}",
        "geometric mean", "", "", "", ""
    );
    text
}

fn markdown(version: &str, rows: &[Compared], mean: f64, wall_mean: f64) -> String {
    let mut text = format!(
        "# Figures\n\n\
         `make bench` writes this page and the picture. The same static program runs as PID 1 on Debian's Linux {version}\n\
         (`mitigations=off`) and on Foster, both booted by QEMU as a PVH kernel with identical settings, one CPU, 2 GiB.\n\
         The first columns count instructions of kernel and program together (`-icount shift=0,sleep=off -cpu max,-erms,-fsrm`)\n\
         and repeat to within a percent; the wall times are of a second run without `-icount` and shake with the machine. Rows of\n\
         crowds are for the whole operation, not per child. Memory is the fall of MemFree per object.\n\n\
         ![Foster's cost as a share of Linux's](bench.svg)\n\n\
         | operation | Linux | Foster | ratio | wall, Linux | wall, Foster | ratio |\n\
         |---|--:|--:|--:|--:|--:|--:|\n"
    );
    for row in rows {
        let (linux, foster) = (quantity(row.linux, row.unit), quantity(row.foster, row.unit));
        let _ = write!(text, "| {} | {linux} | {foster} | {} |", row.name, share(row.ratio()));
        match row.wall {
            Some((l, f)) => {
                let _ = writeln!(text, " {} | {} | {} |", duration(l), duration(f), share(ratio(l, f)));
            }
            None => text.push_str(" | | |\n"),
        }
    }
    let _ = writeln!(text, "| **geometric mean** | | | **{mean:.2}** | | | **{wall_mean:.2}** |");
    text
}

/// Horizontal bars, one per row, of Foster's share of Linux's cost.
fn picture(version: &str, rows: &[Compared], mean: f64) -> String {
    const LABEL: f64 = 430.0;
    const SCALE: f64 = 420.0;
    const STEP: f64 = 22.0;
    const TOP: f64 = 74.0;
    // A bar that is longer than this is cut off; its number tells the truth.
    const LONGEST: f64 = 1.25;
    let x = |ratio: f64| LABEL + SCALE * ratio.min(LONGEST);
    let bottom = TOP + STEP * (rows.len() + 1) as f64;
    let (width, height) = (x(LONGEST) + 70.0, bottom + 30.0);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"{width}\" height=\"{height}\" fill=\"#ffffff\"/>\n\
         <text x=\"16\" y=\"26\" font-size=\"17\" font-weight=\"bold\" fill=\"#1b1f24\">What Foster costs, Linux {version} = 1</text>\n\
         <text x=\"16\" y=\"46\" fill=\"#57606a\">Guest instructions (bytes for memory); shorter is better</text>\n"
    );
    for (ratio, label) in [(1.0 / 3.0, "1/3"), (2.0 / 3.0, "2/3"), (1.0, "Linux")] {
        let color = if ratio == 1.0 { "#cf222e" } else { "#d0d7de" };
        let at = x(ratio);
        let _ = writeln!(
            svg,
            "<line x1=\"{at:.1}\" y1=\"{TOP}\" x2=\"{at:.1}\" y2=\"{bottom}\" stroke=\"{color}\"/>\
             <text x=\"{at:.1}\" y=\"{:.1}\" text-anchor=\"middle\" fill=\"#57606a\">{label}</text>",
            TOP - 6.0
        );
    }
    let bars = rows.iter().map(|row| (row.name.as_str(), row.ratio(), false));
    for (i, (name, ratio, bold)) in bars.chain([("geometric mean", mean, true)]).enumerate() {
        let y = TOP + STEP * i as f64;
        let color = match ratio {
            _ if bold => "#1b1f24",
            r if r > 1.0 => "#cf222e",
            r if r > 1.0 / 3.0 => "#bf8700",
            _ => "#1a7f37",
        };
        let weight = if bold { " font-weight=\"bold\"" } else { "" };
        let _ = writeln!(
            svg,
            "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\" fill=\"#1b1f24\"{weight}>{name}</text>\
             <rect x=\"{LABEL}\" y=\"{:.1}\" width=\"{:.1}\" height=\"{:.1}\" rx=\"2\" fill=\"{color}\"/>\
             <text x=\"{:.1}\" y=\"{:.1}\" fill=\"#1b1f24\"{weight}>{}</text>",
            LABEL - 8.0,
            y + 15.0,
            y + 4.0,
            (x(ratio) - LABEL).max(1.5),
            STEP - 8.0,
            x(ratio) + 6.0,
            y + 15.0,
            share(ratio),
        );
    }
    svg.push_str("</svg>\n");
    svg
}

#[cfg(test)]
mod tests {
    use super::{geometric_mean, thousands};

    #[test]
    fn groups_digits() {
        assert_eq!(thousands(7), "7");
        assert_eq!(thousands(999), "999");
        assert_eq!(thousands(1000), "1,000");
        assert_eq!(thousands(1234567), "1,234,567");
    }

    #[test]
    fn a_half_and_a_double_cancel_out() {
        assert!((geometric_mean([0.5, 2.0].into_iter()) - 1.0).abs() < 1e-9);
    }
}
