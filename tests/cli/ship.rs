//! Completions and man pages: what a package brings along.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use tempfile::TempDir;

/// Some of each group.
const COMMANDS: &[&str] = &["serve", "prerender", "ls", "tombstone", "man"];

fn run(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_phantom-frame"))
        .args(arguments)
        .output()
        .unwrap()
}

fn stdout(arguments: &[&str]) -> String {
    let output = run(arguments);
    assert!(output.status.success(), "{output:?}");
    assert!(output.stderr.is_empty(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

fn man(dir: &Path) -> Output {
    run(&["man", dir.to_str().unwrap()])
}

fn names(dir: &Path) -> Vec<String> {
    let entries = fs::read_dir(dir).unwrap();
    let mut names: Vec<_> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort_unstable();
    names
}

#[test]
fn every_shell_learns_every_command_and_its_flags() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = stdout(&["completions", shell]);
        for word in COMMANDS.iter().chain(&["snapshots", "dry-run", "max-rps"]) {
            assert!(script.contains(word), "{shell}: {word}");
        }
    }
}

#[test]
fn bash_completes_commands_flags_and_values() {
    let script = stdout(&["completions", "bash"]);
    for (words, expected) in [
        ("phantom-frame tom", "tombstone"),
        ("phantom-frame ls --sor", "--sort"),
        ("phantom-frame ls --sort st", "status state"),
        ("phantom-frame completions f", "fish"),
    ] {
        let (before, last) = words.rsplit_once(' ').unwrap();
        let ask = "complete=$(complete -p phantom-frame); complete=${complete#*-F }
                   COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
                   ${complete%% *} phantom-frame \"$LAST\" \"$BEFORE\"
                   echo ${COMPREPLY[@]}";
        let output = Command::new("bash")
            .args(["--norc", "-c"])
            .arg(format!("{script}\nCOMP_WORDS=({words})\n{ask}"))
            .env("LAST", last)
            .env("BEFORE", before.rsplit(' ').next().unwrap())
            .output()
            .unwrap();
        let found = String::from_utf8_lossy(&output.stdout);
        assert_eq!(found.trim(), expected, "{words}: {output:?}");
    }
}

#[test]
fn the_man_page_names_the_commands_and_settings() {
    let page = stdout(&["man"]);
    assert!(page.starts_with(".\\\" Written by `phantom-frame man`"), "{page}");
    for command in COMMANDS {
        assert!(
            page.contains(&format!("phantom\\-frame\\-{command}(1)")),
            "{command}"
        );
    }
    assert!(page.contains("\n\\fB\\-\\-snapshots\\fR \\fI<PATH>\\fR\nThe directory of the snapshots"));
}

#[test]
fn a_directory_gets_a_page_for_each_command_that_says_all_that_help_does() {
    let dir = TempDir::new().unwrap();
    let pages = dir.path().join("share/man1");
    let output = man(&pages);
    assert!(output.status.success(), "{output:?}");
    let written = names(&pages);
    for command in COMMANDS {
        assert!(
            written.contains(&format!("phantom-frame-{command}.1")),
            "{written:?}"
        );
    }
    assert_eq!(
        String::from_utf8_lossy(&output.stdout),
        format!("wrote {} pages to {}\n", written.len(), pages.display())
    );
    let read = |name: &str| fs::read_to_string(pages.join(name)).unwrap();
    assert_eq!(read("phantom-frame.1"), stdout(&["man"]));
    for name in &written {
        assert!(read(name).is_ascii(), "{name}");
    }
    let page = read("phantom-frame-rm.1");
    for text in [
        "\\fBphantom\\-frame rm\\fR [OPTIONS] [PATTERN]",
        "\\fI<PATH>\\fR\nThe directory of the snapshots",
        "Exit codes: 0, also if nothing matched",
    ] {
        assert!(page.contains(text), "{text}: {page}");
    }
}

#[test]
fn pages_that_it_wrote_are_written_anew() {
    let dir = TempDir::new().unwrap();
    assert!(man(dir.path()).status.success());
    let page = dir.path().join("phantom-frame-gc.1");
    let text = fs::read_to_string(&page).unwrap();
    let (mark, _) = text.split_once('\n').unwrap();
    fs::write(&page, format!("{mark}\nof an older version\n")).unwrap();
    let before = names(dir.path());
    assert!(man(dir.path()).status.success());
    assert_eq!(fs::read_to_string(&page).unwrap(), text);
    assert_eq!(names(dir.path()), before);
}

#[test]
fn what_is_not_its_own_stays_and_nothing_is_written_beside_it() {
    let dir = TempDir::new().unwrap();
    let target = dir.path().join("elsewhere");
    fs::write(&target, "").unwrap();
    for case in ["file", "link", "folder"] {
        let pages = dir.path().join(case);
        let path = pages.join("phantom-frame-ls.1");
        fs::create_dir(&pages).unwrap();
        match case {
            "file" => fs::write(&path, ".TH by-hand 1\n").unwrap(),
            "link" => std::os::unix::fs::symlink(&target, &path).unwrap(),
            _ => fs::create_dir(&path).unwrap(),
        }
        let output = man(&pages);
        assert_eq!(output.status.code(), Some(2), "{output:?}");
        assert_eq!(
            String::from_utf8_lossy(&output.stderr),
            format!(
                "error: {} is no page that `phantom-frame man` wrote; nothing was written\n\
                 hint: move that file away, or name another directory\n",
                path.display()
            )
        );
        assert_eq!(names(&pages), ["phantom-frame-ls.1"], "{case}");
    }
    assert_eq!(fs::read(&target).unwrap(), b"");
    let by_hand = dir.path().join("file/phantom-frame-ls.1");
    assert_eq!(fs::read_to_string(by_hand).unwrap(), ".TH by-hand 1\n");
}
