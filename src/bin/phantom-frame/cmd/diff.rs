//! `phantom-frame diff [PATTERN]`

mod markdown;
mod revision;

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use anstyle::{AnsiColor, Style};
use anyhow::Context as _;
use phantom_frame::artefact::Artefact;
use phantom_frame::compare::{
    BodyDiff, DiffLine, Event, Extent, PageDiff, Side, Standing, Summary, diff, diff_against,
};
use phantom_frame::config::Loaded;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::Ended;
use super::compare::{Progress, as_json, blamed, name, options, remark, rest, sums, warn_of};
use crate::args::{Format, Pages};
use crate::print::{Form, Out, STRONG, plain, size};
use markdown::Comment;

const GOOD: Style = AnsiColor::Green.on_default();
const DOUBTFUL: Style = AnsiColor::Yellow.on_default();
const BAD: Style = AnsiColor::Red.on_default();
const PLACE: Style = AnsiColor::Cyan.on_default();

/// What the two sides are called.
#[derive(Clone, Copy)]
struct Sides<'a>(&'a str, &'a str);

pub(super) async fn again(
    loaded: &Loaded,
    artefact: &Arc<Artefact>,
    pages: &Pages,
    how: (Format, Form),
) -> anyhow::Result<Ended> {
    let config = loaded.settings().proxy_config();
    let options = options(pages);
    let (progress, mut printer) = (Progress::new(), Printer::new(how, Sides("stored", "rendered")));
    let summary = diff(&config, artefact, &options, |event| match event {
        Event::Done(page, done, known) => {
            progress.done(&page.page, (done, known), || printer.page(page));
        }
        Event::Waiting(wait) => progress.waiting(wait),
        _ => {}
    });
    let summary = summary.await;
    progress.end();
    let summary = summary.map_err(blamed(loaded))?;
    printer.end(&summary)?;
    Ok(match summary.is_clean() {
        true => Ended::AsAsked,
        false => Ended::WithFailures,
    })
}

pub(super) fn against(
    loaded: &Loaded,
    artefact: &Artefact,
    (pages, other): (&Pages, &str),
    how: (Format, Form),
) -> anyhow::Result<ExitCode> {
    let is_directory = Path::new(other).is_dir();
    let checked_out = match is_directory {
        true => None,
        false => Some(revision::read(artefact.directory(), other)?),
    };
    let place = checked_out.as_ref().map_or(Path::new(other), TempDir::path);
    let config = loaded.settings().proxy_config().with_snapshot_dir(place);
    let old = Artefact::open(&config).map_err(blamed(loaded))?;
    let mut printer = Printer::new(how, Sides(other, "stored"));
    let pattern = pages.pattern.as_deref();
    let progress = Progress::new();
    let summary = diff_against((&old, artefact), pattern, |event| {
        if let Event::Done(page, done, known) = event {
            progress.done(&page.page, (done, known), || printer.page(page));
        }
    });
    progress.end();
    let summary = summary?;
    printer.end(&summary)?;
    Ok(ExitCode::from(u8::from(!summary.is_clean())))
}

struct Printer<'a> {
    out: Out,
    comment: Option<Comment>,
    is_stat: bool,
    form: Form,
    sides: Sides<'a>,
}

impl<'a> Printer<'a> {
    fn new((format, form): (Format, Form), sides: Sides<'a>) -> Self {
        Self {
            out: Out::new(),
            comment: (format == Format::Markdown).then(Comment::default),
            is_stat: format == Format::Stat,
            form,
            sides,
        }
    }

    fn page(&mut self, page: &PageDiff) {
        if self.form == Form::Json {
            return self.out.item("pages", &whole_as_json(page));
        }
        if page.standing == Standing::Same && !page.is_edited {
            return;
        }
        match &mut self.comment {
            Some(comment) => comment.take(page, &mut |sink| unified(page, self.sides, sink)),
            None if self.is_stat => {
                let (removed, added) = page.lines();
                let text = line(page, &format!("+{added} -{removed}"));
                self.out.line(format_args!("{text}"));
            }
            None => {
                self.out.line(format_args!("{}", line(page, "")));
                let out = &mut self.out;
                unified(page, self.sides, &mut |part, text| {
                    let style = style_of(part);
                    out.line(format_args!("{style}{}{style:#}", plain(text)));
                });
                if page.standing.is_difference() {
                    self.out.line(format_args!(""));
                }
            }
        }
    }

