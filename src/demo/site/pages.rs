//! The pages as HTML. Pure: the same arguments give the same bytes.

use std::fmt::{self, Write as _};

use super::content::{ARTICLES, Article, note};
use super::forms::Entry;

/// Text in HTML, in elements and in quoted attributes.
struct Text<'a>(&'a str);

impl fmt::Display for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for c in self.0.chars() {
            match c {
                '&' => f.write_str("&amp;")?,
                '<' => f.write_str("&lt;")?,
                '>' => f.write_str("&gt;")?,
                '"' => f.write_str("&quot;")?,
                '\'' => f.write_str("&#39;")?,
                c => f.write_char(c)?,
            }
        }
        Ok(())
    }
}

const NAVIGATION: &[(&str, &str)] = &[
    ("/journal", "Journal"),
    ("/about", "The hut"),
    ("/guestbook", "Guestbook"),
    ("/account", "Your stay"),
];

const SCRIPT: &str = "<script src=\"/assets/site.js\" defer></script>\n";

fn page(path: &str, title: &str, edition: u32, main: &str) -> String {
    top(path, title, edition) + main + BOTTOM
}

fn top(path: &str, title: &str, edition: u32) -> String {
    let mut links = String::new();
    for (href, label) in NAVIGATION {
        let current = if path.starts_with(href) {
            " aria-current=\"page\""
        } else {
            ""
        };
        let _ = writeln!(links, "<a href=\"{href}\"{current}>{label}</a>");
    }
    let note = note(edition).map_or(String::new(), |text| {
        format!("<aside class=\"note\"><strong>From the warden</strong> {text}</aside>\n")
    });
    format!(
        "<!doctype html>
<html lang=\"en\">
<head>
<meta charset=\"utf-8\">
<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">
<meta name=\"color-scheme\" content=\"light dark\">
<title>{} · Karstein Hut</title>
<link rel=\"icon\" href=\"/assets/mark.svg\" type=\"image/svg+xml\">
<link rel=\"stylesheet\" href=\"/assets/site.css\">
</head>
<body>
<a class=\"skip\" href=\"#main\">To the text</a>
<header class=\"top\">
<a class=\"name\" href=\"/\"><img src=\"/assets/mark.svg\" alt=\"\" width=\"32\" height=\"32\"> Karstein Hut</a>
<nav aria-label=\"Site\">
{links}</nav>
</header>
<main id=\"main\">
{note}",
        Text(title)
    )
}

const BOTTOM: &str = "</main>
<footer class=\"bottom\">
<p>Karstein Hut, 2,318 m, above Oberau. Open from mid-June to the last bread in October.</p>
<p><a href=\"/slow\">Panorama</a> <a href=\"/live\">Wind</a> <a href=\"/echo\">Echo</a> \
<a href=\"/api/weather\">Weather as JSON</a></p>
</footer>
</body>
</html>
";

pub(super) fn home(edition: u32) -> String {
    let main = format!(
        "<section class=\"hero\">
<img src=\"/assets/ridge.svg\" alt=\"The ridge above the hut at first light\" width=\"1200\" height=\"680\">
<div>
<p class=\"over\">2,318 metres · 46 beds · one stove</p>
<h1>Above the fog,<br>below the stars.</h1>
<p>A small hut on the saddle between Oberau and the Kargraben. We keep soup, blankets and a
journal.</p>
<p><a class=\"button\" href=\"/journal\">Read the journal</a> <a href=\"/about\">How to get here</a></p>
</div>
</section>
<section>
<h2>Lately at the hut</h2>
{}</section>
",
        teasers(&ARTICLES[..3])
    );
    page("/", "Above the fog", edition, &main)
}

fn teasers(articles: &[Article]) -> String {
    let mut html = String::from("<ul class=\"cards\">\n");
    for article in articles {
        let _ = writeln!(
            html,
            "<li><p class=\"over\">{}</p><h3><a href=\"{}\">{}</a></h3><p>{}</p></li>",
            article.date, article.path, article.title, article.summary
        );
    }
    html.push_str("</ul>\n");
    html
}

pub(super) fn journal(edition: u32) -> String {
    let main = format!(
        "<h1>Journal</h1>
<p class=\"lead\">What happened up here, written down by whoever had a dry pencil.</p>
{}",
        teasers(ARTICLES)
    );
    page("/journal", "Journal", edition, &main)
}

pub(super) fn article(article: &Article, edition: u32) -> String {
    let main = format!(
        "<img class=\"strip\" src=\"/assets/ridge.svg\" alt=\"\" width=\"1200\" height=\"680\">
<article class=\"prose\">
<p class=\"over\">{}</p>
<h1>{}</h1>
<p class=\"lead\">{}</p>
{}</article>
<p class=\"prose\"><a href=\"/journal\">All of the journal</a></p>
",
        article.date, article.title, article.summary, article.body
    );
    page(article.path, article.title, edition, &main)
}

pub(super) fn about(edition: u32) -> String {
    page(
        "/about",
        "The hut",
        edition,
        "<div class=\"prose\">
<h1>The hut</h1>
<p class=\"lead\">Built in 1926 by people who carried every stone, and repaired each summer since.</p>
<dl>
<div><dt>Height</dt><dd>2,318 m</dd></div>
<div><dt>Beds</dt><dd>46, twelve of them in rooms</dd></div>
<div><dt>Open</dt><dd>mid-June to mid-October</dd></div>
<div><dt>From Oberau</dt><dd>3 hours, 980 m</dd></div>
<div><dt>From the north</dt><dd>4 hours, 1,140 m</dd></div>
<div><dt>Next hut</dt><dd>Seewand, 5 hours</dd></div>
</dl>
<p>There is no road. Bring a sleeping-bag liner, cash, and a torch; leave the drone in the valley.
Dogs sleep in the wood store, which is warmer than it sounds.</p>
<h2>Soup</h2>
<p>At half past six, when the bell rings.</p>
<audio controls preload=\"metadata\" src=\"/assets/bell.wav\"></audio>
<p><a href=\"/assets/bell.wav\" download>Take the bell with you</a> (eight strokes, 256 kB)</p>
</div>
",
    )
}

