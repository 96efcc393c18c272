//! The wire between proxyd and its tools: parameters, replies, error codes; no I/O.
