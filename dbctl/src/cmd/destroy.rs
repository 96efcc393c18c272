//! `dbctl drop`, `reinit`: the database goes with everything in it, once somebody has said yes.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;
use std::path::PathBuf;

use serde_json::json;
use shared::db;
use shared::db::Access;
use shared::db::Backend;
use shared::db::Engine;
use shared::db::Url;
use shared::db::schema;

use super::create;
use crate::Answer;
use crate::Error;
use crate::context::Context;
use crate::context::open;
use crate::context::quoted;

/// Removes the database after a question.
pub(super) fn destroy(context: &Context<'_>, url: &Url) -> Result<Answer, Error> {
    drop(open_ours(url)?);
    context.confirm(&format!("this deletes {url} with everything in it"))?;
    remove(context, url)?;
    Ok(Answer::new(
        format!("deleted {url}"),
        json!({"database": url.to_string(), "deleted": true}),
    ))
}

/// Removes the database after a question, when it exists, and makes it anew.
pub(super) fn reinit(context: &Context<'_>, url: &Url) -> Result<Answer, Error> {
    // Only looked at: an open connection would keep a server from deleting.
    match open_ours(url).map(drop) {
        Ok(()) => {
            context.confirm(&format!(
                "this deletes {url} with everything in it, and creates it anew"
            ))?;
            remove(context, url)?;
        }
        Err(Error::Database(db::Error::Missing(_) | db::Error::NoDatabase { .. })) => {}
        Err(error) => return Err(error),
    }
    create::create(context, url, create::Optional::default())
}

/// Opens the database, and refuses what is not one: a mistyped path must not cost a file.
fn open_ours(url: &Url) -> Result<Box<dyn Backend>, Error> {
    let mut db = open(url, Access::Existing)?;
    db.tables()?;
    Ok(db)
}

fn remove(context: &Context<'_>, url: &Url) -> Result<(), Error> {
    match url.engine {
        Engine::Sqlite => {
            for ending in ["", "-wal", "-shm", "-journal"] {
                remove_file(&PathBuf::from(format!("{}{ending}", url.name)))?;
            }
            Ok(())
        }
        Engine::Text => {
            let mut db = open(url, Access::Existing)?;
            db::transaction(&mut *db, |db| {
                for table in db.tables()? {
                    if schema::table(&table).is_some() {
                        db.drop_table(&table)?;
                    }
                }
                Ok::<(), Error>(())
            })?;
            remove_file(&Path::new(&url.name).join(".lock"))?;
            // Files of the operator's own keep their folder.
            let _ = fs::remove_dir(&url.name);
            Ok(())
        }
        Engine::MySql | Engine::Postgres => {
            let sql = format!("DROP DATABASE {}", quoted(url.engine, &url.name));
            let own = Url {
                name: String::new(),
                ..url.clone()
            };
            let dropped = open(&own, Access::Existing).and_then(|mut server| Ok(server.raw(&sql, &[])?));
            if let Err(error) = dropped {
                let Some(root) = context.administrator(url)? else {
                    return Err(error);
                };
                open(&root, Access::Existing)?.raw(&sql, &[])?;
            }
            Ok(())
        }
    }
}

fn remove_file(path: &Path) -> Result<(), Error> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(Error::file("delete", path, &error)),
        _ => Ok(()),
    }
}
