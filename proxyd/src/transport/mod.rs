//! Sockets: framing, not meaning.
