//! What the site says: articles, weather, and the warden's notes that an edit adds.

pub(super) struct Article {
    pub(super) path: &'static str,
    pub(super) title: &'static str,
    pub(super) date: &'static str,
    pub(super) summary: &'static str,
    pub(super) body: &'static str,
}

impl Article {
    pub(super) fn slug(&self) -> &'static str {
        self.path.trim_start_matches("/journal/")
    }
}

/// Newest first.
pub(super) const ARTICLES: &[Article] = &[
    Article {
        path: "/journal/first-snow",
        title: "First snow on the terrace",
        date: "12 October",
        summary: "Four centimetres overnight, gone by noon. What it changes for the way over the saddle.",
        body: include_str!("articles/first-snow.html"),
    },
    Article {
        path: "/journal/the-new-spring",
        title: "The new spring",
        date: "28 September",
        summary: "After two dry summers we laid 400 metres of pipe to water that does not care about summers.",
        body: include_str!("articles/the-new-spring.html"),
    },
    Article {
        path: "/journal/bread-at-2318-metres",
        title: "Bread at 2,318 metres",
        date: "3 September",
        summary: "Water boils at 92 degrees up here, and dough rises when it pleases. Our recipe, corrected.",
        body: include_str!("articles/bread-at-2318-metres.html"),
    },
    Article {
        path: "/journal/a-night-with-the-perseids",
        title: "A night with the Perseids",
        date: "13 August",
        summary: "Twenty-three people on the roof, wrapped in hut blankets, counting out loud.",
        body: include_str!("articles/a-night-with-the-perseids.html"),
    },
    Article {
        path: "/journal/opening-the-north-path",
        title: "Opening the north path",
        date: "19 June",
        summary: "The avalanche took the bridge in March. It is back, a little higher and a good deal heavier.",
        body: include_str!("articles/opening-the-north-path.html"),
    },
];

pub(super) const WEATHER: &str = "/api/weather";

/// `path` as the constant that it equals, if it names something that can be edited.
pub(super) fn editable(path: &str) -> Option<&'static str> {
    ["/", "/journal", "/about", "/slow", "/guestbook", WEATHER]
        .into_iter()
        .chain(ARTICLES.iter().map(|article| article.path))
        .find(|known| *known == path)
}

const NOTES: &[&str] = &[
    "The bridge below the scree is passable again. Mind the wet planks before nine.",
    "Tonight's soup is lentil. There is bread left, and two places by the stove.",
    "Fog up to the saddle this morning; the cairns are freshly painted, follow them.",
    "The generator rests from ten. Bring a torch, and look up while it is dark.",
];

/// What the warden's note of an edition says; nothing before the first edit.
pub(super) fn note(edition: u32) -> Option<&'static str> {
    let nth = usize::try_from(edition.checked_sub(1)?).ok()?;
    NOTES.get(nth % NOTES.len()).copied()
}

/// A reading changes with an edit, not with the hour: the snapshots of the demo are committed.
pub(super) fn weather(edition: u32) -> String {
    let step = edition % 9;
    format!(
        "{{\n  \"station\": \"Karstein Hut\",\n  \"metres\": 2318,\n  \"celsius\": {}.{},\n  \"wind_kmh\": {},\n  \
         \"sky\": \"{}\"\n}}\n",
        4 + step,
        (3 + step * 7) % 10,
        18 + step * 3,
        ["clear", "high cloud", "fog in the valley"][step as usize % 3],
    )
}
