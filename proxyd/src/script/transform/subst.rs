//! Substitutions in the manner of sed: `/expression/replacement/flags` for `{re.subst}`, `subst()` and `avp_subst()`
//! (Kamailio's textops and avpops documentation).

use super::param;
use super::text;
use crate::script::module::Env;
use crate::script::module::Transformation;
use crate::script::program::Format;
use crate::script::value::Value;
use parking_lot::Mutex;
use shared::regex::Options;
use shared::regex::Regex;
use std::borrow::Cow;
use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;
use std::sync::LazyLock;

/// The rows.
pub(super) static TABLE: &[Transformation] = &[Transformation {
    name: "re.subst",
    params: (1, 1),
    doc: "A substitution /expression/replacement/flags; flags g, i and s.",
    apply: re_subst,
}];

/// Results stay below this, whatever a script asks for.
const LONGEST: usize = 1 << 20;

/// A compiled substitution.
#[derive(Debug)]
pub struct Subst {
    regex: Regex,
    pieces: Vec<Piece>,
    global: bool,
}

/// A piece of the replacement.
#[derive(Debug)]
enum Piece {
    /// Text as it stands.
    Text(Box<[u8]>),
    /// Text with pseudo-variables.
    Format(Format),
    /// `\1`: a group of the match; 0 is all of it.
    Group(usize),
}

/// One replacement: where, and by what.
pub(crate) type Edit = (Range<usize>, Vec<u8>);

impl Subst {
    /// Compiles a substitution; `parse` compiles what lies between back references, for pseudo-variables.
    pub fn compile(text: &[u8], parse: &dyn Fn(&[u8]) -> Result<Format, String>) -> Result<Self, String> {
        Self::build(text, &|part| {
            if part.contains(&b'$') {
                parse(part).map(Piece::Format)
            } else {
                Ok(Piece::Text(part.into()))
            }
        })
    }

    /// Compiles a substitution without pseudo-variables.
    pub fn constant(text: &[u8]) -> Result<Self, String> {
        Self::build(text, &|part| Ok(Piece::Text(part.into())))
    }

    fn build(text: &[u8], piece: &dyn Fn(&[u8]) -> Result<Piece, String>) -> Result<Self, String> {
        let [delimiter, rest @ ..] = text else {
            return Err("substitution is empty".into());
        };
        if matches!(delimiter, b'\\' | b'\n' | 0) {
            return Err(format!(
                "substitution cannot begin with {:?}",
                char::from(*delimiter)
            ));
        }
        let parts = || -> Option<(&[u8], &[u8], &[u8])> {
            let first = unescaped(rest, *delimiter)?;
            let replacement = rest.get(first + 1..)?;
            let second = unescaped(replacement, *delimiter)?;
            Some((
                rest.get(..first)?,
                replacement.get(..second)?,
                replacement.get(second + 1..)?,
            ))
        };
        let Some((expression, replacement, flags)) = parts() else {
            let delimiter = char::from(*delimiter);
            return Err(format!(
                "substitution needs {delimiter:?} before, between and after its two parts"
            ));
        };
        let (mut options, mut global) = (
            Options {
                ignore_case: false,
                newline: true,
            },
            false,
        );
        for flag in flags {
            match flag {
                b'i' => options.ignore_case = true,
                b's' => options.newline = false,
                b'g' => global = true,
                b' ' => {}
                other => return Err(format!("unknown substitution flag {:?}", char::from(*other))),
            }
        }
        let regex =
            Regex::compile(&without_escape(expression, *delimiter), options).map_err(|e| e.to_string())?;
        Ok(Self {
            regex,
            pieces: pieces(&without_escape(replacement, *delimiter), piece)?,
            global,
        })
    }

