//! How a command reports: table, JSON, YAML, CSV or plain text, with its exit code.
