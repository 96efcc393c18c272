//! proxyctl over a database and a daemon of the test's own.

mod certificates;
mod daemon;
mod database;
mod home;
mod methods;
mod ping;
mod site;
