//! The command line, made from the table of settings.

mod compare;
mod export;
mod init;
mod inspect;
mod prerender;
mod ship;

use std::fmt::Write as _;
use std::path::PathBuf;

use anstyle::Style;
use clap::builder::Styles;
use clap::{Arg, ArgAction, ArgMatches, Command, ValueHint, value_parser};
use clap_complete::Shell;
use phantom_frame::config::{Key, Sources, keys};

pub(crate) use compare::{Compare, Format, Pages, Twice};
pub(crate) use export::Export;
pub(crate) use init::Init;
pub(crate) use inspect::{Care, Inspect, Order, Shown, Site};
pub(crate) use prerender::{Limits, Names, Prerender};

const ABOUT: &str = "A prerender server: a reverse proxy whose cache is a directory of files you own";

const AFTER_HELP: &str = "\
Every setting of the configuration file also has an environment variable:
proxy_port is PHANTOM_FRAME_PROXY_PORT, and so on; commas separate lists there.
A flag beats a variable, which beats the file. A token for the control server
comes from control_auth_file, from the file, or from PHANTOM_FRAME_CONTROL_AUTH;
commands that have a server do their work tell it the same.

Exit codes: 0 stopped as asked; 1 failed; 2 the configuration or the command
line cannot be used; 130 and 143 stopped at once by a second signal.";

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
        Some(("prerender", asked)) => Invocation::Prerender(Box::new(prerender::of(asked))),
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
        config: config_of(matches).cloned(),
        sources: sources_of(matches),
        print_config: matches.get_flag("print-config"),
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
        .subcommand(prerender::command())
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
            Arg::new("config-flag")
                .long("config")
                .short('c')
                .value_name("CONFIG")
                .value_parser(value_parser!(PathBuf))
                .conflicts_with("config")
                .help("The same, as the other commands take it")
                .hide(true),
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

/// The file, wherever a command takes it.
fn config_of(matches: &ArgMatches) -> Option<&PathBuf> {
    let by_flag = || matches.try_get_one("config-flag").ok().flatten();
    matches.get_one("config").or_else(by_flag)
}

fn sources_of(matches: &ArgMatches) -> Sources {
    let mut sources = Sources::default().with_env(std::env::vars_os());
    if let Some(path) = config_of(matches) {
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
