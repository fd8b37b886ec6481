//! What the frameworks put around a page, as measured on real ones.

use super::{App, Asked, Kind, SECRET};
use crate::rig::Answer;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Framework {
    Django,
    Rails,
    Laravel,
    SvelteKit,
    Astro,
    Nuxt,
    Next,
}

type Fields = Vec<(&'static str, String)>;

impl Framework {
    pub(crate) fn session_cookie(self) -> &'static str {
        match self {
            Self::Django => "sessionid",
            Self::Rails => "_app_session",
            Self::Laravel => "laravel_session",
            Self::SvelteKit => "who",
            Self::Astro => "astro-session",
            Self::Nuxt => "h3",
            Self::Next => "session-token",
        }
    }

    /// Whether the greeting page of a visitor without a session is one that may be kept.
    pub(crate) fn keeps_the_greeting(self) -> bool {
        matches!(self, Self::Django | Self::SvelteKit | Self::Astro)
    }

    /// The cookie that a form's token has to fit, where there is one.
    pub(crate) fn token_cookie(self) -> Option<&'static str> {
        match self {
            Self::Django => Some("csrftoken"),
            Self::Rails => Some("_app_session"),
            Self::Laravel => Some("XSRF-TOKEN"),
            _ => None,
        }
    }

    /// Adds to a page what the framework does.
    pub(super) fn dress(
        self,
        app: &App,
        asked: &Asked<'_>,
        kind: Kind,
        page: &mut String,
        fields: &mut Fields,
    ) {
        match self {
            Self::Django => django(app, asked, kind, page, fields),
            Self::Rails => rails(app, asked, kind, page, fields),
            Self::Laravel => laravel(app, asked, kind, page, fields),
            Self::SvelteKit => {
                fields.push(("ETag", format!("\"{}\"", page.len())));
                if kind == Kind::Greeting {
                    fields.push(("Vary", "Accept".into()));
                }
            }
            Self::Astro => page.push_str("<link rel=preload href=/_server-islands/Greeting>"),
            Self::Nuxt => {
                // useSession sets one on the first read.
                if kind != Kind::Public && asked.cookie("h3").is_none() {
                    fields.push(("Set-Cookie", app.session_line(&app.issue("nobody-h3"))));
                }
            }
            Self::Next => next(kind, fields),
        }
    }

    /// Whether a form comes from a page of ours.
    pub(super) fn believes(self, asked: &Asked<'_>) -> bool {
        match self.token_cookie() {
            Some(cookie) => {
                let form = asked.form();
                let token = form.get("token").map_or("", String::as_str);
                !token.is_empty()
                    && asked
                        .cookie(cookie)
                        .is_some_and(|value| token_for(value) == token)
            }
            // The visitor's own host and scheme, as proxies in front tell them.
            None => {
                asked.field("origin")
                    == format!("{}://{}", asked.field("x-forwarded-proto"), asked.field("host"))
            }
        }
    }

    pub(super) fn elsewhere(self, app: &App, asked: &Asked<'_>) -> Answer {
        let name = asked.who.as_deref().unwrap_or("nobody");
        match (self, asked.request.path()) {
            (Self::SvelteKit, "/__data.json") => Answer::new(200)
                .with("Content-Type", "application/json")
                .with("Cache-Control", "private, no-store")
                .body(format!("{{\"name\":\"{name}\"}}")),
            (Self::Astro, "/_server-islands/Greeting") => Answer::page(format!("<b>{name}</b>")),
            (Self::Nuxt, "/api/me") => Answer::new(200)
                .with("Content-Type", "application/json")
                .body(format!("{{\"name\":\"{name}\"}}")),
            (Self::Nuxt, "/swr") => {
                Answer::page("<p>swr</p>").with("Cache-Control", "s-maxage=60, stale-while-revalidate")
            }
            (Self::Next, "/isr") => {
                let isr = match asked.request.field("rsc") {
                    Some(_) => Answer::new(200)
                        .with("Content-Type", "text/x-component")
                        .body("rsc"),
                    None => Answer::page("<p>isr</p>"),
                };
                isr.with("Cache-Control", "s-maxage=300, stale-while-revalidate=31535700")
                    .with(
                        "Vary",
                        "RSC, Next-Router-State-Tree, Next-Router-Prefetch, Accept-Encoding",
                    )
            }
            _ => self.missing(app, asked),
        }
    }

    fn missing(self, app: &App, asked: &Asked<'_>) -> Answer {
        let wants_html = match self {
            Self::SvelteKit => asked.field("sec-fetch-dest") != "script",
            Self::Nuxt => asked.field("accept").contains("text/html"),
            _ => true,
        };
        if wants_html {
            let who = asked.who.as_deref().unwrap_or("stranger");
            let mut page = format!("<p>Not here, {who}</p>");
            let mut fields = Vec::new();
            self.dress(app, asked, Kind::Greeting, &mut page, &mut fields);
            let answer = Answer::new(404).with("Content-Type", "text/html").body(page);
            return fields
                .into_iter()
                .fold(answer, |answer, (name, value)| answer.with(name, &value));
        }
        let answer = Answer::new(404)
            .with("Content-Type", "application/json")
            .body("{\"missing\":true}");
        match self {
            Self::SvelteKit => answer.with("Vary", "Sec-Fetch-Dest"),
            _ => answer.with("Cache-Control", "no-cache"),
        }
    }
}

