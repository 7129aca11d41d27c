//! Stub of the `cli` room; see ARCHITECTURE.md.
