//! Who may use the control server.

use super::*;

#[tokio::test]
async fn the_token_is_wanted_and_never_told() {
    let rig = with_token("s3cret");
    // Nothing else counts then, neither Host nor Origin.
    let with = |value: &str| {
        post("")
            .header(AUTHORIZATION, value)
            .header(ORIGIN, "https://a.test")
    };
    for right in ["Bearer s3cret", "bearer s3cret", "BEARER   s3cret "] {
        assert_eq!(rig.send(with(right), "").await.status, 200, "{right}");
    }
    rig.told();
    for wrong in [
        "Bearer",
        "Bearer ",
        "Bearer s3cre",
        "Bearer s3cret2",
        "Basic s3cret",
        "s3cret",
        "",
    ] {
        let answer = rig.send(with(wrong), "").await;
        assert_eq!(answer.status, 401, "{wrong}");
        assert!(
            answer.headers[WWW_AUTHENTICATE]
                .to_str()
                .unwrap()
                .starts_with("Bearer")
        );
        assert!(!answer.json.to_string().contains("s3cret"));
    }
    assert_eq!(rig.send(post("").header(HOST, "localhost"), "").await.status, 401);
    let twice = with("Bearer s3cret").header(AUTHORIZATION, "Bearer x");
    assert_eq!(rig.send(twice, "").await.status, 401);
    assert_eq!(rig.told(), []);
    let options = ControlOptions {
        token: Some("s3cret".into()),
        ..ControlOptions::default()
    };
    assert!(!format!("{options:?}").contains("s3cret"));
}

#[tokio::test]
async fn an_empty_token_lets_nobody_in() {
    for token in ["", "  "] {
        let rig = with_token(token);
        for value in ["Bearer", "Bearer ", "Bearer   "] {
            let request = post("").header(HOST, "localhost").header(AUTHORIZATION, value);
            assert_eq!(rig.send(request, "").await.status, 401);
        }
        assert_eq!(rig.refresh("", "").await.status, 401);
        assert_eq!(rig.told(), []);
    }
}

#[tokio::test]
async fn without_a_token_pages_and_foreign_hosts_are_refused() {
    let rig = rig(ControlOptions {
        allowed_hosts: vec!["cache".into()],
        ..ControlOptions::default()
    });
    for host in [
        "localhost",
        "LOCALHOST:1",
        "localhost.",
        "127.0.0.1:17809",
        "127.1.2.3",
        "[::1]:80",
        "cache:1",
    ] {
        assert_eq!(
            rig.send(post("").header(HOST, host), "").await.status,
            200,
            "{host}"
        );
    }
    rig.told();
    for host in [
        "example.com",
        "localhost.example.com",
        "10.0.0.1",
        "127.0.0.1.nip.io",
        "a@localhost",
        "[::]",
        "",
    ] {
        assert_eq!(
            rig.send(post("").header(HOST, host), "").await.status,
            421,
            "{host}"
        );
    }
    assert_eq!(rig.send(post(""), "").await.status, 421);
    let twice = post("").header(HOST, "localhost").header(HOST, "localhost");
    assert_eq!(rig.send(twice, "").await.status, 421);
    for origin in ["https://example.com", "null", "http://localhost:17809"] {
        let request = post("").header(HOST, "localhost").header(ORIGIN, origin);
        assert_eq!(rig.send(request, "").await.status, 403, "{origin}");
    }
    assert_eq!(rig.told(), []);
}

#[tokio::test]
async fn a_token_is_compared_byte_for_byte() {
    for token in ["pässwört", "a b", "Bearer x", "a=b/c+"] {
        let rig = with_token(token);
        let bearer = |token: &[u8]| {
            let value = [b"Bearer ", token].concat();
            post("").header(AUTHORIZATION, HeaderValue::from_bytes(&value).unwrap())
        };
        assert_eq!(
            rig.send(bearer(token.as_bytes()), "").await.status,
            200,
            "{token}"
        );
        rig.told();
        let upper = token.to_uppercase();
        let latin: Vec<u8> = token
            .chars()
            .map(|c| u8::try_from(u32::from(c)).unwrap())
            .collect();
        for wrong in [
            upper.as_bytes(),
            b"",
            &token.as_bytes()[1..],
            &[token.as_bytes(), b"\xff"].concat(),
        ] {
            assert_eq!(rig.send(bearer(wrong), "").await.status, 401, "{token}");
        }
        if latin != token.as_bytes() {
            assert_eq!(
                rig.send(bearer(&latin), "").await.status,
                401,
                "{token} in Latin-1"
            );
        }
        assert_eq!(rig.told(), []);
    }
}

#[tokio::test]
async fn the_host_counts_whatever_its_port_and_form() {
    let rig = rig(ControlOptions::default());
    let absolute = |authority: &str| {
        Request::builder()
            .method("POST")
            .uri(format!("http://{authority}/refresh-cache"))
    };
    for own in ["localhost:1", "127.0.0.1", "[::1]:17809"] {
        assert_eq!(rig.send(absolute(own), "").await.status, 200, "{own}");
        assert_eq!(
            rig.send(post("").header(HOST, own), "").await.status,
            200,
            "{own}"
        );
    }
    rig.told();
    for foreign in [
        "evil.example",
        "evil.example:17809",
        "[2001:db8::1]",
        "127.0.0.1.evil.example",
        "localhost.evil",
    ] {
        let named = absolute(foreign).header(HOST, "localhost");
        assert_eq!(rig.send(named, "").await.status, 421, "{foreign}");
        assert_eq!(
            rig.send(post("").header(HOST, foreign), "").await.status,
            421,
            "{foreign}"
        );
    }
    assert_eq!(rig.told(), []);
}
