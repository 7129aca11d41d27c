//! Stub of the `logging` room; see ARCHITECTURE.md.
