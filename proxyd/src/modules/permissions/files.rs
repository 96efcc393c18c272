//! Files of allowed and denied pairs of URIs, in the manner of hosts.allow (Kamailio module permissions, "Call Routing").

use ahash::AHashMap;
use parking_lot::RwLock;
use shared::regex::Options;
use shared::regex::Regex;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;

/// One expression: `ALL` or a regular expression.
#[derive(Debug, Clone)]
enum Expression {
    All,
    Regex(Regex),
}

/// A list with its exceptions.
#[derive(Debug, Clone, Default)]
struct Side {
    these: Vec<Expression>,
    except: Vec<Expression>,
}

/// The rules of one file: pairs of sides.
#[derive(Debug, Clone, Default)]
pub(super) struct Rules(Vec<(Side, Side)>);

impl Side {
    fn holds(&self, text: &[u8]) -> bool {
        let any = |list: &[Expression]| {
            list.iter().any(|expression| match expression {
                Expression::All => true,
                Expression::Regex(regex) => regex.is_match(text),
            })
        };
        any(&self.these) && !any(&self.except)
    }

    fn parse(text: &str) -> Result<Self, String> {
        let mut side = Self::default();
        let (mut excepting, mut wants_more) = (false, true);
        let mut rest = text.trim_start();
        while !rest.is_empty() {
            if let Some(quoted) = rest.strip_prefix('"') {
                let end = quoted.find('"').ok_or("a quote is not closed")?;
                let (pattern, after) = quoted.split_at(end);
                let options = Options {
                    ignore_case: true,
                    ..Options::PLAIN
                };
                let regex = Regex::compile(pattern.as_bytes(), options).map_err(|error| error.to_string())?;
                side.list(excepting).push(Expression::Regex(regex));
                wants_more = false;
                rest = after.get(1..).unwrap_or_default().trim_start();
            } else if let Some(after) = rest.strip_prefix(',') {
                wants_more = true;
                rest = after.trim_start();
            } else {
                let end = rest.find([' ', '\t', ',', '"']).unwrap_or(rest.len());
                let (word, after) = rest.split_at(end);
                if word.eq_ignore_ascii_case("EXCEPT") && !excepting && !wants_more {
                    (excepting, wants_more) = (true, true);
                } else if word.eq_ignore_ascii_case("ALL") {
                    side.list(excepting).push(Expression::All);
                    wants_more = false;
                } else {
                    return Err(format!("{word:?} is neither ALL, EXCEPT nor in quotes"));
                }
                rest = after.trim_start();
            }
        }
        if wants_more {
            Err("an expression is missing".to_owned())
        } else {
            Ok(side)
        }
    }

    fn list(&mut self, excepting: bool) -> &mut Vec<Expression> {
        if excepting {
            &mut self.except
        } else {
            &mut self.these
        }
    }
}

/// Where a character stands outside quotes.
fn outside_quotes(line: &str, wanted: char) -> Option<usize> {
    let mut quoted = false;
    line.char_indices().find_map(|(at, c)| {
        quoted ^= c == '"';
        (c == wanted && !quoted).then_some(at)
    })
}

impl Rules {
    /// Reads the text of a file; lines that cannot be read are told to `complain` and left out.
    pub(super) fn parse(text: &str, mut complain: impl FnMut(usize, String)) -> Self {
        let mut rules = Vec::new();
        for (number, line) in text.lines().enumerate() {
            let line = outside_quotes(line, '#')
                .and_then(|at| line.get(..at))
                .unwrap_or(line)
                .trim();
            if line.is_empty() {
                continue;
            }
            let sides = outside_quotes(line, ':').map(|at| line.split_at(at));
            let rule = match sides {
                Some((left, right)) => Side::parse(left)
                    .and_then(|left| Ok((left, Side::parse(right.strip_prefix(':').unwrap_or(right))?))),
                None => Err("a rule is FROM : URI".to_owned()),
            };
            match rule {
                Ok(rule) => rules.push(rule),
                Err(why) => complain(number + 1, why),
            }
        }
        Self(rules)
    }

