//! Codes of refusals: Kamailio's, and those of the JSON-RPC 2.0 specification (§5.1).

/// The call is wrong: parameters missing or of the wrong kind.
pub const BAD_REQUEST: i32 = 400;
/// What the caller may not do.
pub const FORBIDDEN: i32 = 403;
/// What was asked for is not there.
pub const NOT_FOUND: i32 = 404;
/// It could not be done; also Kamailio's code for an unknown method.
pub const FAILED: i32 = 500;
/// The text is not JSON.
pub const PARSE_ERROR: i32 = -32700;
/// The JSON is no call.
pub const INVALID_REQUEST: i32 = -32600;
/// No such method.
pub const METHOD_NOT_FOUND: i32 = -32601;
/// Parameters do not fit.
pub const INVALID_PARAMS: i32 = -32602;
/// The daemon failed.
pub const INTERNAL_ERROR: i32 = -32603;
