//! A tree of prefixes and the values they lead to (Kamailio module mtree).

/// A value of a prefix.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Item {
    Text(Vec<u8>),
    Int(i64),
    /// Destination and weight.
    Weighted(i64, i64),
}

#[derive(Debug, Default)]
struct Node {
    /// Of a prefix that was given several values the one read last comes first.
    values: Vec<Item>,
    /// Index of the child for each allowed character; 0: none.
    children: Box<[u32]>,
}

/// Prefixes made of a fixed set of characters.
#[derive(Debug)]
pub(super) struct Tree {
    nodes: Vec<Node>,
    /// The position of each byte among the allowed ones, and how many there are.
    positions: Box<[u8; 256]>,
    width: usize,
    pub(super) items: usize,
}

/// Longer prefixes are cut there by Kamailio, and refused here.
pub(super) const LONGEST: usize = 63;
const FOREIGN: u8 = u8::MAX;

/// What to do with a prefix that is there already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Duplicates {
    Refuse,
    Ignore,
    Keep,
}

impl Tree {
    /// An empty tree over these characters.
    pub(super) fn new(characters: &[u8]) -> Self {
        let mut positions = Box::new([FOREIGN; 256]);
        let mut width = 0u8;
        for byte in characters {
            let place = &mut positions[usize::from(*byte)];
            if *place == FOREIGN && width < FOREIGN - 1 {
                *place = width;
                width += 1;
            }
        }
        Self {
            nodes: vec![Node::default()],
            positions,
            width: width.into(),
            items: 0,
        }
    }

    /// Adds a value; an error says why it cannot be.
    pub(super) fn insert(&mut self, prefix: &[u8], item: Item, duplicates: Duplicates) -> Result<(), String> {
        let shown = || String::from_utf8_lossy(prefix).into_owned();
        if prefix.is_empty() || prefix.len() > LONGEST {
            return Err(format!("prefix {:?} is empty or longer than {LONGEST}", shown()));
        }
        let mut at = 0;
        for byte in prefix {
            let place = usize::from(self.positions[usize::from(*byte)]);
            if place >= self.width {
                return Err(format!(
                    "prefix {:?}: {:?} is not in char_list",
                    shown(),
                    char::from(*byte)
                ));
            }
            let next = self
                .nodes
                .get(at)
                .and_then(|node| node.children.get(place))
                .copied()
                .unwrap_or(0);
            at = if next != 0 {
                next as usize
            } else {
                self.grow(at, place)?
            };
        }
        let Some(node) = self.nodes.get_mut(at) else {
            return Ok(());
        };
        if !node.values.is_empty() && duplicates != Duplicates::Keep {
            return match duplicates {
                Duplicates::Ignore => Ok(()),
                _ => Err(format!(
                    "prefix {:?} is there twice; mt_allow_duplicates or mt_ignore_duplicates allow it",
                    shown()
                )),
            };
        }
        node.values.insert(0, item);
        self.items += 1;
        Ok(())
    }

    fn grow(&mut self, parent: usize, place: usize) -> Result<usize, String> {
        let new = self.nodes.len();
        let index = u32::try_from(new).map_err(|_| "the tree is full".to_owned())?;
        self.nodes.push(Node::default());
        let width = self.width;
        if let Some(node) = self.nodes.get_mut(parent) {
            if node.children.is_empty() {
                node.children = vec![0; width].into();
            }
            if let Some(child) = node.children.get_mut(place) {
                *child = index;
            }
        }
        Ok(new)
    }

