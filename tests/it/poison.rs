//! Whatever a visitor sends, the next one gets the page of nobody: the page that a bare visitor's fill
//! brings on a cold proxy. The backend echoes every byte it is sent, in the page and in a field.

mod bodies;
mod fields;
mod hosts;
mod targets;

use std::collections::BTreeMap;

use phantom_frame::Durability;
use phantom_frame::defaults::{BYPASS_HEADERS, PRESET_HEADERS};

use crate::rig::client::{Connection, Request};
use crate::rig::{Answer, Backend, Proxy, Response, Setup, get, remove_all};

/// What nobody but an attacker sends.
const POISON: &str = "p0is0n";

/// A backend whose answers say all that it was asked.
async fn echo() -> Backend {
    let backend = Backend::start().await;
    backend.fallback(|request| {
        let head = String::from_utf8_lossy(&request.raw_head).into_owned();
        Answer::page(format!("{head}{}", request.text()))
            .with("X-Echo", &head.trim_end().replace("\r\n", " | "))
    });
    backend
}

/// Without syncs: these tests write thousands of pages.
fn over(backend: &Backend) -> Setup {
    Setup::over(backend).with(|settings| settings.durability = Durability::None)
}

/// The names in `fields.txt`.
fn field_names() -> Vec<&'static str> {
    let lines = include_str!("poison/fields.txt").lines();
    lines
        .filter(|line| !line.is_empty() && !line.starts_with("# "))
        .collect()
}

fn is_in(list: &[&str], name: &str) -> bool {
    list.contains(&name.to_ascii_lowercase().as_str())
}

/// The names that make nobody somebody and select no variant.
fn plain_names() -> Vec<&'static str> {
    let mut names = field_names();
    names.retain(|name| !is_in(BYPASS_HEADERS, name) && !is_in(PRESET_HEADERS, name));
    names
}

/// All of a response that is the page's, and not this answer's.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Page {
    status: u16,
    fields: Vec<(String, String)>,
    body: String,
}

impl Page {
    /// The same page at another address. Its tag and its length are the bytes' own.
    fn at(&self, here: &str, there: &str) -> Self {
        let mut page = self.clone();
        page.body = page.body.replacen(here, there, 1);
        for (name, value) in &mut page.fields {
            match name.as_str() {
                "x-echo" => *value = value.replacen(here, there, 1),
                "etag" => {
                    let hash = blake3::hash(page.body.as_bytes()).to_hex();
                    *value = format!("\"{}\"", &hash[..32]);
                }
                "content-length" => *value = page.body.len().to_string(),
                _ => {}
            }
        }
        page
    }

    fn of(response: &Response) -> Self {
        let mut fields = response.fields.0.clone();
        fields.retain(|(name, _)| {
            let of_the_answer = ["date", "age", "cache-status"];
            !is_in(&of_the_answer, name)
        });
        Self {
            status: response.status,
            fields,
            body: response.text(),
        }
    }
}

/// What a bare visitor gets: a page that is stored by then at the latest, and a hit.
async fn bare(connection: &mut Connection, request: &Request) -> Page {
    let first = connection.send(request).await;
    let second = connection.send(request).await;
    second.assert_hit();
    assert_eq!(first.body, second.body, "{first:?}");
    assert_eq!(first.field("x-echo"), second.field("x-echo"), "{first:?}");
    for response in [&first, &second] {
        assert!(!format!("{response:?}").contains(POISON), "{response:?}");
    }
    Page::of(&second)
}

/// The pages of nobody: each target filled by a bare visitor, and then forgotten with all of the directory.
async fn pages_of_nobody(proxy: &mut Proxy, targets: &[String]) -> BTreeMap<String, Page> {
    let mut pages = BTreeMap::new();
    let mut connection = proxy.client().connect().await;
    for target in targets {
        pages.insert(target.clone(), bare(&mut connection, &get(target)).await);
    }
    drop(connection);
    proxy.stop().await;
    // The directory's id stays: it is in the page, by way of Via.
    let id = std::fs::read(proxy.dir().join(".phantom/id")).expect("the directory's id");
    // What watches the directory may write its marker again, for a moment.
    remove_all(&proxy.dir()).await;
    std::fs::create_dir_all(proxy.dir().join(".phantom")).expect("a directory");
    std::fs::write(proxy.dir().join(".phantom/id"), id).expect("the id can be written");
    proxy.start_again().await;
    pages
}

/// One visitor sends this to a cold page; the next gets the page of nobody, and nothing is left of the first
/// on disk. What the first one got.
async fn poisoned(proxy: &mut Proxy, target: &str, poison: impl AsyncFnOnce(&Proxy) -> Response) -> Response {
    let nobody = pages_of_nobody(proxy, &[target.to_owned()]).await;
    let response = poison(proxy).await;
    let mut next = proxy.client().connect().await;
    let page = bare(&mut next, &get(target)).await;
    assert_eq!(page, nobody[target], "after {response:?}");
    assert_eq!(proxy.files_with(POISON), [""; 0], "after {response:?}");
    response
}
