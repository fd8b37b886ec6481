//! Who asks: whether a request carries something that may be somebody's identity.
//!
//! The lists err towards passing. A visitor who passes gets the backend's own answer, only slower; one
//! who should have passed and did not would get nobody's page.

use std::borrow::Cow;

use http::header::{HeaderMap, HeaderName};

use crate::headers::{FieldSet, NameList, cookies};
use crate::outcome::Reason;

/// Cookies that do not change the page: analytics, advertising, consent, chat, load balancers, CSRF.
/// `ignore_cookies` adds to it.
///
/// Each is some product's own name: what a site might call a cookie of its own (`route`, `session`, `lang`)
/// is not here, and neither is what only other sites' cookies are called. Consent changes what scripts do;
/// a CSRF cookie is the other half of a form field, and a page with that field is never stored.
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
    "mp_*_mixpanel",
    "_clck",
    "_clsk",
    "_uet*",
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
    "__gads",
    "__gpi",
    "__eoi",
    "_li_*",
    "li_fat_id",
    "_derived_epik",
    "cto_bundle",
    "cto_bidid",
    "cto_lwid",
    "_twclid",
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
    "drift_aid",
    "drift_campaign_refresh",
    "driftt_aid",
    "__zlcmid",
    "tawkUUID",
    "TawkConnectionTime",
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
    "bm_sz",
    "bm_sv",
    "bm_mi",
    "bm_so",
    "bm_lso",
    "bm_s",
    "bm_ss",
    "_abck",
    "incap_ses_*",
    "visid_incap_*",
    "nlbi_*",
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
    "x-authenticated-user",
    "x-webauth-user",
    "x-forwarded-groups",
    "x-forwarded-preferred-username",
    "x-forwarded-access-token",
    "x-auth-request-email",
    "x-auth-request-access-token",
    "x-goog-iap-jwt-assertion",
    "x-pomerium-jwt-assertion",
    "x-ms-client-principal",
    "x-amzn-oidc-data",
    "tailscale-user-login",
    "client-cert",
    "x-client-cert",
    "x-forwarded-client-cert",
    "x-ssl-client-cert",
    "dpop",
];

/// Query parameters that look like a key to something. `bypass_query` adds to it. Of a name with brackets
/// (`user[token]`) the last part counts too.
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
    "phpsessid",
    "jsessionid",
    "sesskey",
    "ticket",
    "nonce",
    "*nonce",
    "oauth_verifier",
    "SAMLResponse",
    "magic*",
    "invite",
    "invitation",
    "auth_code",
    "login_code",
    "reset_code",
    "activation*",
    "confirmation*",
    "verification*",
    "X-Amz-*",
    "X-Goog-*",
    "Key-Pair-Id",
    "preview",
    "draft",
];

/// The lists in force.
#[derive(Debug, Clone)]
pub(crate) struct IdentityRules {
    pub(crate) bypass_headers: FieldSet,
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

impl IdentityRules {
    /// The pages are the same for everyone: only a secret in the address still is somebody's. The fields that were
    /// somebody's are returned, for fills must not carry them, nor pages vary by them.
    pub(crate) fn everyone(&mut self) -> Vec<HeaderName> {
        self.cookies = CookieRule::Only(NameList::default());
        std::mem::take(&mut self.bypass_headers).into_names()
    }
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

/// What makes a request somebody's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Identity<'a> {
    Credentials,
    /// The name of the first cookie that does; empty where it has none, because what stands there instead
    /// may be a value.
    Cookie(&'a [u8]),
    SecretQuery,
}

impl Identity<'_> {
    pub(crate) fn reason(&self) -> Reason {
        match self {
            Self::Credentials => Reason::Authorization,
            Self::Cookie(_) => Reason::Cookie,
            Self::SecretQuery => Reason::SecretQuery,
        }
    }
}

/// What makes the request somebody's, if something does.
pub(crate) fn identity<'a>(
    headers: &'a HeaderMap,
    query: &str,
    rules: &IdentityRules,
) -> Option<Identity<'a>> {
    if rules.bypass_headers.is_any_in(headers) {
        return Some(Identity::Credentials);
    }
    if let Some(cookie) = cookies(headers).find(|cookie| rules.cookies.is_identity(cookie.name)) {
        let name = cookie.value.map_or(&[][..], |_| cookie.name);
        return Some(Identity::Cookie(name));
    }
    let is_secret = |parameter: &str| {
        let name = parameter.split_once('=').map_or(parameter, |(name, _)| name);
        let name = decoded(name);
        let inner = name
            .strip_suffix(']')
            .and_then(|name| name.rsplit('[').next())
            .unwrap_or_default();
        rules.bypass_query.contains(&name) || (!inner.is_empty() && rules.bypass_query.contains(inner))
    };
    let query_is_secret = !query.is_empty() && query.split(['&', ';']).any(is_secret);
    query_is_secret.then_some(Identity::SecretQuery)
}

