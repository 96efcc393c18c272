//! Everything `loadmodule` accepts.
