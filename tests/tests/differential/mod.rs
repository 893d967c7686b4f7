//! What the differential test of the Redis door is made of.

pub(crate) mod generate;
pub(crate) mod intended;
pub(crate) mod scripts;
