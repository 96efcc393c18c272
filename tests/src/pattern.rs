//! Patterns of scenarios: `*` stands for anything, `?` for one character, `{=name}` for anything that is then remembered.

use std::collections::BTreeMap;

/// Named texts that a scenario knows.
pub type Variables = BTreeMap<String, String>;

enum Piece<'a> {
    Text(&'a str),
    Any,
    One,
    Capture(&'a str),
}

/// Matches a whole text and returns what was captured.
pub fn matches(pattern: &str, text: &str) -> Option<Variables> {
    let mut pieces = Vec::new();
    let mut rest = pattern;
    while let Some(at) = rest.find(['*', '?', '{']) {
        pieces.push(Piece::Text(&rest[..at]));
        rest = &rest[at..];
        if let Some((name, tail)) = rest
            .strip_prefix("{=")
            .and_then(|capture| capture.split_once('}'))
        {
            pieces.push(Piece::Capture(name));
            rest = tail;
        } else if let Some(tail) = rest.strip_prefix('?') {
            pieces.push(Piece::One);
            rest = tail;
        } else if let Some(tail) = rest.strip_prefix('*') {
            pieces.push(Piece::Any);
            rest = tail;
        } else {
            pieces.push(Piece::Text(&rest[..1]));
            rest = &rest[1..];
        }
    }
    pieces.push(Piece::Text(rest));
    let mut found = Variables::new();
    step(&pieces, text, &mut found).then_some(found)
}

/// Puts in the value of every `{name}`; an unknown name is an error. `{=name}` stays for the matcher.
pub fn expand(text: &str, variables: &Variables) -> Result<String, String> {
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find('{') {
        out.push_str(&rest[..at]);
        let Some(end) = rest[at..].find('}') else { break };
        let name = &rest[at + 1..at + end];
        if name.starts_with('=') {
            out.push_str(&rest[at..=at + end]);
        } else {
            out.push_str(
                variables
                    .get(name)
                    .ok_or_else(|| format!("no variable is named {name:?}"))?,
            );
        }
        rest = &rest[at + end + 1..];
    }
    out.push_str(rest);
    Ok(out)
}

fn step(pieces: &[Piece<'_>], text: &str, found: &mut Variables) -> bool {
    let Some((first, others)) = pieces.split_first() else {
        return text.is_empty();
    };
    if let Piece::Text(literal) = first {
        return text
            .strip_prefix(literal)
            .is_some_and(|rest| step(others, rest, found));
    }
    if let Piece::One = first {
        let length = text.chars().next().map_or(0, char::len_utf8);
        return length > 0 && step(others, &text[length..], found);
    }
    let ends = text.char_indices().map(|(at, _)| at).chain([text.len()]);
    for end in ends {
        if step(others, &text[end..], found) {
            if let Piece::Capture(name) = first {
                found.insert((*name).to_owned(), text[..end].to_owned());
            }
            return true;
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::Variables;
    use super::expand;
    use super::matches;

    #[test]
    fn patterns() {
        for (pattern, text, expected) in [
            ("abc", "abc", true),
            ("a*c", "abbc", true),
            ("*", "", true),
            ("a*", "ba", false),
            ("a?*", "a", false),
            ("a?*", "ab", true),
            ("<{=uri}>;tag=*", "<sip:a>;tag=1", true),
        ] {
            assert_eq!(matches(pattern, text).is_some(), expected, "{pattern} {text}");
        }
        assert_eq!(matches("<{=uri}>*", "<sip:a>;x").unwrap()["uri"], "sip:a");
    }

    #[test]
    fn variables() {
        let variables = Variables::from([("a".to_owned(), "1".to_owned())]);
        assert_eq!(expand("x{a}y{=b}", &variables).unwrap(), "x1y{=b}");
        assert!(expand("{c}", &variables).is_err());
    }
}
