//! What each command has a server do.

use std::fs;
use std::io::Write as _;
use std::net::TcpListener;
use std::process::{Command, Stdio};

use serde_json::Value;

use super::{BINARY, Served, World, assert_code};
use crate::prerender::{Site, stderr, stdout};
use crate::{GET, PAGE, Running, ask, event, read_head, rest};

#[test]
fn what_is_removed_is_gone_when_the_command_ends() {
    let world = World::new();
    let server = Served::start(&world, &[]);
    for path in ["/a", "/b"] {
        server.get(path);
        assert!(server.is_hit(path), "{path}");
    }
    world.site.asked();

    let listed = world.run(&["rm", "*", "--dry-run"]);
    assert_code(&listed, 0);
    assert!(stdout(&listed).ends_with("would remove 2 snapshots of 2 pages, 2 B\n"));
    assert!(!stderr(&listed).contains("server"), "{}", stderr(&listed));
    assert!(server.is_hit("/a"));

    let removed = world.run(&["rm", "/a"]);
    assert_code(&removed, 0);
    assert_eq!(stdout(&removed), "removed 1 snapshot of 1 page, 1 B\n");
    assert!(stderr(&removed).contains(&server.note()), "{}", stderr(&removed));
    assert!(!server.is_hit("/a"));
    assert_eq!(world.site.asked(), ["/a"]);
    assert!(server.is_hit("/b"), "it did not match");

    // Pinned pages go too: who runs the command says so.
    let removed = world.run(&["rm", "*", "--json"]);
    assert_code(&removed, 0);
    let json: Value = serde_json::from_slice(&removed.stdout).unwrap();
    assert_eq!(
        (&json["pages"], &json["failed"]),
        (&2.into(), &Value::Array(vec![]))
    );
    for path in ["/a", "/b"] {
        assert!(server.get(path).contains("fwd=uri-miss"), "{path}");
    }
    let nothing = world.run(&["rm", "/nowhere"]);
    assert_code(&nothing, 0);
    assert_eq!(stdout(&nothing), "nothing matches\n");
    let wrong = world.run(&["rm", "no pattern\n"]);
    assert_code(&wrong, 2);
    assert!(stderr(&wrong).contains("is not a pattern"), "{}", stderr(&wrong));
}

#[test]
fn hand_edits_are_moved_aside_even_if_their_time_says_nothing() {
    let world = World::new();
    let server = Served::start(&world, &[]);
    server.get("/a");
    let body = world.file("a", ".html");
    let time = fs::metadata(&body).unwrap().modified().unwrap();
    fs::write(&body, "by hand").unwrap();
    let file = fs::File::options().write(true).open(&body).unwrap();
    file.set_modified(time).unwrap();

    assert_code(&world.run(&["rm", "/a"]), 0);

    assert!(!body.exists());
    let mut displaced = fs::read_dir(world.dir.path().join(".phantom/displaced")).unwrap();
    let kept = displaced.next().unwrap().unwrap().path();
    assert_eq!(fs::read_to_string(kept).unwrap(), "by hand");
    drop(server);
}

#[test]
fn what_is_being_fetched_when_it_is_removed_is_not_stored() {
    let server = Running::start("1s");
    let remove = || {
        Command::new(BINARY)
            .args(["rm", "*", "--snapshots"])
            .arg(server.dir.path())
            .output()
            .unwrap()
    };
    let fetch = |meanwhile: &dyn Fn()| {
        let (mut client, mut backend) = server.request();
        meanwhile();
        backend.write_all(PAGE).unwrap();
        drop(backend);
        assert!(rest(&mut client).ends_with("page"));
        let stored = GET.replace("Connection", "Cache-Control: only-if-cached\r\nConnection");
        ask(&server.address, stored)
    };
    let stored = fetch(&|| {});
    assert!(stored.contains(";hit"), "{stored}");
    assert_code(&remove(), 0);

    let stored = fetch(&|| {
        let nothing = remove();
        assert_eq!(stdout(&nothing), "nothing matches\n", "{}", stderr(&nothing));
    });
    assert!(stored.starts_with("HTTP/1.1 504"), "{stored}");
}

