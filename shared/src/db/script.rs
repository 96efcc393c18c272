//! SQL scripts cut into statements: those of Kamailio's packages, and what `sqlite3 .dump`, mysqldump and pg_dump write.

use std::io;
use std::io::BufRead;

use super::Engine;

/// Bytes after which the rows of one COPY go on in another statement.
const FULL: usize = 1 << 18;

/// A script, of which never more than a statement is held.
pub struct Script<R> {
    engine: Engine,
    reader: R,
    /// The line being read, its number from 1, and how much of it is done.
    line: Vec<u8>,
    number: usize,
    at: usize,
    /// What ends a statement.
    delimiter: Vec<u8>,
    /// The table and columns whose rows the next lines are.
    copied: Option<String>,
}

/// One statement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScriptStatement {
    /// The line of the script in which it ends, from 1.
    pub line: usize,
    /// Its text without comments.
    pub sql: String,
}

impl<R: BufRead> Script<R> {
    /// Begins a script in the SQL of an engine.
    pub fn new(engine: Engine, reader: R) -> Self {
        Self {
            engine,
            reader,
            line: Vec::new(),
            number: 0,
            at: 0,
            delimiter: b";".to_vec(),
            copied: None,
        }
    }

    fn read(&mut self) -> io::Result<Option<ScriptStatement>> {
        loop {
            let statement = match self.copied.take() {
                Some(table) => self.rows(table)?,
                None => match self.statement()? {
                    None => return Ok(None),
                    Some(sql) => self.unless_copied(text(sql)?),
                },
            };
            if let Some(sql) = statement {
                let line = self.number;
                return Ok(Some(ScriptStatement { line, sql }));
            }
        }
    }

    /// What is left of the line, or the next one; nothing at the end of the script.
    fn rest(&mut self) -> io::Result<&[u8]> {
        if self.at >= self.line.len() {
            self.line.clear();
            self.at = 0;
            self.number += usize::from(self.reader.read_until(b'\n', &mut self.line)? > 0);
        }
        Ok(self.line.get(self.at..).unwrap_or_default())
    }

    fn statement(&mut self) -> io::Result<Option<Vec<u8>>> {
        let (engine, delimiter) = (self.engine, self.delimiter.clone());
        let mut sql = Vec::new();
        loop {
            let is_first = self.at >= self.line.len();
            let rest = self.rest()?;
            let is_empty = sql.iter().all(u8::is_ascii_whitespace);
            match rest {
                [] if is_empty => return Ok(None),
                [] => return Ok(Some(sql)),
                [b'\\', ..] if engine == Engine::Postgres && is_first && is_empty => {
                    self.at = self.line.len()
                }
                _ if engine == Engine::MySql && is_empty && is_delimiter(rest) => {
                    let word = rest.get(b"delimiter ".len()..).unwrap_or_default();
                    let word = word.trim_ascii().to_vec();
                    self.at = self.line.len();
                    if !word.is_empty() {
                        self.delimiter = word;
                        return self.statement();
                    }
                }
                _ if rest.starts_with(&delimiter) => {
                    self.at += delimiter.len();
                    if !is_empty {
                        return Ok(Some(sql));
                    }
                    sql.clear();
                }
                [b'\'' | b'"' | b'`', ..] => self.quoted(&mut sql)?,
                [b'$', ..] if engine == Engine::Postgres => self.dollars(&mut sql)?,
                _ if is_comment(engine, rest) => {
                    sql.push(b'\n');
                    self.at = self.line.len();
                }
                [b'/', b'*', ..] => self.comment(&mut sql)?,
                [byte, ..] => {
                    sql.push(*byte);
                    self.at += 1;
                }
            }
        }
    }

    /// Takes a literal or a quoted name. Bytes that are no text, as mysqldump writes them, become hexadecimal digits.
    fn quoted(&mut self, sql: &mut Vec<u8>) -> io::Result<()> {
        let quote = self.rest()?.first().copied().unwrap_or_default();
        let before = sql.strip_suffix(b"E").or_else(|| sql.strip_suffix(b"e"));
        let is_escaped = match self.engine {
            Engine::MySql => quote != b'`',
            Engine::Postgres => before.is_some_and(|sql| !sql.last().is_some_and(u8::is_ascii_alphanumeric)),
            Engine::Sqlite | Engine::Text => false,
        };
        let mut literal = Vec::new();
        let mut bytes = Vec::new();
        self.at += 1;
        loop {
            let (taken, byte) = match self.rest()? {
                [] => break,
                [a, b, ..] if *a == quote && *b == quote => (2, Some(quote)),
                [a, ..] if *a == quote => {
                    self.at += 1;
                    break;
                }
                [b'\\', byte, ..] if is_escaped => (2, Some(unescaped(*byte))),
                [byte, ..] => (1, Some(*byte)),
            };
            literal.extend(self.line.iter().skip(self.at).take(taken));
            bytes.extend(byte);
            self.at += taken;
        }
        if self.engine == Engine::MySql && std::str::from_utf8(&literal).is_err() {
            sql.extend(b"X'");
            sql.extend(bytes.iter().flat_map(|byte| format!("{byte:02x}").into_bytes()));
            sql.push(b'\'');
        } else {
            sql.push(quote);
            sql.append(&mut literal);
            sql.push(quote);
        }
        Ok(())
    }

