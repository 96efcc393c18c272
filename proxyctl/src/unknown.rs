//! A method that the daemon does not know: which one may have been meant.

use serde_json::Value;

use crate::client::Client;

/// What to add to the refusal, with the punctuation before it.
pub(crate) fn hint(client: &Client, method: &str) -> String {
    let names = client.call("system.listMethods", &[]).unwrap_or_default();
    let names = names.as_array().into_iter().flatten().filter_map(Value::as_str);
    let near = names
        .map(|name| (distance(method, name), name))
        .min()
        .filter(|(far, _)| *far <= 2);
    match near {
        Some((_, name)) => format!(": did you mean `{name}`?"),
        None => ": `proxyctl srv rpclist` lists what there is; the script may not load its module".to_owned(),
    }
}

/// Levenshtein distance without regard to case, a row at a time.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let (mut diagonal, mut left) = (i, i + 1);
        for (slot, y) in row.iter_mut().skip(1).zip(&b) {
            let above = *slot;
            left = (above + 1)
                .min(left + 1)
                .min(diagonal + usize::from(!x.eq_ignore_ascii_case(y)));
            diagonal = above;
            *slot = left;
        }
        if let Some(first) = row.first_mut() {
            *first = i + 1;
        }
    }
    row.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances() {
        assert_eq!(distance("ul.dmup", "ul.dump"), 2);
        assert_eq!(distance("UL.dump", "ul.dump"), 0);
        assert_eq!(distance("", "abc"), 3);
    }
}
