//! What the files of a card hold, apart from PKCS#15: pure functions from bytes to values and back.

pub mod digits;
pub mod dm1x;
pub mod fcp;
pub mod tlv;
