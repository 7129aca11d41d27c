//! Stub of the `authn` room; see ARCHITECTURE.md.
