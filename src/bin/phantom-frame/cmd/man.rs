//! `phantom-frame man`

use std::fs;
use std::io::{self, Read as _};
use std::path::Path;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::Command;
use clap_mangen::Man;
use clap_mangen::roff::{Roff, roman};

use crate::output::Unusable;
use crate::print::{Out, count, plain};
use crate::whole::{self, Existing};

/// How every page begins, and how one that may be replaced is known.
const MARK: &str = ".\\\" Written by `phantom-frame man`, which replaces files that begin with this line.\n";

/// A man page.
struct Page {
    name: String,
    text: String,
}

pub(crate) fn run(command: Command, dir: Option<&Path>) -> anyhow::Result<ExitCode> {
    let pages = pages(command).context("cannot make the man pages")?;
    let mut out = Out::new();
    match dir {
        None => pages
            .first()
            .into_iter()
            .for_each(|page| out.raw(page.text.as_bytes())),
        Some(dir) => {
            write_all(dir, &pages)?;
            let number = count(u64::try_from(pages.len()).unwrap_or(u64::MAX), "page");
            out.line(format_args!(
                "wrote {number} to {}",
                plain(&dir.to_string_lossy())
            ));
        }
    }
    out.finish().context("cannot print the man page")?;
    Ok(ExitCode::SUCCESS)
}

/// That of the program, and one for each of its commands.
fn pages(mut command: Command) -> io::Result<Vec<Page>> {
    // Tells the commands what the program is called.
    command.build();
    let source = format!(
        "{} {}",
        command.get_name(),
        command.get_version().unwrap_or_default()
    );
    let commands = command.get_subcommands().cloned();
    let commands: Vec<_> = std::iter::once(command.clone()).chain(commands).collect();
    commands
        .into_iter()
        .map(|command| page(command, &source))
        .collect()
}

fn page(mut command: Command, source: &str) -> io::Result<Page> {
    // As in help: clap_mangen would name every setting in it, and pass over the help of what `-h` leaves out.
    let usage = command.render_usage().to_string();
    let usage = usage.trim_start_matches("Usage:").trim().to_owned();
    let notes = command.get_after_help().map(ToString::to_string);
    let command = command
        .override_usage(usage)
        .after_help(None::<&str>)
        .mut_args(|arg| arg.hide_short_help(false));
    let man = Man::new(command).source(source).manual("phantom-frame");
    let mut text = Vec::new();
    man.render(&mut text)?;
    let mut text = MARK.to_owned() + &String::from_utf8_lossy(&text);
    if let Some(notes) = notes {
        text += &section("NOTES", &notes);
    }
    Ok(Page {
        name: man.get_filename(),
        text: ascii(&text),
    })
}

/// What every roff reads, whatever coding it takes a page to be in.
fn ascii(text: &str) -> String {
    let mut ascii = String::with_capacity(text.len());
    for char in text.chars() {
        match char.is_ascii() {
            true => ascii.push(char),
            false => ascii += &format!("\\[u{:04X}]", u32::from(char)),
        }
    }
    ascii
}

/// A section whose lines stay as they are: there are tables among them.
fn section(heading: &str, lines: &str) -> String {
    let mut roff = Roff::new();
    roff.control("SH", [heading]).control("nf", []);
    for line in lines.lines() {
        roff.text([roman(line)]);
    }
    roff.control("fi", []);
    roff.render()
}

/// All of them or, where one would take the place of another's file, none.
fn write_all(dir: &Path, pages: &[Page]) -> anyhow::Result<()> {
    let shown = plain(&dir.to_string_lossy());
    let is_below_a_file = |error: &io::Error| error.kind() == io::ErrorKind::NotADirectory;
    if fs::metadata(dir)
        .as_ref()
        .map_or_else(is_below_a_file, |found| !found.is_dir())
    {
        return Err(unusable(
            format!("{shown} is no directory"),
            "name the directory in which the pages are to be, such as share/man/man1",
        ));
    }
    for page in pages {
        let path = dir.join(&page.name);
        let is_free = may_be_replaced(&path)
            .with_context(|| format!("cannot read {}", plain(&path.to_string_lossy())))?;
        if !is_free {
            let what = format!(
                "{} is no page that `phantom-frame man` wrote; nothing was written",
                plain(&path.to_string_lossy())
            );
            return Err(unusable(what, "move that file away, or name another directory"));
        }
    }
    fs::create_dir_all(dir).with_context(|| format!("cannot make the directory {shown}"))?;
    for page in pages {
        whole::write(dir, &page.name, &page.text, Existing::Replaced)
            .with_context(|| format!("cannot write {} in {shown}", page.name))?;
    }
    Ok(())
}

/// Whether nothing stands there, or a page that was written here.
fn may_be_replaced(path: &Path) -> io::Result<bool> {
    match fs::symlink_metadata(path) {
        Ok(found) if !found.is_file() => return Ok(false),
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(true),
        Err(error) => return Err(error),
    }
    let mut start = Vec::new();
    let length = u64::try_from(MARK.len()).unwrap_or(u64::MAX);
    fs::File::open(path)?.take(length).read_to_end(&mut start)?;
    Ok(start == MARK.as_bytes())
}

fn unusable(what: String, hint: &str) -> anyhow::Error {
    Unusable {
        what,
        hint: hint.into(),
    }
    .into()
}
