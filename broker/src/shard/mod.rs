//! Stub of the `shard` room; see ARCHITECTURE.md.