    /// Walks the prefixes of a text that have values, the shortest first.
    pub(super) fn prefixes<'a>(&'a self, text: &'a [u8]) -> impl Iterator<Item = (&'a [u8], &'a [Item])> {
        let mut at = Some(0);
        let nodes = text
            .iter()
            .take(LONGEST)
            .enumerate()
            .map_while(move |(index, byte)| {
                let place = usize::from(self.positions[usize::from(*byte)]);
                let next = at
                    .and_then(|at: usize| self.nodes.get(at)?.children.get(place).copied())
                    .filter(|next| *next != 0);
                at = next.map(|next| next as usize);
                at.and_then(|at| Some((text.get(..=index)?, self.nodes.get(at)?)))
            });
        nodes
            .filter(|(_, node)| !node.values.is_empty())
            .map(|(prefix, node)| (prefix, &*node.values))
    }

    /// The longest prefix of a text that has values.
    pub(super) fn longest<'a>(&'a self, text: &'a [u8]) -> Option<(&'a [u8], &'a [Item])> {
        self.prefixes(text).last()
    }

    /// How many nodes there are.
    pub(super) fn nodes(&self) -> usize {
        self.nodes.len()
    }

    /// About how much memory it takes.
    pub(super) fn size(&self) -> usize {
        let of =
            |node: &Node| size_of::<Node>() + node.children.len() * 4 + node.values.len() * size_of::<Item>();
        self.nodes.iter().map(of).sum()
    }

    /// Every prefix with its values, in order of the characters.
    pub(super) fn walk(&self, visit: &mut dyn FnMut(&[u8], &[Item])) {
        let mut characters = vec![0u8; self.width];
        for (byte, place) in self.positions.iter().enumerate() {
            if let Some(slot) = characters.get_mut(usize::from(*place)) {
                *slot = u8::try_from(byte).unwrap_or(0);
            }
        }
        self.descend(0, &mut Vec::new(), &characters, visit);
    }

    fn descend(
        &self,
        at: usize,
        prefix: &mut Vec<u8>,
        characters: &[u8],
        visit: &mut dyn FnMut(&[u8], &[Item]),
    ) {
        let Some(node) = self.nodes.get(at) else { return };
        if !node.values.is_empty() {
            visit(prefix, &node.values);
        }
        for (child, byte) in node
            .children
            .iter()
            .zip(characters)
            .filter(|(child, _)| **child != 0)
        {
            prefix.push(*byte);
            self.descend(*child as usize, prefix, characters, visit);
            prefix.pop();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(value: &str) -> Item {
        Item::Text(value.as_bytes().to_vec())
    }

    #[test]
    fn the_longest_prefix_wins() {
        let mut tree = Tree::new(b"0123456789+");
        for (prefix, value) in [("1", "a"), ("123", "b"), ("12", "c"), ("+49", "d")] {
            tree.insert(prefix.as_bytes(), text(value), Duplicates::Refuse)
                .unwrap();
        }
        for (number, expected) in [
            ("1234", Some("b")),
            ("12", Some("c")),
            ("1x", Some("a")),
            ("2", None),
            ("+4930", Some("d")),
            ("", None),
        ] {
            let found = tree
                .longest(number.as_bytes())
                .map(|(_, values)| values[0].clone());
            assert_eq!(found, expected.map(text), "{number}");
        }
        let all: Vec<_> = tree
            .prefixes(b"1234")
            .map(|(_, values)| values[0].clone())
            .collect();
        assert_eq!(all, ["a", "c", "b"].map(text));
        let mut seen = Vec::new();
        tree.walk(&mut |prefix, _| seen.push(String::from_utf8_lossy(prefix).into_owned()));
        assert_eq!(seen, ["1", "12", "123", "+49"]);
    }

    #[test]
    fn prefixes_are_checked() {
        let mut tree = Tree::new(b"0123456789");
        assert!(tree.insert(b"12a", text("x"), Duplicates::Refuse).is_err());
        assert!(tree.insert(b"", text("x"), Duplicates::Refuse).is_err());
        tree.insert(b"1", text("x"), Duplicates::Refuse).unwrap();
        assert!(tree.insert(b"1", text("y"), Duplicates::Refuse).is_err());
        tree.insert(b"1", text("y"), Duplicates::Ignore).unwrap();
        tree.insert(b"1", text("z"), Duplicates::Keep).unwrap();
        assert_eq!(tree.longest(b"1").unwrap().1, [text("z"), text("x")]);
    }
}
