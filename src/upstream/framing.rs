//! Where an answer's body ends, in one reading.
//!
//! hyper reads on where the end is in doubt: it undoes the last transfer coding and no other, prefers a
//! coding to a length, and leaves the fields as they came. Passed on, they would say something else than
//! what was read.

use http::header::{self, HeaderMap, HeaderValue};
use http::{HeaderName, StatusCode};

/// The fields of an answer do not say where its body ends, or say it twice.
#[derive(Debug, Clone, Copy, thiserror::Error, PartialEq, Eq)]
#[error("the length of the answer can be read in two ways")]
pub(super) struct Ambiguous;

/// Leaves one length, or one coding, or neither.
///
/// # Errors
/// Lengths that differ or are none, a coding other than `chunked` alone, a length beside a coding
/// (RFC 9112 §6.3: to be handled as an error).
pub(super) fn settle(status: StatusCode, headers: &mut HeaderMap) -> Result<(), Ambiguous> {
    let lines = |name: &HeaderName| headers.get_all(name).iter().cloned().collect::<Vec<_>>();
    let codings = lines(&header::TRANSFER_ENCODING);
    let lengths = lines(&header::CONTENT_LENGTH);
    match (codings.as_slice(), lengths.as_slice()) {
        ([], []) => return Ok(()),
        ([], lengths) => {
            let length = one_length(lengths).ok_or(Ambiguous)?;
            headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
        }
        ([coding], []) if coding.as_bytes().eq_ignore_ascii_case(b"chunked") => {}
        _ => return Err(Ambiguous),
    }
    // RFC 9110 §8.6: never in a 204. In a 304 it is the length of something else, which who joins head
    // and body to a message again takes for the message's.
    if matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED) || status.is_informational() {
        headers.remove(header::CONTENT_LENGTH);
    }
    Ok(())
}

/// The number that every element of every line is.
fn one_length(lines: &[HeaderValue]) -> Option<u64> {
    let mut known = None;
    for line in lines {
        for text in line.to_str().ok()?.split(',').map(str::trim) {
            // A sign, which `parse` takes, is none of a length's.
            if !text.bytes().all(|byte| byte.is_ascii_digit()) {
                return None;
            }
            let length = text.parse::<u64>().ok()?;
            if known.is_some_and(|known| known != length) {
                return None;
            }
            known = Some(length);
        }
    }
    known
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settled(status: u16, fields: &[(&'static str, &'static str)]) -> Result<Vec<String>, Ambiguous> {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(*name, HeaderValue::from_static(value));
        }
        settle(StatusCode::from_u16(status).unwrap(), &mut headers)?;
        let text =
            |(name, value): (&HeaderName, &HeaderValue)| format!("{name}: {}", value.to_str().unwrap());
        Ok(headers.iter().map(text).collect())
    }

    #[test]
    fn one_reading_is_left() {
        let one = Ok(vec!["content-length: 5".to_owned()]);
        for (status, fields, expected) in [
            (200, &[][..], Ok(vec![])),
            (200, &[("content-length", "5")], one.clone()),
            (200, &[("content-length", "005")], one.clone()),
            (
                200,
                &[("content-length", "5"), ("content-length", "5")],
                one.clone(),
            ),
            (200, &[("content-length", "5, 5")], one),
            (204, &[("content-length", "5")], Ok(vec![])),
            (304, &[("content-length", "5")], Ok(vec![])),
            (
                200,
                &[("transfer-encoding", "Chunked")],
                Ok(vec!["transfer-encoding: Chunked".to_owned()]),
            ),
            (
                200,
                &[("content-length", "5"), ("content-length", "6")],
                Err(Ambiguous),
            ),
            (200, &[("content-length", "5, 6")], Err(Ambiguous)),
            (200, &[("content-length", "+5")], Err(Ambiguous)),
            (200, &[("content-length", "")], Err(Ambiguous)),
            (200, &[("transfer-encoding", "gzip, chunked")], Err(Ambiguous)),
            (200, &[("transfer-encoding", "identity")], Err(Ambiguous)),
            (200, &[("transfer-encoding", "chunked, chunked")], Err(Ambiguous)),
            (
                200,
                &[("transfer-encoding", "chunked"), ("transfer-encoding", "chunked")],
                Err(Ambiguous),
            ),
            (
                200,
                &[("transfer-encoding", "chunked"), ("content-length", "5")],
                Err(Ambiguous),
            ),
        ] {
            assert_eq!(settled(status, fields), expected, "{status} {fields:?}");
        }
    }
}