    fn end(mut self, summary: &Summary) -> anyhow::Result<()> {
        if self.form == Form::Json {
            self.out.rest("pages", &rest(summary));
        } else if let Some(comment) = &self.comment {
            self.out.text(format_args!("{}", comment.text(summary)));
        } else {
            self.out.line(format_args!("{STRONG}{}{STRONG:#}", sums(summary)));
        }
        self.out.finish().context("cannot print what differs")?;
        warn_of(&summary.unread);
        Ok(())
    }
}

fn line(page: &PageDiff, lines: &str) -> String {
    let style = match page.standing {
        Standing::Same | Standing::New | Standing::Left(_) => GOOD,
        Standing::Failed(_) => BAD,
        _ => DOUBTFUL,
    };
    let lines = match lines {
        "" => String::new(),
        lines => format!("  {lines:>9}"),
    };
    let word = page.standing.as_str();
    format!(
        "{style}{word:<10}{style:#}{lines}  {STRONG}{}{STRONG:#}{}",
        name(page),
        remark(page)
    )
}

/// A part of a unified diff.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Name,
    Place,
    Line(Side),
    Note,
}

fn style_of(part: Part) -> Style {
    match part {
        Part::Name => STRONG,
        Part::Place => PLACE,
        Part::Line(Side::Before) => BAD,
        Part::Line(Side::After) => GOOD,
        Part::Line(Side::Both) | Part::Note => Style::new(),
    }
}

type Sink<'a> = &'a mut dyn FnMut(Part, &str);

/// What differs, line by line, as it came; nothing where nothing is compared.
fn unified(page: &PageDiff, sides: Sides<'_>, sink: Sink<'_>) {
    if page.head.is_empty() && page.body == BodyDiff::Same {
        return;
    }
    let file = page
        .file
        .as_deref()
        .map_or(String::new(), |file| format!("  {file}"));
    let of = |side: Side| match page.standing {
        Standing::New if side == Side::Before => "nothing",
        Standing::Gone if side == Side::After => "nothing",
        _ if side == Side::Before => sides.0,
        _ => sides.1,
    };
    sink(Part::Name, &format!("--- {}{file}", of(Side::Before)));
    sink(Part::Name, &format!("+++ {}", of(Side::After)));
    if !page.head.is_empty() {
        sink(Part::Place, "@@ head @@");
    }
    for line in &page.head {
        sink(
            Part::Line(line.side),
            &format!("{}{}", line.side.sign(), line.text),
        );
    }
    match &page.body {
        BodyDiff::Same => {}
        BodyDiff::Lines(hunks) => {
            for hunk in hunks {
                sink(Part::Place, &hunk.heading());
                for line in &hunk.lines {
                    sink(
                        Part::Line(line.side),
                        &format!("{}{}", line.side.sign(), line.text),
                    );
                }
            }
        }
        BodyDiff::Space(before, after) => {
            let text = format!("only white space differs: {}, {}", extent(before), extent(after));
            sink(Part::Note, &text);
        }
        BodyDiff::Bytes(before, after) => {
            sink(Part::Line(Side::Before), &format!("-{}", extent(before)));
            sink(Part::Line(Side::After), &format!("+{}", extent(after)));
        }
        _ => {}
    }
}

fn extent(extent: &Extent) -> String {
    match &extent.seal {
        Some(seal) => format!(
            "{}, blake3 {}",
            size(extent.length),
            seal.get(..16).unwrap_or(seal)
        ),
        None => "no body".into(),
    }
}

fn whole_as_json(page: &PageDiff) -> Value {
    let lines = |lines: &[DiffLine]| {
        let lines = lines.iter();
        lines
            .map(|line| format!("{}{}", line.side.sign(), line.text))
            .collect::<Vec<_>>()
    };
    let extent = |extent: &Extent| json!({ "length": extent.length, "seal": extent.seal });
    let body = match &page.body {
        BodyDiff::Lines(hunks) => {
            let hunks = hunks.iter();
            let hunks = hunks.map(|hunk| json!({ "heading": hunk.heading(), "lines": lines(&hunk.lines) }));
            json!({ "hunks": hunks.collect::<Vec<_>>() })
        }
        BodyDiff::Space(before, after) => json!({ "space": [extent(before), extent(after)] }),
        BodyDiff::Bytes(before, after) => json!({ "bytes": [extent(before), extent(after)] }),
        _ => Value::Null,
    };
    let mut all = as_json(page);
    if let Value::Object(all) = &mut all {
        all.insert("head".into(), json!(lines(&page.head)));
        all.insert("body".into(), body);
    }
    all
}
