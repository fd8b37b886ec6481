//! `noise` and `check`, as a person runs them.

use std::path::Path;
use std::process::Command;

use super::compare::Site;

#[test]
fn noise_says_what_differs_and_is_exit_code_1() {
    let site = Site::with(&[("/a", "<p>a</p>"), ("/n", "<p>%n</p>")]);
    let dir = tempfile::tempdir().unwrap();
    assert_eq!(site.run(dir.path(), &["prerender", "/a", "/n"]).0, Some(0));
    let (code, stdout, stderr) = site.run(dir.path(), &["noise", "--pause=0"]);
    assert_eq!((code, &*stderr), (Some(1), ""));
    assert!(
        stdout.starts_with("/n\n  number       text, line 1  "),
        "{stdout}"
    );
    assert!(stdout.ends_with("\n2 pages: 1 with noise\n"), "{stdout}");
    let (code, stdout, _) = site.run(dir.path(), &["noise", "--pause=0", "--json", "/a"]);
    assert_eq!(code, Some(0));
    let json: serde_json::Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!(
        (&json["noisy"], &json["pages"][0]["noise"]),
        (&0.into(), &serde_json::json!([]))
    );
    // What is named takes no directory.
    let nowhere = dir.path().join("nowhere");
    let (code, stdout, _) = site.run(&nowhere, &["noise", "--pause=0", "/a"]);
    assert_eq!((code, &*stdout), (Some(0), "1 page: each is the same twice\n"));
    assert!(!nowhere.exists());
    assert_eq!(site.run(&nowhere, &["noise"]).0, Some(2));
}

fn check(folder: &Path, arguments: &[&str]) -> (Option<i32>, String, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_phantom-frame"))
        .args(["check", "--pause=0"])
        .args(arguments)
        .current_dir(folder)
        .env("NO_COLOR", "1")
        .output()
        .unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

#[test]
fn check_works_in_an_empty_folder_and_leaves_nothing_behind() {
    let site = Site::with(&[
        ("/", "<h1>Home</h1><a href=/a>a</a><a href=/gone>b</a>"),
        ("/a", "<p>a"),
    ]);
    site.set("/a", "Set-Cookie: id=1\r\n", "<p>a");
    let folder = tempfile::tempdir().unwrap();
    let url = format!("http://{}", site.address);
    let (code, stdout, stderr) = check(folder.path(), &[&url]);
    assert_eq!((code, &*stderr), (Some(0), ""), "{stdout}");
    assert!(
        stdout.contains("\n3 pages: 1 can be stored, 1 cannot, 1 missing\n"),
        "{stdout}"
    );
    assert!(stdout.contains("\nset-cookie: "), "{stdout}");
    assert!(
        stdout.contains("\ncookies: the backend sets the cookie `id`"),
        "{stdout}"
    );
    assert!(
        stdout.contains(&format!("\n  phantom-frame --backend {url} --port ")),
        "{stdout}"
    );
    assert!(
        stdout.contains(&format!("\n  proxy_url = \"{url}\"\n")),
        "{stdout}"
    );
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    // What it says to begin with is a configuration.
    let (_, stdout, _) = check(folder.path(), &["--json", &url]);
    let json: serde_json::Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!(json["pages"][0]["verdict"], "stored");
    std::fs::write(
        folder.path().join("config.toml"),
        json["config"].as_str().unwrap(),
    )
    .unwrap();
    let printed = Command::new(env!("CARGO_BIN_EXE_phantom-frame"))
        .args(["config.toml", "--print-config"])
        .current_dir(folder.path())
        .status();
    assert!(printed.unwrap().success());
}

#[test]
fn check_ends_with_1_where_nothing_can_be_stored_and_with_2_for_what_is_no_url() {
    let site = Site::with(&[]);
    site.set("/", "Cache-Control: no-store\r\n", "<p>a");
    let folder = tempfile::tempdir().unwrap();
    let url = format!("http://{}", site.address);
    assert_eq!(check(folder.path(), &[&url]).0, Some(1));
    for wrong in ["localhost:3000", "/a", "ftp://localhost/"] {
        let (code, _, stderr) = check(folder.path(), &[wrong]);
        assert_eq!(code, Some(2), "{stderr}");
        assert!(stderr.contains("is no URL of a site"), "{stderr}");
    }
}

#[test]
fn what_a_site_says_is_text_in_the_report_and_on_the_terminal() {
    let evil = "</pre><script>alert(1)</script>\u{1b}]0;t\u{7}\u{202e}";
    let site = Site::with(&[("/", "<a href=\"/x?<script>'&amp;\">x</a>")]);
    site.set(
        "/",
        &format!("Vary: X-{}\r\n", "a<b>"),
        &format!("{evil}<a href='/y?\"<img src=x>'>"),
    );
    site.set("/y?%22%3Cimg%20src=x%3E", "Set-Cookie: <b>\u{9b}=1\r\n", "y");
    let folder = tempfile::tempdir().unwrap();
    let url = format!("http://{}", site.address);
    let (_, stdout, stderr) = check(folder.path(), &["--html=report.html", &url]);
    let html = std::fs::read_to_string(folder.path().join("report.html")).unwrap();
    for text in [&stdout, &stderr, &html] {
        let deceptive = |c: char| (c.is_control() && c != '\n') || c == '\u{202e}';
        assert!(!text.contains(deceptive), "{text:?}");
    }
    assert!(
        !html.contains("<script") && !html.contains("<img") && !html.contains("<b>"),
        "{html}"
    );
    assert!(html.contains(&format!("<h1>{url}</h1>")), "{html}");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
}
