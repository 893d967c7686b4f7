//! Integration tests of Leasehold; see tests/.