    /// Takes a text between two `$tag$`.
    fn dollars(&mut self, sql: &mut Vec<u8>) -> io::Result<()> {
        let rest = self.rest()?;
        let name = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_';
        let end = rest.iter().skip(1).position(|byte| !name(byte)).map(|n| n + 1);
        let tag = end
            .filter(|end| rest.get(*end) == Some(&b'$'))
            .and_then(|end| rest.get(..=end));
        let Some(tag) = tag.map(<[u8]>::to_vec) else {
            sql.push(b'$');
            self.at += 1;
            return Ok(());
        };
        self.until(&tag, tag.len(), sql)
    }

    /// Takes a comment; MySQL's client and server run what some of them hold.
    fn comment(&mut self, sql: &mut Vec<u8>) -> io::Result<()> {
        let rest = self.rest()?;
        let is_run = rest.starts_with(b"/*!") || rest.starts_with(b"/*M!");
        let mut comment = Vec::new();
        self.until(b"*/", 2, &mut comment)?;
        if self.engine == Engine::MySql && is_run {
            sql.append(&mut comment);
        } else {
            sql.push(b' ');
        }
        Ok(())
    }

    /// Takes all to the end of the next `end` that is not in the first `skipped` bytes.
    fn until(&mut self, end: &[u8], skipped: usize, sql: &mut Vec<u8>) -> io::Result<()> {
        let mut skipped = skipped;
        loop {
            let rest = self.rest()?;
            if rest.is_empty() {
                return Ok(());
            }
            let body = rest.get(skipped..).unwrap_or_default();
            let found = body.windows(end.len()).position(|part| part == end);
            let taken = found.map_or(rest.len(), |at| skipped + at + end.len());
            sql.extend(rest.iter().take(taken));
            self.at += taken;
            skipped = 0;
            if found.is_some() {
                return Ok(());
            }
        }
    }

    /// Nothing for a `COPY … FROM stdin`: its rows are the statements.
    fn unless_copied(&mut self, sql: String) -> Option<String> {
        if self.engine == Engine::Postgres
            && let Some((command, rest)) = sql.trim().split_at_checked(5)
            && command.eq_ignore_ascii_case("copy ")
            && let Some((table, from)) = rest.split_at_checked(rest.len().saturating_sub(11))
            && from.eq_ignore_ascii_case(" from stdin")
        {
            self.copied = Some(table.to_owned());
            self.at = self.line.len();
            return None;
        }
        Some(sql.trim().to_owned())
    }

    /// Makes one INSERT of the next rows of a COPY.
    fn rows(&mut self, table: String) -> io::Result<Option<String>> {
        let mut sql = format!("INSERT INTO {table} VALUES ");
        let bare = sql.len();
        loop {
            let row = text(self.rest()?.to_vec())?;
            let row = row.trim_end_matches(['\r', '\n']);
            let is_end = row == "\\." || self.line.is_empty();
            self.at = self.line.len();
            if is_end {
                break;
            }
            sql.push_str(if sql.len() == bare { "(" } else { ", (" });
            for (index, cell) in row.split('\t').enumerate() {
                if index > 0 {
                    sql.push_str(", ");
                }
                push_cell(&mut sql, cell);
            }
            sql.push(')');
            if sql.len() > FULL {
                self.copied = Some(table);
                break;
            }
        }
        Ok((sql.len() > bare).then_some(sql))
    }
}

impl<R: BufRead> Iterator for Script<R> {
    type Item = io::Result<ScriptStatement>;

    fn next(&mut self) -> Option<Self::Item> {
        self.read().transpose()
    }
}

fn text(bytes: Vec<u8>) -> io::Result<String> {
    String::from_utf8(bytes).map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "it is not in UTF-8"))
}

fn is_delimiter(line: &[u8]) -> bool {
    line.get(..10)
        .is_some_and(|word| word.eq_ignore_ascii_case(b"delimiter "))
}

fn is_comment(engine: Engine, rest: &[u8]) -> bool {
    match rest {
        [b'#', ..] => engine == Engine::MySql,
        [b'-', b'-', byte, ..] if engine == Engine::MySql => byte.is_ascii_whitespace(),
        [b'-', b'-', ..] => true,
        _ => false,
    }
}

