//! Start, signals, reload, stop.
