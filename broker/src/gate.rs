//! Stub of the `gate` room; see ARCHITECTURE.md.
