//! What outlives the broker's process: nothing acknowledged is lost, nothing comes twice that must not.
//!
//! What does not live here: the store's own files (unit tests of `broker::store`).

mod kept;
mod load;
mod peers;
