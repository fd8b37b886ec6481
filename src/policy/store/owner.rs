//! Whose an answer is that is not stored.

use http::StatusCode;
use http::header::{self, HeaderMap, HeaderValue};

use crate::config::rule::Audience;
use crate::headers::cookies;
use crate::outcome::Reason;
use crate::policy::fill::Rendered;

/// Who gets an answer that is not stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Owner {
    /// The client that began the fill.
    First,
    /// Nobody: it was rendered for nobody, and each client asks as itself.
    Asker,
}

/// A page that is rendered anew each time may read what a fill leaves out (a language, a preference),
/// so the one rendered for nobody is no answer to somebody, and the client's own request follows. But
/// one that sets a cookie may have used up what it was asked for, a one-time link above all: that
/// answer is the only one there will be. Unless all that it sets is what the client has already: that is no
/// login but a renewal, made for somebody without that cookie, and would take the client's own away.
///
/// A redirect without a lifetime goes to who began the fill for the same reason: one-time links end in one as
/// often as not, without a cookie too (a confirmed address, a cancelled subscription), and asked again they say
/// that they are used up. It shows nothing of anybody, and where it leads the client asks as itself. One that
/// says `no-store` or `private` says that it is made for who asks.
pub(crate) fn owner(
    status: StatusCode,
    headers: &HeaderMap,
    reason: Reason,
    (rendered, audience): (Rendered, Audience),
    client: &HeaderMap,
) -> Owner {
    if rendered == Rendered::ForClient {
        return Owner::First;
    }
    if headers.contains_key(header::SET_COOKIE) {
        return match takes_away(headers, client, audience) {
            true => Owner::Asker,
            false => Owner::First,
        };
    }
    let leads_on = matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308);
    if leads_on && matches!(reason, Reason::Status | Reason::Expired) {
        return Owner::First;
    }
    let may_be_personal = matches!(
        reason,
        Reason::NoStore
            | Reason::Private
            | Reason::VaryStar
            | Reason::Json
            | Reason::Status
            | Reason::Expired
            | Reason::MustUnderstand
            | Reason::Authorization
    );
    let is_missing = matches!(status, StatusCode::NOT_FOUND | StatusCode::GONE);
    match may_be_personal && !is_missing && !status.is_server_error() {
        true => Owner::Asker,
        false => Owner::First,
    }
}

/// Whether the cookies that `headers` set are renewals, in place of the client's own: each of them is one that the
/// client has. Pages that are everyone's are asked for with sessions, and are no links that are good once: there one
/// such cookie is enough.
fn takes_away(headers: &HeaderMap, client: &HeaderMap, audience: Audience) -> bool {
    let mut lines = headers.get_all(header::SET_COOKIE).iter();
    let is_there = |line: &HeaderValue| {
        let name = cookie_name(line.as_bytes());
        cookies(client).any(|cookie| cookie.name == name)
    };
    match audience {
        Audience::AsSaid => lines.all(is_there),
        Audience::Everyone => lines.any(is_there),
    }
}

/// The name in a `Set-Cookie`.
pub(crate) fn cookie_name(line: &[u8]) -> &[u8] {
    let name = line.split(|byte| matches!(byte, b'=' | b';')).next();
    name.unwrap_or_default().trim_ascii()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::headers::header_map;

    #[test]
    fn an_answer_that_may_be_for_somebody_is_not_handed_to_anybody() {
        for (status, fields, reason, expected) in [
            (200, vec![], Reason::NoStore, Owner::Asker),
            (202, vec![], Reason::Status, Owner::Asker),
            (302, vec![], Reason::Status, Owner::First),
            (307, vec![], Reason::Expired, Owner::First),
            (302, vec![], Reason::Private, Owner::Asker),
            (200, vec![], Reason::Json, Owner::Asker),
            (200, vec![], Reason::Authorization, Owner::Asker),
            (599, vec![], Reason::MustUnderstand, Owner::First),
            (200, vec![("set-cookie", "a=1")], Reason::NoStore, Owner::First),
            (503, vec![], Reason::NoStore, Owner::First),
            (404, vec![], Reason::Status, Owner::First),
            (200, vec![], Reason::TooLarge, Owner::First),
        ] {
            let (status, headers) = (StatusCode::from_u16(status).unwrap(), header_map(&fields));
            let owner = |rendered| {
                let whose = (rendered, Audience::AsSaid);
                owner(status, &headers, reason, whose, &HeaderMap::new())
            };
            assert_eq!(owner(Rendered::ForNobody), expected, "{status} {fields:?}");
            assert_eq!(owner(Rendered::ForClient), Owner::First, "{status} {fields:?}");
        }
    }

    #[test]
    fn nobody_s_renewal_of_a_cookie_does_not_replace_somebody_s() {
        const RENEWED: &str = "csrftoken=new; Path=/";
        for (set, client, expected, of_everyone) in [
            (&[RENEWED][..], "csrftoken=old; _ga=1", Owner::Asker, Owner::Asker),
            (&[RENEWED], "_ga=1", Owner::First, Owner::First),
            // A link that logs in is used up; but it is nobody's page for everyone.
            (
                &[RENEWED, "sessionid=1"],
                "csrftoken=old",
                Owner::First,
                Owner::Asker,
            ),
        ] {
            let mut headers = HeaderMap::new();
            for line in set {
                headers.append("set-cookie", HeaderValue::from_static(line));
            }
            let mut asked = HeaderMap::new();
            asked.insert("cookie", HeaderValue::from_static(client));
            for (audience, expected) in [(Audience::AsSaid, expected), (Audience::Everyone, of_everyone)] {
                let whose = (Rendered::ForNobody, audience);
                let found = owner(StatusCode::OK, &headers, Reason::SetCookie, whose, &asked);
                assert_eq!(found, expected, "{set:?} for {client}, {audience:?}");
            }
        }
    }
}
