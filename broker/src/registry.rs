//! Stub of the `registry` room; see ARCHITECTURE.md.
