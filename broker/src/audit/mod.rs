//! Stub of the `audit` room; see ARCHITECTURE.md.
