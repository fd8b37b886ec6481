//! The same properties with inputs that proptest puts together, and with those that were saved.

use std::path::Path;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

use super::*;

type Target = (&'static str, fn(&[u8]));

/// Each target and its check, as in `fuzz/fuzz_targets`.
const TARGETS: [Target; 6] = [
    ("target", target),
    ("sidecar", sidecar),
    ("pattern", pattern),
    ("cache_control", cache_control),
    ("range", range),
    ("config", config),
];

#[test]
fn what_held_for_saved_inputs_still_holds() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus");
    for (name, check) in TARGETS {
        let saved = std::fs::read_dir(corpus.join(name)).expect("saved inputs");
        let mut count = 0;
        for entry in saved {
            check(&std::fs::read(entry.expect("an entry").path()).expect("an input"));
            count += 1;
        }
        assert!(count > 5, "{count} inputs for {name}");
    }
}

type Words = &'static [&'static [u8]];

/// Up to `most` of these words, and a few bytes that are none of them.
fn text(words: Words, most: usize) -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        9 => select(words).prop_map(<[u8]>::to_vec),
        1 => any::<u8>().prop_map(|byte| vec![byte]),
    ];
    vec(piece, 0..=most).prop_map(|pieces| pieces.concat())
}

/// Few words, so that two requests are often nearly the same.
fn asked() -> impl Strategy<Value = Vec<u8>> {
    let target = text(
        &[
            b"a",
            b"/",
            b"?",
            b"&",
            b":",
            b"utm_a=1",
            b"%2F",
            b"..",
            b"=",
            b"\xc3\xa4",
        ],
        3,
    );
    let host = text(&[b"a", b"A", b".b", b":80", b":81", b"@"], 2);
    let fields = text(
        &[
            b"\nX-Key: 1",
            b"\nX-Key: \xff",
            b"\nX-Key: \\xff",
            b"\nX-Key: 1, 1",
            b"\nAccept-Language: de",
            b"\nCookie: theme=a",
            b"\nCookie: b=1; theme=a",
            b"\nX-Other: 1",
        ],
        3,
    );
    let method = select(vec![&b"GET"[..], b"HEAD", b"POST"]);
    (method, target, host, fields).prop_map(|(method, target, host, fields)| {
        [method, b" /", &target, b"\nHost: a", &host, &fields].concat()
    })
}

const SIDECAR: Words = &[
    b"format = 1\nkey = \"GET:/\"\nmethod = \"GET\"\nurl = \"/\"\n",
    b"site = \"s\"\n",
    b"vary = [[\"rsc\"], [\"accept\", \"1\"]]\n",
    b"status = 200\n",
    b"status = 404\n",
    b"headers = [[\"link\", \"<b>\"], [\"x\", \"4pyT\", \"base64\"], [\"link\", \"\\u0041\"]]\n",
    b"headers = [[\"x\", \"a\\r\\nb\"]]\n",
    b"expires_after = 60\n",
    b"body = \"a.html\"\nlength = 3\nseal = \"6437b3ac38465133ffb63b75273a8db548c558465d79db03fd359c6cd5bd9d85\"\n",
    b"assets = [\"/a.3f9a2c1b.js\", \"../b.3f9a2c1b.js\"]\n",
    b"body = \"../a\"\n",
    b"[[",
    b"\"",
];

const CONFIG: Words = &[
    b"[server]\n",
    b"proxy_port = 3000\n",
    b"proxy_url = \"http://localhost:5173\"\n",
    b"control_auth = \"secret\"\n",
    b"control_bind = \"0.0.0.0\"\n",
    b"public_url = \"https://example.com\"\n",
    b"include_paths = [\"/blog/*\", \"POST /search\"]\n",
    b"key_headers = [\"a\", \"\xc3\xa4\"]\n",
    b"default_ttl = \"5m\"\n",
    b"default_ttl = 5\n",
    b"max_body = \"1KiB\"\n",
    b"durability = \"full\"\n",
    b"shutdown_timeout = \"1500ms\"\n",
    b"[[watch]]\npaths = [\"a/*.md\"]\ninvalidate = [\"/a\"]\n",
    b"settle = \"0s\"\n",
    b"debug_token = \"secret\"\n",
    b"[[rule]]\nmatch = [\"/a/*\", \"POST /b\"]\n",
    b"cache = true\n",
    b"public = true\n",
    b"ttl = \"90s\"\n",
    b"client_cache_control = \"no-cache\"\n",
    b"# comment\n",
    b"unknown = 1\n",
    b"\"",
    b"=",
];

proptest! {
    #[test]
    fn a_request_is_taken_as_it_came_and_has_a_key_of_its_own(one in asked(), other in asked()) {
        target(&[&one[..], b"\n\n", &other].concat());
    }

    #[test]
    fn a_sidecar_that_can_be_read_is_written_the_same(data in text(SIDECAR, 12)) {
        sidecar(&data);
    }

    #[test]
    fn a_pattern_matches_as_the_plainest_code_does(
        data in text(&[b"*", b"/", b"a", b"GET", b":", b" ", b"?", b"\n", b"POST", b"aa", b"\xc3\xa4"], 24),
    ) {
        pattern(&data);
    }

    #[test]
    fn a_pattern_matches_what_it_was_made_of(
        pieces in vec("[a/?:]{0,4}", 1..6),
        gaps in vec("[a/?:]{0,4}", 6),
    ) {
        let text: String = pieces.iter().zip(gaps.iter().chain([&String::new()])).enumerate()
            .map(|(at, (piece, gap))| if at + 1 < pieces.len() { format!("{piece}{gap}") } else { piece.clone() })
            .collect();
        prop_assert!(crate::pattern::Glob::new(&pieces.join("*")).is_match(&text));
    }

    #[test]
    fn cache_control_is_read_as_the_plainest_code_does(
        data in text(
            &[
                b"no-store", b"No-Cache", b"private", b"max-age", b"s-maxage", b"=", b"\"", b"\\", b",", b";", b" ",
                b"60", b"\t", b"must-revalidate", b"\n", b"a", b"99999999999999999999",
            ],
            16,
        ),
    ) {
        cache_control(&data);
    }

    #[test]
    fn a_range_is_a_part_of_the_page_or_none(
        unit in select(&["bytes=", "Bytes = ", "bytes", "lines="][..]),
        positions in text(
            &[b"0", b"1", b"9", b"25", b"26", b"-", b",", b" ", b"18446744073709551615", b"18446744073709551616"],
            4,
        ),
        rest in text(&[b"\nif-range: \"a\"", b"\nif-none-match: *", b"\n\netag: \"a\"", b"\nrange: bytes=0-1"], 2),
    ) {
        range(&[b"range: ", unit.as_bytes(), &positions, &rest].concat());
    }

    #[test]
    fn a_configuration_that_is_wrong_is_wrong_somewhere(data in text(CONFIG, 8)) {
        config(&data);
    }
}
