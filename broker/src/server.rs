//! Stub of the `server` room; see ARCHITECTURE.md.
