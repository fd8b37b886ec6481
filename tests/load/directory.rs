//! A directory of many snapshots, written in its documented form without a server.

use std::fs::{self, File, FileTimes};
use std::io::Write;
use std::path::Path;
use std::time::{Duration, SystemTime};

use crate::server::SITE;

/// So many folders of posts.
const CATEGORIES: usize = 1000;
/// So many bodies, which the pages share by hard links.
const BODIES: usize = 1000;
/// One page in so many is a comment's.
pub(crate) const COMMENTS: usize = 10;
/// The page that is younger than all others, and so the last to make room for them.
pub(crate) const YOUNGEST: usize = 9;

/// The path of a page.
pub(crate) fn path(number: usize) -> String {
    let category = number / COMMENTS % CATEGORIES;
    match number % COMMENTS {
        0 => format!("/blog/category-{category:03}/comments/{number:07}"),
        _ => format!("/blog/category-{category:03}/some-post-{number:07}"),
    }
}

/// What a page says.
pub(crate) fn body(number: usize) -> String {
    format!("<!doctype html><title>{}</title>", number % BODIES)
}

/// Writes the pages with numbers below `count`.
pub(crate) fn fill(dir: &Path, count: usize) {
    const WRITERS: usize = 4;
    let bodies = dir.with_extension("bodies");
    fs::create_dir_all(&bodies).unwrap();
    for number in 0..BODIES {
        fs::write(bodies.join(number.to_string()), body(number)).unwrap();
    }
    for number in 0..CATEGORIES {
        fs::create_dir_all(dir.join(format!("blog/category-{number:03}/comments"))).unwrap();
    }
    std::thread::scope(|scope| {
        for first in 0..WRITERS {
            let bodies = &bodies;
            scope.spawn(move || {
                for number in (first..count).step_by(WRITERS) {
                    write(dir, bodies, number);
                }
            });
        }
    });
    fs::remove_dir_all(bodies).unwrap();
}

fn write(dir: &Path, bodies: &Path, number: usize) {
    let path = path(number);
    let key = format!("GET:{path}");
    let hash = blake3::hash(key.as_bytes()).to_hex();
    let stem = format!("{path}.{}", &hash[..16]);
    let place = |extension: &str| dir.join(format!("{}.{extension}", stem.trim_start_matches('/')));
    let name = place("html");
    fs::hard_link(bodies.join((number % BODIES).to_string()), &name).unwrap();

    let seal = blake3::hash(body(number).as_bytes());
    let text = format!(
        "format = 1\nkey = \"{key}\"\nmethod = \"GET\"\nurl = \"{path}\"\nsite = \"{SITE}\"\nstatus = 200\nheaders = [\n  \
         [\"cache-control\", \"public\"],\n  [\"content-language\", \"en\"],\n  \
         [\"content-type\", \"text/html; charset=utf-8\"],\n  [\"etag\", \"\\\"{number:x}\\\"\"],\n  \
         [\"link\", \"</style.css>; rel=preload; as=style\"],\n  [\"x-powered-by\", \"tests\"],\n]\n\
         body = \"{}\"\nlength = {}\nseal = \"{}\"\n",
        name.file_name().unwrap().to_str().unwrap(),
        body(number).len(),
        seal.to_hex(),
    );
    let mut file = File::create(place("toml")).unwrap();
    file.write_all(text.as_bytes()).unwrap();
    file.set_times(FileTimes::new().set_modified(clock(&seal, number)))
        .unwrap();
}

/// An hour ago, with the mark of this body; half an hour for the page that goes last.
fn clock(seal: &blake3::Hash, number: usize) -> SystemTime {
    let age = if number == YOUNGEST { 1800 } else { 3600 };
    let [a, b, c, d, ..] = *seal.as_bytes();
    let mark = (1 + u32::from_le_bytes([a, b, c, d]) % 9_999_999) * 100;
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    SystemTime::UNIX_EPOCH + Duration::new(now.as_secs() - age, mark)
}
