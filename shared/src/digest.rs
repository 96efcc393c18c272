//! HA1 and response arithmetic of HTTP digest authentication (RFC 2617, RFC 7616); stores nothing.
