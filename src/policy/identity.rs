//! Who asks: whether a request carries something that may be somebody's identity.
//!
//! The lists err towards passing. A visitor who passes gets the backend's own answer, only slower; one
//! who should have passed and did not would get nobody's page.

use http::header::{HeaderMap, HeaderName};

use crate::headers::{NameList, cookies};
use crate::outcome::Reason;

/// Cookies that do not change the page: analytics, advertising, consent, chat, load balancers, CSRF.
/// `ignore_cookies` adds to it.
pub const IGNORED_COOKIES: &[&str] = &[
    // Analytics
    "_ga",
    "_ga_*",
    "_gid",
    "_gat",
    "_gat_*",
    "_gcl_*",
    "_gac_*",
    "__utm*",
    "_pk_*",
    "_hj*",
    "ajs_*",
    "amplitude_*",
    "AMP_*",
    "mp_*",
    "_clck",
    "_clsk",
    "_uet*",
    "plausible_*",
    "_scid*",
    "_dd_s",
    "ahoy_*",
    "optimizely*",
    "_vwo_*",
    "_vis_opt_*",
    "mixpanel*",
    "ph_*_posthog",
    "s_cc",
    "s_sq",
    "s_vi",
    "AMCV_*",
    "AMCVS_*",
    "_parsely_*",
    "__hstc",
    "__hssc",
    "__hssrc",
    "hubspotutk",
    "_mkto_trk",
    "nmstat",
    "_ym_*",
    // Advertising
    "_fbp",
    "_fbc",
    "_tt_*",
    "_ttp",
    "_pin_unauth",
    "_rdt_uuid",
    "IDE",
    "__gads",
    "__gpi",
    "__eoi",
    "_li_*",
    "li_fat_id",
    "_derived_epik",
    "cto_*",
    "_twclid",
    "muid",
    // Consent
    "CookieConsent",
    "cookieconsent_*",
    "cookie_notice_accepted",
    "OptanonConsent",
    "OptanonAlertBoxClosed",
    "euconsent*",
    "usprivacy",
    "cmplz_*",
    "borlabs-cookie",
    "didomi_token",
    "axeptio_*",
    "_iub_cs-*",
    "cookieyes-*",
    "klaro",
    "moove_gdpr_popup",
    "eupubconsent*",
    "tarteaucitron",
    "cc_cookie",
    // Chat
    "intercom-id-*",
    "intercom-device-id-*",
    "crisp-client*",
    "drift_*",
    "__zlcmid",
    "tawkUUID",
    "_lc2_*",
    // Load balancers and edge
    "AWSALB",
    "AWSALBCORS",
    "AWSALBTG",
    "AWSALBTGCORS",
    "AWSELB",
    "AWSELBCORS",
    "BIGipServer*",
    "SERVERID",
    "ARRAffinity",
    "ARRAffinitySameSite",
    "GCLB",
    "__cf_bm",
    "__cflb",
    "_cfuvid",
    "cf_clearance",
    "TS01*",
    "ak_bmsc",
    "bm_*",
    "_abck",
    "incap_ses_*",
    "visid_incap_*",
    "nlbi_*",
    "route",
    "INGRESSCOOKIE",
    // CSRF
    "csrftoken",
    "XSRF-TOKEN",
    "csrf_token",
    "_csrf",
    "CSRF-TOKEN",
    "antiforgery*",
    ".AspNetCore.Antiforgery*",
];

/// Load balancers' cookies: a `Set-Cookie` of one of these is dropped from a stored page.
/// `ignore_set_cookies` adds to it.
pub const IGNORED_SET_COOKIES: &[&str] = &[
    "AWSALB",
    "AWSALBCORS",
    "AWSALBTG",
    "AWSALBTGCORS",
    "AWSELB",
    "AWSELBCORS",
    "BIGipServer*",
    "SERVERID",
    "ARRAffinity",
    "ARRAffinitySameSite",
    "GCLB",
    "__cf_bm",
    "__cflb",
    "_cfuvid",
    "INGRESSCOOKIE",
];

/// Request fields that are somebody's identity. `bypass_headers` adds to it.
pub const BYPASS_HEADERS: &[&str] = &[
    "authorization",
    "proxy-authorization",
    "x-api-key",
    "x-access-token",
    "x-auth-token",
    "x-amz-security-token",
    "x-csrf-token",
    "x-xsrf-token",
    "x-session-id",
    "x-session-token",
    "x-user-id",
    "x-remote-user",
    "remote-user",
    "x-forwarded-user",
    "x-forwarded-email",
    "x-auth-request-user",
    "x-goog-authenticated-user-email",
    "cf-access-jwt-assertion",
    "x-client-cert",
    "x-ssl-client-cert",
];

