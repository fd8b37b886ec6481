//! The commands that make what comes with a package: completions and man pages.

use std::path::PathBuf;

use clap::{Arg, Command, value_parser};
use clap_complete::Shell;

const COMPLETIONS_HELP: &str = "\
Where it goes:
  bash        ~/.local/share/bash-completion/completions/phantom-frame
  zsh         _phantom-frame, in one of the folders of $fpath
  fish        ~/.config/fish/completions/phantom-frame.fish
  elvish      rc.elv: eval (phantom-frame completions elvish | slurp)
  powershell  $PROFILE: phantom-frame completions powershell | Out-String |
              Invoke-Expression

Exit codes: 0; 1 it cannot be printed; 2 wrong usage.";

const MAN_HELP: &str = "\
With DIR, which is made where it is missing: phantom-frame.1, and a page for
each command (phantom-frame-ls.1). Pages that it wrote before are written anew.
Where a file of such a name is none of those, nothing at all is written.

Exit codes: 0; 1 a page cannot be written; 2 wrong usage, or a file is in the
way.";

pub(super) fn commands() -> [Command; 2] {
    let completions = Command::new("completions")
        .about("Print what has a shell complete the command line")
        .arg(
            Arg::new("shell")
                .value_name("SHELL")
                .required(true)
                .value_parser(value_parser!(Shell))
                .help("The shell"),
        )
        .after_help(COMPLETIONS_HELP);
    let man = Command::new("man")
        .about("Print the man page, or write one for each command")
        .arg(
            Arg::new("dir")
                .value_name("DIR")
                .value_parser(value_parser!(PathBuf))
                .help("Where the pages go; without it, that of the program is printed"),
        )
        .after_help(MAN_HELP);
    [completions, man]
}
