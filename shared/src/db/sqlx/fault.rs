//! What servers say when they refuse, by their error numbers, as our errors.

use std::borrow::Cow;

use sqlx::mysql::MySqlDatabaseError;

use super::Server;
use crate::db::Error;

impl Server {
    pub(super) fn translate(&self, error: &sqlx::Error) -> Error {
        let url = || self.url.to_string();
        let sqlx::Error::Database(database) = error else {
            return if is_lost(error) {
                self.unreachable(error.to_string())
            } else {
                Error::Engine {
                    url: url(),
                    reason: error.to_string(),
                }
            };
        };
        let reason = database.message().to_owned();
        let code = match database.try_downcast_ref::<MySqlDatabaseError>() {
            Some(mysql) => Cow::Owned(mysql.number().to_string()),
            None => database.code().unwrap_or_default(),
        };
        match &*code {
            "1062" | "23505" => Error::Duplicate(reason),
            "1146" | "1051" | "42P01" => Error::NoTable {
                url: url(),
                table: first_quoted(&reason),
            },
            // Kamailio's schema has ports of PostgreSQL in a smallint, which ends at 32767; its client reads either type.
            "22003" => Error::Engine {
                url: url(),
                reason: format!(
                    "{reason}: the column has to be wider, `ALTER TABLE … ALTER COLUMN … TYPE integer` makes it so"
                ),
            },
            "1049" | "3D000" => Error::NoDatabase {
                url: url(),
                name: self.url.name.clone(),
            },
            "1044" | "1045" | "1142" | "1227" | "1698" | "28000" | "28P01" | "42501" => {
                Error::Denied { url: url(), reason }
            }
            "1205" | "1213" | "40P01" | "55P03" => Error::Busy(url()),
            _ if is_lost(error) => self.unreachable(reason),
            _ => Error::Engine { url: url(), reason },
        }
    }
}

/// Tells whether the connection is of no use any more.
pub(super) fn is_lost(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Io(_) | sqlx::Error::Tls(_) | sqlx::Error::Protocol(_) | sqlx::Error::WorkerCrashed => {
            true
        }
        sqlx::Error::Database(database) => match database.try_downcast_ref::<MySqlDatabaseError>() {
            Some(mysql) => matches!(
                mysql.number(),
                1040 | 1053 | 1077 | 1079 | 1152..=1161 | 1184 | 1927 | 3169 | 4031
            ),
            None => database
                .code()
                .is_some_and(|code| code.starts_with("08") || code.starts_with("57P") || code == "53300"),
        },
        _ => false,
    }
}

/// The table a message names: what stands in its first quotes, without the database.
fn first_quoted(message: &str) -> String {
    let name = message.split(['\'', '"']).nth(1).unwrap_or(message);
    name.rsplit('.').next().unwrap_or(name).to_owned()
}
