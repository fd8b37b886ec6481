//! What differs between two lists of lines, as a unified diff has it.

use std::time::{Duration, Instant};

use similar::{Algorithm, DiffTag, capture_diff_slices_deadline, group_diff_ops};

/// Lines around what differs.
const CONTEXT: usize = 3;
/// After which the rest is taken for different as a whole.
const PATIENCE: Duration = Duration::from_secs(2);

/// Where a line stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// In both.
    Both,
    /// In the old one only.
    Before,
    /// In the new one only.
    After,
}

impl Side {
    /// As a unified diff marks it.
    pub fn sign(self) -> char {
        match self {
            Self::Both => ' ',
            Self::Before => '-',
            Self::After => '+',
        }
    }
}

/// A line of a difference.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct DiffLine {
    /// Where it stands.
    pub side: Side,
    /// Without a line break; whatever else a backend has written.
    pub text: String,
}

/// Differences that stand together.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Hunk {
    /// The first of its lines in the old text, from 1, and how many.
    pub before: (usize, usize),
    /// In the new text.
    pub after: (usize, usize),
    /// What differs and what stands around it.
    pub lines: Vec<DiffLine>,
}

impl Hunk {
    /// `@@ -1,4 +1,5 @@`
    pub fn heading(&self) -> String {
        let (before, after) = (self.before, self.after);
        format!("@@ -{},{} +{},{} @@", before.0, before.1, after.0, after.1)
    }
}

pub(super) fn deadline() -> Option<Instant> {
    Some(Instant::now() + PATIENCE)
}

/// What differs.
pub(super) fn hunks(before: &[String], after: &[String]) -> Vec<Hunk> {
    let ops = capture_diff_slices_deadline(Algorithm::Myers, before, after, deadline());
    let mut hunks = Vec::new();
    for group in group_diff_ops(ops, CONTEXT) {
        let (Some(first), Some(last)) = (group.first(), group.last()) else {
            continue;
        };
        let span = |from: usize, to: usize| (if from == to { from } else { from + 1 }, to - from);
        let mut hunk = Hunk {
            before: span(first.old_range().start, last.old_range().end),
            after: span(first.new_range().start, last.new_range().end),
            lines: Vec::new(),
        };
        for op in &group {
            let (tag, old, new) = op.as_tag_tuple();
            let (old, new) = (before.get(old), after.get(new));
            if tag == DiffTag::Equal {
                hunk.take(Side::Both, old);
                continue;
            }
            hunk.take(Side::Before, old);
            hunk.take(Side::After, new);
        }
        if hunk.lines.iter().any(|line| line.side != Side::Both) {
            hunks.push(hunk);
        }
    }
    hunks
}

impl Hunk {
    fn take(&mut self, side: Side, lines: Option<&[String]>) {
        let lines = lines.unwrap_or_default().iter();
        self.lines.extend(lines.map(|text| DiffLine {
            side,
            text: text.clone(),
        }));
    }
}

/// Lines that are on one side only.
pub(super) fn changes(before: &[String], after: &[String]) -> Vec<DiffLine> {
    let mut lines = Vec::new();
    for hunk in hunks(before, after) {
        lines.extend(hunk.lines.into_iter().filter(|line| line.side != Side::Both));
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(text: &str) -> Vec<String> {
        text.split_whitespace().map(str::to_owned).collect()
    }

    #[test]
    fn a_hunk_has_what_differs_and_three_lines_around_it() {
        let (before, after) = (list("1 2 3 4 5 6 7 8 9"), list("1 2 3 4 x y 6 7 8 9"));
        let found = hunks(&before, &after);
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].heading(), "@@ -2,7 +2,8 @@");
        let lines = found[0].lines.iter();
        let text: Vec<String> = lines
            .map(|line| format!("{}{}", line.side.sign(), line.text))
            .collect();
        assert_eq!(text, [" 2", " 3", " 4", "-5", "+x", "+y", " 6", " 7", " 8"]);
        assert_eq!(hunks(&[], &list("a"))[0].heading(), "@@ -0,0 +1,1 @@");
        assert_eq!(hunks(&before, &before), []);
    }

    #[test]
    fn what_is_all_different_is_told_in_bounded_time() {
        let many = |from: usize| {
            (from..from + 60_000)
                .map(|n| format!("{}", n * 7919 % 60_013))
                .collect()
        };
        let (before, after): (Vec<String>, Vec<String>) = (many(0), many(30_000));
        assert!(!hunks(&before, &after).is_empty());
    }
}