    /// Whether a rule fits a pair.
    pub(super) fn hold(&self, from: &[u8], uri: &[u8]) -> bool {
        self.0
            .iter()
            .any(|(left, right)| left.holds(from) && right.holds(uri))
    }
}

/// Files read so far; each is read once for a script.
#[derive(Debug, Default)]
pub(super) struct Files {
    read: RwLock<AHashMap<PathBuf, Arc<Rules>>>,
}

impl Files {
    /// The rules of a file; one that is not there has none.
    pub(super) fn rules(&self, path: &Path) -> Arc<Rules> {
        if let Some(rules) = self.read.read().get(path) {
            return Arc::clone(rules);
        }
        let shown = path.display();
        let rules = match std::fs::read(path) {
            Ok(bytes) => Rules::parse(&String::from_utf8_lossy(&bytes), |line, why| {
                crate::log::error("permissions", format_args!("{shown}:{line}: {why}: line ignored"));
            }),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                crate::log::info("permissions", format_args!("file not found: {shown}"));
                Rules::default()
            }
            Err(error) => {
                crate::log::error("permissions", format_args!("{shown}: {error}"));
                Rules::default()
            }
        };
        let rules = Arc::new(rules);
        self.read.write().insert(path.to_owned(), Arc::clone(&rules));
        rules
    }

    /// Whether a file was read, or could be.
    pub(super) fn knows(&self, path: &Path) -> bool {
        self.read.read().contains_key(path) || path.exists()
    }
}

/// Allowed: every pair is in the first, or no pair is in the second.
pub(super) fn decide(allow: &Rules, deny: &Rules, from: &[u8], uris: &[&[u8]]) -> bool {
    uris.iter().all(|uri| allow.hold(from, uri)) || !uris.iter().any(|uri| deny.hold(from, uri))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(text: &str) -> Rules {
        Rules::parse(text, |line, why| panic!("{line}: {why}"))
    }

    #[test]
    fn pairs_are_matched() {
        let file = "# comment\n\
            ALL : \"^sip:361[0-9]*@abc\\.com$\" EXCEPT \"^sip:361[0-9]*3@abc\\.com$\", \"^sip:361[0-9]*4@abc\\.com$\" # end\n\
            \"^sip:3677[0-9]*@abc\\.com$\" :  \"^sip:5#:\"\n";
        let rules = rules(file);
        for (from, uri, expected) in [
            ("sip:a@b", "sip:3611@abc.com", true),
            ("sip:a@b", "SIP:3611@ABC.com", true),
            ("sip:a@b", "sip:3613@abc.com", false),
            ("sip:a@b", "sip:3614@abc.com", false),
            ("sip:36771@abc.com", "sip:5#:x", true),
            ("sip:a@b", "sip:5#:x", false),
        ] {
            assert_eq!(
                rules.hold(from.as_bytes(), uri.as_bytes()),
                expected,
                "{from} {uri}"
            );
        }
    }

    #[test]
    fn bad_lines_are_told_and_left_out() {
        let text =
            "ALL\nALL : \"x\n\"([\" : ALL\nALL : some\nALL : ALL,\nALL EXCEPT : ALL\n : ALL\nALL : All\n";
        let mut lines = Vec::new();
        let rules = Rules::parse(text, |line, _| lines.push(line));
        assert_eq!(lines, [1, 2, 3, 4, 5, 6, 7]);
        assert!(rules.hold(b"", b""));
    }

    #[test]
    fn allow_comes_before_deny() {
        let (allow, deny, none) = (rules("ALL : \"good\""), rules("ALL : ALL"), Rules::default());
        for (allow, deny, uris, expected) in [
            (&none, &none, &["x"][..], true),
            (&allow, &deny, &["good"], true),
            (&allow, &deny, &["good", "bad"], false),
            (&allow, &none, &["bad"], true),
            (&none, &deny, &["x"], false),
        ] {
            let uris: Vec<&[u8]> = uris.iter().map(|uri| uri.as_bytes()).collect();
            assert_eq!(decide(allow, deny, b"", &uris), expected, "{uris:?}");
        }
    }

    proptest::proptest! {
        #[test]
        fn never_panics(text in "\\PC{0,60}") {
            let _ = Rules::parse(&text, |_, _| {});
        }
    }
}