/// With `%xx` decoded, as the backend reads it; what is no text then is no name of a list.
fn decoded(name: &str) -> Cow<'_, str> {
    if !name.contains('%') {
        return name.into();
    }
    let digit = |byte: u8| {
        char::from(byte)
            .to_digit(16)
            .and_then(|digit| u8::try_from(digit).ok())
    };
    let mut bytes = Vec::with_capacity(name.len());
    let mut rest = name.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let coded = match (first, after) {
            (b'%', [high, low, ..]) => digit(*high).zip(digit(*low)).map(|(high, low)| high * 16 + low),
            _ => None,
        };
        bytes.push(coded.unwrap_or(*first));
        rest = coded.and_then(|_| after.get(2..)).unwrap_or(after);
    }
    String::from_utf8_lossy(&bytes).into_owned().into()
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
        identity(&headers, query, rules).map(|identity| identity.reason())
    }

    #[test]
    fn balancers_cookies_are_ignored_both_ways() {
        for name in IGNORED_SET_COOKIES {
            assert!(IGNORED_COOKIES.contains(name), "{name}");
        }
    }

    #[test]
    fn the_cookie_that_costs_the_hit_is_named_and_its_value_never_is() {
        for (cookies, expected) in [
            ("_ga=1; sessionid=secret; other=2", &b"sessionid"[..]),
            ("secret-without-a-name", b""),
            ("=secret", b""),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert("cookie", HeaderValue::from_static(cookies));
            let found = identity(&headers, "", &default_rules());
            assert_eq!(found, Some(Identity::Cookie(expected)), "{cookies}");
        }
    }

    #[test]
    fn what_a_site_may_call_its_own_cookies_is_identity() {
        for cookie in [
            "route=1",
            "session=1",
            "laravel_session=1",
            "_app_session=1",
            "PHPSESSID=1",
            "JSESSIONID=1",
            "connect.sid=1",
            "sessionid=1",
            "astro-session=1",
            "h3=1",
            "theme=dark",
            "lang=de",
            "locale=de",
            "currency=chf",
            "NEXT_LOCALE=de",
            "i18n_redirected=de",
            "django_language=de",
            "messages=1",
            "cart=1",
            "mp_theme=1",
            "bm_list=1",
            "ide=1",
            "remember_token=1",
        ] {
            let rules = rules(CookieRule::AllBut {
                ignored: NameList::new(IGNORED_COOKIES.iter().copied()),
                keyed: Vec::new(),
            });
            assert_eq!(
                judged("cookie", cookie, "", &rules),
                Some(Reason::Cookie),
                "{cookie}"
            );
        }
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
    fn where_pages_are_everyone_s_only_a_secret_in_the_address_is_somebody_s() {
        let mut rules = default_rules();
        let fields = rules.everyone();
        assert_eq!(fields.len(), BYPASS_HEADERS.len());
        for (name, value) in [
            ("cookie", "session=1"),
            ("cookie", "without-a-name"),
            ("authorization", "Basic x"),
            ("x-api-key", "1"),
        ] {
            assert!(judged(name, value, "", &default_rules()).is_some(), "{name}");
            assert_eq!(judged(name, value, "a=1", &rules), None, "{name}");
            let secret = judged(name, value, "token=1", &rules);
            assert_eq!(secret, Some(Reason::SecretQuery), "{name}");
        }
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
            ("country_code=ch", None),
            ("state=CA", None),
            ("sv=1", None),
            ("%74oken=x", Some(Reason::SecretQuery)),
            ("reset%5ftoken=x", Some(Reason::SecretQuery)),
            ("user[token]=x", Some(Reason::SecretQuery)),
            ("user%5Btoken%5D=x", Some(Reason::SecretQuery)),
            ("100%=1&%zz=2", None),
            ("a;token=x", Some(Reason::SecretQuery)),
            ("_wpnonce=x", Some(Reason::SecretQuery)),
        ] {
            assert_eq!(judged("x-none", "", query, &rules), expected, "{query}");
        }
    }
}
