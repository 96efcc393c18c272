//! Variables that live as long as a transaction: `$avp`, `$xavp`, `$xavu`, `$xavi` (Kamailio pseudo-variables page).

use super::value::Value;

/// An owned value.
pub type Owned = Value<'static>;

/// A value in an extended list: plain, or a list of named values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Item {
    /// `$xavp(a) = 1`.
    Plain(Owned),
    /// `$xavp(a=>b) = 1`; the newest first.
    Fields(Vec<(Box<[u8]>, Owned)>),
}

impl Item {
    /// The value of this name; a plain item has none.
    pub fn field(&self, name: &[u8]) -> Option<&Owned> {
        let Self::Fields(fields) = self else { return None };
        let found = fields.iter().find(|(known, _)| **known == *name);
        found.map(|(_, value)| value)
    }
}

/// One family of extended lists (`$xavp`, `$xavi` or `$xavu`): roots by name, the newest first.
#[derive(Debug, Clone, Default)]
pub struct Extended {
    roots: Vec<(Box<[u8]>, Item)>,
}

impl Extended {
    /// The value of this name in the newest item of a root.
    pub fn field(&self, root: &[u8], name: &[u8]) -> Option<&Owned> {
        self.item(root, 0)?.field(name)
    }

    /// The n-th item of a root, the newest being 0; negative counts from the oldest.
    pub fn item(&self, root: &[u8], index: i64) -> Option<&Item> {
        let mut matching = self
            .roots
            .iter()
            .filter(|(name, _)| **name == *root)
            .map(|(_, item)| item);
        if index >= 0 {
            matching.nth(usize::try_from(index).ok()?)
        } else {
            matching.rev().nth(usize::try_from(-(index + 1)).ok()?)
        }
    }

    /// The n-th item of a root, to change.
    pub fn item_mut(&mut self, root: &[u8], index: i64) -> Option<&mut Item> {
        self.roots
            .iter_mut()
            .filter(|(name, _)| **name == *root)
            .map(|(_, item)| item)
            .nth(usize::try_from(index).ok()?)
    }

    /// How many items a root has.
    pub fn count(&self, root: &[u8]) -> usize {
        self.roots.iter().filter(|(name, _)| **name == *root).count()
    }

    /// All items of a root, the newest first.
    pub fn items<'a>(&'a self, root: &'a [u8]) -> impl Iterator<Item = &'a Item> {
        self.roots
            .iter()
            .filter(move |(name, _)| **name == *root)
            .map(|(_, item)| item)
    }

    /// Puts an item before the older ones of its root.
    pub fn push(&mut self, root: &[u8], item: Item) {
        self.roots.insert(0, (root.into(), item));
    }

    /// Removes the n-th item of a root; false when there is none.
    pub fn remove(&mut self, root: &[u8], index: usize) -> bool {
        let found = self
            .roots
            .iter()
            .enumerate()
            .filter(|(_, (name, _))| **name == *root)
            .nth(index);
        let Some((at, _)) = found else { return false };
        self.roots.remove(at);
        true
    }

    /// Removes every item of a root.
    pub fn clear(&mut self, root: &[u8]) {
        self.roots.retain(|(name, _)| **name != *root);
    }

    /// The names of all roots with their items.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &Item)> {
        self.roots.iter().map(|(name, item)| (&**name, item))
    }
}

/// One `$avp`.
#[derive(Debug, Clone)]
struct Avp {
    name: Box<[u8]>,
    value: Owned,
    /// `setavpflag`.
    flags: u32,
}

/// The lists of one message, kept with its transaction once there is one.
#[derive(Debug, Clone, Default)]
pub struct Lists {
    avps: Vec<Avp>,
    /// `$xavp`.
    pub xavp: Extended,
    /// `$xavi`: names compare without case.
    pub xavi: Extended,
    /// `$xavu`: one value a name.
    pub xavu: Extended,
    /// What stood in From and To before the script replaced it, for replies.
    pub originals: Option<Box<Originals>>,
}

/// Name and URI of From and To as received, without their parameters.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Originals {
    /// From, when it was replaced.
    pub from: Option<Vec<u8>>,
    /// To, when it was replaced.
    pub to: Option<Vec<u8>>,
}

impl Lists {
    /// Every value of an AVP, the newest first.
    pub fn avps<'a>(&'a self, name: &'a [u8]) -> impl Iterator<Item = &'a Owned> {
        let newest_first = self.avps.iter().rev();
        newest_first
            .filter(move |avp| *avp.name == *name)
            .map(|avp| &avp.value)
    }

    /// Adds a value before the older ones of its name.
    pub fn push_avp(&mut self, name: &[u8], value: Owned) {
        self.avps.push(Avp {
            name: name.into(),
            value,
            flags: 0,
        });
    }

    /// The position of the n-th newest value of a name.
    fn position(&self, name: &[u8], index: usize) -> Option<usize> {
        let newest_first = self.avps.iter().enumerate().rev();
        newest_first
            .filter(|(_, avp)| *avp.name == *name)
            .map(|(at, _)| at)
            .nth(index)
    }

    /// Removes the n-th newest value of a name; false when there is none.
    pub fn remove_avp(&mut self, name: &[u8], index: usize) -> bool {
        self.position(name, index)
            .map(|at| self.avps.remove(at))
            .is_some()
    }

    /// Replaces the n-th newest value of a name; false when there is none.
    pub fn replace_avp(&mut self, name: &[u8], index: usize, value: Owned) -> bool {
        let Some(at) = self.position(name, index) else {
            return false;
        };
        self.avps[at].value = value;
        true
    }

    /// The flags of the n-th newest value of a name.
    pub fn avp_flags(&mut self, name: &[u8], index: usize) -> Option<&mut u32> {
        let at = self.position(name, index)?;
        self.avps.get_mut(at).map(|avp| &mut avp.flags)
    }

    /// Removes every value of a name.
    pub fn clear_avp(&mut self, name: &[u8]) {
        self.avps.retain(|avp| *avp.name != *name);
    }

    /// Every AVP with its name, the newest first.
    pub fn all_avps(&self) -> impl Iterator<Item = (&[u8], &Owned)> {
        self.avps.iter().rev().map(|avp| (&*avp.name, &avp.value))
    }

    /// Forgets everything; capacity is kept for the next message.
    pub fn clear(&mut self) {
        self.avps.clear();
        self.xavp.roots.clear();
        self.xavi.roots.clear();
        self.xavu.roots.clear();
        self.originals = None;
    }

    /// Whether there is nothing in any list.
    pub fn is_empty(&self) -> bool {
        let plain = self.avps.is_empty() && self.originals.is_none();
        plain && self.xavp.roots.is_empty() && self.xavi.roots.is_empty() && self.xavu.roots.is_empty()
    }
}
