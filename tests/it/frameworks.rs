//! Applications that behave as the frameworks do in what a cache has to go by: cookies, `Vary`,
//! `Cache-Control`, tokens, origin checks. The same little site in each.
//!
//! `/about` is the public page, and reads theme and language from cookies without saying so; `/` greets; `/account` is for who
//! signed in; `/guestbook` has a form; `/magic/…` and `/enter?token=…` sign in once. What is somebody's is spelled with
//! [`SECRET`] in it.

mod manners;

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

pub(crate) use manners::Framework;

use crate::rig::{Answer, Backend, Recorded};

/// In every name, session, token and message of a person.
pub(crate) const SECRET: &str = "s3cr3t-of";
/// The links that sign Alice in, each once.
pub(crate) const MAGIC: [&str; 2] = ["/magic/abc123", "/enter?token=abc123"];

#[derive(Default)]
struct State {
    /// Who signed in, by session.
    sessions: BTreeMap<String, String>,
    entries: Vec<String>,
    used: Vec<String>,
    issued: usize,
}

/// One of the applications, behind a scripted backend.
pub(crate) struct App {
    framework: Framework,
    state: Mutex<State>,
}

/// What an application knows of a request.
struct Asked<'a> {
    request: &'a Recorded,
    cookies: BTreeMap<String, String>,
    /// The one who signed in.
    who: Option<String>,
}

/// What a page is, for the fields that frameworks set by that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// Has nothing of the session.
    Public,
    /// Has looked at the session.
    Greeting,
    /// Is only for those who signed in.
    Private,
    /// Has a form with a token.
    Form,
    /// Is the form to sign in.
    Login,
}

impl App {
    pub(crate) async fn start(framework: Framework) -> Backend {
        let app = Self {
            framework,
            state: Mutex::default(),
        };
        let backend = Backend::start().await;
        backend.fallback(move |request| app.answer(request));
        backend
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn issue(&self, what: &str) -> String {
        let mut state = self.state();
        state.issued += 1;
        format!("{SECRET}-{what}-{}", state.issued)
    }

    fn answer(&self, request: &Recorded) -> Answer {
        let asked = self.asked(request);
        match (request.method.as_str(), request.path()) {
            ("POST", "/login" | "/logout" | "/guestbook" | "/entries" | "/theme" | "/language") => {
                self.submitted(&asked)
            }
            (_, "/about") => {
                let theme = asked.cookie("theme").unwrap_or("light");
                let language = asked.cookie("language").unwrap_or("en");
                self.page(&asked, Kind::Public, &format!("About, {theme}, {language}"))
            }
            (_, "/") => {
                let text = match &asked.who {
                    Some(name) => format!("Hello, {name}"),
                    None => "Hello, stranger".to_owned(),
                };
                self.page(&asked, Kind::Greeting, &text)
            }
            (_, "/account") => match &asked.who {
                Some(name) => self.page(&asked, Kind::Private, &format!("The account of {name}")),
                None => found("/login"),
            },
            (_, "/login") => self.page(&asked, Kind::Login, "Sign in"),
            (_, "/guestbook") => {
                let entries = self.state().entries.join("; ");
                self.page(&asked, Kind::Form, &format!("Guestbook: {entries}"))
            }
            (_, path) if path.starts_with("/magic/") || path == "/enter" => self.magic(&asked),
            _ => self.framework.elsewhere(self, &asked),
        }
    }

    fn asked<'a>(&self, request: &'a Recorded) -> Asked<'a> {
        let lines = request.fields.all("cookie").join("; ");
        let pairs = lines.split(';').filter_map(|pair| pair.trim().split_once('='));
        let cookies: BTreeMap<_, _> = pairs
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect();
        let session = cookies.get(self.framework.session_cookie());
        let who = session.and_then(|session| self.state().sessions.get(session).cloned());
        Asked {
            request,
            cookies,
            who,
        }
    }

    /// A page in the framework's manner, around this text.
    fn page(&self, asked: &Asked<'_>, kind: Kind, text: &str) -> Answer {
        let message = asked.cookie("messages").unwrap_or("");
        let mut page = format!("<p>{text}</p><p>{message}</p>");
        let mut fields = Vec::new();
        if !message.is_empty() {
            fields.push(("Set-Cookie", "messages=; Max-Age=0; Path=/".to_owned()));
        }
        self.framework.dress(self, asked, kind, &mut page, &mut fields);
        let answer = match self.framework {
            Framework::Astro => Answer::page(page).chunked(),
            _ => Answer::page(page),
        };
        fields
            .into_iter()
            .fold(answer, |answer, (name, value)| answer.with(name, &value))
    }

    /// Opens a session, as a cookie to be set.
    fn sign_in(&self, name: &str) -> String {
        let session = self.issue(&format!("{name}-session"));
        self.state()
            .sessions
            .insert(session.clone(), format!("{SECRET}-{name}"));
        self.session_line(&session)
    }

    fn session_line(&self, session: &str) -> String {
        format!(
            "{}={session}; Path=/; HttpOnly; SameSite=Lax",
            self.framework.session_cookie()
        )
    }

    fn submitted(&self, asked: &Asked<'_>) -> Answer {
        if !self.framework.believes(asked) {
            return Answer::new(403).body("the form is not from here");
        }
        let form = asked.form();
        let value = |name: &str| form.get(name).cloned().unwrap_or_default();
        match asked.request.path() {
            "/login" => found("/account").with("Set-Cookie", &self.sign_in(&value("name"))),
            "/logout" => {
                if let Some(session) = asked.cookie(self.framework.session_cookie()) {
                    self.state().sessions.remove(session);
                }
                let gone = format!("{}=; Max-Age=0; Path=/", self.framework.session_cookie());
                found("/").with("Set-Cookie", &gone)
            }
            "/guestbook" | "/entries" => {
                self.state().entries.push(value("entry"));
                let answer = found("/guestbook");
                match self.framework {
                    Framework::Django => {
                        answer.with("Set-Cookie", &format!("messages={SECRET}-thanks; Path=/"))
                    }
                    _ => answer,
                }
            }
            preference => {
                let name = preference.trim_start_matches('/');
                found("/about").with("Set-Cookie", &format!("{name}={}; Path=/", value("value")))
            }
        }
    }

    fn magic(&self, asked: &Asked<'_>) -> Answer {
        let link = asked.request.target.clone();
        if self.state().used.contains(&link) {
            return Answer::new(410).with("Content-Type", "text/html").body("used");
        }
        self.state().used.push(link);
        found("/account").with("Set-Cookie", &self.sign_in("alice"))
    }
}

impl Asked<'_> {
    fn cookie(&self, name: &str) -> Option<&str> {
        self.cookies.get(name).map(String::as_str)
    }

    fn form(&self) -> BTreeMap<String, String> {
        let text = self.request.text();
        let pairs = text.split('&').filter_map(|pair| pair.split_once('='));
        pairs
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect()
    }

    fn field(&self, name: &str) -> &str {
        self.request.field(name).unwrap_or("")
    }
}

fn found(location: &str) -> Answer {
    Answer::new(302).with("Location", location)
}
