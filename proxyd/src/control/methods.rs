//! The method table: what an RPC handler is given and what it answers.

/// One call.
pub struct RpcCall<'a> {
    /// Positional parameters.
    pub params: &'a [serde_json::Value],
}

/// A fault.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RpcFault {
    /// Kamailio's code: 400, 404, 500.
    pub code: i32,
    /// What is wrong.
    pub message: String,
}

/// What a handler answers.
pub type RpcResult = Result<serde_json::Value, RpcFault>;
