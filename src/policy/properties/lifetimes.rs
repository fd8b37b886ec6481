//! Of lifetimes: how long an answer is fresh, and who says so.

use crate::head::Ready;
use crate::headers::CDN_CACHE_CONTROL;
use crate::policy::cache_control::CacheControl;
use crate::policy::freshness::{
    Lifetime, LifetimeRules, Stated, dates_as_they_came, expires_after, generated,
};
use crate::policy::reuse::{Reuse, may_serve_stale, reuse};
use crate::tags::Tags;

use super::*;

fn ttl() -> impl Strategy<Value = Ttl> {
    prop_oneof![
        Just(Ttl::Forever),
        prop_oneof![0_u64..4, 0_u64..1 << 32].prop_map(|seconds| Ttl::For(Duration::from_secs(seconds))),
    ]
}

fn rules_of_lifetimes() -> impl Strategy<Value = LifetimeRules> {
    let replaced = prop_oneof![3 => Just(None), 1 => ttl().prop_map(Some)];
    (ttl(), replaced).prop_map(|(default_ttl, ttl)| LifetimeRules {
        ttl,
        ..default_ttl.into()
    })
}

/// A stored answer; most of them have been as they are for a while.
fn head() -> impl Strategy<Value = StoredHead> {
    let expires = proptest::option::of(0_u64..1 << 40);
    let modified = "Sun, 06 Nov 1994 08:49:37 GMT";
    let known = select(&[200, 301, 404, 501][..]).prop_map(|code: u16| StatusCode::from_u16(code).unwrap());
    let status = prop_oneof![3 => known, 1 => status()];
    (status, fields(6), any::<bool>(), expires).prop_map(move |(status, headers, dated, expires_after)| {
        StoredHead {
            status,
            headers: match dated {
                true => with(
                    &headers,
                    &header::LAST_MODIFIED,
                    &HeaderValue::from_static(modified),
                ),
                false => headers,
            },
            expires_after,
            tags: Tags::default(),
            ready: Ready::default(),
        }
    })
}

/// A field that RFC 9213 has count.
fn targeted() -> impl Strategy<Value = HeaderValue> {
    let number = (
        select(&["max-age", "s-maxage", "stale-if-error"][..]),
        0_u64..1 << 40,
    )
        .prop_map(|(name, seconds)| format!("{name}={seconds}"));
    let word = select(
        &[
            "no-store",
            "private",
            "no-cache",
            "public",
            "must-revalidate",
            "x;q=1",
            "y=\"no-store\"",
        ][..],
    );
    let member = prop_oneof![number, word.prop_map(str::to_owned)];
    vec(member, 1..4).prop_map(|members| HeaderValue::from_str(&members.join(", ")).unwrap())
}

proptest! {
    #[test]
    fn nothing_is_fresh_past_its_lifetime_or_again_once_it_was_stale(
        head in head(),
        born in prop_oneof![784_111_777_u64..784_200_000, 0_u64..1 << 40],
        ages in prop_oneof![(0_u64..5, 0_u64..5), (0_u64..100_000, 0_u64..100_000), (0_u64..1 << 33, 0_u64..1 << 33)],
        rules in rules_of_lifetimes(),
    ) {
        let at = |now: u64| reuse(&head, Generated::At(born), now, &rules);
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
                let standing = reuse(&head, generated, now, &rules).standing();
                let _ = may_serve_stale(&head, generated, &standing, &rules);
            }
            prop_assert!(
                generated != Generated::Invalidated
                    || matches!(reuse(&head, generated, later, &rules), Reuse::Validate(_))
            );
        }
    }

    #[test]
    fn what_is_said_to_this_cache_alone_replaces_the_rest(
        status in status(),
        headers in fields(6),
        general in field_value(),
        targeted in targeted(),
        expires in proptest::option::of(0_u64..1 << 40),
        generated in 0_u64..1 << 40,
        rules in rules_of_lifetimes(),
    ) {
        let mut headers = headers;
        headers.insert(CDN_CACHE_CONTROL, targeted);
        let mut alone = headers.clone();
        alone.remove(header::CACHE_CONTROL);
        let both = with(&headers, &header::CACHE_CONTROL, &general);
        let control = CacheControl::of(&both);
        prop_assert!(control.is_targeted);
        prop_assert_eq!(control, CacheControl::of(&alone));
        let lifetime = |headers: &HeaderMap, expires_after| {
            let stated = Stated {
                status,
                headers,
                control: CacheControl::of(headers),
                expires_after,
                generated: Some(generated),
            };
            Lifetime::of(&stated, &rules)
        };
        prop_assert_eq!(lifetime(&both, expires), lifetime(&alone, None));
    }

    #[test]
    fn who_gives_a_lifetime_is_asked_in_order(
        head in head(),
        born in prop_oneof![784_111_777_u64..784_200_000, 0_u64..1 << 40],
        rules in rules_of_lifetimes(),
    ) {
        let control = CacheControl::of(&head.headers);
        let is_explicit = control.s_maxage.or(control.max_age).is_some()
            || (head.expires_after.is_some() && !control.is_targeted);
        let own = rules.ttl.filter(|_| head.status.as_u16() < 400);
        match Lifetime::of(&Stated::by(&head, Some(born)), &rules) {
            Lifetime::Explicit(_) => prop_assert!(is_explicit && own.is_none()),
            Lifetime::Heuristic(seconds) => {
                prop_assert!(!is_explicit && own.is_none());
                prop_assert!((1..=86_400).contains(&seconds) && seconds <= born / 10);
                prop_assert_eq!(rules.default_ttl, Ttl::For(Duration::ZERO));
            }
            Lifetime::Granted(ttl) => prop_assert_eq!(ttl, own.unwrap_or(rules.default_ttl)),
        }
    }

    #[test]
    fn an_answer_was_generated_before_it_came_and_its_dates_are_its_own(
        headers in fields(8),
        asked in 0_u64..1 << 40,
        took in prop_oneof![0_u64..3, 0_u64..1 << 33],
        seconds in 0_u64..1 << 33,
    ) {
        let (requested, now) = (asked, asked + took);
        let time = |seconds| UNIX_EPOCH + Duration::from_secs(seconds);
        for lifetime in [Lifetime::Explicit(seconds), Lifetime::Heuristic(seconds)] {
            let born = generated(&headers, lifetime, time(requested), time(now));
            prop_assert!(born <= now && (born > 0 || now == 0), "{born} at {now}");
            prop_assert!(born <= requested.max(1), "the way here counts");
        }
        let granted = generated(&headers, Lifetime::Granted(Ttl::Forever), time(requested), time(now));
        prop_assert_eq!(granted, now);
        let _ = expires_after(&headers, time(now));
        let dates = dates_as_they_came(&headers, time(now));
        for name in [header::DATE, header::AGE, header::EXPIRES] {
            let came: Vec<_> = headers.get_all(&name).iter().collect();
            let told: Vec<_> = dates.get_all(&name).iter().collect();
            prop_assert!(came == told || (came.is_empty() && name == header::DATE && told.len() == 1));
        }
    }
}
