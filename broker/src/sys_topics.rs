//! Stub of the `sys_topics` room; see ARCHITECTURE.md.
