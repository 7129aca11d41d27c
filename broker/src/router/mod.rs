//! Stub of the `router` room; see ARCHITECTURE.md.
