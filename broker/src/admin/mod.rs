//! Stub of the `admin` room; see ARCHITECTURE.md.
