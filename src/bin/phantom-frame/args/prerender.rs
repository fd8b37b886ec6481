//! `prerender`: which pages, and how fast.

use std::path::PathBuf;

use clap::{Arg, ArgAction, ArgGroup, ArgMatches, Command, value_parser};
use phantom_frame::config::Sources;
use phantom_frame::prerender::Scope;

use super::{sources_of, with_site};

const HELP: &str = "\
Without a URL, a file, a sitemap and --crawl it is what [prerender] names in the
configuration; the limits there hold where no flag says otherwise. What is
stored is decided by the rules that hold for visitors, and rendered for nobody.
The backend is asked less where it answers slowly, and not at all for as long as
it says with 429 or 503; a run ends where it goes on saying so. Tombstones stay
what they are. Links marked `nofollow` and other sites are left alone;
robots.txt is not read. A run that was broken off goes on with --missing. Where
a server writes the directory, that one renders, over its control port, and
stops when the command is interrupted.

--json prints {\"summary\": {…}, \"interrupted\", \"pages\": [{\"url\", \"became\",
\"status\", \"reason\", \"problem\", \"found_on\", \"ms\"}]}; `became` is new,
changed, same, kept, tombstone, not-stored, missing or failed. An interrupted
run prints what was done until then.

Exit codes: 0 all well, and what may not be stored is; 1 a page failed, or one
that was named is missing; 2 the configuration or the command line cannot be
used, or a server that cannot be asked writes the directory; 130 interrupted; 143 terminated.";

/// `prerender`
#[derive(Debug)]
pub(crate) struct Prerender {
    pub(crate) sources: Sources,
    pub(crate) json: bool,
    pub(crate) names: Names,
    pub(crate) limits: Limits,
}

/// Which pages.
#[derive(Debug)]
pub(crate) struct Names {
    pub(crate) from: Vec<PathBuf>,
    pub(crate) pages: Vec<String>,
    pub(crate) sitemaps: Vec<String>,
    pub(crate) crawl: bool,
}

/// Which of the pages, and how; nothing where that was not said.
#[derive(Debug)]
pub(crate) struct Limits {
    pub(crate) scope: Option<Scope>,
    pub(crate) concurrency: Option<usize>,
    pub(crate) max_rps: Option<usize>,
    pub(crate) max_pages: Option<usize>,
    pub(crate) max_depth: Option<usize>,
}

pub(super) fn command() -> Command {
    let listed = |name: &'static str, value: &'static str| {
        Arg::new(name)
            .long(name)
            .value_name(value)
            .action(ArgAction::Append)
    };
    let switch = |name: &'static str| Arg::new(name).long(name).action(ArgAction::SetTrue);
    let number = |name: &'static str| {
        Arg::new(name)
            .long(name)
            .value_name("N")
            .value_parser(value_parser!(usize))
    };
    let command = Command::new("prerender")
        .about("Fetch and store pages before anybody asks for them")
        .arg(
            Arg::new("url")
                .value_name("URL")
                .action(ArgAction::Append)
                .help("A path, a URL or a key (GET:/path?query); with a `*`, a pattern of what is stored"),
        )
        .arg(
            listed("from", "FILE")
                .value_parser(value_parser!(PathBuf))
                .help("Pages from a file, one a line; `-` is standard input (repeatable)"),
        )
        .arg(listed("sitemap", "URL").help(
            "Pages from a sitemap, an index of sitemaps or a list of URLs, gzipped or not (repeatable)",
        ))
        .arg(
            switch("crawl")
                .help("Follow links and assets within the site; begins at `/` if nothing else is named"),
        )
        .arg(
            switch("missing")
                .help("Only pages of which nothing is stored; also goes on where a run was broken off"),
        )
        .arg(switch("stale").help("Those, and what is stored and not fresh [default]"))
        .arg(switch("all").help("All of them; what has a validator is asked about with it"))
        .group(ArgGroup::new("scope").args(["missing", "stale", "all"]))
        .arg(number("concurrency").help("Pages under way at once [default: 4]"))
        .arg(number("max-rps").help("Requests a second at most [default: no limit]"))
        .arg(number("max-pages").help("Pages at most [default: 10000]"))
        .arg(number("max-depth").help("Links between a page and what was asked for, at most [default: 16]"));
    with_site(command).after_help(HELP)
}

/// What was asked for.
pub(super) fn of(matches: &ArgMatches) -> Prerender {
    let texts = |name| matches.get_many::<String>(name).into_iter().flatten().cloned();
    let scopes = [
        ("missing", Scope::Missing),
        ("stale", Scope::Stale),
        ("all", Scope::All),
    ];
    let mut scopes = scopes.into_iter().filter(|(name, _)| matches.get_flag(name));
    let number = |name| matches.get_one::<usize>(name).copied();
    let from = matches.get_many::<PathBuf>("from");
    Prerender {
        sources: sources_of(matches),
        json: matches.get_flag("json"),
        names: Names {
            from: from.into_iter().flatten().cloned().collect(),
            pages: texts("url").collect(),
            sitemaps: texts("sitemap").collect(),
            crawl: matches.get_flag("crawl"),
        },
        limits: Limits {
            scope: scopes.next().map(|(_, scope)| scope),
            concurrency: number("concurrency"),
            max_rps: number("max-rps"),
            max_pages: number("max-pages"),
            max_depth: number("max-depth"),
        },
    }
}
