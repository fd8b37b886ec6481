//! The command line, made from the table of settings.

mod compare;
mod export;
mod init;
mod inspect;
mod ship;

use std::fmt::Write as _;
use std::path::PathBuf;

use anstyle::Style;
use clap::builder::Styles;
use clap::{Arg, ArgAction, ArgGroup, ArgMatches, Command, ValueHint, value_parser};
use clap_complete::Shell;
use phantom_frame::config::{Key, Sources, keys};
use phantom_frame::prerender::Scope;

pub(crate) use compare::{Compare, Format, Pages, Twice};
pub(crate) use export::Export;
pub(crate) use init::Init;
pub(crate) use inspect::{Inspect, Order, Site};

const ABOUT: &str = "A prerender server: a reverse proxy whose cache is a directory of files you own";

const AFTER_HELP: &str = "\
Every setting of the configuration file also has an environment variable:
proxy_port is PHANTOM_FRAME_PROXY_PORT, and so on; commas separate lists there.
A flag beats a variable, which beats the file. A token for the control server
comes from control_auth_file, from the file, or from PHANTOM_FRAME_CONTROL_AUTH.

Exit codes: 0 stopped as asked; 1 failed; 2 the configuration or the command
line cannot be used; 130 and 143 stopped at once by a second signal.";

const AFTER_PRERENDER: &str = "\
Without a URL, a file, a sitemap and --crawl it is what [prerender] names in the
configuration; the limits there hold where no flag says otherwise. What is
stored is decided by the rules that hold for visitors, and rendered for nobody.
The backend is asked less where it answers slowly, and not at all for as long as
it says with 429 or 503; a run ends where it goes on saying so. Tombstones stay
what they are. Links marked `nofollow` and other sites are left alone;
robots.txt is not read. A run that was broken off goes on with --missing.

