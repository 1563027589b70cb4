//! Numbers of a schema that bounds no digits: a model that has begun one may go on to its token limit, so after some digits the
//! number has to end.

/// More than any number that programs write: a 64-bit float has 17 digits, and an integer of 128 bits has 39.
const MOST_DIGITS: usize = 40;

/// How long the number is at the end of what was read of a JSON text.
#[derive(Clone, Default)]
pub(super) struct NumberRun {
    inside_string: bool,
    escaped: bool,
    digits: usize,
}

impl NumberRun {
    pub fn read(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            match byte {
                _ if self.escaped => self.escaped = false,
                b'\\' => self.escaped = self.inside_string,
                b'"' => self.inside_string = !self.inside_string,
                b'0'..=b'9' if !self.inside_string => self.digits += 1,
                b'.' | b'-' | b'+' | b'e' | b'E' => {}
                _ => self.digits = 0,
            }
        }
    }

    pub fn is_long(&self) -> bool {
        !self.inside_string && self.digits >= MOST_DIGITS
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_digits_of_numbers_count() {
        let long = |text: String| {
            let mut run = NumberRun::default();
            run.read(text.as_bytes());
            run.is_long()
        };
        let digits = "7".repeat(MOST_DIGITS);
        for text in [format!("{{\"a\":{digits}"), format!("[1,-0.{digits}"), format!("{{\"a\\\"\":1{digits}")] {
            assert!(long(text.clone()), "{text}");
        }
        for text in [format!("{{\"a\":\"{digits}"), format!("[{digits},"), format!("[{}", &digits[1..])] {
            assert!(!long(text.clone()), "{text}");
        }
    }
}
