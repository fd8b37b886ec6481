//! `init`

use std::path::PathBuf;

use clap::builder::PossibleValuesParser;
use clap::{Arg, ArgAction, ArgMatches, Command, ValueHint, value_parser};

use crate::framework::FRAMEWORKS;
use crate::whole::Existing;

const HELP: &str = "\
The framework is found by package.json, Gemfile, manage.py or Cargo.toml in DIR.
The file has the framework's default port, and says what the framework does
about cookies, lifetimes and paths; what is not in it is as without a file.

Exit codes: 0; 1 the file cannot be written; 2 wrong usage, DIR is no
directory, or there is a config.toml already.";

/// `init`
#[derive(Debug)]
pub(crate) struct Init {
    pub(crate) dir: PathBuf,
    pub(crate) framework: Option<String>,
    pub(crate) existing: Existing,
}

pub(super) fn command() -> Command {
    let names = FRAMEWORKS.iter().map(|framework| framework.name);
    Command::new("init")
        .about("Write a config.toml for the site's framework")
        .arg(
            Arg::new("dir")
                .value_name("DIR")
                .value_parser(value_parser!(PathBuf))
                .value_hint(ValueHint::DirPath)
                .default_value(".")
                .help("The directory of the project, and of the file"),
        )
        .arg(
            Arg::new("framework")
                .long("framework")
                .value_name("NAME")
                .value_parser(PossibleValuesParser::new(names))
                .help("The framework [default: the one that is found]"),
        )
        .arg(
            Arg::new("force")
                .long("force")
                .action(ArgAction::SetTrue)
                .help("Replace a config.toml that is there"),
        )
        .after_help(HELP)
}

pub(super) fn of(matches: &ArgMatches) -> Init {
    Init {
        dir: matches.get_one("dir").cloned().unwrap_or_default(),
        framework: matches.get_one("framework").cloned(),
        existing: match matches.get_flag("force") {
            true => Existing::Replaced,
            false => Existing::Kept,
        },
    }
}
