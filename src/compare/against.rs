//! What is stored in one directory and in another, compared.

use crate::artefact::{Artefact, Stored};
use crate::error::Error;
use crate::outcome::Reason;

use super::Event;
use super::hunks::Side as Where;
use super::lines::MOST_READ;
use super::page::{PageDiff, Standing, Summary, Validators, alone, compare};

/// What differs between the `old` directory and the `new` one: a page that only the new one has is new.
///
/// # Errors
/// What is no pattern.
pub fn diff_against(
    (old, new): (&Artefact, &Artefact),
    pattern: Option<&str>,
    mut observe: impl FnMut(Event<'_, PageDiff>),
) -> Result<Summary, Error> {
    let mut summary = Summary::default();
    let mut found: Vec<Stored> = Vec::new();
    summary
        .unread
        .extend(new.each_stored(pattern, &mut |stored| found.push(stored))?);
    let unread = old.each_stored(pattern, &mut |stored| {
        // The place of a file is that of its key.
        if matches!(new.side(&stored.sidecar, 0), Ok(None)) {
            found.push(stored);
        }
    })?;
    summary.unread.extend(unread);
    found.sort_by(|one, other| (&one.page, &one.selecting).cmp(&(&other.page, &other.selecting)));
    for (at, stored) in found.iter().enumerate() {
        let page = judge(old, new, stored);
        summary.count(&page);
        observe(Event::Done(&page, at + 1, found.len()));
    }
    Ok(summary)
}

fn judge(old: &Artefact, new: &Artefact, stored: &Stored) -> PageDiff {
    let mut page = PageDiff::of(stored, Standing::Same);
    let sides = (
        old.side(&stored.sidecar, MOST_READ),
        new.side(&stored.sidecar, MOST_READ),
    );
    match sides {
        (Ok(Some(before)), Ok(Some(after))) => compare(&mut page, (&before, &after), Validators::Count),
        (Ok(None), Ok(Some(after))) => {
            page.standing = Standing::New;
            alone(&mut page, &after, Where::After);
        }
        (Ok(Some(before)), Ok(None)) => {
            page.standing = Standing::Gone;
            page.file = None;
            alone(&mut page, &before, Where::Before);
        }
        (Ok(None), Ok(None)) => {}
        (Err(_), _) | (_, Err(_)) => page.standing = Standing::Failed(Reason::Disk),
    }
    page
}
