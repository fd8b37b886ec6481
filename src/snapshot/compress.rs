//! Coding bodies, and seeing whether what is coded is what was sealed.

use std::io::{self, BufReader, Read, Write};
use std::ops::RangeInclusive;

use crate::coding::Coding;
use crate::head::Seal;

/// How much time is spent on a coding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Level {
    /// As soon as the page is stored.
    Fast,
    /// Later, of what was asked for.
    Strong,
}

/// Of a hundred bytes so many at most may be left, or the coding is not worth a file.
const WORTH: u64 = 95;
/// log2 of the largest window that every reader of zstd has (RFC 9659 §3), and of what is needed to check one.
const ZSTD_WINDOW: u32 = 23;
/// log2 of the windows in which brotli codes. The strong level takes eight times the window in memory, and clears it.
/// With one of 16 or less the crate (9.1) falls back to a table of 32 MiB at the fast level.
const BROTLI_WINDOWS: RangeInclusive<u32> = 17..=22;
/// Of its window brotli leaves so many bytes alone (RFC 7932 §9.1).
const BROTLI_GAP: usize = 16;

/// The bytes in a coding; nothing if that saves too little.
pub(crate) fn encode(bytes: &[u8], coding: Coding, level: Level) -> io::Result<Option<Vec<u8>>> {
    let coded = match coding {
        Coding::Brotli => brotli(bytes, level)?,
        Coding::Zstd => zstd::bulk::compress(bytes, if level == Level::Fast { 3 } else { 19 })?,
        Coding::Gzip => gzip(bytes, level)?,
    };
    let is_worth = coded.len() as u64 * 100 <= bytes.len() as u64 * WORTH;
    Ok(is_worth.then_some(coded))
}

fn brotli(bytes: &[u8], level: Level) -> io::Result<Vec<u8>> {
    let params = brotli::enc::BrotliEncoderParams {
        quality: if level == Level::Fast { 5 } else { 11 },
        lgwin: brotli_window(bytes.len()),
        size_hint: bytes.len(),
        ..Default::default()
    };
    let mut coded = Vec::with_capacity(bytes.len() / 4);
    brotli::BrotliCompress(&mut &*bytes, &mut coded, &params)?;
    Ok(coded)
}

/// log2 of the smallest window that holds the body.
fn brotli_window(length: usize) -> i32 {
    let bits = usize::BITS - length.saturating_add(BROTLI_GAP - 1).leading_zeros();
    bits.clamp(*BROTLI_WINDOWS.start(), *BROTLI_WINDOWS.end())
        .cast_signed()
}

fn gzip(bytes: &[u8], level: Level) -> io::Result<Vec<u8>> {
    let level = flate2::Compression::new(if level == Level::Fast { 6 } else { 9 });
    // Without a time in it: the same page gives the same file.
    let mut writer = flate2::write::GzEncoder::new(Vec::with_capacity(bytes.len() / 4), level);
    writer.write_all(bytes)?;
    writer.finish()
}

/// Whether `coded` is just this body, and nothing behind it. Reads no further than the body is long.
pub(crate) fn is_of(coded: &[u8], coding: Coding, seal: &Seal, length: u64) -> bool {
    match coding {
        Coding::Brotli => {
            let mut rest = coded;
            let mut reader = brotli::Decompressor::new(&mut rest, 16 << 10);
            // What is left in its buffer the reader tells at the next call.
            let is_it = is_sealed(&mut reader, seal, length) && matches!(reader.read(&mut [0]), Ok(0));
            drop(reader);
            is_it && rest.is_empty()
        }
        Coding::Zstd => {
            let Ok(reader) = zstd::stream::read::Decoder::with_buffer(BufReader::new(coded)) else {
                return false;
            };
            let mut reader = reader.single_frame();
            let is_it = reader.window_log_max(ZSTD_WINDOW).is_ok() && is_sealed(&mut reader, seal, length);
            let rest = reader.finish();
            is_it && rest.buffer().is_empty() && rest.get_ref().is_empty()
        }
        Coding::Gzip => {
            let mut reader = flate2::bufread::GzDecoder::new(coded);
            is_sealed(&mut reader, seal, length) && reader.into_inner().is_empty()
        }
    }
}

