//! Stub of the `session` room; see ARCHITECTURE.md.
