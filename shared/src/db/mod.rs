//! Databases behind one trait: SQLite, MySQL, PostgreSQL, dbtext files.
