//! What is somebody's stays theirs: in front of applications that behave as the frameworks do, no byte of
//! Alice's page, cookie or token is on disk, in a log, or in another's answer.

#[cfg(feature = "demo")]
mod demo;
mod everyone;
mod signing;
mod visitors;

use phantom_frame::Settings;

use crate::frameworks::{App, Framework, SECRET};
use crate::rig::client::Client;
use crate::rig::log::Log;
use crate::rig::visitor::Visitor;
use crate::rig::{Backend, Proxy, Response, Setup};

macro_rules! in_front_of {
    ($($module:ident = $framework:ident),+ $(,)?) => { $(
        mod $module {
            use super::{everyone, signing, visitors};
            use crate::frameworks::Framework;

            const FRAMEWORK: Framework = Framework::$framework;

            #[tokio::test]
            async fn everyone_gets_their_own_pages_in_every_order() {
                everyone::in_every_order(FRAMEWORK).await;
            }

            #[tokio::test]
            async fn everyone_gets_their_own_pages_at_once() {
                everyone::at_once(FRAMEWORK).await;
            }

            #[tokio::test]
            async fn who_signed_in_before_the_proxy_started_is_known_at_once() {
                everyone::known_before(FRAMEWORK).await;
            }

            #[tokio::test]
            async fn the_public_page_is_a_hit_for_visitors_with_harmless_cookies() {
                visitors::harmless_cookies(FRAMEWORK).await;
            }

            #[tokio::test]
            async fn theme_and_language_are_each_visitor_s_own() {
                visitors::preferences(FRAMEWORK).await;
            }

            #[tokio::test]
            async fn theme_and_language_in_the_key_are_stored_by_value() {
                visitors::keyed_preferences(FRAMEWORK).await;
            }

            #[tokio::test]
            async fn a_form_is_accepted_and_its_page_shows_the_result_at_once() {
                visitors::forms(FRAMEWORK).await;
            }

            #[tokio::test]
            async fn a_form_shows_its_result_where_it_leads() {
                visitors::led_elsewhere(FRAMEWORK).await;
            }

            #[tokio::test]
            async fn a_form_stays_good_while_other_pages_are_opened() {
                visitors::two_tabs(FRAMEWORK).await;
            }

            #[tokio::test]
            async fn signing_in_and_out_shows_at_once() {
                signing::in_and_out(FRAMEWORK).await;
            }

            #[tokio::test]
            async fn no_page_signs_anybody_out() {
                signing::stays(FRAMEWORK).await;
            }

            #[tokio::test]
            async fn a_link_that_signs_in_once_is_asked_for_once() {
                signing::magic(FRAMEWORK).await;
            }
        }
    )+ };
}

in_front_of! {
    django = Django,
    rails = Rails,
    laravel = Laravel,
    svelte_kit = SvelteKit,
    astro = Astro,
    nuxt = Nuxt,
    next = Next,
}

/// One of the applications, and a proxy in front of it.
struct Scene {
    backend: Backend,
    proxy: Proxy,
    log: Log,
}

impl Scene {
    async fn of(framework: Framework) -> Self {
        Self::with(framework, |_| {}).await
    }

    async fn with(framework: Framework, change: fn(&mut Settings)) -> Self {
        let log = Log::watching(&[SECRET, "/about"]);
        let backend = App::start(framework).await;
        let proxy = Setup::over(&backend).with(change).start().await;
        Self { backend, proxy, log }
    }

    fn visitor(&self, name: &'static str) -> Visitor {
        Visitor::new(name, self.proxy.client())
    }

    /// Who has signed in at the application itself, and comes through the proxy from now on.
    async fn known(&self, name: &'static str) -> Visitor {
        let mut visitor = Visitor::new(name, Client::to(self.backend.addr()));
        // Without a proxy it is the browser's own scheme that is told.
        visitor.says_the_scheme();
        sign_in(&mut visitor).await;
        visitor.moved_to(self.proxy.client())
    }

    /// Nothing of anybody's is in a file or a log line; and both were looked at.
    #[track_caller]
    fn assert_nothing_kept(&self) {
        assert_eq!(self.proxy.files_with(SECRET), [""; 0]);
        assert_eq!(self.log.lines_with(SECRET), [""; 0]);
        assert!(
            !self.proxy.files_with("About").is_empty(),
            "the public page is stored"
        );
        assert!(!self.log.lines_with("/about").is_empty(), "the log is watched");
    }
}

/// Signs in under the visitor's own name.
async fn sign_in(visitor: &mut Visitor) -> Response {
    let form = visitor.get("/login").await;
    let fields = format!("name={}&token={}", visitor.name, token_in(&form));
    let account = visitor.submit("/login", &fields).await;
    assert_eq!(account.status, 200, "{account:?}");
    assert!(account.text().contains(&own(visitor.name)), "{account:?}");
    account
}

/// What is in every page of this person and of no other.
fn own(name: &str) -> String {
    format!("{SECRET}-{name}")
}

/// The token in a page's form; empty where the framework has none.
fn token_in(page: &Response) -> String {
    let text = page.text();
    let token = text
        .split_once("value=\"")
        .and_then(|(_, rest)| rest.split_once('"'));
    token.map_or_else(String::new, |(token, _)| token.to_owned())
}

/// The page of this visitor: with their name where there is one, and nothing of the others.
#[track_caller]
fn assert_own(visitor: &Visitor, path: &str, page: &Response) {
    let all = format!("{:?}{}", page.fields, page.text());
    for other in ["alice", "bob"] {
        let is_there = all.contains(&own(other));
        assert!(
            !is_there || other == visitor.name,
            "{other} on {path} of {}: {page:?}",
            visitor.name
        );
    }
    let is_somebody = ["alice", "bob"].contains(&visitor.name);
    match path {
        "/" if is_somebody => assert!(
            page.text().contains(&format!("Hello, {}", own(visitor.name))),
            "{page:?}"
        ),
        "/account" if is_somebody => assert!(page.text().contains(&own(visitor.name)), "{page:?}"),
        "/" => assert!(page.text().contains("Hello, stranger"), "{page:?}"),
        "/account" => assert_eq!(page.field("location"), Some("/login"), "{page:?}"),
        "/about" => assert!(page.text().contains("About, light, en"), "{page:?}"),
        _ => {}
    }
}

/// The addresses that a visit goes to.
fn addresses(framework: Framework) -> Vec<&'static str> {
    let mut addresses = vec!["/about", "/", "/account", "/guestbook", "/login", "/missing"];
    addresses.extend(match framework {
        Framework::SvelteKit => vec!["/__data.json"],
        Framework::Astro => vec!["/_server-islands/Greeting"],
        Framework::Nuxt => vec!["/api/me", "/swr"],
        Framework::Next => vec!["/isr"],
        _ => vec![],
    });
    addresses
}

/// Goes everywhere once. A form that comes has a token that fits the cookie.
async fn visit(visitor: &mut Visitor, framework: Framework) {
    for path in addresses(framework) {
        let page = visitor.get(path).await;
        assert_own(visitor, path, &page);
        if let Some(cookie) = framework.token_cookie()
            && path == "/guestbook"
        {
            let value = visitor.cookie(cookie).unwrap_or("no cookie");
            assert_eq!(
                token_in(&page),
                format!("token-{value}"),
                "{}: {page:?}",
                visitor.name
            );
        }
    }
}
