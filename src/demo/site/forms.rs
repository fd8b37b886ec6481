//! What visitors send: the guestbook, and a sign-in with a session cookie.

use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasher, Hasher, RandomState};

use axum::Form;
use axum::extract::State;
use axum::http::header::{COOKIE, SET_COOKIE};
use axum::http::{HeaderMap, HeaderName, StatusCode};
use axum::response::{Html, IntoResponse, Redirect, Response};

use super::{Shared, pages};

const ENTRIES: usize = 50;
const SESSIONS: usize = 1000;
const NAME_CHARS: usize = 40;
const MESSAGE_CHARS: usize = 280;
const CLEAR_SITE_DATA: HeaderName = HeaderName::from_static("clear-site-data");
const SESSION_COOKIE: &str = "hut_session";

/// A form's fields, as typed.
type Fields = Form<HashMap<String, String>>;

pub(super) struct Entry {
    pub(super) name: String,
    pub(super) message: String,
}

/// The newest entries, newest first.
pub(super) struct Guestbook(VecDeque<Entry>);

impl Guestbook {
    fn add(&mut self, name: String, message: String) {
        self.0.push_front(Entry { name, message });
        self.0.truncate(ENTRIES);
    }
}

impl Default for Guestbook {
    fn default() -> Self {
        let entry = |name: &str, message: &str| Entry {
            name: name.into(),
            message: message.into(),
        };
        Self(VecDeque::from([
            entry(
                "Ines & Paul",
                "Came up in fog, left above it. Thank you for drying our boots.",
            ),
            entry(
                "Group 4, Scouts of Oberau",
                "We counted 61 marmots. Jakob says 62.",
            ),
            entry(
                "M. Tischler",
                "The plum dumplings are worth every one of the 1,140 metres.",
            ),
        ]))
    }
}

/// Who is signed in, oldest first.
#[derive(Default)]
pub(super) struct Sessions(VecDeque<(String, String)>);

impl Sessions {
    fn open(&mut self, name: String) -> String {
        // Keyed from the system's randomness, twice: enough for a demo that listens on loopback only.
        let half = || RandomState::new().build_hasher().finish();
        let token = format!("{:016x}{:016x}", half(), half());
        self.0.push_back((token.clone(), name));
        if self.0.len() > SESSIONS {
            self.0.pop_front();
        }
        token
    }

    fn name(&self, token: &str) -> Option<&str> {
        let (_, name) = self.0.iter().find(|(known, _)| known == token)?;
        Some(name)
    }

    fn close(&mut self, token: &str) {
        self.0.retain(|(known, _)| known != token);
    }
}

pub(super) async fn guestbook(State(site): Shared) -> Html<String> {
    let edition = site.render("/guestbook").await;
    let contents = site.contents();
    Html(pages::guestbook(contents.guestbook.0.iter(), edition))
}

pub(super) async fn sign(State(site): Shared, Form(fields): Fields) -> Response {
    let (name, message) = (
        field(&fields, "name", NAME_CHARS),
        field(&fields, "message", MESSAGE_CHARS),
    );
    if name.is_empty() || message.is_empty() {
        return (StatusCode::UNPROCESSABLE_ENTITY, Html(pages::incomplete_entry())).into_response();
    }
    site.contents().guestbook.add(name, message);
    Redirect::to("/guestbook").into_response()
}

pub(super) async fn login(State(site): Shared) -> Html<String> {
    site.render("/login").await;
    Html(pages::login())
}

pub(super) async fn sign_in(State(site): Shared, Form(fields): Fields) -> Response {
    let name = field(&fields, "name", NAME_CHARS);
    if name.is_empty() {
        return Redirect::to("/login").into_response();
    }
    let token = site.contents().sessions.open(name);
    let cookie = format!("{SESSION_COOKIE}={token}; Path=/; HttpOnly; SameSite=Lax");
    ([(SET_COOKIE, cookie)], Redirect::to("/account")).into_response()
}

pub(super) async fn account(State(site): Shared, headers: HeaderMap) -> Response {
    let name = session(&headers).and_then(|token| site.contents().sessions.name(token).map(str::to_owned));
    let Some(name) = name else {
        return Redirect::to("/login").into_response();
    };
    site.render("/account").await;
    Html(pages::account(&name)).into_response()
}