    /// The replacements a text needs, in order.
    pub(crate) fn edits(&self, text: &[u8], env: Option<&Env<'_>>) -> Vec<Edit> {
        let (mut edits, mut at, mut size) = (Vec::new(), 0, 0usize);
        while let Some(captures) = self.regex.engine().captures_at(text, at) {
            let Some(whole) = captures.get(0) else { break };
            // Kamailio: an empty match replaces nothing and ends the search
            if whole.range().is_empty() {
                break;
            }
            let mut with = Vec::new();
            for piece in &self.pieces {
                match piece {
                    Piece::Text(text) => with.extend_from_slice(text),
                    Piece::Group(n) => {
                        with.extend_from_slice(captures.get(*n).map(|m| m.as_bytes()).unwrap_or_default())
                    }
                    Piece::Format(format) => {
                        if let Some(env) = env {
                            with.extend_from_slice(&format.expand(env));
                        }
                    }
                }
            }
            size += with.len();
            at = whole.end();
            edits.push((whole.range(), with));
            if !self.global || size > LONGEST {
                break;
            }
        }
        edits
    }

    /// The text after substitution; none when nothing matched.
    pub(crate) fn apply(&self, text: &[u8], env: Option<&Env<'_>>) -> Option<Vec<u8>> {
        let edits = self.edits(text, env);
        if edits.is_empty() {
            return None;
        }
        let mut out = Vec::with_capacity(text.len() + 32);
        let mut at = 0;
        for (range, with) in edits {
            out.extend_from_slice(text.get(at..range.start).unwrap_or_default());
            out.extend_from_slice(&with);
            at = range.end;
        }
        out.extend_from_slice(text.get(at..).unwrap_or_default());
        Some(out)
    }

    /// Compiles a substitution without pseudo-variables, remembering the last few.
    pub(crate) fn cached(text: &[u8]) -> Option<Arc<Self>> {
        type Known = (Box<[u8]>, Option<Arc<Subst>>);
        static RECENT: LazyLock<Mutex<VecDeque<Known>>> = LazyLock::new(Mutex::default);
        const KEPT: usize = 64;
        if let Some((_, known)) = RECENT.lock().iter().find(|(source, _)| **source == *text) {
            return known.clone();
        }
        let compiled = Self::constant(text)
            .inspect_err(|why| {
                crate::log::error(
                    "textops",
                    format_args!("{:?}: {why}", text.escape_ascii().to_string()),
                )
            })
            .ok()
            .map(Arc::new);
        let mut recent = RECENT.lock();
        recent.truncate(KEPT - 1);
        recent.push_front((text.into(), compiled.clone()));
        compiled
    }
}

/// The place of a delimiter that no backslash precedes.
fn unescaped(text: &[u8], delimiter: u8) -> Option<usize> {
    let mut escaped = false;
    text.iter().position(|byte| {
        let found = *byte == delimiter && !escaped;
        escaped = *byte == b'\\' && !escaped;
        found
    })
}

/// Takes the backslash from an escaped delimiter.
fn without_escape(text: &[u8], delimiter: u8) -> Cow<'_, [u8]> {
    crate::script::transform::string::replace_all(Cow::Borrowed(text), &[b'\\', delimiter], &[delimiter])
}

/// Splits a replacement at its back references and escapes.
fn pieces(text: &[u8], piece: &dyn Fn(&[u8]) -> Result<Piece, String>) -> Result<Vec<Piece>, String> {
    let (mut out, mut plain, mut bytes) = (Vec::new(), Vec::new(), text.iter());
    while let Some(byte) = bytes.next() {
        if *byte != b'\\' {
            plain.push(*byte);
            continue;
        }
        match bytes.next() {
            Some(digit) if digit.is_ascii_digit() => {
                if !plain.is_empty() {
                    out.push(piece(&plain)?);
                    plain.clear();
                }
                out.push(Piece::Group(usize::from(digit - b'0')));
            }
            Some(b'n') => plain.push(b'\n'),
            Some(b'r') => plain.push(b'\r'),
            Some(b't') => plain.push(b'\t'),
            Some(other) => plain.push(*other),
            None => return Err("substitution ends in a backslash".into()),
        }
    }
    if !plain.is_empty() {
        out.push(piece(&plain)?);
    }
    Ok(out)
}

fn re_subst<'v>(value: Value<'v>, params: &[Value<'_>]) -> Value<'v> {
    let (Some(text), Some(subst)) = (text(value), Subst::cached(&param(params, 0))) else {
        return Value::Null;
    };
    if text.is_empty() {
        return Value::Null;
    }
    match subst.apply(&text, None) {
        Some(changed) => Value::owned(changed),
        None => Value::Str(text),
    }
}
