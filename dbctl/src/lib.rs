//! Creates, upgrades, backs up, restores and checks the database schema.
