//! Stub of the `store` room; see ARCHITECTURE.md.