/// Query parameters that look like a key to something. `bypass_query` adds to it.
pub const BYPASS_QUERY: &[&str] = &[
    "token",
    "*_token",
    "*-token",
    "*token",
    "code",
    "otp",
    "sig",
    "sig_*",
    "signature",
    "*_signature",
    "hmac",
    "secret",
    "*_secret",
    "password",
    "passwd",
    "pwd",
    "key",
    "api_key",
    "apikey",
    "access_key",
    "auth",
    "jwt",
    "session",
    "session_id",
    "sessionid",
    "sid",
    "ticket",
    "nonce",
    "state",
    "magic*",
    "invite",
    "X-Amz-*",
    "X-Goog-*",
    "se",
    "sv",
    "preview",
    "draft",
];

/// The lists in force.
#[derive(Debug, Clone)]
pub(crate) struct IdentityRules {
    pub(crate) bypass_headers: Vec<HeaderName>,
    pub(crate) bypass_query: NameList,
    pub(crate) cookies: CookieRule,
}

/// Which cookies are identity.
#[derive(Debug, Clone)]
pub(crate) enum CookieRule {
    /// All but these.
    AllBut {
        ignored: NameList,
        /// `key_cookies`: case matters.
        keyed: Vec<Box<str>>,
    },
    /// Only these.
    Only(NameList),
}

impl CookieRule {
    fn is_identity(&self, name: &[u8]) -> bool {
        // A name that is no text is in no list.
        let Ok(name) = std::str::from_utf8(name) else {
            return matches!(self, Self::AllBut { .. });
        };
        match self {
            Self::AllBut { ignored, keyed } => {
                !ignored.contains(name) && !keyed.iter().any(|keyed| **keyed == *name)
            }
            Self::Only(names) => names.contains(name),
        }
    }
}

/// Why the request is somebody's, if it is.
pub(crate) fn identity(headers: &HeaderMap, query: &str, rules: &IdentityRules) -> Option<Reason> {
    if rules.bypass_headers.iter().any(|name| headers.contains_key(name)) {
        return Some(Reason::Authorization);
    }
    if cookies(headers).any(|(name, _)| rules.cookies.is_identity(name)) {
        return Some(Reason::Cookie);
    }
    let is_secret = |parameter: &str| {
        let name = parameter.split_once('=').map_or(parameter, |(name, _)| name);
        rules.bypass_query.contains(name)
    };
    let query_is_secret = !query.is_empty() && query.split(['&', ';']).any(is_secret);
    query_is_secret.then_some(Reason::SecretQuery)
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    fn rules(cookies: CookieRule) -> IdentityRules {
        IdentityRules {
            bypass_headers: BYPASS_HEADERS.iter().map(|name| name.parse().unwrap()).collect(),
            bypass_query: NameList::new(BYPASS_QUERY.iter().copied()),
            cookies,
        }
    }

    fn default_rules() -> IdentityRules {
        rules(CookieRule::AllBut {
            ignored: NameList::new(IGNORED_COOKIES.iter().copied()),
            keyed: vec!["theme".into()],
        })
    }

    fn judged(name: &'static str, value: &'static str, query: &str, rules: &IdentityRules) -> Option<Reason> {
        let mut headers = HeaderMap::new();
        headers.insert(name, HeaderValue::from_static(value));
        identity(&headers, query, rules)
    }

    #[test]
    fn any_cookie_is_identity_that_is_neither_ignored_nor_in_the_key() {
        for (cookies, expected) in [
            ("_ga=1; _fbp=2; csrftoken=3", None),
            ("theme=dark", None),
            ("Theme=dark", Some(Reason::Cookie)),
            ("sessionid=1", Some(Reason::Cookie)),
            ("_ga=1; h3=2", Some(Reason::Cookie)),
            ("", None),
        ] {
            assert_eq!(
                judged("cookie", cookies, "", &default_rules()),
                expected,
                "{cookies}"
            );
        }
    }

    #[test]
    fn with_bypass_cookies_only_those_count() {
        let rules = rules(CookieRule::Only(NameList::new(["session*"])));
        assert_eq!(judged("cookie", "other=1", "", &rules), None);
        assert_eq!(
            judged("cookie", "other=1; sessionid=2", "", &rules),
            Some(Reason::Cookie)
        );
    }

    #[test]
    fn credentials_and_keys_in_the_query_pass() {
        let rules = default_rules();
        assert_eq!(
            judged("authorization", "Basic x", "", &rules),
            Some(Reason::Authorization)
        );
        for (query, expected) in [
            ("page=2", None),
            ("reset_token=x", Some(Reason::SecretQuery)),
            ("a=1&code=2", Some(Reason::SecretQuery)),
            ("X-Amz-Signature=1", Some(Reason::SecretQuery)),
            ("encoded=1", None),
            ("postcode=1", None),
        ] {
            assert_eq!(judged("x-none", "", query, &rules), expected, "{query}");
        }
    }
}
