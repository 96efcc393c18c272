//! `#!define`, `#!ifdef`, `#!subst`, `include_file`: text in, tokens out (Kamailio core cookbook, "Config Pre-Processor Directives").

mod directive;
mod ifexp;
mod subst;

use super::diag::Diagnostic;
use super::diag::Diagnostics;
use super::lex;
use super::lex::Scanned;
use super::span::FileId;
use super::span::Sources;
use super::span::Span;
use super::token::Punct;
use super::token::Token;
use super::token::TokenKind;
use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;
use subst::Subst;

/// Kamailio stops at 10; a deeper chain of files is a mistake.
const INCLUDE_DEPTH: usize = 32;
/// How deep macros may name each other.
const MACRO_DEPTH: usize = 64;
/// More tokens than any script has: what defines can blow up stays bounded.
const TOKEN_LIMIT: usize = 1_000_000;
/// Larger than any script.
const FILE_LIMIT: usize = 64 << 20;

/// Reads files; tests give their own.
pub trait Files {
    /// The bytes of a file.
    fn read(&self, path: &Path) -> io::Result<Vec<u8>>;
}

/// The file system.
#[derive(Clone, Copy, Debug, Default)]
pub struct Disk;

impl Files for Disk {
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        std::fs::read(path)
    }
}

/// What the command line contributes.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// `-A NAME[=VALUE]`.
    pub defines: Vec<String>,
    /// `--subst`, `--substdef`, `--substdefs`: which, and the expression.
    pub substs: Vec<(String, String)>,
}

/// The version that `#!ifdef KAMAILIO_5_6` asks about.
const VERSION: [&str; 3] = ["KAMAILIO_5", "KAMAILIO_5_6", "KAMAILIO_5_6_3"];

/// Turns a script and the files it includes into tokens, the last one being [`TokenKind::End`]; gives the defines, too, an empty text for those without one.
pub fn tokens(
    files: &dyn Files,
    path: &Path,
    options: &Options,
    sources: &mut Sources,
    found: &mut Diagnostics,
) -> (Vec<Token>, Vec<(String, String)>) {
    let mut preprocessor = Preprocessor {
        files,
        sources,
        found,
        defines: BTreeMap::new(),
        substs: Vec::new(),
        frames: Vec::new(),
        after_case: false,
        after_loadmodule: false,
        pending: None,
        expansions: 0,
        carried: (true, true),
        tokens: Vec::new(),
    };
    preprocessor.command_line(options);
    preprocessor.open(path, None);
    preprocessor.run();
    let named = |(name, define): (&String, &Define)| (name.clone(), define.body);
    let bodies: Vec<(String, Option<Span>)> = preprocessor.defines.iter().map(named).collect();
    let tokens = preprocessor.tokens;
    let defines = bodies
        .into_iter()
        .map(|(name, body)| {
            let text = body.map(|body| sources.quote(body).replace("\\\r\n", "").replace("\\\n", ""));
            (name, text.unwrap_or_default())
        })
        .collect();
    (tokens, defines)
}

/// A name with the text that replaces it.
#[derive(Clone, Debug)]
struct Define {
    /// The text; none: the name is only known to be defined.
    body: Option<Span>,
    /// Where it was defined.
    at: Span,
    /// Given by `-A`, which a script does not override.
    given: bool,
}

/// A text being read: a file, or the body of a macro.
struct Frame {
    file: FileId,
    text: Arc<str>,
    at: usize,
    limit: usize,
    /// The macro being expanded and its mark; none for files.
    expansion: Option<(String, u32)>,
    /// White space before the macro's name, its first token's.
    spaced: Option<(bool, bool)>,
    /// Open `#!ifdef`s of this file.
    conditions: Vec<Condition>,
    /// The directory that includes are relative to.
    folder: PathBuf,
}

struct Condition {
    at: Span,
    word: &'static str,
    /// `#!else` was seen.
    other: Option<Span>,
}

struct Preprocessor<'a> {
    files: &'a dyn Files,
    sources: &'a mut Sources,
    found: &'a mut Diagnostics,
    defines: BTreeMap<String, Define>,
    substs: Vec<Subst>,
    frames: Vec<Frame>,
    after_case: bool,
    after_loadmodule: bool,
    /// An `include_file` waits for its name; whether the file may be missing.
    pending: Option<(Span, bool)>,
    expansions: usize,
    /// White space and a line end before the next token that were skipped with something else.
    carried: (bool, bool),
    tokens: Vec<Token>,
}

