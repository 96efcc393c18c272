//! Answers read piece by piece as they arrive, so that a dump of a million rows needs the memory of one (JSON-RPC 2.0 §5).

use std::cell::RefCell;
use std::fmt;
use std::marker::PhantomData;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde::de::DeserializeSeed;
use serde::de::Deserializer;
use serde::de::Error as _;
use serde::de::IgnoredAny;
use serde::de::MapAccess;
use serde::de::SeqAccess;
use serde::de::Visitor;
use serde::ser::Error as _;
use serde::ser::Serialize;
use serde::ser::SerializeMap as _;
use serde::ser::SerializeSeq as _;
use serde::ser::Serializer;

/// Reads a reply: the result through its seed, or the code and message of a fault.
pub(crate) struct Reply<S>(pub(crate) S);

impl<'de, S: DeserializeSeed<'de>> DeserializeSeed<'de> for Reply<S> {
    type Value = Result<S::Value, (i64, String)>;

    fn deserialize<D: Deserializer<'de>>(self, d: D) -> Result<Self::Value, D::Error> {
        d.deserialize_map(self)
    }
}

impl<'de, S: DeserializeSeed<'de>> Visitor<'de> for Reply<S> {
    type Value = Result<S::Value, (i64, String)>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON-RPC reply")
    }

    fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Self::Value, M::Error> {
        #[derive(Deserialize)]
        struct Refusal {
            #[serde(default)]
            code: i64,
            #[serde(default)]
            message: String,
        }
        let (mut seed, mut found) = (Some(self.0), None);
        while let Some(key) = map.next_key::<String>()? {
            match key.as_str() {
                "result" if seed.is_some() => {
                    if let Some(seed) = seed.take() {
                        found = Some(Ok(map.next_value_seed(seed)?));
                    }
                }
                "error" => {
                    if let Some(refusal) = map.next_value::<Option<Refusal>>()? {
                        found = Some(Err((refusal.code, refusal.message)));
                    }
                }
                _ => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        found.ok_or_else(|| M::Error::custom("it has neither a result nor an error"))
    }
}

/// Walks into the members named, through lists on the way, and hands what stands there to a visitor, one at a time.
///
/// A list at the end of the way is handed over element by element.
pub(crate) struct Each<'p, 'v, T> {
    path: &'p [&'p str],
    beside: Option<(&'p str, &'p str)>,
    visit: &'v mut dyn FnMut(T) -> Result<(), String>,
}

impl<'p, 'v, T> Each<'p, 'v, T> {
    pub(crate) fn new(path: &'p [&'p str], visit: &'v mut dyn FnMut(T) -> Result<(), String>) -> Self {
        Self {
            path,
            beside: None,
            visit,
        }
    }

    /// Takes the last step only where a member `name` with this text stands before it.
    pub(crate) fn beside(mut self, name: &'p str, text: &'p str) -> Self {
        self.beside = Some((name, text));
        self
    }

    fn step<'s>(&'s mut self, path: &'p [&'p str]) -> Each<'p, 's, T> {
        Each {
            path,
            beside: self.beside,
            visit: &mut *self.visit,
        }
    }
}

impl<'de, T: DeserializeOwned> DeserializeSeed<'de> for Each<'_, '_, T> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, d: D) -> Result<(), D::Error> {
        d.deserialize_any(self)
    }
}

impl<'de, T: DeserializeOwned> Visitor<'de> for Each<'_, '_, T> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "a list or an object with {}",
            self.path.first().unwrap_or(&"a list")
        )
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut list: A) -> Result<(), A::Error> {
        if self.path.is_empty() {
            while let Some(element) = list.next_element::<T>()? {
                (self.visit)(element).map_err(A::Error::custom)?;
            }
        } else {
            let path = self.path;
            while list.next_element_seed(self.step(path))?.is_some() {}
        }
        Ok(())
    }

    fn visit_map<M: MapAccess<'de>>(mut self, mut map: M) -> Result<(), M::Error> {
        let Some((name, rest)) = self.path.split_first() else {
            while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
            return Ok(());
        };
        let beside = self.beside.filter(|_| rest.is_empty());
        let mut is_wanted = true;
        while let Some(key) = map.next_key::<String>()? {
            if key == *name && is_wanted {
                map.next_value_seed(self.step(rest))?;
            } else if let Some((_, text)) = beside.filter(|(beside, _)| key == *beside) {
                is_wanted = map.next_value::<String>()? == text;
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(())
    }

    // An empty table may be shown as nothing at all.
    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }
}

/// Writes a value into a serializer while it is read.
pub(crate) struct Copy<S>(pub(crate) S);

impl<'de, S: Serializer> DeserializeSeed<'de> for Copy<S> {
    type Value = S::Ok;

    fn deserialize<D: Deserializer<'de>>(self, d: D) -> Result<S::Ok, D::Error> {
        Source::new(d).serialize(self.0).map_err(D::Error::custom)
    }
}

/// A deserializer seen as something to serialize, once.
struct Source<'de, D>(RefCell<Option<D>>, PhantomData<&'de ()>);