--json prints {\"summary\": {…}, \"interrupted\", \"pages\": [{\"url\", \"became\",
\"status\", \"reason\", \"problem\", \"found_on\", \"ms\"}]}; `became` is new,
changed, same, kept, tombstone, not-stored, missing or failed. An interrupted
run prints what was done until then.

Exit codes: 0 all well, and what may not be stored is; 1 a page failed, or one
that was named is missing; 2 the configuration or the command line cannot be
used, or another process writes the directory; 130 interrupted; 143 terminated.";

/// What was asked for.
#[derive(Debug)]
pub(crate) enum Invocation {
    Serve(Serve),
    Demo(Demo),
    Export(Export),
    Init(Init),
    Inspect(Site, Inspect),
    Prerender(Box<Prerender>),
    Compare(Site, Compare),
    Completions(Shell),
    Man { dir: Option<PathBuf> },
}

/// `serve`
#[derive(Debug)]
pub(crate) struct Serve {
    pub(crate) config: Option<PathBuf>,
    pub(crate) sources: Sources,
    pub(crate) print_config: bool,
}

/// `demo`
#[derive(Debug)]
pub(crate) struct Demo {
    pub(crate) dir: Option<PathBuf>,
    pub(crate) port: u16,
}

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

/// Reads the command line; ends the process for `--help`, `--version` and what is not understood.
pub(crate) fn parse() -> Invocation {
    let matches = grouped(command()).get_matches();
    match matches.subcommand() {
        Some(("demo", demo)) => Invocation::Demo(Demo {
            dir: demo.get_one("dir").cloned(),
            port: demo.get_one("port").copied().unwrap_or(0),
        }),
        Some(("export", asked)) => Invocation::Export(export::of(asked)),
        Some(("init", asked)) => Invocation::Init(init::of(asked)),
        Some(("prerender", asked)) => Invocation::Prerender(Box::new(prerender_of(asked))),
        Some(("serve", serve)) => Invocation::Serve(serve_of(serve)),
        Some(("completions", asked)) => {
            let shell = asked.get_one("shell").copied();
            Invocation::Completions(shell.unwrap_or(Shell::Bash))
        }
        Some(("man", asked)) => Invocation::Man {
            dir: asked.get_one("dir").cloned(),
        },
        Some((name, matches)) if compare::NAMES.contains(&name) => {
            Invocation::Compare(inspect::site_of(matches), compare::of(name, matches))
        }
        Some((name, matches)) => Invocation::Inspect(inspect::site_of(matches), inspect::of(name, matches)),
        None => Invocation::Serve(serve_of(&matches)),
    }
}

/// The names of the commands, for a hint.
pub(crate) fn names() -> Vec<String> {
    command()
        .get_subcommands()
        .map(|command| command.get_name().to_owned())
        .collect()
}

fn serve_of(matches: &ArgMatches) -> Serve {
    Serve {
        config: matches.get_one("config").cloned(),
        sources: sources_of(matches),
        print_config: matches.get_flag("print-config"),
    }
}

fn prerender_of(matches: &ArgMatches) -> Prerender {
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

fn flags() -> impl Iterator<Item = (&'static Key, &'static str)> {
    keys().iter().filter_map(|key| Some((key, key.flag()?)))
}

/// The whole command line, for what is made from it.
pub(crate) fn command() -> Command {
    let demo = Command::new("demo")
        .about("Try it: an embedded site behind the proxy, on this machine alone")
        .arg(
            Arg::new("dir")
                .long("dir")
                .value_name("PATH")
                .value_parser(value_parser!(PathBuf))
                .help("Where the snapshots go, and stay [default: a temporary directory]"),
        )
        .arg(
            Arg::new("port")
                .long("port")
                .value_name("PORT")
                .value_parser(value_parser!(u16))
                .help("The port [default: a free one]"),
        );
    let serve = Command::new("serve").about("Serve a site; what `phantom-frame` alone does, too");
    with_settings(Command::new("phantom-frame"))
        .about(ABOUT)
        .version(env!("CARGO_PKG_VERSION"))
        .styles(Styles::styled())
        .max_term_width(80)
        .args_conflicts_with_subcommands(true)
        .disable_help_subcommand(true)
        .subcommand(with_settings(serve))
        .subcommand(demo)
        .subcommand(init::command())
        .subcommand(prerender())
        .subcommands(inspect::commands())
        .subcommand(export::command())
        .subcommands(compare::commands())
        .subcommands(ship::commands())
        .override_usage("phantom-frame [OPTIONS] [CONFIG]\n       phantom-frame <COMMAND>")
}

/// The commands by what they are for; clap has no headings for them.
const GROUPS: &[(&str, &[&str])] = &[
    ("Everyday", &["serve", "demo", "init", "prerender", "check"]),
    (
        "Inspect",
        &[
            "ls",
            "show",
            "explain",
            "verify",
            "rm",
            "gc",
            "reseal",
            "tombstone",
            "diff",
            "accept",
            "noise",
        ],
    ),
    ("Ship", &["export", "completions", "man"]),
];

/// For whoever reads help: the commands in their groups, in the place of clap's one list.
fn grouped(command: Command) -> Command {
    const HEADING: Style = Style::new().bold().underline();
    const NAME: Style = Style::new().bold();
    let mut list = String::new();
    for (group, names) in GROUPS {
        // Writing to a String cannot fail.
        let _ = writeln!(list, "{HEADING}{group}:{HEADING:#}");
        for name in *names {
            let about = command.find_subcommand(name).and_then(Command::get_about);
            let about = about.map(ToString::to_string).unwrap_or_default();
            let _ = writeln!(list, "  {NAME}{name:<11}{NAME:#}  {about}");
        }
        list.push('\n');
    }
    command
        .mut_subcommands(|command| command.hide(true))
        .help_template(format!(
            "{{about-with-newline}}\n{{usage-heading}} {{usage}}\n\n{list}{{all-args}}{{after-help}}"
        ))
}

fn prerender() -> Command {
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
    with_site(command).after_help(AFTER_PRERENDER)
}

fn with_settings(command: Command) -> Command {
    let command = command
        .after_help(AFTER_HELP)
        .arg(
            Arg::new("config")
                .value_name("CONFIG")
                .value_parser(value_parser!(PathBuf))
                .help("The configuration file (TOML); without one, the defaults"),
        )
        .arg(
            Arg::new("print-config")
                .long("print-config")
                .action(ArgAction::SetTrue)
                .help("Print the settings in force and where each comes from, and end"),
        );
    with_flags(command)
}

/// A command that works on a site's snapshots: the configuration is a flag, as arguments are pages.
fn with_site(command: Command) -> Command {
    let config = Arg::new("config")
        .long("config")
        .short('c')
        .value_name("FILE")
        .value_parser(value_parser!(PathBuf))
        .help("The configuration file (TOML); without one, the defaults");
    let json = Arg::new("json")
        .long("json")
        .action(ArgAction::SetTrue)
        .help("Print one JSON document instead of text");
    // What can be set is for `--help`; `-h` is about the command.
    with_flags(command.arg(config).arg(json)).mut_args(|arg| {
        match keys().iter().any(|key| key.name() == arg.get_id()) {
            true => arg.hide_short_help(true),
            false => arg,
        }
    })
}

fn with_flags(command: Command) -> Command {
    flags().fold(command, |command, (key, flag)| command.arg(setting(key, flag)))
}

fn sources_of(matches: &ArgMatches) -> Sources {
    let mut sources = Sources::default().with_env(std::env::vars_os());
    if let Some(path) = matches.get_one::<PathBuf>("config") {
        sources = sources.with_file(path);
    }
    for (key, _) in flags() {
        if let Some(values) = matches.get_many::<String>(key.name()) {
            sources = sources.with_flag(key.name(), values.cloned().collect());
        }
    }
    sources
}

fn setting(key: &'static Key, flag: &'static str) -> Arg {
    let help = match key.default_value() {
        _ if key.is_list() => format!("{} (repeatable)", key.help()),
        Some(default) if !key.is_switch() => format!("{} [default: {default}]", key.help()),
        _ => key.help().to_owned(),
    };
    let arg = Arg::new(key.name())
        .long(flag)
        .aliases(key.flag_alias())
        .value_name(key.value_name())
        .value_hint(match key.value_name() {
            "PATH" => ValueHint::AnyPath,
            _ => ValueHint::Other,
        })
        .help(help)
        .help_heading(key.group());
    if key.is_list() {
        arg.action(ArgAction::Append)
    } else if key.is_switch() {
        arg.num_args(0..=1)
            .require_equals(true)
            .default_missing_value("true")
            .overrides_with(key.name())
    } else {
        arg.overrides_with(key.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        command().debug_assert();
        grouped(command()).debug_assert();
    }

    #[test]
    fn every_command_is_in_one_group() {
        let mut grouped: Vec<_> = GROUPS
            .iter()
            .flat_map(|(_, names)| names.iter().copied())
            .collect();
        grouped.sort_unstable();
        let command = command();
        let mut names: Vec<_> = command.get_subcommands().map(Command::get_name).collect();
        names.sort_unstable();
        assert_eq!(grouped, names);
    }
}