/// A token masks the secret in the cookie: another each time, of which the first part is what counts here.
fn token_for(cookie: &str) -> String {
    format!("token-{cookie}")
}

fn form(page: &mut String, cookie: &str) {
    page.push_str(&format!("<input type=hidden value=\"{}\">", token_for(cookie)));
}

fn django(app: &App, asked: &Asked<'_>, kind: Kind, page: &mut String, fields: &mut Fields) {
    if kind != Kind::Public {
        fields.push(("Vary", "Cookie".into()));
    }
    fields.push(("Vary", "Accept-Language".into()));
    if matches!(kind, Kind::Form | Kind::Login) {
        let secret = asked
            .cookie("csrftoken")
            .map_or_else(|| app.issue("csrf"), str::to_owned);
        form(page, &secret);
        fields.push((
            "Set-Cookie",
            format!("csrftoken={secret}; Max-Age=31449600; Path=/; SameSite=Lax"),
        ));
    }
    if kind == Kind::Login {
        fields.push((
            "Cache-Control",
            "max-age=0, no-cache, no-store, must-revalidate, private".into(),
        ));
    }
    if asked.field("accept-encoding").contains("gzip") {
        // Against BREACH: another length each time.
        page.push_str(&"x".repeat(app.issue("padding").len() % 7));
    }
}

fn rails(app: &App, asked: &Asked<'_>, kind: Kind, page: &mut String, fields: &mut Fields) {
    if kind == Kind::Public {
        fields.push(("Cache-Control", "public, max-age=300".into()));
        return;
    }
    // The session is in the cookie, and the cookie another each time: what is in it stays.
    let session = asked
        .cookie("_app_session")
        .map_or_else(|| app.issue("nobody-rails"), str::to_owned);
    let renewed = format!(
        "{}.{}",
        session.split('.').next().unwrap_or(""),
        app.issue("slide")
    );
    let known = app.state().sessions.get(&session).cloned();
    if let Some(name) = known {
        app.state().sessions.insert(renewed.clone(), name);
    }
    form(page, &renewed);
    fields.push(("Set-Cookie", app.session_line(&renewed)));
    fields.push(("ETag", format!("W/\"{SECRET}-{}\"", page.len())));
    fields.push(("Cache-Control", "max-age=0, private, must-revalidate".into()));
}

fn laravel(app: &App, asked: &Asked<'_>, kind: Kind, page: &mut String, fields: &mut Fields) {
    if kind == Kind::Public {
        fields.push(("Cache-Control", "max-age=300, public".into()));
        return;
    }
    let session = asked
        .cookie("laravel_session")
        .map_or_else(|| app.issue("nobody-laravel"), str::to_owned);
    let token = asked
        .cookie("XSRF-TOKEN")
        .map_or_else(|| app.issue("xsrf"), str::to_owned);
    form(page, &token);
    fields.push(("Cache-Control", "no-cache, private".into()));
    fields.push(("Set-Cookie", format!("XSRF-TOKEN={token}; Max-Age=7200; Path=/")));
    fields.push(("Set-Cookie", app.session_line(&session)));
}

fn next(kind: Kind, fields: &mut Fields) {
    fields.push((
        "Vary",
        "RSC, Next-Router-State-Tree, Next-Router-Prefetch, Accept-Encoding".into(),
    ));
    let control = match kind {
        Kind::Public => "s-maxage=31536000",
        _ => "private, no-cache, no-store, max-age=0, must-revalidate",
    };
    fields.push(("Cache-Control", control.into()));
}
