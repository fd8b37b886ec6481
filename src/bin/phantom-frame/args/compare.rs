//! The commands that compare renderings.

use std::path::PathBuf;
use std::time::Duration;

use clap::builder::PossibleValuesParser;
use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};

use super::with_site;

/// The names of these commands.
pub(super) const NAMES: [&str; 4] = ["check", "diff", "accept", "noise"];

/// What is to be compared.
#[derive(Debug)]
pub(crate) enum Compare {
    Diff {
        pages: Pages,
        against: Option<String>,
        format: Format,
    },
    Accept {
        pages: Pages,
    },
    Noise {
        pages: Vec<String>,
        twice: Twice,
    },
    Check {
        url: String,
        html: Option<PathBuf>,
        twice: Twice,
    },
}

/// How pages are rendered twice.
#[derive(Debug)]
pub(crate) struct Twice {
    pub(crate) concurrency: usize,
    pub(crate) max_rps: usize,
    pub(crate) limit: usize,
    /// Between the two.
    pub(crate) pause: Duration,
}

/// Which pages, and how fast.
#[derive(Debug)]
pub(crate) struct Pages {
    pub(crate) pattern: Option<String>,
    pub(crate) concurrency: usize,
    pub(crate) max_rps: usize,
}

/// How `diff` prints.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    Text,
    Stat,
    Markdown,
}

const DIFF_HELP: &str = "\
Renders what is stored again, as a fill would, and says what would be stored
instead: changed, new (a page that PATTERN names and that is not stored), gone
(404 or 410), not-stored (and why), failed. HTML is compared tag by tag, with
white space folded; text by lines; anything else by length and seal. Validators
of a page that is otherwise the same do not count. Variants are asked for as
their visitors did. Left as they are: tombstones, and what has a visitor's
cookie in its key. Nothing is written, and a server may be at work.

--against compares with another directory instead, or with a revision of this
one in git (HEAD, v1.2, main~3), and needs no backend; it is the old side, and
a page that only it has is gone. A folder of that name comes before a revision.

The backend is asked at the pace of `prerender`: less where it is slow, and not
at all for as long as it says with 429 or 503.

--format markdown is for a comment on a pull request: at most 60,000 bytes, and
it says what was left out.

