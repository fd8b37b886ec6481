//! `init`: every file that it writes can be used, as it is and with its examples.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Output};

use tempfile::TempDir;

const FRAMEWORKS: &[(&str, u16)] = &[
    ("next", 3000),
    ("nuxt", 3000),
    ("sveltekit", 3000),
    ("astro", 4321),
    ("rails", 3000),
    ("django", 8000),
    ("axum", 3000),
    ("plain", 8080),
];

fn run(dir: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_phantom-frame"))
        .args(arguments)
        .current_dir(dir)
        .output()
        .unwrap()
}

/// The settings in force with it; the proxy takes them, too, and nothing is said of them.
fn settings(dir: &Path) -> String {
    let listed = run(dir, &["ls", "--config", "config.toml"]);
    let printed = run(dir, &["config.toml", "--print-config"]);
    for output in [&listed, &printed] {
        assert!(output.status.success(), "{output:?}");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(
            said.is_empty() || said.starts_with("note: nothing is stored"),
            "{said}"
        );
    }
    String::from_utf8(printed.stdout).unwrap()
}

/// What begins with `#` and no blank is an example.
fn with_examples(text: &str) -> String {
    let lines = text.lines().map(|line| match line.strip_prefix('#') {
        Some(example) if !example.starts_with(' ') => example,
        _ => line,
    });
    lines.collect::<Vec<_>>().join("\n")
}

#[test]
fn what_is_written_for_any_framework_loads_and_so_do_its_examples() {
    let help = run(Path::new("."), &["init", "--help"]);
    let help = String::from_utf8_lossy(&help.stdout).replace(char::is_whitespace, "");
    let names: Vec<_> = FRAMEWORKS.iter().map(|(name, _)| *name).collect();
    assert!(
        help.contains(&format!("[possiblevalues:{}]", names.join(","))),
        "{help}"
    );
    for (name, port) in FRAMEWORKS {
        let dir = TempDir::new().unwrap();
        let snapshots = dir.path().join("snapshots");
        fs::create_dir(&snapshots).unwrap();
        fs::write(snapshots.join("phantom-frame.toml"), "format = 1\n").unwrap();
        let output = run(dir.path(), &["init", "--framework", name]);
        assert!(output.status.success(), "{output:?}");
        let backend = format!("proxy_url = \"http://localhost:{port}\"  # config.toml:");
        let found = settings(dir.path());
        assert!(found.contains(&backend), "{name}: {found}");
        assert!(found.contains("# public_url is not set"), "{name}: {found}");

        let path = dir.path().join("config.toml");
        let text = with_examples(&fs::read_to_string(&path).unwrap());
        fs::write(&path, text).unwrap();
        let found = settings(dir.path());
        assert!(
            found.contains("public_url = \"https://example.com\""),
            "{name}: {found}"
        );
    }
}

#[test]
fn a_file_that_is_there_is_replaced_by_force_alone() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("config.toml");
    fs::write(&path, "mine").unwrap();
    let refused = run(dir.path(), &["init"]);
    assert_eq!(refused.status.code(), Some(2), "{refused:?}");
    assert_eq!(
        String::from_utf8_lossy(&refused.stderr),
        "error: config.toml is there already, and was left as it is\n\
         hint: --force replaces it; or move it away, or name another directory\n"
    );
    assert!(refused.stdout.is_empty(), "{refused:?}");
    assert_eq!(fs::read_to_string(&path).unwrap(), "mine");

    let forced = run(dir.path(), &["init", "--force"]);
    assert!(forced.status.success(), "{forced:?}");
    assert!(fs::read_to_string(&path).unwrap().contains("[server]"));
    assert_eq!(
        fs::read_dir(dir.path()).unwrap().count(),
        1,
        "no temporary is left"
    );
}

#[test]
fn a_link_that_leads_nowhere_is_a_file_that_is_there() {
    let dir = TempDir::new().unwrap();
    std::os::unix::fs::symlink("elsewhere.toml", dir.path().join("config.toml")).unwrap();
    for asked in [&["init"][..], &["init", "--force"]] {
        let refused = run(dir.path(), asked);
        assert_eq!(refused.status.code(), Some(2), "{refused:?}");
        assert!(!dir.path().join("elsewhere.toml").exists());
    }
    let link = fs::symlink_metadata(dir.path().join("config.toml")).unwrap();
    assert!(link.is_symlink(), "force is for files");
}

#[test]
fn a_file_that_others_may_not_read_stays_so_when_it_is_replaced() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("config.toml");
    fs::write(&path, "control_auth = \"secret\"").unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    let forced = run(dir.path(), &["init", "--force"]);
    assert!(forced.status.success(), "{forced:?}");
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
}
