//! The objects: ids, resources and operations.

pub mod plan;
