//! Stub of the `metrics` room; see ARCHITECTURE.md.