#[test]
fn a_tombstone_answers_at_once() {
    let world = World::new();
    let server = Served::start(&world, &[]);
    server.get("/a");
    assert!(server.is_hit("/a"));
    world.site.asked();

    let placed = world.run(&["tombstone", "/a"]);
    assert_code(&placed, 0);
    assert!(stdout(&placed).starts_with("a."), "{}", stdout(&placed));
    assert!(stderr(&placed).contains(&server.note()), "{}", stderr(&placed));
    assert!(server.get("/a").starts_with("HTTP/1.1 410"));
    let moved = world.run(&["tombstone", "/new", "--status=301", "--location=/b", "--json"]);
    assert_code(&moved, 0);
    let json: Value = serde_json::from_slice(&moved.stdout).unwrap();
    assert!(json["file"].as_str().unwrap().starts_with("new."), "{json}");
    assert!(server.get("/new").contains("location: /b"));
    assert_eq!(world.site.asked(), [""; 0]);

    let wrong = world.run(&["tombstone", "https://else.test/a"]);
    assert_code(&wrong, 2);
}

#[test]
fn a_server_prerenders_in_the_commands_place() {
    let world = World::new();
    let server = Served::start(&world, &[]);

    let run = world.run(&["prerender", "--crawl", "--concurrency=1"]);
    assert_code(&run, 0);
    assert_eq!(world.site.asked(), ["/", "/a", "/cart", "/gone"]);
    let text = stdout(&run);
    assert!(text.contains(": 2 new, 1 not stored, 1 missing\n"), "{text}");
    assert!(text.contains("/gone  404  (found on /)"), "{text}");
    let lines = stderr(&run);
    assert!(lines.contains("new        200  /a\n"), "{lines}");
    assert!(lines.contains(&server.note()), "{lines}");
    assert!(server.is_hit("/") && server.is_hit("/a"));
    assert_eq!(world.site.asked(), [""; 0]);

    // Of these two one is stored, and one is not there.
    let failed = world.run(&["prerender", "/a", "/gone", "--json", "--missing"]);
    assert_code(&failed, 1);
    assert_eq!(world.site.asked(), ["/gone"]);
    let json: Value = serde_json::from_slice(&failed.stdout).unwrap();
    assert_eq!(
        (&json["summary"]["kept"], &json["summary"]["failed"]),
        (&1.into(), &1.into())
    );
    assert_eq!(json["pages"][1]["became"], "missing");

    let wrong = world.run(&["prerender", "https://else.test/"]);
    assert_code(&wrong, 2);
    assert_eq!(world.site.asked(), [""; 0]);
}

#[test]
fn who_is_interrupted_has_the_server_stop_too() {
    let backend = TcpListener::bind("127.0.0.1:0").unwrap();
    let world = World {
        site: Site {
            address: backend.local_addr().unwrap(),
            ..Site::start()
        },
        ..World::new()
    };
    let mut server = Served::start(&world, &[]);
    let mut command = Command::new(BINARY)
        .args(["prerender", "/a", "/b", "--concurrency=1"])
        .args(world.flags())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let accept = || {
        loop {
            let (mut stream, _) = backend.accept().unwrap();
            let head = read_head(&mut stream);
            if !head.is_empty() {
                return (stream, head);
            }
        }
    };
    let (mut stream, head) = accept();
    assert!(head.starts_with("GET /a "), "{head}");
    let kill = format!("kill -INT {}", command.id());
    assert!(Command::new("sh").args(["-c", &kill]).status().unwrap().success());
    assert_eq!(command.wait().unwrap().code(), Some(130));
    event(&mut server.log, "nobody waits for the command any more");
    stream.write_all(PAGE).unwrap();

    let address = server.address.clone();
    std::thread::spawn(move || {
        ask(
            &address,
            "GET /c HTTP/1.1\r\nHost: example.com\r\nConnection: close\r\n\r\n",
        )
    });
    let mut next = read_head(&mut stream);
    if next.is_empty() {
        next = accept().1;
    }
    assert!(next.starts_with("GET /c "), "{next}");
}

