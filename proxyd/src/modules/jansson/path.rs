//! Paths into JSON values: `foo.bar[0][1].baz` (Kamailio module jansson).

use serde_json::Map;
use serde_json::Value as Json;

/// One step of a path.
#[derive(Debug, PartialEq, Eq)]
enum Step<'p> {
    Key(&'p str),
    Index(usize),
}

/// A path: where a value is.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Path<'p>(Vec<Step<'p>>);

impl<'p> Path<'p> {
    /// Reads a path; the empty one means the whole value. None when a key is empty or an index is no number.
    pub(super) fn parse(text: &'p str) -> Option<Self> {
        let mut steps = Vec::new();
        if text.is_empty() {
            return Some(Self(steps));
        }
        for (at, part) in text.split('.').enumerate() {
            let (key, indexes) = part.split_at(part.find('[').unwrap_or(part.len()));
            if !key.is_empty() {
                steps.push(Step::Key(key));
            } else if at > 0 || indexes.is_empty() {
                return None;
            }
            for index in indexes.split_inclusive(']') {
                let index = index.strip_prefix('[')?.strip_suffix(']')?;
                steps.push(Step::Index(index.parse().ok()?));
            }
        }
        Some(Self(steps))
    }

    /// The value there.
    pub(super) fn of<'j>(&self, json: &'j mut Json) -> Option<&'j mut Json> {
        self.0.iter().try_fold(json, |json, step| match step {
            Step::Key(key) => json.as_object_mut()?.get_mut(*key),
            Step::Index(index) => json.as_array_mut()?.get_mut(*index),
        })
    }

    /// Puts a value there, making the objects on the way that are missing; false when something else is in the way.
    pub(super) fn put(&self, json: &mut Json, value: Json) -> bool {
        let Some((last, way)) = self.0.split_last() else {
            return false;
        };
        let mut place = json;
        for step in way {
            let next = match step {
                Step::Key(key) => place
                    .as_object_mut()
                    .map(|object| object.entry(*key).or_insert_with(|| Json::Object(Map::new()))),
                Step::Index(index) => place.get_mut(*index),
            };
            let Some(next) = next else { return false };
            place = next;
        }
        match (last, place) {
            (Step::Key(key), Json::Object(object)) => {
                object.insert((*key).to_owned(), value);
                true
            }
            (Step::Index(index), Json::Array(items)) => match items.get_mut(*index) {
                Some(item) => {
                    *item = value;
                    true
                }
                None => false,
            },
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    #[test]
    fn values_are_found() {
        let mut json = json!({"a": 1, "g": [1, "two", [3, 4], {"h": 5}], "o": {"p": {"q": "deep"}}});
        for (path, found) in [
            ("a", Some(json!(1))),
            ("g[1]", Some(json!("two"))),
            ("g[2][1]", Some(json!(4))),
            ("g[3].h", Some(json!(5))),
            ("o.p", Some(json!({"q": "deep"}))),
            ("g[9]", None),
            ("a.b", None),
            ("a[0]", None),
            ("[0]", None),
            ("none", None),
        ] {
            let path = Path::parse(path).unwrap();
            assert_eq!(path.of(&mut json).cloned(), found, "{path:?}");
        }
        for wrong in ["..", "o.", ".o", "g[-1]", "g[x]", "g[1", "g]", "g[1]x", "o.[0]"] {
            assert!(
                Path::parse(wrong).is_none_or(|path| path.of(&mut json).is_none()),
                "{wrong}"
            );
        }
    }

    #[test]
    fn values_are_put() {
        for (path, result) in [
            ("a", Some(json!({"a": 7, "l": [7, 2]}))),
            ("n.m", Some(json!({"a": 1, "l": [7, 2], "n": {"m": 7}}))),
            ("l[1]", Some(json!({"a": 1, "l": [7, 7]}))),
            ("l[2]", None),
            ("a.b", None),
            ("n[0]", None),
            ("l.z", None),
            ("", None),
        ] {
            let mut json = json!({"a": 1, "l": [7, 2]});
            let put = Path::parse(path).unwrap().put(&mut json, json!(7));
            assert_eq!(put.then_some(json), result, "{path}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_a_path_or_not(text in r"[a.\[\]0-9-]{0,12}") {
            let mut json = json!({"a": [[1]]});
            if let Some(path) = Path::parse(&text) {
                let put = path.put(&mut json, json!(5));
                prop_assert!(!put || path.of(&mut json) == Some(&mut json!(5)));
            }
        }
    }
}
