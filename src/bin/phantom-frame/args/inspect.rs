//! The commands that work on the directory alone.

use clap::builder::PossibleValuesParser;
use clap::{Arg, ArgAction, ArgMatches, Command};
use phantom_frame::artefact::{Asked, Question, Tombstone};
use phantom_frame::config::Sources;

use super::{sources_of, with_site};
use crate::print::Form;

/// Whose directory, and for whom it is printed.
#[derive(Debug)]
pub(crate) struct Site {
    pub(crate) sources: Sources,
    pub(crate) json: bool,
}

impl Site {
    pub(crate) fn form(&self) -> Form {
        Form::of(self.json)
    }
}

/// What is to be done with it.
#[derive(Debug)]
pub(crate) enum Inspect {
    Ls { pattern: Option<String>, order: Order },
    Show { url: String, what: Shown },
    Explain(Question),
    Verify(Care),
    Rm { pattern: String, dry_run: bool },
    Gc,
    Reseal { pattern: Option<String> },
    Tombstone { url: String, tombstone: Tombstone },
}

/// What `show` prints.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shown {
    Page,
    Body,
}

/// What `verify` does about what it finds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Care {
    Told,
    Fixed,
}

/// How `ls` prints.
#[derive(Debug)]
pub(crate) struct Order {
    pub(crate) by: String,
    pub(crate) reverse: bool,
    pub(crate) tree: bool,
    pub(crate) tags: bool,
    pub(crate) rejected: bool,
}

const LS_HELP: &str = "\
A row for each rendering. PAGE is what `show` takes; in brackets stand the
fields that select a variant. AGE is `-` where another program (git, cp, a
container layer) set the file's time.

Freshness: fresh (and for how long, if not until it is invalidated); stale;
stale-while-revalidate (stale, answers, and is renewed behind the answer);
no-cache (asked about each time); unmarked (has a lifetime, and nobody knows
whether it is over); invalidated (kept, to be asked about). What is stale,
no-cache, unmarked or invalidated is not used before the backend was asked.

--tags puts behind each page what the backend tagged it with.

--rejected lists what `keep_last_good` refused, the latest last: when, why
(empty; cut: it does not end as a page; small), how large it was, and how large
the page was that stayed. The log is bounded, and keeps what is stored since.

--json: directory, snapshots (line, page, parts, variant, status, tags, bytes,
state, age, left, lifetime, given_by, serves_when_down, generated, rule, file,
torn), unread; with --rejected: directory, rejected (page, line, why, at, age,
bytes, stored_bytes, seal).

Needs no lock: a server may be at work. Exit codes: 0; 1 a folder could not be
read; 2 wrong usage or configuration.";

const SHOW_HELP: &str = "\
URL is a path, a full URL or a key (\"GET:/path?query\"). All variants are shown.
With --body the body's bytes are printed and nothing else; of several
renderings, those of the one without a variant.

--json: pages, each with what `ls --json` says of it and key, url, site,
varies_by, headers, sidecar, seal, body (none, sealed, changed, missing,
unreadable), forms.

Exit codes: 0; 1 nothing is stored there; 2 wrong usage or configuration.";

const EXPLAIN_HELP: &str = "\
Puts the request to the same code that serves, over a copy of what is stored
under its address, and prints what that decides, step by step: the rule and the
filter that count, the key and what went into it, the variant and its file, how
old that is and until when it is fresh, what a fill sends and what it leaves
out, and with --live what becomes of the answer. Settings are named with the
place that they come from. No lock is taken, and nothing is written but that
copy, in a temporary folder.

Without --live the backend is not asked: the explanation ends where it would be.
With --live the request is made: a request that passes reaches the backend as it
is, also a POST. What a running server remembers besides (404s, pages that could
not be stored lately) it alone knows: see debug_token.

--json: key, steps, reason, advice, settings, asked (method, target, headers,
replaced, left_out), answer (status, cache_status, bytes, broken). Values of
cookies and credentials are null.

Exit codes: 0; 1 the backend gave no whole answer; 2 wrong usage or
configuration.";

const VERIFY_HELP: &str = "\
Reads every file, compares every seal, and says what is wrong:
  seal        a body is not what its sidecar seals: changed by hand, or damaged
  no-body     a sidecar without its body
  no-sidecar  a body that no sidecar names
  no-base     a variant whose key has no sidecar of its own
  unreadable  a sidecar or a folder that cannot be read, or is none
  foreign     a sidecar that is another key's or another site's
  pending     a commit that is not finished, or that never was
  case        two names that differ in case only
  outside     a name that is not of the layout, or no regular file

