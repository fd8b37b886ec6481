//! A token that clients send, kept as its hash.

/// The hash of a token. Hashes are compared in constant time, and whatever the time of hashing tells,
/// it tells of what the client sent. An empty token is nobody's.
#[derive(Clone)]
pub(crate) struct TokenHash(Option<blake3::Hash>);

impl TokenHash {
    pub(crate) fn of(token: &[u8]) -> Self {
        Self((!token.trim_ascii().is_empty()).then(|| blake3::hash(token)))
    }

    pub(crate) fn is(&self, token: &[u8]) -> bool {
        self.0.is_some_and(|hash| hash == blake3::hash(token))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_itself_and_an_empty_one_is_nobody_s() {
        for (token, sent, expected) in [
            ("secret", "secret", true),
            ("secret", "Secret", false),
            ("secret", "", false),
            ("", "", false),
            (" ", " ", false),
        ] {
            assert_eq!(
                TokenHash::of(token.as_bytes()).is(sent.as_bytes()),
                expected,
                "{token:?}"
            );
        }
    }
}