--json: pages (page, variant, file, standing, reason, status: [old, new], head,
body, edited, why, removed, added, ms), summary, removed, added, unread. `head`
is lines with their sign; `body` is null, or {\"hunks\": [{\"heading\", \"lines\"}]},
{\"space\": [old, new]} or {\"bytes\": [old, new]} with length and seal.

Exit codes: 0 no difference; 1 a page differs or failed; 2 wrong usage or
configuration.";

const ACCEPT_HELP: &str = "\
Renders again what `diff` renders, and stores what differs; what is the same is
not touched, so that git sees exactly what `diff` showed. A page that is gone,
or may not be stored any more, is removed. A PATTERN without `*` may be a page
that is not stored yet. A page that differs is rendered twice: to see whether it
does, and to be stored as by any other fill.

Where a server writes the directory, that one stores what is accepted, over its
control port. Where it cannot be asked, this refuses.

--json: pages (those of `diff --json` without head and body, and became),
summary, removed, added, unread.

Exit codes: 0; 1 a page failed, or could not be stored; 2 wrong usage or
configuration, or a server that cannot be asked has the lock.";

const NOISE_HELP: &str = "\
Renders each page twice, with a pause between the two, and says what differs
and where: nonce, csrf-token, cookie, build-id, time, uuid, random-id, number,
text, structure (tags or lines that are there once), white-space, bytes. What
nonces, tokens and cookies are is not shown. Fields that are not stored, by
volatile_headers or in any case, are named as such and are no noise in the
directory, and neither are validators of a page that is otherwise the same.
Nothing is written. Without a URL it is what is stored, and not more than
--limit; with one, no directory is needed.

--json: pages (page, variant, status, failed, not_stored, noise (kind, place,
line, seen, stored), untold), looked_at, noisy, failed, left_out.

Exit codes: 0; 1 a page has noise, in more than fields that are not stored, or
failed; 2 wrong usage or configuration.";

const CHECK_HELP: &str = "\
Looks at a site without storing anything, needs no configuration, and leaves
nothing behind. Follows links from URL within the site, pages before assets, and
renders each page twice as a fill would. Says of each whether it could be stored
or why not, by the rules of the settings; how long the backend took; and what
differs from one rendering to the next. Then what to know (cookies, Vary,
nonces, CSRF fields, links to the backend's own host), and how to begin.

--public-url has pages rendered for the address that visitors will use, which
shows what names the backend's own host instead.

--json: url, backend, public_url, pages (page, found_on, verdict, reason,
status, type, bytes, ms, varies_by, cookies, cached, marked, own_host, noise
(as `noise --json`)), left_out, warnings (kind, text, pages), command, config.
`verdict` is stored, missing, not-stored or failed.

Exit codes: 0; 1 nothing can be stored, the first page is missing, or a page
failed; 2 wrong usage or configuration.";

pub(super) fn commands() -> [Command; 4] {
    let diff = Command::new("diff")
        .about("Compare what is stored with what the backend renders now")
        .arg(pattern())
        .arg(
            Arg::new("against")
                .long("against")
                .value_name("DIR|REV")
                .help("Compare with another directory, or with a revision in git"),
        )
        .arg(
            Arg::new("stat")
                .long("stat")
                .action(ArgAction::SetTrue)
                .conflicts_with_all(["json", "format"])
                .help("A line a page instead of what differs"),
        )
        .arg(
            Arg::new("format")
                .long("format")
                .value_name("FORMAT")
                .value_parser(PossibleValuesParser::new(["text", "markdown"]))
                .conflicts_with("json")
                .help("How it is printed [default: text]"),
        );
    let accept = Command::new("accept")
        .about("Store what `diff` shows")
        .arg(pattern());
    let noise = Command::new("noise")
        .about("Render pages twice, and say what differs")
        .arg(
            Arg::new("url")
                .value_name("URL")
                .action(ArgAction::Append)
                .help("A path, a URL or a key; with a `*`, a pattern of what is stored"),
        );
    let check = Command::new("check")
        .about("Look at a site: what could be stored, and why not the rest")
        .arg(
            Arg::new("url")
                .value_name("URL")
                .required(true)
                .help("Where to begin: http://localhost:3000"),
        )
        .arg(
            Arg::new("html")
                .long("html")
                .value_name("FILE")
                .value_parser(value_parser!(PathBuf))
                .help("Write what was found as a page, too"),
        );
    [
        with_site(twice(check)).after_help(CHECK_HELP),
        with_site(paced(diff)).after_help(DIFF_HELP),
        with_site(paced(accept)).after_help(ACCEPT_HELP),
        with_site(twice(noise)).after_help(NOISE_HELP),
    ]
}

fn pattern() -> Arg {
    Arg::new("pattern")
        .value_name("PATTERN")
        .help("Which pages: \"/blog/*\", \"GET:/blog?page=2\" [default: all]")
}

fn paced(command: Command) -> Command {
    let number = |name: &'static str| {
        Arg::new(name)
            .long(name)
            .value_name("N")
            .value_parser(value_parser!(usize))
    };
    command
        .arg(number("concurrency").help("Pages under way at once [default: 4]"))
        .arg(number("max-rps").help("Requests a second at most [default: no limit]"))
}

fn twice(command: Command) -> Command {
    paced(command)
        .arg(
            Arg::new("limit")
                .long("limit")
                .value_name("N")
                .value_parser(value_parser!(usize))
                .default_value("20")
                .help("Pages at most"),
        )
        .arg(
            Arg::new("pause")
                .long("pause")
                .value_name("SECONDS")
                .value_parser(seconds)
                .default_value("1.1")
                .help("Between the two renderings, so that stamps of seconds differ"),
        )
}

/// Seconds, with a fraction.
fn seconds(text: &str) -> Result<Duration, String> {
    let wrong = || "a number of seconds, 60 at most: 1.1".to_owned();
    let seconds: f64 = text.parse().map_err(|_| wrong())?;
    match (0.0..=60.0).contains(&seconds) {
        true => Ok(Duration::from_secs_f64(seconds)),
        false => Err(wrong()),
    }
}

/// What was asked for.
pub(super) fn of(name: &str, matches: &ArgMatches) -> Compare {
    match name {
        "diff" => Compare::Diff {
            pages: pages_of(matches),
            against: matches.get_one::<String>("against").cloned(),
            format: match matches.get_one::<String>("format").map(String::as_str) {
                Some("markdown") => Format::Markdown,
                _ if matches.get_flag("stat") => Format::Stat,
                _ => Format::Text,
            },
        },
        "noise" => Compare::Noise {
            pages: matches.get_many("url").into_iter().flatten().cloned().collect(),
            twice: twice_of(matches),
        },
        "check" => Compare::Check {
            url: matches.get_one::<String>("url").cloned().unwrap_or_default(),
            html: matches.get_one("html").cloned(),
            twice: twice_of(matches),
        },
        _ => Compare::Accept {
            pages: pages_of(matches),
        },
    }
}

fn twice_of(matches: &ArgMatches) -> Twice {
    let number = |name: &str| matches.get_one::<usize>(name).copied().unwrap_or(0);
    Twice {
        concurrency: number("concurrency"),
        max_rps: number("max-rps"),
        limit: number("limit"),
        pause: matches.get_one("pause").copied().unwrap_or_default(),
    }
}

fn pages_of(matches: &ArgMatches) -> Pages {
    let number = |name: &str| matches.get_one::<usize>(name).copied().unwrap_or(0);
    Pages {
        pattern: matches.get_one::<String>("pattern").cloned(),
        concurrency: number("concurrency"),
        max_rps: number("max-rps"),
    }
}