#[test]
fn hand_edits_are_sealed_and_served() {
    let world = World::new();
    let server = Served::start(&world, &[]);
    server.get("/a");
    fs::write(world.file("a", ".html"), "by hand").unwrap();
    world.site.asked();

    let sealed = world.run(&["reseal"]);
    assert_code(&sealed, 0);
    let text = stdout(&sealed);
    assert!(
        text.starts_with("resealed GET:/a  a.") && text.ends_with("  7 B\n"),
        "{text}"
    );
    assert!(stderr(&sealed).contains(&server.note()), "{}", stderr(&sealed));
    let answer = server.get("/a");
    assert!(answer.contains(";hit") && answer.ends_with("by hand"), "{answer}");
    assert_eq!(world.site.asked(), [""; 0]);

    let again = world.run(&["reseal", "/a"]);
    assert_eq!(stdout(&again), "nothing was changed by hand\n");
}

#[test]
fn what_is_accepted_the_server_stores() {
    let world = World::new();
    let server = Served::start(&world, &[]);
    for path in ["/", "/a", "/b"] {
        server.get(path);
    }
    let changes = [("/a".to_owned(), "/b"), ("/b".to_owned(), "/gone")];
    world.site.changed.lock().unwrap().extend(changes);
    world.site.asked();

    let accepted = world.run(&["accept", "--concurrency=1"]);
    assert_code(&accepted, 0);
    let text = stdout(&accepted);
    assert!(
        text.contains("accepted    /a") && text.contains("removed     /b"),
        "{text}"
    );
    assert!(text.contains("3 pages: 1 same, 1 changed, 1 gone"), "{text}");
    assert!(
        stderr(&accepted).contains(&server.note()),
        "{}",
        stderr(&accepted)
    );
    // What differs once more, by the server.
    let mut asked = world.site.asked();
    asked.sort();
    assert_eq!(asked, ["/", "/a", "/a", "/b", "/b"]);
    let answer = server.get("/a");
    assert!(
        answer.contains(";hit") && answer.ends_with("\r\n\r\nb"),
        "{answer}"
    );
    assert!(server.get("/b").starts_with("HTTP/1.1 404"));
    assert!(world.find("b", ".html").is_none());
}

#[test]
fn a_server_sweeps_when_it_is_told() {
    let world = World::new();
    let server = Served::start(&world, &[]);
    server.get("/a");
    let orphan = world
        .dir
        .path()
        .join(".phantom/pending/x.00000000000000aa.00000000000000bb");
    fs::create_dir_all(orphan.parent().unwrap()).unwrap();
    fs::write(&orphan, "left by a crash").unwrap();

    let swept = world.run(&["gc"]);
    assert_code(&swept, 0);
    assert_eq!(stdout(&swept), "1 snapshot stored\n");
    assert!(stderr(&swept).contains(&server.note()), "{}", stderr(&swept));
    assert!(!orphan.exists());
    assert!(server.is_hit("/a"));
}

#[test]
fn an_edit_that_cannot_be_moved_aside_stays_where_it_is() {
    let world = World::new();
    let server = Served::start(&world, &[]);
    server.get("/a");
    let body = world.file("a", ".html");
    let time = fs::metadata(&body).unwrap().modified().unwrap();
    fs::write(&body, "X").unwrap();
    fs::File::options()
        .write(true)
        .open(&body)
        .unwrap()
        .set_modified(time)
        .unwrap();
    let displaced = world.dir.path().join(".phantom/displaced");
    let _ = fs::remove_dir_all(&displaced);
    fs::write(&displaced, "in the way").unwrap();

    let removed = world.run(&["rm", "/a"]);
    assert_code(&removed, 1);
    assert!(stderr(&removed).contains(&server.note()), "{}", stderr(&removed));
    assert_eq!(fs::read(&body).unwrap(), b"X");
}
