//! The program itself, over a database and a daemon of the test's own.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod certificates;
mod daemon;
mod database;
mod home;
mod site;
