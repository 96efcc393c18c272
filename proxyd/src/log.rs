//! Kamailio's log levels and line form, to stderr or syslog.
