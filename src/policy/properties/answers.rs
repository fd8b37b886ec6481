//! Of answers: what may be stored, for how long, and what is made of conditions.

use crate::policy::cache_control::CacheControl;
use crate::policy::filter::Included;
use crate::policy::freshness::{Lifetime, expires_after, generated};
use crate::policy::reuse::{Reuse, may_serve_stale, reuse};
use crate::policy::store::{Asked, Storable, may_store, owner, stored_head};
use crate::policy::validate::{add_conditions, client_condition, freshened, range_is_wanted, single_range};

use super::*;

fn asked(now: SystemTime) -> Asked<'static> {
    Asked {
        scheme: "http",
        host: "site.test",
        path: "/a",
        query: "",
        included: Included::ByDefault,
        unkeyed: &[],
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

fn stored(headers: HeaderMap, expires_after: Option<u64>) -> StoredHead {
    StoredHead {
        status: StatusCode::OK,
        headers,
        expires_after,
    }
}

fn ttl() -> impl Strategy<Value = Ttl> {
    prop_oneof![
        Just(Ttl::Forever),
        prop_oneof![0_u64..4, 0_u64..1 << 32].prop_map(|seconds| Ttl::For(Duration::from_secs(seconds))),
    ]
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
                let _ = owner(status, &headers, reason, rendered, &headers);
            }
        }
        let kept = stored_head(status, &headers, now, &RULES.store);
        for name in [header::SET_COOKIE, header::CONNECTION, header::TRANSFER_ENCODING, header::CONTENT_LENGTH] {
            prop_assert!(!kept.headers.contains_key(&name), "{name} is kept");
        }
        let lifetime = Lifetime::of(&kept, Ttl::Forever);
        prop_assert!(generated(&headers, lifetime, now, now) <= seconds, "generated later than now");
        let mut conditions = HeaderMap::new();
        add_conditions(&kept, &mut conditions);
        let _ = freshened(&kept, &kept);
    }

    #[test]
    fn nothing_is_fresh_past_its_lifetime_or_again_once_it_was_stale(
        headers in fields(6),
        expires in proptest::option::of(0_u64..1 << 40),
        born in 0_u64..1 << 40,
        ages in prop_oneof![(0_u64..5, 0_u64..5), (0_u64..1 << 33, 0_u64..1 << 33)],
        ttl in ttl(),
    ) {
        let head = stored(headers, expires);
        let at = |now: u64| reuse(&head, Generated::At(born), now, ttl);
        let (sooner, later) = (born + ages.0.min(ages.1), born + ages.0.max(ages.1));
        if let Reuse::Fresh(standing) = at(later) {
            prop_assert!(matches!(at(sooner), Reuse::Fresh(_)), "fresh at {later}, not at {sooner}");
            if let Some(lifetime) = standing.lifetime {
                prop_assert!(later - born < lifetime);
            }
            prop_assert_eq!(standing.age, later - born);
        }
        for generated in [Generated::At(born), Generated::Unmarked, Generated::Invalidated] {
            for now in [0, sooner, later, u64::MAX] {
                let (Reuse::Fresh(standing) | Reuse::Validate(standing)) = reuse(&head, generated, now, ttl);
                let _ = may_serve_stale(&head, generated, &standing);
            }
            prop_assert!(
                generated != Generated::Invalidated
                    || matches!(reuse(&head, generated, later, ttl), Reuse::Validate(_))
            );
        }
    }

    #[test]
    fn conditions_and_dates_are_judged_whatever_they_say(client in fields(8), response in fields(8)) {
        let etag = response.get(header::ETAG);
        let _ = client_condition(&client, etag, &response);
        let _ = range_is_wanted(&client, etag, &response);
        let _ = single_range(&client);
        let _ = expires_after(&response, UNIX_EPOCH);
    }
}

#[test]
fn these_rules_store_something() {
    let page = HeaderMap::from_iter([(header::CONTENT_TYPE, HeaderValue::from_static("text/html"))]);
    let decided = may_store(StatusCode::OK, &page, &asked(UNIX_EPOCH), &RULES.store);
    assert!(matches!(decided, Storable::Snapshot(_)), "{decided:?}");
    assert!(Arc::new(CUSTOM.key.clone()).custom.is_some());
}