const PEAKS: &[(&str, &str, &str)] = &[
    ("N", "Kargraben Spitze", "2,871 m, the one with the notch"),
    ("NE", "Seewand", "2,640 m, a wall from here, a meadow from behind"),
    ("E", "Hohe Wacht", "2,955 m, first light of the day"),
    ("SE", "Rosskamm", "2,512 m, five summits or six, it is disputed"),
    ("S", "Oberau valley", "1,338 m, down there, under the fog"),
    (
        "SW",
        "Weisser Zahn",
        "3,102 m, our only glacier, what is left of it",
    ),
    ("W", "Karstein", "2,604 m, straight above the kitchen"),
    ("NW", "Lange Schneid", "2,733 m, last light of the day"),
];

/// The slow page, in the ten pieces in which it is sent.
pub(super) fn panorama(edition: u32) -> Vec<String> {
    let mut pieces = vec![
        top("/slow", "Panorama", edition)
            + "<div class=\"prose\">
<h1>Panorama</h1>
<p class=\"lead\">Once around from the roof, as slowly as the eye does it: one and a half seconds.</p>
<ol class=\"peaks\">
",
    ];
    pieces.extend(PEAKS.iter().map(|(direction, name, what)| {
        format!("<li><span>{direction}</span><strong>{name}</strong> {what}</li>\n")
    }));
    pieces.push(String::from("</ol>\n</div>\n") + BOTTOM);
    pieces
}

pub(super) fn guestbook<'a>(entries: impl Iterator<Item = &'a Entry>, edition: u32) -> String {
    let mut main = String::from(
        "<div class=\"prose\">
<h1>Guestbook</h1>
<p class=\"lead\">Please write so that the next guest can read it.</p>
<form method=\"post\" action=\"/guestbook\">
<label>Your name <input name=\"name\" maxlength=\"40\" autocomplete=\"off\" required></label>
<label>What you want to say <textarea name=\"message\" maxlength=\"280\" rows=\"3\" required></textarea></label>
<button>Sign</button>
</form>
<ol class=\"entries\">
",
    );
    for entry in entries {
        let _ = writeln!(
            main,
            "<li><p>{}</p><p class=\"over\">{}</p></li>",
            Text(&entry.message),
            Text(&entry.name)
        );
    }
    main.push_str("</ol>\n</div>\n");
    page("/guestbook", "Guestbook", edition, &main)
}

pub(super) fn incomplete_entry() -> String {
    notice(
        "Not signed yet",
        "A name and a line, please. <a href=\"/guestbook\">Back to the guestbook</a>",
    )
}

pub(super) fn login() -> String {
    page(
        "/account",
        "Sign in",
        0,
        "<div class=\"prose\">
<h1>Your stay</h1>
<p class=\"lead\">Sign in with the name on your booking. In this demo any name is on it.</p>
<form method=\"post\" action=\"/login\">
<label>Name <input name=\"name\" maxlength=\"40\" autocomplete=\"off\" placeholder=\"Alice\" required></label>
<button>Sign in</button>
</form>
</div>
",
    )
}

pub(super) fn account(name: &str) -> String {
    let main = format!(
        "<div class=\"prose\" data-own>
<h1>Hello, {}</h1>
<p class=\"lead\">You have bed 17, by the window. Soup is at half past six.</p>
<p>This page is yours alone: your cookie takes it past the cache, and no file is made of it.</p>
<p><a class=\"button\" href=\"/logout\">Sign out</a></p>
</div>
{SCRIPT}",
        Text(name)
    );
    page("/account", "Your stay", 0, &main)
}

pub(super) fn echo() -> String {
    let main = format!(
        "<div class=\"prose\">
<h1>Echo</h1>
<p class=\"lead\">Shout at the wall opposite. It answers over a WebSocket.</p>
<form data-echo>
<label>Your words <input name=\"text\" maxlength=\"120\" autocomplete=\"off\" required></label>
<button>Shout</button>
</form>
<ol class=\"log\" data-log aria-live=\"polite\"></ol>
</div>
{SCRIPT}"
    );
    page("/echo", "Echo", 0, &main)
}

pub(super) fn live() -> String {
    let main = format!(
        "<div class=\"prose\">
<h1>Wind at the hut</h1>
<p class=\"lead\">A reading every second, from an event stream.</p>
<p class=\"gauge\"><span data-wind>–</span> km/h</p>
<ol class=\"log\" data-log></ol>
</div>
{SCRIPT}"
    );
    page("/live", "Wind", 0, &main)
}

pub(super) fn not_found() -> String {
    notice(
        "No path here",
        "The cairns end. Go back to <a href=\"/\">the hut</a> before the fog comes in.",
    )
}

fn notice(title: &str, html: &str) -> String {
    let main = format!(
        "<div class=\"prose notice\">\n<h1>{}</h1>\n<p class=\"lead\">{html}</p>\n</div>\n",
        Text(title)
    );
    page("", title, 0, &main)
}