impl<'de, D: Deserializer<'de>> Source<'de, D> {
    fn new(d: D) -> Self {
        Self(RefCell::new(Some(d)), PhantomData)
    }
}

impl<'de, D: Deserializer<'de>> Serialize for Source<'de, D> {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        let d = self
            .0
            .borrow_mut()
            .take()
            .ok_or_else(|| S::Error::custom("it was read before"))?;
        d.deserialize_any(Sink(s)).map_err(S::Error::custom)
    }
}

struct Sink<S>(S);

macro_rules! scalars {
    ($($visit:ident $kind:ty, $serialize:ident;)*) => { $(
        fn $visit<E: serde::de::Error>(self, value: $kind) -> Result<S::Ok, E> {
            self.0.$serialize(value).map_err(E::custom)
        }
    )* };
}

impl<'de, S: Serializer> Visitor<'de> for Sink<S> {
    type Value = S::Ok;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    scalars! {
        visit_bool bool, serialize_bool;
        visit_i64 i64, serialize_i64;
        visit_u64 u64, serialize_u64;
        visit_f64 f64, serialize_f64;
        visit_str &str, serialize_str;
    }

    fn visit_unit<E: serde::de::Error>(self) -> Result<S::Ok, E> {
        self.0.serialize_unit().map_err(E::custom)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<S::Ok, A::Error> {
        struct Element<'s, Q>(&'s mut Q);
        impl<'de, Q: serde::ser::SerializeSeq> DeserializeSeed<'de> for Element<'_, Q> {
            type Value = ();

            fn deserialize<D: Deserializer<'de>>(self, d: D) -> Result<(), D::Error> {
                self.0
                    .serialize_element(&Source::new(d))
                    .map_err(D::Error::custom)
            }
        }
        let mut out = self.0.serialize_seq(list.size_hint()).map_err(A::Error::custom)?;
        while list.next_element_seed(Element(&mut out))?.is_some() {}
        out.end().map_err(A::Error::custom)
    }

    fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<S::Ok, M::Error> {
        struct Member<'s, Q>(&'s mut Q);
        impl<'de, Q: serde::ser::SerializeMap> DeserializeSeed<'de> for Member<'_, Q> {
            type Value = ();

            fn deserialize<D: Deserializer<'de>>(self, d: D) -> Result<(), D::Error> {
                self.0.serialize_value(&Source::new(d)).map_err(D::Error::custom)
            }
        }
        let mut out = self.0.serialize_map(map.size_hint()).map_err(M::Error::custom)?;
        while let Some(key) = map.next_key::<String>()? {
            out.serialize_key(&key).map_err(M::Error::custom)?;
            map.next_value_seed(Member(&mut out))?;
        }
        out.end().map_err(M::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;
    use serde_json::json;

    use super::*;

    #[test]
    fn copies_what_it_reads() {
        let text = r#"{"a":[1,-2,2.5,"x",null,true,[],{}],"b":{"c":"d"}}"#;
        let mut out = Vec::new();
        let mut json = serde_json::Deserializer::from_str(text);
        Copy(&mut serde_json::Serializer::new(&mut out))
            .deserialize(&mut json)
            .unwrap();
        assert_eq!(String::from_utf8(out).unwrap(), text);
    }

    #[test]
    fn visits_what_stands_at_the_end_of_the_way() {
        let text =
            r#"{"Domains":[{"Domain":{"Domain":"x","AoRs":[1,2]}},{"Domain":{"AoRs":[3],"Stats":{}}}]}"#;
        let mut seen = Vec::new();
        let mut visit = |n: Value| {
            seen.push(n);
            Ok(())
        };
        let mut json = serde_json::Deserializer::from_str(text);
        Each::new(&["Domains", "Domain", "AoRs"], &mut visit)
            .deserialize(&mut json)
            .unwrap();
        assert_eq!(seen, [json!(1), json!(2), json!(3)]);
        let mut seen = Vec::new();
        let mut visit = |n: Value| {
            seen.push(n);
            Ok(())
        };
        let text = text.replace(r#"{"AoRs":[3]"#, r#"{"Domain":"y","AoRs":[3]"#);
        let mut json = serde_json::Deserializer::from_str(&text);
        let way = Each::new(&["Domains", "Domain", "AoRs"], &mut visit).beside("Domain", "y");
        way.deserialize(&mut json).unwrap();
        assert_eq!(seen, [json!(3)]);
    }

    #[test]
    fn refusals_are_replies() {
        let read = |text: &str| {
            let mut json = serde_json::Deserializer::from_str(text);
            Reply(PhantomData::<Value>).deserialize(&mut json)
        };
        assert_eq!(read(r#"{"result":7,"id":1}"#).unwrap(), Ok(json!(7)));
        assert_eq!(
            read(r#"{"error":{"code":404,"message":"m"}}"#).unwrap(),
            Err((404, "m".into()))
        );
        assert_eq!(read(r#"{"result":null,"error":null}"#).unwrap(), Ok(Value::Null));
        assert!(read("{}").is_err());
        assert!(read("[]").is_err());
    }
}
