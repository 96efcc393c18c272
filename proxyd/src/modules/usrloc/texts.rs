//! Texts that many contacts share (User-Agent, socket, Path), kept once each with a count of their users.

use ahash::RandomState;
use hashbrown::HashTable;

/// Names a text of [`Texts`]; 0 is the empty text.
pub(crate) type TextId = u32;

/// The shared texts of one shard of the location store.
#[derive(Default)]
pub(crate) struct Texts {
    entries: Vec<Entry>,
    free: Vec<TextId>,
    index: HashTable<TextId>,
}

struct Entry {
    text: Box<[u8]>,
    users: u32,
}

impl Texts {
    /// The id of a text, which has one user more from now on.
    pub(crate) fn acquire(&mut self, hasher: &RandomState, text: &[u8]) -> TextId {
        if text.is_empty() {
            return 0;
        }
        let hash = hasher.hash_one(text);
        let entries = &mut self.entries;
        if let Some(id) = self.index.find(hash, |id| same(entries, *id, text)) {
            if let Some(entry) = entries.get_mut(at(*id)) {
                entry.users += 1;
            }
            return *id;
        }
        let entry = Entry {
            text: text.into(),
            users: 1,
        };
        let id = match self.free.pop() {
            Some(id) => {
                if let Some(place) = entries.get_mut(at(id)) {
                    *place = entry;
                }
                id
            }
            None => {
                entries.push(entry);
                // Entries are fewer than contacts of a shard, which memory bounds far below 2^32.
                entries.len() as TextId
            }
        };
        self.index
            .insert_unique(hash, id, |id| hasher.hash_one(text_of(entries, *id)));
        id
    }

    /// One user less; the last one takes the text along.
    pub(crate) fn release(&mut self, hasher: &RandomState, id: TextId) {
        let Some(entry) = self.entries.get_mut(at(id)) else {
            return;
        };
        entry.users = entry.users.saturating_sub(1);
        if entry.users > 0 {
            return;
        }
        let text = std::mem::take(&mut entry.text);
        if let Ok(found) = self
            .index
            .find_entry(hasher.hash_one(&*text), |known| *known == id)
        {
            found.remove();
            self.free.push(id);
        }
    }

    /// The text of an id.
    pub(crate) fn text(&self, id: TextId) -> &[u8] {
        text_of(&self.entries, id)
    }

    /// How many different texts there are.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.index.len()
    }
}

/// Ids begin at 1; 0 wraps to a place that no table has.
fn at(id: TextId) -> usize {
    (id as usize).wrapping_sub(1)
}

fn text_of(entries: &[Entry], id: TextId) -> &[u8] {
    entries.get(at(id)).map_or(b"", |entry| &entry.text)
}

fn same(entries: &[Entry], id: TextId, text: &[u8]) -> bool {
    text_of(entries, id) == text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_lives_as_long_as_its_users() {
        let hasher = RandomState::with_seed(1);
        let mut texts = Texts::default();
        let a = texts.acquire(&hasher, b"phone 1");
        assert_eq!(texts.acquire(&hasher, b"phone 1"), a);
        let b = texts.acquire(&hasher, b"phone 2");
        assert_ne!(a, b);
        assert_eq!(
            (texts.text(a), texts.text(b), texts.text(0)),
            (&b"phone 1"[..], &b"phone 2"[..], &b""[..])
        );
        texts.release(&hasher, a);
        assert_eq!(texts.text(a), b"phone 1");
        texts.release(&hasher, a);
        assert_eq!(texts.len(), 1);
        assert_eq!(texts.acquire(&hasher, b"phone 3"), a, "the place is used again");
        assert_eq!(texts.acquire(&hasher, b""), 0);
        texts.release(&hasher, 0);
        texts.release(&hasher, 99);
        assert_eq!(texts.len(), 2);
    }
}
