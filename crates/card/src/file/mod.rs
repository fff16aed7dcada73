//! What the files of a card hold, apart from PKCS#15: pure functions from bytes to values and back.

pub mod digits;
pub mod fcp;
pub mod tlv;