--fix finishes commits and moves the rest to a folder of its own in
.phantom/displaced, under the path that it had, so that nothing is lost that a
person may have made. What is not of the layout is left where it is. Hand edits
that are to stay: `phantom-frame reseal` first. --fix needs the lock: it would
move files from under what a server commits. While one has it, stop the server,
or have it drop what is damaged: `phantom-frame rm PATTERN`.

--json: directory, findings (kind, path, detail, fixed), snapshots, bytes, left.

Exit codes: 0 all is well, or put right; 1 something was found, or is left;
2 wrong usage or configuration, or (with --fix) a server has the lock.";

const RM_HELP: &str = "\
PATTERN is that of invalidations: a path with every query (\"/blog/*\", where `*`
is any run of characters), a key (\"GET:/blog?page=2\"), a tag (\"tag:news\"), or
\"*\"; --tag TAG is another way to write a tag. Variants go with their pages; bodies that were changed by hand are moved to .phantom/displaced.

Where a server writes the directory, that one does it, over its control port: it
is in force when the command ends, and what is being fetched is not stored. A
server that cannot be asked takes a page that went for an invalidation of it;
what it is fetching at that moment it may still store. --dry-run asks nobody.

--json: snapshots, pages, bytes, failed, rows (with --dry-run; as `ls --json`).

Exit codes: 0, also if nothing matched; 1 something would not go; 2 wrong usage
or configuration.";

const GC_HELP: &str = "\
Finishes commits that a crash cut in two, removes temporary files and compressed
forms that are nobody's, carries out what was invalidated, and evicts what is
over disk_limit and max_snapshots. A server does all this by itself; where one
writes the directory it does it now, and what it is writing counts as nothing
left. Where it cannot be asked, this refuses.

--json: snapshots, pending, temporaries, forms, evicted, partial.

Exit codes: 0; 1 something could not be read; 2 wrong usage or configuration, or
a server that cannot be asked has the lock.";

const RESEAL_HELP: &str = "\
A body that was changed by hand is not what its sidecar seals, and is not
served. This seals it as it is, and drops what the sidecar says of the bytes
that are no more (ETag, Last-Modified, digests). From then on it is a snapshot
like any other: when it is stale or invalidated, it is fetched anew.

Where a server writes the directory, that one does it, over its control port.
Where it cannot be asked, this refuses, for what it stores at that moment would
be undone: stop the server, seal, and start it again.

--json: resealed (line, file, bytes), failed (line, file, error).

Exit codes: 0, also if nothing was changed; 1 something could not be sealed; 2
wrong usage or configuration, or a server that cannot be asked has the lock.";

const TOMBSTONE_HELP: &str = "\
Puts a 410, or a 301 to --location, in the place of a page, whether there is one
or not: a file that can be committed, so that what was removed stays removed,
with and without a backend. No lifetime and no visitor's request ends it; `rm`
takes it away, and so does an invalidation that deletes. Variants of the page go.

Where a server writes the directory, that one does it, over its control port,
and answers so when the command ends. A server that cannot be asked takes the
sidecar for another program's.

--json: file.

Exit codes: 0; 1 it could not be written; 2 wrong usage or configuration.";

/// See the module.
pub(super) fn commands() -> [Command; 8] {
    [
        ls(),
        command("show", "Show one page: head, seal and files", SHOW_HELP)
            .arg(url())
            .arg(switch("body", "Print the body and nothing else").conflicts_with("json")),
        explain(),
        command("verify", "Check every file and every seal", VERIFY_HELP)
            .arg(switch("fix", "Put right what can be, losing nothing")),
        rm(),
        command("gc", "Finish, sweep and evict", GC_HELP),
        command("reseal", "Accept bodies that were changed by hand", RESEAL_HELP).arg(pattern()),
        tombstone(),
    ]
}

fn command(name: &'static str, about: &'static str, help: &'static str) -> Command {
    with_site(Command::new(name).about(about).after_help(help))
}

fn pattern() -> Arg {
    Arg::new("pattern")
        .value_name("PATTERN")
        .help("Which pages: \"/blog/*\", \"GET:/blog?page=2\" [default: all]")
}

fn url() -> Arg {
    Arg::new("url")
        .value_name("URL")
        .required(true)
        .help("A path, a full URL or a key: \"/blog\", \"GET:/blog?page=2\"")
}

fn switch(name: &'static str, help: &'static str) -> Arg {
    Arg::new(name).long(name).action(ArgAction::SetTrue).help(help)
}

fn ls() -> Command {
    command("ls", "List what is stored", LS_HELP)
        .arg(pattern())
        .arg(
            Arg::new("sort")
                .long("sort")
                .value_name("BY")
                .value_parser(PossibleValuesParser::new([
                    "path", "size", "age", "status", "state",
                ]))
                .default_value("path")
                .help("In which order: the largest, oldest, worst first"),
        )
        .arg(switch("reverse", "The other way round").short('r'))
        .arg(switch("tags", "What each is tagged with"))
        .arg(
            switch(
                "rejected",
                "What came and was no whole page, and did not replace one",
            )
            .conflicts_with_all(["tree", "tags", "reverse"]),
        )
        .arg(switch("tree", "By folders, with their sums").conflicts_with_all(["json", "sort"]))
}

fn explain() -> Command {
    command("explain", "Say how a request is answered, and why", EXPLAIN_HELP)
        .arg(url())
        .arg(
            Arg::new("header")
                .long("header")
                .short('H')
                .value_name("NAME: VALUE")
                .action(ArgAction::Append)
                .value_parser(field)
                .help("A field of the request, as curl has it (repeatable)"),
        )
        .arg(
            Arg::new("method")
                .long("method")
                .short('X')
                .value_name("METHOD")
                .help("The request's method [default: that of the key, or GET]"),
        )
        .arg(switch(
            "live",
            "Ask the backend, with this very request if it passes",
        ))
}

fn rm() -> Command {
    command("rm", "Remove what matches a pattern", RM_HELP)
        .arg(
            pattern()
                .required_unless_present("tag")
                .help("Which pages: \"/blog/*\", \"GET:/blog?page=2\", \"*\""),
        )
        .arg(
            Arg::new("tag")
                .long("tag")
                .value_name("TAG")
                .conflicts_with("pattern")
                .help("Those that the backend tagged so"),
        )
        .arg(switch("dry-run", "List what would go, and remove nothing").short('n'))
}

fn tombstone() -> Command {
    command("tombstone", "Have a page stay gone, or moved", TOMBSTONE_HELP)
        .arg(url())
        .arg(
            Arg::new("status")
                .long("status")
                .value_name("CODE")
                .value_parser(PossibleValuesParser::new(["410", "301"]))
                .default_value("410")
                .help("What is answered"),
        )
        .arg(
            Arg::new("location")
                .long("location")
                .value_name("URL")
                .required_if_eq("status", "301")
                .help("Where a 301 leads"),
        )
}

/// What every one of them is told.
pub(super) fn site_of(matches: &ArgMatches) -> Site {
    Site {
        sources: sources_of(matches),
        json: matches.get_flag("json"),
    }
}

/// What was asked for.
pub(super) fn of(name: &str, matches: &ArgMatches) -> Inspect {
    let text = |name: &str| matches.get_one::<String>(name).cloned();
    // clap has seen to it that what is required is there.
    let needed = |name: &str| text(name).unwrap_or_default();
    match name {
        "ls" => Inspect::Ls {
            pattern: text("pattern"),
            order: Order {
                by: needed("sort"),
                reverse: matches.get_flag("reverse"),
                tree: matches.get_flag("tree"),
                tags: matches.get_flag("tags"),
                rejected: matches.get_flag("rejected"),
            },
        },
        "show" => Inspect::Show {
            url: needed("url"),
            what: match matches.get_flag("body") {
                true => Shown::Body,
                false => Shown::Page,
            },
        },
        "explain" => Inspect::Explain(question(needed("url"), matches)),
        "verify" => Inspect::Verify(match matches.get_flag("fix") {
            true => Care::Fixed,
            false => Care::Told,
        }),
        "rm" => Inspect::Rm {
            pattern: text("tag").map_or_else(|| needed("pattern"), |tag| format!("tag:{tag}")),
            dry_run: matches.get_flag("dry-run"),
        },
        "gc" => Inspect::Gc,
        "reseal" => Inspect::Reseal {
            pattern: text("pattern"),
        },
        _ => Inspect::Tombstone {
            url: needed("url"),
            tombstone: match (text("status").as_deref(), text("location")) {
                (Some("301"), Some(location)) => Tombstone::Moved(location),
                _ => Tombstone::Gone,
            },
        },
    }
}

/// `Name: value`
fn field(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once(':').ok_or("write it as \"Name: value\"")?;
    Ok((name.trim().to_owned(), value.trim().to_owned()))
}

fn question(url: String, matches: &ArgMatches) -> Question {
    let mut question = Question::new(url);
    question.method = matches.get_one("method").cloned();
    let fields = matches.get_many::<(String, String)>("header");
    question.headers = fields.into_iter().flatten().cloned().collect();
    if matches.get_flag("live") {
        question.asked = Asked::Backend;
    }
    question
}
