//! Transports, socket specifications and address prefixes.
