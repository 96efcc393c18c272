//! Default places: databases, sockets, configuration files.
