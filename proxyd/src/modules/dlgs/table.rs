//! Dialogs by Call-ID, simply: states and lifetimes (Kamailio module dlgs).

use ahash::RandomState;
use hashbrown::HashMap;
use parking_lot::Mutex;
use shared::regex::Options;
use shared::regex::Regex;
use std::collections::BTreeSet;

const SHARDS: usize = 64;
/// Dialogs in each part.
const SHARD_MAX: usize = 1 << 14;
/// Tags of one dialog.
const TAGS_MAX: usize = 32;

/// How far a dialog has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Stage {
    Init,
    Progress,
    Answered,
    Confirmed,
    Terminated,
    NotAnswered,
}

impl Stage {
    pub(super) const ALL: [Self; 6] = [
        Self::Init,
        Self::Progress,
        Self::Answered,
        Self::Confirmed,
        Self::Terminated,
        Self::NotAnswered,
    ];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Init => "init",
            Self::Progress => "progress",
            Self::Answered => "answered",
            Self::Confirmed => "confirmed",
            Self::Terminated => "terminated",
            Self::NotAnswered => "notanswered",
        }
    }

    /// Whether it is over.
    pub(super) fn is_over(self) -> bool {
        matches!(self, Self::Terminated | Self::NotAnswered)
    }
}

/// One dialog; times are wall seconds.
#[derive(Debug, Clone)]
pub(super) struct Dialog {
    pub(super) src: Box<[u8]>,
    pub(super) dst: Box<[u8]>,
    pub(super) data: Box<[u8]>,
    pub(super) ruid: Box<[u8]>,
    pub(super) call_id: Box<[u8]>,
    pub(super) from_tag: Box<[u8]>,
    pub(super) to_tag: Box<[u8]>,
    pub(super) stage: Stage,
    pub(super) began: u64,
    pub(super) answered: u64,
    pub(super) ends: u64,
    pub(super) tags: BTreeSet<Box<[u8]>>,
}

/// How long dialogs are kept, in seconds.
#[derive(Debug, Clone, Copy)]
pub(super) struct Lifetimes {
    pub(super) init: u64,
    pub(super) active: u64,
    pub(super) finish: u64,
}

type Shard = Mutex<HashMap<Box<[u8]>, Dialog, RandomState>>;

/// All dialogs.
pub(super) struct Dialogs {
    hasher: RandomState,
    shards: Box<[Shard]>,
    lifetimes: Lifetimes,
}

impl Dialogs {
    pub(super) fn new(lifetimes: Lifetimes) -> Self {
        Self {
            hasher: RandomState::new(),
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
            lifetimes,
        }
    }

    /// Takes the dialogs of another table over.
    pub(super) fn adopt(&self, other: &Self) {
        for shard in &other.shards {
            for (_, dialog) in shard.lock().iter() {
                self.insert(dialog.clone());
            }
        }
    }

    fn shard(&self, call_id: &[u8]) -> Option<&Shard> {
        self.shards
            .get((self.hasher.hash_one(call_id) >> 32) as usize % SHARDS)
    }

    fn insert(&self, dialog: Dialog) -> bool {
        let Some(shard) = self.shard(&dialog.call_id) else {
            return false;
        };
        let mut shard = shard.lock();
        if shard.len() >= SHARD_MAX {
            return false;
        }
        shard.entry(dialog.call_id.clone()).or_insert(dialog);
        true
    }

    /// Begins to follow a dialog; one that is followed already stays. False when there are too many.
    pub(super) fn begin(&self, mut dialog: Dialog) -> bool {
        dialog.ends = dialog.began.saturating_add(self.lifetimes.init);
        self.insert(dialog)
    }

    /// Works on the dialog of a Call-ID.
    pub(super) fn with<T>(&self, call_id: &[u8], work: impl FnOnce(&mut Dialog) -> T) -> Option<T> {
        self.shard(call_id)?.lock().get_mut(call_id).map(work)
    }

    /// Moves a dialog on; what is over stays over. False when it is not followed.
    pub(super) fn advance(&self, call_id: &[u8], stage: Stage, to_tag: &[u8], now: u64) -> bool {
        let Lifetimes { active, finish, .. } = self.lifetimes;
        self.with(call_id, |dialog| {
            if dialog.stage >= stage || dialog.stage.is_over() {
                return;
            }
            dialog.stage = stage;
            if dialog.to_tag.is_empty() {
                dialog.to_tag = to_tag.into();
            }
            match stage {
                Stage::Init | Stage::Progress => {}
                Stage::Answered => {
                    dialog.answered = now;
                    dialog.ends = dialog.ends.max(now.saturating_add(32));
                }
                Stage::Confirmed => dialog.ends = now.saturating_add(active),
                Stage::Terminated | Stage::NotAnswered => dialog.ends = now.saturating_add(finish),
            }
        })
        .is_some()
    }

    /// Forgets dialogs past their lifetime.
    pub(super) fn expire(&self, now: u64) {
        for shard in &self.shards {
            shard.lock().retain(|_, dialog| dialog.ends > now);
        }
    }

