//! Proxy behaviour of RFC 3261 §16, pure.
