//! Stub of the `config` room; see ARCHITECTURE.md.
