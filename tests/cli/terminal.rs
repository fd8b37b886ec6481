//! What is in a directory is text: no command sends a terminal what is none.

use std::fs;
use std::process::Command;

use tempfile::TempDir;

#[test]
fn names_in_a_sidecar_write_nothing_but_themselves() {
    let dir = TempDir::new().unwrap();
    let snapshots = dir.path().join("snapshots");
    fs::create_dir(&snapshots).unwrap();
    let of = |name: &str| {
        let fixture = format!(
            "{}/tests/cli/artefact.in/snapshots/{name}",
            env!("CARGO_MANIFEST_DIR")
        );
        fs::read_to_string(fixture).unwrap()
    };
    fs::write(snapshots.join("phantom-frame.toml"), of("phantom-frame.toml")).unwrap();
    let sidecar = "about.b29f2570539301bc.toml";
    let hostile = of(sidecar).replace("about.b29f2570539301bc.html", "about\\u001b[31m.html");
    assert!(hostile.contains("u001b"));
    fs::write(snapshots.join(sidecar), hostile).unwrap();

    for arguments in [
        &["ls"][..],
        &["show", "/about"],
        &["verify"],
        &["rm", "*", "--dry-run"],
    ] {
        let output = Command::new(env!("CARGO_BIN_EXE_phantom-frame"))
            .args(arguments)
            .arg("--snapshots")
            .arg(&snapshots)
            .output()
            .unwrap();
        let said = [output.stdout, output.stderr].concat();
        assert!(!said.contains(&0x1b), "{}", String::from_utf8_lossy(&said));
        assert!(
            String::from_utf8_lossy(&said).contains("about"),
            "{arguments:?}: {}",
            String::from_utf8_lossy(&said)
        );
    }
}

#[test]
fn a_server_takes_its_configuration_by_flag_as_other_commands_do() {
    for arguments in [&["-c"][..], &["serve", "-c"], &["serve", "--config"]] {
        let dir = TempDir::new().unwrap();
        let file = dir.path().join("site.toml");
        fs::write(
            &file,
            "[server]\nproxy_url = \"http://127.0.0.1:9\"\nsite = \"by-flag\"\n",
        )
        .unwrap();
        let output = Command::new(env!("CARGO_BIN_EXE_phantom-frame"))
            .args(arguments)
            .arg(&file)
            .arg("--print-config")
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(said.contains("by-flag"), "{arguments:?}: {output:?}");
    }
}