impl Preprocessor<'_> {
    fn command_line(&mut self, options: &Options) {
        for name in VERSION {
            self.defines.insert(
                name.to_owned(),
                Define {
                    body: None,
                    at: Span::default(),
                    given: true,
                },
            );
        }
        for text in &options.defines {
            let file = self.sources.add(format!("<-A {text}>"), text.as_str());
            let (name, value) = text
                .split_once('=')
                .map_or((text.as_str(), None), |(n, v)| (n, Some(v)));
            let at = Span::new(file, 0, name.len());
            if name.is_empty() || lex::name_length(name) != name.len() {
                self.error("define", at, format!("`{name}` is not a name to define"));
                continue;
            }
            let body = value.map(|value| Span::new(file, text.len() - value.len(), text.len()));
            self.defines.insert(
                name.to_owned(),
                Define {
                    body,
                    at,
                    given: true,
                },
            );
        }
        for (word, text) in &options.substs {
            let file = self.sources.add(format!("<--{word} {text}>"), text.as_str());
            self.substitution(word, text, Span::new(file, 0, text.len()));
        }
    }

    fn error(&mut self, code: &'static str, span: Span, message: impl Into<String>) {
        self.found.push(Diagnostic::error(code, span, message));
    }

    /// Pushes a file to read; `from` is the directive that names it.
    fn open(&mut self, path: &Path, from: Option<(Span, bool)>) {
        let folder = self.folder();
        let mut candidates = vec![path.to_path_buf()];
        if from.is_some() && path.is_relative() {
            candidates.insert(0, folder.join(path));
        }
        let mut refused = None;
        for candidate in candidates {
            match self.files.read(&candidate) {
                Ok(bytes) => return self.push_file(&candidate, bytes, from.map(|(span, _)| span)),
                Err(error) => refused = refused.or(Some(error)),
            }
        }
        let Some(error) = refused else { return };
        match from {
            None => {
                let file = self.sources.add(path, "");
                self.error(
                    "file",
                    Span::new(file, 0, 0),
                    format!("cannot read {}: {error}", path.display()),
                );
            }
            Some((_, true)) if error.kind() == io::ErrorKind::NotFound => {}
            Some((span, _)) => {
                self.error(
                    "file",
                    span,
                    format!("cannot read \"{}\": {error}", path.display()),
                );
            }
        }
    }

    fn push_file(&mut self, path: &Path, bytes: Vec<u8>, from: Option<Span>) {
        let depth = self
            .frames
            .iter()
            .filter(|frame| frame.expansion.is_none())
            .count();
        if let Some(span) = from
            && depth >= INCLUDE_DEPTH
        {
            self.error(
                "include",
                span,
                format!("files include each other more than {INCLUDE_DEPTH} deep"),
            );
            return;
        }
        let open = self
            .frames
            .iter()
            .any(|frame| frame.expansion.is_none() && self.sources.name(frame.file) == path);
        if let Some(span) = from
            && open
        {
            self.error("include", span, format!("{} includes itself", path.display()));
            return;
        }
        if bytes.len() > FILE_LIMIT {
            let file = self.sources.add(path, "");
            let span = from.unwrap_or(Span::new(file, 0, 0));
            self.error(
                "file",
                span,
                format!("{} is larger than a script may be", path.display()),
            );
            return;
        }
        let text = match String::from_utf8(bytes) {
            Ok(text) => text,
            Err(error) => String::from_utf8_lossy(error.as_bytes()).into_owned(),
        };
        let file = self.sources.add(path, text);
        let text = self.sources.text(file);
        let folder = path.parent().map(Path::to_path_buf).unwrap_or_default();
        let limit = text.len();
        let at = if text.starts_with('\u{feff}') { 3 } else { 0 };
        let (expansion, spaced, conditions) = Default::default();
        self.frames.push(Frame {
            file,
            text,
            at,
            limit,
            expansion,
            spaced,
            conditions,
            folder,
        });
    }

    fn folder(&self) -> PathBuf {
        self.frames
            .last()
            .map(|frame| frame.folder.clone())
            .unwrap_or_default()
    }

    /// A span of the text being read.
    fn span(&self, start: usize, end: usize) -> Span {
        let Some(frame) = self.frames.last() else {
            return Span::default();
        };
        let span = Span::new(frame.file, start, end);
        frame
            .expansion
            .as_ref()
            .map_or(span, |(_, mark)| Sources::through(span, *mark))
    }

    fn run(&mut self) {
        let mut last = Span::default();
        while let Some(token) = self.next() {
            last = token.span;
            self.after_case = token.is_word("case");
            self.tokens.push(token);
            if self.tokens.len().max(self.expansions) > TOKEN_LIMIT {
                self.error(
                    "define",
                    last,
                    "the script grows without end: defines repeat each other",
                );
                break;
            }
        }
        if let Some((at, _)) = self.pending.take() {
            self.nameless(at);
        }
        let span = self.sources.root(last).after();
        self.tokens.push(Token {
            kind: TokenKind::End,
            span,
            spaced: true,
            first: true,
        });
    }

    /// The next token with macros replaced and directives obeyed.
    fn next(&mut self) -> Option<Token> {
        loop {
            let frame = self.frames.last_mut()?;
            let text = Arc::clone(&frame.text);
            let within = text.get(..frame.limit).unwrap_or("");
            let step = lex::scan(within, frame.at, self.after_case);
            frame.at = step.end;
            let carried = std::mem::take(&mut self.carried);
            let (mut spaced, mut first) = (step.spaced || carried.0, step.newline || carried.1);
            if let Some(outer) = frame.spaced.take() {
                (spaced, first) = outer;
            } else if frame.expansion.is_some() {
                first = false;
            }
            let file = frame.expansion.is_none();
            let span = self.span(step.start, step.end);
            match step.found {
                Scanned::End => {
                    self.carried = (file || carried.0, file || carried.1);
                    self.close();
                }
                Scanned::Bad(what, shown) => {
                    let quoted = if shown.is_empty() {
                        String::new()
                    } else {
                        format!(" `{shown}`")
                    };
                    self.error("syntax", span, format!("{what}{quoted}"));
                    return Some(Token {
                        kind: TokenKind::Broken,
                        span,
                        spaced,
                        first,
                    });
                }
                Scanned::Directive => {
                    self.carried = (true, true);
                    self.directive(step.start, step.end);
                }
                Scanned::Token(TokenKind::Punct(Punct::Not)) if first && self.bang(step.start) => {
                    self.carried = (true, true);
                    self.directive(step.start, step.start + 2);
                }
                Scanned::Token(TokenKind::Ident(word)) if word == "include_file" || word == "import_file" => {
                    self.carried = (true, first);
                    self.include(&word, span);
                }
                Scanned::Token(TokenKind::Ident(word)) if self.expands(&word) => {
                    self.expand(word, span, (spaced, first));
                }
                Scanned::Token(kind) => {
                    let token = self.finish(Token {
                        kind,
                        span,
                        spaced,
                        first,
                    });
                    match (self.pending.take(), &token.kind) {
                        (None, _) => return Some(token),
                        (Some((_, optional)), TokenKind::Str(name)) => {
                            self.carried = (true, true);
                            self.open(Path::new(name), Some((span, optional)));
                        }
                        (Some((at, _)), _) => {
                            self.nameless(at);
                            return Some(token);
                        }
                    }
                }
            }
        }
    }

    /// Applies substitutions to a string, and notes `loadmodule` for `MOD_name`.
    fn finish(&mut self, mut token: Token) -> Token {
        if let TokenKind::Str(value) = &mut token.kind {
            for subst in &self.substs {
                subst.apply(value);
            }
            if self.after_loadmodule {
                let file = value.rsplit('/').next().unwrap_or_default();
                let name = format!("MOD_{}", file.strip_suffix(".so").unwrap_or(file));
                self.defines.entry(name).or_insert(Define {
                    body: None,
                    at: token.span,
                    given: true,
                });
            }
        }
        self.after_loadmodule = matches!(token.word(), Some("loadmodule" | "loadmodulex"));
        token
    }

    /// Whether a word is replaced here: it has a text, and is not being replaced already.
    fn expands(&self, word: &str) -> bool {
        self.defines.get(word).is_some_and(|define| define.body.is_some())
            && !self
                .frames
                .iter()
                .any(|frame| frame.expansion.as_ref().is_some_and(|(name, _)| name == word))
    }

    fn expand(&mut self, word: String, used_at: Span, spaced: (bool, bool)) {
        let Some(body) = self.defines.get(&word).and_then(|define| define.body) else {
            return;
        };
        if self.frames.len() > MACRO_DEPTH + INCLUDE_DEPTH {
            self.error(
                "define",
                used_at,
                format!("defines name each other more than {MACRO_DEPTH} deep"),
            );
            return;
        }
        self.expansions += 1;
        if self.expansions > TOKEN_LIMIT {
            return;
        }
        let mark = self.sources.expand(&word, used_at);
        let text = self.sources.text(body.file);
        let (folder, conditions) = (self.folder(), Vec::new());
        let range = body.range();
        self.frames.push(Frame {
            file: body.file,
            text,
            at: range.start,
            limit: range.end,
            expansion: Some((word, mark)),
            spaced: Some(spaced),
            conditions,
            folder,
        });
    }

    /// Leaves a file or macro.
    fn close(&mut self) {
        let Some(frame) = self.frames.pop() else { return };
        for condition in frame.conditions {
            let message = format!("`#!{}` without its `#!endif`", condition.word);
            self.error("preprocessor", condition.at, message);
        }
    }

    /// `include_file "name"`, as a word or as a directive: the name is the next token.
    fn include(&mut self, word: &str, span: Span) {
        if let Some((at, _)) = self.pending.replace((span, word == "import_file")) {
            self.nameless(at);
        }
    }

    fn nameless(&mut self, at: Span) {
        self.error("include", at, "the name of a file in quotes is missing here");
    }

    /// Whether `!!` and a directive's name stand here, and not a double negation.
    fn bang(&self, start: usize) -> bool {
        let rest = self
            .frames
            .last()
            .and_then(|frame| frame.text.get(start..))
            .unwrap_or("");
        let Some(rest) = rest.strip_prefix("!!") else {
            return false;
        };
        directive::is_known(&rest[..lex::name_length(rest)])
    }
}

#[cfg(test)]
mod tests;
