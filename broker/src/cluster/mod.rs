//! Stub of the `cluster` room; see ARCHITECTURE.md.