fn is_sealed(reader: &mut impl Read, seal: &Seal, length: u64) -> bool {
    let mut hasher = blake3::Hasher::new();
    let read = hasher.update_reader(reader.take(length.saturating_add(1)));
    read.is_ok() && hasher.count() == length && Seal(hasher.finalize()) == *seal
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn brotli_s_window_holds_the_body_and_is_no_larger() {
        for (length, expected) in [
            (0, 17),
            ((1 << 17) - 16, 17),
            ((1 << 17) - 15, 18),
            (1 << 18, 19),
            (1 << 20, 21),
            ((1 << 22) - 16, 22),
            (usize::MAX, 22),
        ] {
            assert_eq!(brotli_window(length), expected, "{length}");
        }
    }

    /// Text that is no mere repetition.
    fn text() -> Vec<u8> {
        let lines = (0..2000_u32).map(|n| format!("<li>{} of {}</li>\n", n.wrapping_mul(2_654_435_761), n));
        lines.collect::<String>().into_bytes()
    }

    #[test]
    fn what_is_coded_is_known_again_and_nothing_else_is() {
        let (body, other) = (text(), b"another".repeat(1000));
        let (seal, length) = (Seal::of(&body), body.len() as u64);
        for coding in Coding::ALL {
            for level in [Level::Fast, Level::Strong] {
                let coded = encode(&body, coding, level).unwrap().unwrap();
                assert!(coded.len() < body.len() / 2, "{coding:?} {level:?}");
                assert!(is_of(&coded, coding, &seal, length), "{coding:?} {level:?}");

                let cut = &coded[..coded.len() - 1];
                assert!(!is_of(cut, coding, &seal, length), "{coding:?}: cut");
                let longer = [&coded[..], b"x"].concat();
                assert!(!is_of(&longer, coding, &seal, length), "{coding:?}: longer");
                let twice = [&coded[..], &coded].concat();
                assert!(!is_of(&twice, coding, &seal, length), "{coding:?}: twice");
                for at in (0..coded.len()).step_by(97) {
                    let mut flipped = coded.clone();
                    flipped[at] ^= 0x55;
                    // A byte of a gzip head, a time say, may be any.
                    let is_head = coding == Coding::Gzip && at < 10;
                    assert!(
                        is_head || !is_of(&flipped, coding, &seal, length),
                        "{coding:?} at {at}"
                    );
                }
                for wrong in Coding::ALL.into_iter().filter(|wrong| *wrong != coding) {
                    assert!(!is_of(&coded, wrong, &seal, length), "{coding:?} as {wrong:?}");
                }
                assert!(!is_of(&coded, coding, &Seal::of(&other), length));
                assert!(
                    !is_of(&coded, coding, &seal, length - 1) && !is_of(&coded, coding, &seal, length + 1)
                );
            }
            assert!(!is_of(b"", coding, &seal, length));
            // One that would grow without an end is read as far as the body is long.
            let zeros = encode(&vec![0; 8 << 20], coding, Level::Fast).unwrap().unwrap();
            assert!(!is_of(&zeros, coding, &seal, length), "{coding:?}: a bomb");
        }
    }

    #[test]
    fn a_strong_level_is_smaller_than_a_fast_one() {
        let body = text();
        // Of gzip it need not be.
        for coding in [Coding::Brotli, Coding::Zstd] {
            let size = |level| encode(&body, coding, level).unwrap().unwrap().len();
            assert!(size(Level::Strong) <= size(Level::Fast), "{coding:?}");
        }
    }

    #[test]
    fn what_saves_nothing_is_not_kept() {
        let mut noise = vec![0; 20_000];
        blake3::Hasher::new()
            .update(b"noise")
            .finalize_xof()
            .fill(&mut noise);
        for coding in Coding::ALL {
            assert!(
                encode(&noise, coding, Level::Fast).unwrap().is_none(),
                "{coding:?}"
            );
        }
    }
}