pub(super) async fn sign_out(State(site): Shared, headers: HeaderMap) -> Response {
    if let Some(token) = session(&headers) {
        site.contents().sessions.close(token);
    }
    let cookie = format!("{SESSION_COOKIE}=; Path=/; HttpOnly; SameSite=Lax; Max-Age=0");
    // Nor does the browser keep what she saw, for whoever sits there next.
    let forget = (CLEAR_SITE_DATA, "\"cache\"".to_owned());
    ([(SET_COOKIE, cookie), forget], Redirect::to("/")).into_response()
}

fn field(fields: &HashMap<String, String>, name: &str, chars: usize) -> String {
    let text = fields.get(name).map_or("", |text| text.trim());
    text.chars().take(chars).collect()
}

fn session(headers: &HeaderMap) -> Option<&str> {
    headers
        .get_all(COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .find_map(|(name, value)| (name == SESSION_COOKIE).then_some(value))
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use axum::http::Request;

    use super::super::tests::{Answer, ask, get, post};
    use super::super::{Pace, Site};
    use super::*;

    async fn get_with(site: &Site, path: &str, cookie: &str) -> Answer {
        let request = Request::get(path).header(COOKIE, cookie);
        ask(site, request.body(Body::empty()).unwrap()).await
    }

    #[tokio::test]
    async fn an_entry_appears_in_the_guestbook_with_its_markup_escaped() {
        let site = Site::new(Pace::Instant);
        let answer = post(
            &site,
            "/guestbook",
            "name=%3Cb%3EEve%22&message=%3Cscript%3E%26%27",
        )
        .await;
        assert_eq!(answer.status, StatusCode::SEE_OTHER);
        assert_eq!(answer.header("location"), "/guestbook");
        let page = get(&site, "/guestbook").await.body;
        assert!(page.contains("&lt;b&gt;Eve&quot;"), "{page}");
        assert!(page.contains("&lt;script&gt;&amp;&#39;"));
        assert!(!page.contains("<b>Eve"));
    }

    #[tokio::test]
    async fn an_entry_without_a_message_is_refused_and_an_overlong_one_cut() {
        let site = Site::new(Pace::Instant);
        let before = get(&site, "/guestbook").await.body;
        let answer = post(&site, "/guestbook", "name=Eve&message=+").await;
        assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY);
        assert_eq!(get(&site, "/guestbook").await.body, before);
        post(
            &site,
            "/guestbook",
            &format!("name=Eve&message={}", "x".repeat(4000)),
        )
        .await;
        let page = get(&site, "/guestbook").await.body;
        assert!(page.contains(&"x".repeat(MESSAGE_CHARS)));
        assert!(!page.contains(&"x".repeat(MESSAGE_CHARS + 1)));
    }

    #[tokio::test]
    async fn the_guestbook_keeps_the_newest_entries_only() {
        let site = Site::new(Pace::Instant);
        for n in 0..ENTRIES + 7 {
            post(&site, "/guestbook", &format!("name=Visitor&message=entry-{n}.")).await;
        }
        let page = get(&site, "/guestbook").await.body;
        assert_eq!(page.matches("entry-").count(), ENTRIES);
        assert!(page.contains("entry-56.") && !page.contains("entry-6."));
    }

    #[tokio::test]
    async fn the_account_greets_who_signed_in_and_sends_everybody_else_to_the_form() {
        let site = Site::new(Pace::Instant);
        let anonymous = get(&site, "/account").await;
        assert_eq!(anonymous.status, StatusCode::SEE_OTHER);
        assert_eq!(anonymous.header("location"), "/login");

        let signed_in = post(&site, "/login", "name=Alice").await;
        assert_eq!(signed_in.status, StatusCode::SEE_OTHER);
        let set_cookie = signed_in.header("set-cookie").to_owned();
        assert!(set_cookie.contains("HttpOnly"));
        let cookie = set_cookie.split(';').next().unwrap();
        let account = get_with(&site, "/account", &format!("theme=dark; {cookie}")).await;
        assert!(account.body.contains("Hello, Alice"));

        let guessed = get_with(&site, "/account", "hut_session=0").await;
        assert_eq!(guessed.status, StatusCode::SEE_OTHER);
        let out = get_with(&site, "/logout", cookie).await;
        assert_eq!(out.header("clear-site-data"), "\"cache\"");
        let left = get_with(&site, "/account", cookie).await;
        assert_eq!(left.status, StatusCode::SEE_OTHER);
    }
}
