//! `phantom-frame ls --tree`

use phantom_frame::artefact::Row;

use super::ls::{freshness, selected};
use crate::print::{HEADING, Out, STRONG, count, plain, size};

/// What stands before a name, and before what is below it.
type Twig = (&'static str, &'static str);
const MIDDLE: Twig = ("├─ ", "│  ");
const LAST: Twig = ("└─ ", "   ");

/// A row and the pieces of its page's path.
struct Leaf<'a> {
    pieces: Vec<String>,
    row: &'a Row,
}

/// Prints rows by the folders of their paths.
pub(super) fn print(out: &mut Out, rows: &[Row]) {
    let leaf = |row| Leaf {
        pieces: pieces(row),
        row,
    };
    let mut leaves: Vec<Leaf<'_>> = rows.iter().map(leaf).collect();
    leaves.sort_by(|one, other| one.pieces.cmp(&other.pieces));
    for site in leaves.chunk_by(|one, other| one.pieces.first() == other.pieces.first()) {
        let name = site.first().and_then(|leaf| leaf.pieces.first());
        let name = name.map_or("", String::as_str);
        out.line(format_args!("{STRONG}{}{STRONG:#}{}", plain(name), sum(site)));
        branch(out, site, 1, "");
    }
}

/// The site (or `.` where its host is not part of the key), then a piece for each step of the path.
fn pieces(row: &Row) -> Vec<String> {
    let page = row.page();
    let (origin, path) = match page.split_once("://") {
        Some((scheme, rest)) if rest.contains('/') => {
            let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
            (format!("{scheme}://{host}"), path.to_owned())
        }
        _ => (".".to_owned(), page.trim_start_matches('/').to_owned()),
    };
    // A query is no path.
    let (path, query) = path
        .split_once('?')
        .map_or((path.as_str(), None), |(path, query)| (path, Some(query)));
    let mut pieces = vec![origin];
    pieces.extend(path.split('/').map(str::to_owned));
    if let (Some(query), Some(last)) = (query, pieces.last_mut()) {
        last.push('?');
        last.push_str(query);
    }
    pieces
}

fn branch(out: &mut Out, leaves: &[Leaf<'_>], depth: usize, indent: &str) {
    let mut groups = leaves
        .chunk_by(|one, other| one.pieces.get(depth) == other.pieces.get(depth))
        .peekable();
    while let Some(group) = groups.next() {
        let name = group.first().and_then(|leaf| leaf.pieces.get(depth));
        let Some(name) = name else {
            continue;
        };
        let (own, below): (Vec<_>, Vec<_>) = group.iter().partition(|leaf| leaf.pieces.len() == depth + 1);
        for (at, leaf) in own.iter().enumerate() {
            let is_last = groups.peek().is_none() && below.is_empty() && at + 1 == own.len();
            let (twig, _) = if is_last { LAST } else { MIDDLE };
            let name = if name.is_empty() { "/" } else { name };
            out.line(format_args!(
                "{indent}{twig}{}{}  {HEADING}{} {} {}{HEADING:#}",
                plain(name),
                selected(leaf.row),
                leaf.row.status,
                size(leaf.row.bytes),
                freshness(&leaf.row.freshness)
            ));
        }
        if !below.is_empty() {
            let is_last = groups.peek().is_none();
            let (twig, next) = if is_last { LAST } else { MIDDLE };
            // Sorted, they stand together.
            let below = group.get(own.len()..).unwrap_or_default();
            out.line(format_args!(
                "{indent}{twig}{STRONG}{}/{STRONG:#}{}",
                plain(name),
                sum(below)
            ));
            branch(out, below, depth + 1, &format!("{indent}{next}"));
        }
    }
}

fn sum(leaves: &[Leaf<'_>]) -> String {
    let bytes = leaves.iter().map(|leaf| leaf.row.bytes).sum();
    let count = count(leaves.len() as u64, "snapshot");
    format!("  {HEADING}{count}, {}{HEADING:#}", size(bytes))
}
