//! A comment on a pull request: bounded, and nothing that a page says can be taken for a part of it.

use std::fmt::Write as _;

use phantom_frame::compare::{PageDiff, Summary};

use super::Part;
use crate::cmd::compare::{name, remark, sums};
use crate::print::plain;

/// GitHub takes 65,536 characters.
const MOST: usize = 60_000;
/// Of what one page differs by.
const MOST_OF_ONE: usize = 12_000;
/// Of the table.
const MOST_ROWS: usize = 20_000;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Comment {
    rows: String,
    details: String,
    /// Pages without a row.
    unlisted: u64,
    /// Pages of which it is not shown, or not all, what differs.
    cut: u64,
}

/// Prints the lines of a page.
type Print<'a> = &'a mut dyn FnMut(&mut dyn FnMut(Part, &str));

impl Comment {
    pub(super) fn take(&mut self, page: &PageDiff, print: Print<'_>) {
        let (removed, added) = page.lines();
        let row = format!(
            "| {} | {} | +{added} -{removed} | {} |\n",
            page.standing.as_str(),
            cell(&name(page)),
            cell(remark(page).trim().trim_matches(['(', ')'])),
        );
        match self.rows.len() + row.len() <= MOST_ROWS {
            true => self.rows.push_str(&row),
            false => self.unlisted += 1,
        }
        let (mut lines, mut is_cut) = (String::new(), false);
        print(&mut |_, text| {
            let text = plain(text);
            match lines.len() + text.len() < MOST_OF_ONE {
                true => lines.extend([&*text, "\n"]),
                false => is_cut = true,
            }
        });
        if lines.is_empty() && !is_cut {
            return;
        }
        let fence = fence(&lines);
        let mark = if is_cut { "\nNot all of it.\n" } else { "" };
        let detail = format!(
            "\n<details><summary>{}</summary>\n\n{fence}diff\n{lines}{fence}\n{mark}\n</details>\n",
            escaped(&name(page))
        );
        let is_room = self.details.len() + detail.len() <= MOST - MOST_ROWS - 1_000;
        if is_room {
            self.details.push_str(&detail);
        }
        self.cut += u64::from(is_cut || !is_room);
    }

    pub(super) fn text(&self, summary: &Summary) -> String {
        let mut text = format!("**Snapshots**: {}\n", sums(summary));
        if !self.rows.is_empty() {
            let _ = write!(text, "\n| | Page | Lines | |\n|---|---|---|---|\n{}", self.rows);
        }
        text.push_str(&self.details);
        if self.unlisted > 0 {
            let _ = write!(text, "\n{} more pages are not listed.\n", self.unlisted);
        }
        if self.cut > 0 {
            let _ = write!(
                text,
                "\nOf {} it is not shown, or not all of it, what differs: `phantom-frame diff` does.\n",
                crate::print::count(self.cut, "page")
            );
        }
        text
    }
}

/// Longer than any in the text.
fn fence(text: &str) -> String {
    "`".repeat(longest_run(text).max(2) + 1)
}

fn longest_run(text: &str) -> usize {
    let runs = text.split(|char| char != '`');
    runs.map(str::len).max().unwrap_or(0)
}

/// Text as code in a table; empty stays empty.
fn cell(text: &str) -> String {
    if text.is_empty() {
        return String::new();
    }
    let quote = "`".repeat(longest_run(text) + 1);
    // Blanks that such a span loses again.
    format!("{quote} {} {quote}", text.replace('|', "\\|"))
}

fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for char in text.chars() {
        match char {
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '&' => out.push_str("&amp;"),
            '"' => out.push_str("&quot;"),
            // Markdown is read in it, too.
            '*' | '_' | '`' | '[' | ']' | '!' | '@' | '#' | '\\' | '~' | ':' => {
                let _ = write!(out, "&#{};", u32::from(char));
            }
            char => out.push(char),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_text_ends_its_fence_or_its_cell() {
        assert_eq!(fence("a"), "```");
        assert_eq!(fence("+````\n ```````x"), "````````");
        assert_eq!(cell("/a|b`` `c"), "``` /a\\|b`` `c ```");
        assert_eq!(cell(""), "");
        assert_eq!(escaped("/<img>&\"*@you"), "/&lt;img&gt;&amp;&quot;&#42;&#64;you");
    }
}
