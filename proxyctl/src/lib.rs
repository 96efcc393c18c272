//! The operator's tool: subscribers, addresses, registrations, reloads, any RPC.
