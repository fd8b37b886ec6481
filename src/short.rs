//! Short texts made on the stack, piece by piece: for what is said in every answer.

/// A text of at most `N` bytes. What does not fit makes it none.
#[derive(Debug, Clone)]
pub(crate) struct Short<const N: usize> {
    bytes: [u8; N],
    length: Option<usize>,
}

const DIGITS: [&str; 10] = ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"];

impl<const N: usize> Short<N> {
    pub(crate) fn new() -> Self {
        Self {
            bytes: [0; N],
            length: Some(0),
        }
    }

    pub(crate) fn push(&mut self, piece: &str) {
        self.length = self.length.and_then(|start| {
            let end = start + piece.len();
            self.bytes.get_mut(start..end)?.copy_from_slice(piece.as_bytes());
            Some(end)
        });
    }

    /// Its digits.
    pub(crate) fn push_number(&mut self, number: u64) {
        // Of u64 there are twenty at most.
        let digits = number.checked_ilog10().unwrap_or(0) + 1;
        for place in (0..digits).rev() {
            let digit = number / 10_u64.pow(place) % 10;
            self.push(DIGITS.get(digit as usize).copied().unwrap_or_default());
        }
    }

    pub(crate) fn text(&self) -> Option<&str> {
        std::str::from_utf8(self.bytes.get(..self.length?)?).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_as_the_formatter_does() {
        for number in [0, 1, 9, 10, 99, 100, 12_345, u64::from(u32::MAX), u64::MAX] {
            let mut text = Short::<20>::new();
            text.push_number(number);
            assert_eq!(text.text(), Some(number.to_string().as_str()));
        }
    }

    #[test]
    fn what_does_not_fit_is_none() {
        let mut text = Short::<4>::new();
        text.push("abcd");
        assert_eq!(text.text(), Some("abcd"));
        text.push("");
        assert_eq!(text.text(), Some("abcd"));
        text.push("e");
        assert_eq!(text.text(), None);
        text.push("");
        assert_eq!(text.text(), None);
    }
}
