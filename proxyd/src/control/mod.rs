//! The control plane: JSON-RPC on a unix socket.
