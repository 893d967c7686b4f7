//! Behaviour of the storage, on raw rows.
