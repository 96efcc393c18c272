//! Reads site files: YAML or JSON documents, or lists of records as CSV (RFC 4180) and JSON lines.

use std::fs;
use std::io::Read as _;
use std::path::Path;
use std::path::PathBuf;

use serde::de::DeserializeOwned;
use serde::de::value::MapDeserializer;
use serde_json::Value;

use super::Item;
use super::Site;
use super::record::Address;
use super::record::Alias;
use super::record::Destination;
use super::record::Domain;
use super::record::Membership;
use super::record::Record;
use super::record::SpeedDial;
use super::record::Subscriber;
use super::record::Trusted;
use super::record::note_origin;
use crate::Error;
use crate::context::Context;

/// Columns of CSV that hold a list, words with blanks between them.
const LISTS: [&str; 2] = ["groups", "aliases"];

/// Reads a file, or every `.yaml`, `.yml` and `.json` file of a folder by name.
pub(crate) fn read(path: &Path) -> Result<Vec<(PathBuf, Site)>, Error> {
    let files = if path.is_dir() {
        listed(path)?
    } else {
        vec![path.to_owned()]
    };
    files
        .into_iter()
        .map(|path| {
            let text = text_of(&path)?;
            let site = document::<Option<Site>>(&text, &path, 0)?.unwrap_or_default();
            Ok((path, site))
        })
        .collect()
}

/// Reads a list of records of one section.
pub(crate) fn read_records(context: &Context<'_>, section: &str, path: &Path) -> Result<Vec<Item>, Error> {
    let read = match section {
        "subscribers" => rows::<Subscriber>,
        "groups" => rows::<Membership>,
        "aliases" => rows::<Alias>,
        "speed_dials" => rows::<SpeedDial>,
        "addresses" => rows::<Address>,
        "trusted" => rows::<Trusted>,
        "domains" => rows::<Domain>,
        "dispatcher" => rows::<Destination>,
        other => return Err(Error::not_found("section", other)),
    };
    read(context, path)
}

fn listed(folder: &Path) -> Result<Vec<PathBuf>, Error> {
    let entries = fs::read_dir(folder).map_err(|e| Error::file("list", folder, &e))?;
    let mut files = Vec::new();
    for entry in entries {
        let path = entry.map_err(|e| Error::file("list", folder, &e))?.path();
        let fits = path
            .extension()
            .is_some_and(|ext| ["yaml", "yml", "json"].iter().any(|known| ext == *known));
        if fits && path.is_file() {
            files.push(path);
        }
    }
    files.sort();
    if files.is_empty() {
        let name = folder.display().to_string();
        return Err(Error::NotFound {
            what: "file *.yaml, *.yml or *.json in",
            name,
            hint: String::new(),
        });
    }
    Ok(files)
}

/// The text of a file; `-` is standard input.
fn text_of(path: &Path) -> Result<String, Error> {
    if path == Path::new("-") {
        let mut text = String::new();
        return match std::io::stdin().lock().read_to_string(&mut text) {
            Ok(_) => Ok(text),
            Err(error) => Err(Error::file("read", "standard input", &error)),
        };
    }
    contents(path)
}

/// The text of a file that must be there.
pub(super) fn contents(path: &Path) -> Result<String, Error> {
    fs::read_to_string(path).map_err(|error| {
        if error.kind() == std::io::ErrorKind::NotFound {
            Error::not_found("file", path.display().to_string())
        } else {
            Error::file("read", path, &error)
        }
    })
}

/// Reads YAML, of which JSON is a part; scalars keep their spelling where text is wanted.
fn document<T: DeserializeOwned>(text: &str, path: &Path, line: usize) -> Result<T, Error> {
    let options = serde_saphyr::options! {
        leading_zero_numbers_as_strings: true,
        with_snippet: false,
        budget: None,
    };
    serde_saphyr::from_str_with_options(text, options).map_err(|error| {
        let at = error
            .location()
            .map_or(0, |place| usize::try_from(place.line()).unwrap_or(0));
        let reason = error.to_string();
        let reason = reason
            .split_once(" at line ")
            .map_or(reason.as_str(), |(reason, _)| reason);
        Error::Input {
            path: path.to_owned(),
            line: line + at,
            reason: reason.to_owned(),
        }
    })
}

fn rows<T: DeserializeOwned + Record>(context: &Context<'_>, path: &Path) -> Result<Vec<Item>, Error> {
    let text = text_of(path)?;
    let folder = path.parent().unwrap_or(Path::new("."));
    let mut items = Vec::new();
    let mut take = |place: String, record: T| {
        note_origin(path, place, &mut items, |items| {
            record.items(context, folder, items)
        })
    };
    if text.trim_start().starts_with('{') {
        for (index, line) in text
            .lines()
            .enumerate()
            .filter(|(_, line)| !line.trim().is_empty())
        {
            take(format!("line {}", index + 1), document(line, path, index)?)?;
        }
        return Ok(items);
    }
    if text.trim_start().starts_with('[') {
        for (index, record) in document::<Vec<T>>(&text, path, 0)?.into_iter().enumerate() {
            take(format!("[{index}]"), record)?;
        }
        return Ok(items);
    }
    let mut reader = csv::ReaderBuilder::new()
        .trim(csv::Trim::Headers)
        .comment(Some(b'#'))
        .from_reader(text.as_bytes());
    let headers = reader.headers().map_err(|e| bad_row(path, &e))?.clone();
    let refused = |line: usize, reason: String| Error::Input {
        path: path.to_owned(),
        line,
        reason,
    };
    if headers.is_empty() {
        // JSON lines of nothing.
        return Ok(items);
    }
    // Without rows, too, a header must be one: a lone row in its place would be lost.
    let nothing = headers.iter().map(|_| "").collect();
    record::<T>(&headers, &nothing).map_err(|e| refused(1, format!("in the header line: {e}")))?;
    for row in reader.records() {
        let row = row.map_err(|e| bad_row(path, &e))?;
        let line = row
            .position()
            .map_or(0, |place| usize::try_from(place.line()).unwrap_or(0));
        take(
            format!("line {line}"),
            record(&headers, &row).map_err(|e| refused(line, e.to_string()))?,
        )?;
    }
    Ok(items)
}

/// The record that a row of CSV means.
fn record<T: DeserializeOwned>(
    headers: &csv::StringRecord,
    row: &csv::StringRecord,
) -> Result<T, serde_json::Error> {
    let cell = |(name, text): (&str, &str)| {
        let value = if LISTS.contains(&name) {
            text.split_whitespace().collect()
        } else {
            Value::from(text)
        };
        (name.to_owned(), value)
    };
    T::deserialize(MapDeserializer::new(headers.iter().zip(row).map(cell)))
}

fn bad_row(path: &Path, error: &csv::Error) -> Error {
    let line = error
        .position()
        .map_or(1, |place| usize::try_from(place.line()).unwrap_or(1));
    let reason = match error.kind() {
        csv::ErrorKind::UnequalLengths {
            expected_len, len, ..
        } => format!("{len} cells, the header has {expected_len}"),
        _ => error.to_string(),
    };
    Error::Input {
        path: path.to_owned(),
        line,
        reason,
    }
}
