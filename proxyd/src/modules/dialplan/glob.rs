//! Shell patterns: `*`, `?`, `[…]` and backslash (fnmatch(3) without flags).

/// Whether a text matches a pattern.
pub(super) fn matches(pattern: &[u8], text: &[u8]) -> bool {
    let (mut p, mut t) = (0, 0);
    // where to go on when what follows the last star does not fit
    let mut retry: Option<(usize, usize)> = None;
    loop {
        let step = match pattern.get(p) {
            Some(b'*') => {
                retry = Some((p + 1, t));
                p += 1;
                continue;
            }
            None if t == text.len() => return true,
            None => None,
            Some(_) => text.get(t).and_then(|byte| one(pattern, p, *byte)),
        };
        match (step, retry) {
            (Some(next), _) => (p, t) = (next, t + 1),
            (None, Some((after, from))) if from < text.len() => {
                retry = Some((after, from + 1));
                (p, t) = (after, from + 1);
            }
            (None, _) => return false,
        }
    }
}

/// Matches one byte against the element at `at`; gives where the next element begins.
fn one(pattern: &[u8], at: usize, byte: u8) -> Option<usize> {
    match *pattern.get(at)? {
        b'?' => Some(at + 1),
        b'\\' => match pattern.get(at + 1) {
            Some(escaped) => (*escaped == byte).then_some(at + 2),
            None => (byte == b'\\').then_some(at + 1),
        },
        b'[' => match class(pattern, at + 1, byte) {
            Some((holds, next)) => holds.then_some(next),
            None => (byte == b'[').then_some(at + 1),
        },
        literal => (literal == byte).then_some(at + 1),
    }
}

/// Reads a bracket expression; whether it holds the byte and where it ends, none when it does not end.
fn class(pattern: &[u8], mut at: usize, byte: u8) -> Option<(bool, usize)> {
    let negated = matches!(pattern.get(at)?, b'!' | b'^');
    at += usize::from(negated);
    let (mut holds, mut first) = (false, true);
    loop {
        let mut low = *pattern.get(at)?;
        if low == b']' && !first {
            return Some((holds != negated, at + 1));
        }
        first = false;
        if low == b'\\' {
            at += 1;
            low = *pattern.get(at)?;
        }
        at += 1;
        let mut high = low;
        if pattern.get(at) == Some(&b'-') && pattern.get(at + 1).is_some_and(|b| *b != b']') {
            high = *pattern.get(at + 1)?;
            at += 2;
        }
        holds |= (low..=high).contains(&byte);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_as_in_a_shell() {
        for (pattern, text, expected) in [
            ("ab*", "abc", true),
            ("ab*", "ab", true),
            ("ab*", "xab", false),
            ("*1?3", "99123", true),
            ("a*b*c", "aXbYbZc", true),
            ("a*b*c", "aXbYbZ", false),
            ("[0-4]x", "3x", true),
            ("[!0-4]x", "3x", false),
            ("[]a]", "]", true),
            (r"\*", "*", true),
            (r"\*", "x", false),
            ("[a", "[a", true),
            ("", "", true),
            ("", "a", false),
            ("*", "", true),
        ] {
            assert_eq!(
                matches(pattern.as_bytes(), text.as_bytes()),
                expected,
                "{pattern} {text}"
            );
        }
    }

    proptest::proptest! {
        #[test]
        fn never_panics(pattern: Vec<u8>, text: Vec<u8>) {
            matches(&pattern, &text);
        }
    }
}
