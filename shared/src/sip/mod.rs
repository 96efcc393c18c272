//! SIP as values: bytes in, views out (RFC 3261 §7, §19, §20, §25).
