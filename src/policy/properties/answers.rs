//! Of answers: what may be stored, for how long, and what is made of conditions.

use crate::config::rule::Audience;
use crate::headers::CDN_CACHE_CONTROL;
use crate::policy::cache_control::CacheControl;
use crate::policy::credentials::Credentials;
use crate::policy::filter::Included;
use crate::policy::freshness::{Lifetime, Stated, expires_after, generated};
use crate::policy::store::{Asked, Storable, may_store, owner, stored_head};
use crate::policy::validate::{
    add_conditions, client_condition, confirms, freshened, modified, range_is_wanted, single_range,
};

use super::*;

static NOBODY: Credentials = Credentials::NONE;

fn asked(now: SystemTime) -> Asked<'static> {
    Asked {
        scheme: "http",
        host: "site.test",
        path: "/a",
        query: "",
        included: Included::ByDefault,
        unkeyed: &[],
        credentials: &NOBODY,
        now,
    }
}

/// One word in one of the ways in which senders write it.
fn disguised(word: &'static str) -> impl Strategy<Value = String> {
    let cased = vec(any::<bool>(), word.len()).prop_map(move |upper| {
        let cased = word.chars().zip(upper).map(|(letter, upper)| match upper {
            true => letter.to_ascii_uppercase(),
            false => letter,
        });
        cased.collect::<String>()
    });
    let before = select(
        &[
            "",
            "max-age=600, ",
            ",,",
            "public ,\t",
            "a=\"b, c\",",
            "max-age=60; ",
            "a=\"b, ",
        ][..],
    );
    let behind = select(&["", ", max-age=600", " ,", "=\"x\"", "=1", ";q=1", " public"][..]);
    (before, cased, behind)
        .prop_map(|(before, word, behind)| format!("{before}{word}{behind}"))
        // Three quotes close a string around the word.
        .prop_filter("not inside a string", |text| text.matches('"').count() != 3)
}

proptest! {
    #[test]
    fn what_forbids_storing_is_found_in_every_disguise(
        status in status(),
        headers in fields(8),
        forbidding in prop_oneof![disguised("no-store"), disguised("private")],
        cookie in "[a-z]{3,10}=[a-z0-9]{0,8}(; Path=/)?",
    ) {
        let (asked, rules) = (asked(UNIX_EPOCH), &RULES.store);
        // What is said to this cache alone stands in its place.
        let mut headers = headers;
        headers.remove(CDN_CACHE_CONTROL);
        let forbidding = HeaderValue::from_str(&forbidding).unwrap();
        let more = with(&headers, &header::CACHE_CONTROL, &forbidding);
        let control = CacheControl::of(&more);
        prop_assert!(control.no_store || control.private, "{forbidding:?}");
        prop_assert!(matches!(may_store(status, &more, &asked, rules), Storable::No(_)), "{forbidding:?}");
        let name = cookie.split('=').next().unwrap_or("");
        if !rules.ignore_set_cookies.contains(name) {
            let more = with(&headers, &header::SET_COOKIE, &HeaderValue::from_str(&cookie).unwrap());
            prop_assert!(matches!(may_store(status, &more, &asked, rules), Storable::No(_)), "{cookie}");
        }
    }

    #[test]
    fn what_is_stored_says_nothing_of_the_connection_and_sets_no_cookie(
        status in status(),
        headers in fields(8),
        seconds in 0_u64..1 << 40,
        ignored in select(IGNORED_SET_COOKIES),
    ) {
        let now = UNIX_EPOCH + Duration::from_secs(seconds);
        let cookie = HeaderValue::from_str(&format!("{}=1", ignored.trim_end_matches('*'))).unwrap();
        let headers = with(&headers, &header::SET_COOKIE, &cookie);
        let decided = may_store(status, &headers, &asked(now), &RULES.store);
        if let Storable::No(reason) = decided {
            for rendered in [Rendered::ForNobody, Rendered::ForClient] {
                for audience in [Audience::AsSaid, Audience::Everyone] {
                    let _ = owner(status, &headers, reason, (rendered, audience), &headers);
                }
            }
        }
        let kept = stored_head(status, &headers, now, &RULES.store);
        for name in [header::SET_COOKIE, header::CONNECTION, header::TRANSFER_ENCODING, header::CONTENT_LENGTH] {
            prop_assert!(!kept.headers.contains_key(&name), "{name} is kept");
        }
        let lifetime = Lifetime::of(&Stated::by(&kept, None), &Ttl::Forever.into());
        prop_assert!(generated(&headers, lifetime, now, now) <= seconds, "generated later than now");
        let mut conditions = HeaderMap::new();
        add_conditions(&kept, &mut conditions);
        prop_assert!(confirms(&kept.headers, &kept.headers), "what says the same is the same");
        prop_assert_eq!(&freshened(&kept, &kept), &kept);
    }

    #[test]
    fn conditions_and_dates_are_judged_whatever_they_say(client in fields(8), response in fields(8)) {
        let etag = response.get(header::ETAG);
        let _ = client_condition(&client, etag, || modified(&response, None));
        let _ = range_is_wanted(&client, etag, &response);
        let _ = single_range(&client);
        let _ = expires_after(&response, UNIX_EPOCH);
        let _ = confirms(&client, &response);
    }
}

#[test]
fn these_rules_store_something() {
    let page = HeaderMap::from_iter([(header::CONTENT_TYPE, HeaderValue::from_static("text/html"))]);
    let decided = may_store(StatusCode::OK, &page, &asked(UNIX_EPOCH), &RULES.store);
    assert!(matches!(decided, Storable::Snapshot(_)), "{decided:?}");
    assert!(Arc::new(CUSTOM.key.clone()).custom.is_some());
}
