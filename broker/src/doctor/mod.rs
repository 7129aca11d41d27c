//! Stub of the `doctor` room; see ARCHITECTURE.md.
