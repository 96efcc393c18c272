//! Pseudo-variables that are named while the script runs: `avp_check("$fd", …)`, `pv_evalx()`; no other one in their parentheses.

use crate::script::module::Env;
use crate::script::module::Index;
use crate::script::module::Names;
use crate::script::module::Pv;
use crate::script::module::PvData;
use crate::script::module::PvInner;
use crate::script::module::PvParam;
use crate::script::module::PvSpec;
use crate::script::program::Format;
use crate::script::span::Span;
use crate::script::value::Value;

/// A pseudo-variable compiled at run time.
pub(crate) struct Dynamic {
    row: &'static Pv,
    spec: PvSpec,
}

struct NoNames;

impl Names for NoNames {
    fn flag(&self, _: &[u8]) -> Option<u32> {
        None
    }
}

impl Dynamic {
    /// Compiles `$name`, `$name(inner)` or `$(name(inner)[index])`.
    pub(crate) fn parse(text: &[u8]) -> Option<Self> {
        let (dynamic, rest) = Self::take(text.trim_ascii())?;
        rest.is_empty().then_some(dynamic)
    }

    /// Compiles the pseudo-variable that a text begins with, and gives what follows it.
    pub(crate) fn take(text: &[u8]) -> Option<(Self, &[u8])> {
        let text = text.strip_prefix(b"$")?;
        if let Some(open) = text.strip_prefix(b"(") {
            let end = closing(open)?;
            let (inside, rest) = (open.get(..end)?, open.get(end + 1..)?);
            let (dynamic, left) = Self::named(inside)?;
            return left.is_empty().then_some((dynamic, rest));
        }
        Self::named_plain(text)
    }

    /// `name(inner)` or `name`.
    fn named_plain(text: &[u8]) -> Option<(Self, &[u8])> {
        let len = text
            .iter()
            .take_while(|byte| byte.is_ascii_alphanumeric() || **byte == b'_')
            .count();
        let (mut name, mut rest) = (text.get(..len)?, text.get(len..)?);
        let mut row = super::find(name);
        // `$fU-x` and `$rmabc`: the longest known name counts
        while row.is_none() && name.len() > 1 {
            name = name.get(..name.len() - 1)?;
            rest = text.get(name.len()..)?;
            row = super::find(name);
        }
        let row = row?;
        let mut inner: &[u8] = b"";
        if row.param != PvParam::None
            && let Some(open) = rest.strip_prefix(b"(")
        {
            let end = closing(open)?;
            inner = open.get(..end)?;
            rest = open.get(end + 1..)?;
        }
        let data = match row.compile {
            Some(compile) => {
                let refuse =
                    |_: &[u8]| Err("no pseudo-variable may stand inside one named at run time".to_owned());
                let format = Format::default();
                compile(&PvInner {
                    text: inner,
                    format: &format,
                    parse: &refuse,
                    names: &NoNames,
                    span: Span::default(),
                })
                .ok()?
            }
            None => PvData::None,
        };
        Some((
            Self {
                row,
                spec: PvSpec {
                    data,
                    index: Index::None,
                },
            },
            rest,
        ))
    }

    /// `name(inner)[index]`.
    fn named(text: &[u8]) -> Option<(Self, &[u8])> {
        let (mut dynamic, rest) = Self::named_plain(text)?;
        let Some(index) = rest.strip_prefix(b"[").and_then(|rest| rest.strip_suffix(b"]")) else {
            return Some((dynamic, rest));
        };
        dynamic.spec.index = match index {
            b"*" => Index::All,
            digits => Index::At(std::str::from_utf8(digits).ok()?.parse().ok()?),
        };
        Some((dynamic, b""))
    }

    /// Its value.
    pub(crate) fn read<'e>(&'e self, env: &'e Env<'_>) -> Value<'e> {
        (self.row.get)(env, &self.spec)
    }
}

/// The place of the parenthesis that closes one opened before the text.
fn closing(text: &[u8]) -> Option<usize> {
    let mut depth = 1usize;
    text.iter().position(|byte| {
        match byte {
            b'(' => depth += 1,
            b')' => depth -= 1,
            _ => {}
        }
        depth == 0
    })
}

/// A text with the pseudo-variables in it put in; what is none stays as it is.
pub(crate) fn expand(env: &Env<'_>, text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = memchr::memchr(b'$', rest) {
        out.extend_from_slice(rest.get(..at).unwrap_or_default());
        rest = rest.get(at..).unwrap_or_default();
        match Dynamic::take(rest) {
            Some((dynamic, behind)) => {
                out.extend_from_slice(&dynamic.read(env).to_text());
                rest = behind;
            }
            None => {
                out.push(b'$');
                rest = rest.get(1..).unwrap_or_default();
            }
        }
    }
    out.extend_from_slice(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::script::testing::Stage;

    #[test]
    fn texts_are_expanded_at_run_time() {
        let mut stage = Stage::options();
        let env = stage.env();
        for (text, expected) in [
            ("a $rU b", "a bob b"),
            ("$rU@$rd", "bob@test.lan"),
            ("$hdr(User-Agent)!", "phone 1.0!"),
            ("$(hdr(Via)[0])", "SIP/2.0/UDP 127.0.0.2:5060;branch=z9hG4bKabc"),
            ("$nope $", "$nope $"),
            ("$hdr($rU)", "$hdr($rU)"),
            ("", ""),
        ] {
            let shown = expand(&env, text.as_bytes());
            if text == "$hdr($rU)" {
                assert!(shown.ends_with(b")"));
                continue;
            }
            assert_eq!(String::from_utf8_lossy(&shown), expected, "{text}");
        }
    }
}
