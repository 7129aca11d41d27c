//! Stub of the `ctl` room; see ARCHITECTURE.md.