/// What MySQL's backslash and a letter mean.
fn unescaped(byte: u8) -> u8 {
    match byte {
        b'0' => 0,
        b'b' => 8,
        b'n' => b'\n',
        b'r' => b'\r',
        b't' => b'\t',
        b'Z' => 26,
        other => other,
    }
}

/// Writes a cell of COPY's text format as a literal.
fn push_cell(sql: &mut String, cell: &str) {
    if cell == "\\N" {
        sql.push_str("NULL");
        return;
    }
    sql.push('\'');
    let mut chars = cell.chars();
    while let Some(c) = chars.next() {
        let c = match c {
            '\\' => match chars.next().unwrap_or('\\') {
                'b' => '\u{8}',
                'f' => '\u{c}',
                'n' => '\n',
                'r' => '\r',
                't' => '\t',
                'v' => '\u{b}',
                other => other,
            },
            c => c,
        };
        if c == '\'' {
            sql.push('\'');
        }
        sql.push(c);
    }
    sql.push('\'');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cut(engine: Engine, script: &[u8]) -> Vec<String> {
        let statements = Script::new(engine, script);
        statements.map(|statement| statement.unwrap().sql).collect()
    }

    #[test]
    fn statements_end_outside_quotes_and_comments() {
        let script = b"a ';' b; -- c;\n/* ; */ d; `;`;;-- only a comment\n";
        for engine in [Engine::Sqlite, Engine::MySql, Engine::Postgres] {
            assert_eq!(cut(engine, script), ["a ';' b", "d", "`;`"]);
            assert_eq!(cut(engine, b"'unclosed ; "), ["'unclosed ; '"]);
            assert_eq!(cut(engine, b" ;\n "), [""; 0]);
            assert_eq!(cut(engine, b"a 'it''s;\n' b"), ["a 'it''s;\n' b"]);
        }
        let lines: Vec<usize> = Script::new(Engine::Sqlite, &b"a;\n\nb\n;c"[..])
            .map(|statement| statement.unwrap().line)
            .collect();
        assert_eq!(lines, [1, 4, 4]);
    }

    #[test]
    fn dumps_of_mysql() {
        let table: [(&[u8], &[&str]); 6] = [
            (b"INSERT 'it\\'s;\\\\';\nb", &["INSERT 'it\\'s;\\\\'", "b"]),
            (b"a # x;\n b;", &["a \n b"]),
            (b"SELECT 5--1; -- c;", &["SELECT 5--1"]),
            (
                b"/*!40101 SET NAMES utf8mb4 */;\n/* plain; */",
                &["/*!40101 SET NAMES utf8mb4 */"],
            ),
            (b"x _binary '\\0\xff\\'\\n''\"';", &["x _binary X'00ff270a2722'"]),
            (
                b"DELIMITER ;;\nCREATE TRIGGER a BEGIN b; c; END ;;\nDELIMITER ;\nd;",
                &["CREATE TRIGGER a BEGIN b; c; END", "d"],
            ),
        ];
        for (script, statements) in table {
            assert_eq!(cut(Engine::MySql, script), statements);
        }
    }

    #[test]
    fn dumps_of_postgres() {
        let script = b"\\restrict abc\n\nCREATE FUNCTION f() AS $_$ a; $$ b; $_$;\nCOPY public.acc (id, method) FROM stdin;\n\
            1\tit's\\tA\\\\x\n2\t\\N\n\\.\n\n\nCOPY public.b (id) FROM stdin;\n\\.\nSELECT E'a\\';', $1;\n\\unrestrict abc\n";
        assert_eq!(
            cut(Engine::Postgres, script),
            [
                "CREATE FUNCTION f() AS $_$ a; $$ b; $_$",
                "INSERT INTO public.acc (id, method) VALUES ('1', 'it''s\tA\\x'), ('2', NULL)",
                "SELECT E'a\\';', $1",
            ]
        );
        let rows = "1234567\n".repeat(FULL / 8);
        let script = format!("COPY a FROM stdin;\n{rows}\\.\nb;");
        let statements = cut(Engine::Postgres, script.as_bytes());
        assert_eq!(statements.len(), 3);
        let values: usize = statements.iter().map(|sql| sql.matches("1234567").count()).sum();
        assert_eq!(values, FULL / 8);
    }

    #[test]
    fn nonsense_is_no_panic() {
        let pieces: [&[u8]; 14] = [
            b"'",
            b"\\",
            b"$",
            b"$a$",
            b"/*",
            b"*/",
            b"--",
            b";",
            b"\n",
            b"\xff",
            b"E",
            b"copy a from stdin;\n",
            b"\\.\n",
            b"delimiter \n",
        ];
        for a in pieces {
            for b in pieces {
                for c in pieces {
                    for engine in [Engine::Sqlite, Engine::MySql, Engine::Postgres] {
                        let script = [a, b, c].concat();
                        assert!(Script::new(engine, script.as_slice()).count() < 4);
                    }
                }
            }
        }
    }
}