    /// The dialogs that a test holds for, in the order they began.
    pub(super) fn select(&self, test: impl Fn(&Dialog) -> bool) -> Vec<Dialog> {
        let mut found = Vec::new();
        for shard in &self.shards {
            found.extend(
                shard
                    .lock()
                    .iter()
                    .map(|(_, dialog)| dialog)
                    .filter(|dialog| test(dialog))
                    .cloned(),
            );
        }
        found.sort_by(|a, b| (a.began, &a.call_id).cmp(&(b.began, &b.call_id)));
        found
    }

    /// How many ongoing dialogs a test holds for.
    pub(super) fn count(&self, test: impl Fn(&Dialog) -> bool) -> usize {
        let ongoing = |dialog: &&Dialog| !dialog.stage.is_over() && test(dialog);
        self.shards
            .iter()
            .map(|shard| {
                shard
                    .lock()
                    .iter()
                    .map(|(_, dialog)| dialog)
                    .filter(ongoing)
                    .count()
            })
            .sum()
    }

    /// How many dialogs are in each stage.
    pub(super) fn by_stage(&self) -> [usize; 6] {
        let mut counts = [0; 6];
        for shard in &self.shards {
            for (_, dialog) in shard.lock().iter() {
                let at = Stage::ALL.iter().position(|stage| *stage == dialog.stage);
                if let Some(count) = at.and_then(|at| counts.get_mut(at)) {
                    *count += 1;
                }
            }
        }
        counts
    }
}

impl Dialog {
    /// Adds a tag; false when it has too many.
    pub(super) fn add_tag(&mut self, tag: &[u8]) -> bool {
        let fits = self.tags.len() < TAGS_MAX || self.tags.contains(tag);
        if fits {
            self.tags.insert(tag.into());
        }
        fits
    }
}

/// Which dialogs a function or an operator means: `src`, `dst`, `data` or `any`, with an operator.
pub(super) struct Filter {
    field: Field,
    test: Test,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Field {
    Any,
    Src,
    Dst,
    Data,
}

enum Test {
    Equal(Vec<u8>),
    Differs(Vec<u8>),
    Begins(Vec<u8>),
    Matches(Regex),
    Glob(Vec<u8>),
}

impl Filter {
    pub(super) fn new(field: &[u8], operator: &[u8], text: &[u8]) -> Result<Self, String> {
        let shown = String::from_utf8_lossy;
        let field = match field {
            b"any" => Field::Any,
            b"src" => Field::Src,
            b"dst" => Field::Dst,
            b"data" => Field::Data,
            other => return Err(format!("{:?} is not src, dst, data or any", shown(other))),
        };
        let test = match operator {
            b"eq" => Test::Equal(text.to_vec()),
            b"ne" => Test::Differs(text.to_vec()),
            b"sw" => Test::Begins(text.to_vec()),
            b"fm" => Test::Glob(text.to_vec()),
            b"re" => Test::Matches(Regex::compile(text, Options::PLAIN).map_err(|error| error.to_string())?),
            other => return Err(format!("{:?} is not eq, ne, sw, re or fm", shown(other))),
        };
        Ok(Self { field, test })
    }

    pub(super) fn holds(&self, dialog: &Dialog) -> bool {
        let text = match self.field {
            Field::Any => return true,
            Field::Src => &dialog.src,
            Field::Dst => &dialog.dst,
            Field::Data => &dialog.data,
        };
        match &self.test {
            Test::Equal(wanted) => **text == **wanted,
            Test::Differs(wanted) => **text != **wanted,
            Test::Begins(wanted) => text.starts_with(wanted),
            Test::Matches(regex) => regex.is_match(text),
            Test::Glob(pattern) => glob(pattern, text),
        }
    }
}

/// Whether a shell pattern with `*` and `?` fits.
fn glob(pattern: &[u8], text: &[u8]) -> bool {
    let (mut p, mut t) = (0, 0);
    // Where to go on when what follows the last star does not fit.
    let mut retry: Option<(usize, usize)> = None;
    while t < text.len() {
        match pattern.get(p) {
            Some(b'*') => {
                retry = Some((p + 1, t));
                p += 1;
            }
            Some(c) if *c == b'?' || Some(c) == text.get(t) => {
                p += 1;
                t += 1;
            }
            _ => {
                let Some((after, from)) = retry else { return false };
                retry = Some((after, from + 1));
                p = after;
                t = from + 1;
            }
        }
    }
    pattern.get(p..).unwrap_or_default().iter().all(|c| *c == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shell_patterns() {
        for (pattern, text, expected) in [
            ("*", "", true),
            ("a*c", "abbc", true),
            ("a*c", "abcb", false),
            ("?b*", "ab", true),
            ("", "a", false),
            ("a", "", false),
            ("*a*b*", "xaxbx", true),
            ("**", "x", true),
        ] {
            assert_eq!(
                glob(pattern.as_bytes(), text.as_bytes()),
                expected,
                "{pattern} {text}"
            );
        }
    }
}
