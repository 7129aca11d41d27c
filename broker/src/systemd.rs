//! Stub of the `systemd` room; see ARCHITECTURE.md.
