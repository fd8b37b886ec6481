//! The hut's bell as a sound: something to listen to, to seek in, and to download.

use std::sync::LazyLock;

use bytes::Bytes;

const SAMPLES_A_SECOND: u32 = 8000;
const STROKES: u32 = 8;
const SECONDS: u32 = 2 * STROKES;

/// Fixed point with 30 bits behind the point.
const POINT: u32 = 30;

/// What rings: a stroke starts each of these resonators, `y[n] = a·y[n-1] - b·y[n-2]`. In integers, so that the
/// bytes are the same on every machine.
struct Partial {
    a: i64,
    b: i64,
    stroke: i64,
}

/// Hum, prime, tierce, quint and nominal of a bell in C.
const PARTIALS: [Partial; 5] = [
    partial(2_102_004_942, 1_073_432_821, 5_476_906),
    partial(1_968_254_721, 1_073_278_352, 16_085_069),
    partial(1_891_056_507, 1_073_123_906, 12_707_460),
    partial(1_751_534_808, 1_072_899_297, 9_311_209),
    partial(1_461_341_662, 1_072_712_159, 17_694_951),
];

const fn partial(a: i64, b: i64, stroke: i64) -> Partial {
    Partial { a, b, stroke }
}

/// Eight strokes in sixteen seconds: a WAV file of 256 kB.
pub(super) fn wav() -> Bytes {
    static WAV: LazyLock<Bytes> = LazyLock::new(|| Bytes::from(ring()));
    WAV.clone()
}

fn ring() -> Vec<u8> {
    let samples = SAMPLES_A_SECOND * SECONDS;
    let mut file = header(samples * 2);
    let mut state = PARTIALS.map(|_| (0, 0));
    for n in 0..samples {
        let mut sum = 0;
        for (partial, (last, before)) in PARTIALS.iter().zip(&mut state) {
            if n % (samples / STROKES) == 0 {
                *last += partial.stroke;
            }
            sum += *last;
            let next = (partial.a * *last - partial.b * *before) >> POINT;
            (*last, *before) = (next, *last);
        }
        // The resonators count in 4096ths of a step.
        let sample = (sum >> 12).clamp(i64::from(i16::MIN), i64::from(i16::MAX));
        file.extend(i16::try_from(sample).unwrap_or_default().to_le_bytes());
    }
    file
}

/// Of a WAV file with one channel and 16 bits a sample.
fn header(bytes: u32) -> Vec<u8> {
    let mut header = Vec::new();
    header.extend(b"RIFF");
    header.extend((36 + bytes).to_le_bytes());
    header.extend(b"WAVEfmt ");
    header.extend(16u32.to_le_bytes());
    // PCM, one channel.
    header.extend([1, 0, 1, 0]);
    header.extend(SAMPLES_A_SECOND.to_le_bytes());
    header.extend((2 * SAMPLES_A_SECOND).to_le_bytes());
    // Two bytes of 16 bits a sample.
    header.extend([2, 0, 16, 0]);
    header.extend(b"data");
    header.extend(bytes.to_le_bytes());
    header
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bell_is_a_wav_file_of_sixteen_seconds_that_rings_and_fades() {
        let wav = wav();
        assert_eq!(wav.len(), 44 + 256_000);
        assert_eq!(&wav[..4], b"RIFF");
        assert_eq!(wav[4..8], u32::to_le_bytes(36 + 256_000));
        let samples: Vec<i16> = wav[44..]
            .chunks_exact(2)
            .map(|bytes| i16::from_le_bytes([bytes[0], bytes[1]]))
            .collect();
        let loudest = |of: &[i16]| of.iter().map(|sample| sample.unsigned_abs()).max().unwrap();
        let (first, last) = (loudest(&samples[..2000]), loudest(&samples[14_000..16_000]));
        assert!(first > 8000 && first < 32_767, "{first}");
        assert!(last < first / 2, "{last} after {first}");
        assert!(loudest(&samples) < 32_767, "clipped");
    }
}
