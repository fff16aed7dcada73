//! The directory files of PKCS#15, as far as a data object and its PIN need them: read with tolerance, written in the
//! form that telecom readers and OpenSC both take.

pub mod aodf;
pub mod dir;
pub mod dodf;
pub mod odf;
pub mod oid;
pub mod path;
pub mod token_info;

use crate::file::tlv::TlvError;

/// AID of the PKCS#15 application.
pub const AID: [u8; 12] = [0xA0, 0x00, 0x00, 0x00, 0x63, 0x50, 0x4B, 0x43, 0x53, 0x2D, 0x31, 0x35];
/// Where the application's DF usually lies, below the MF.
pub const USUAL_DF: u16 = 0x7F50;
/// File id of EF(ODF).
pub const ODF: u16 = 0x5031;
/// Short identifier of EF(ODF), ISO/IEC 7816-15.
pub const ODF_SFI: u8 = 0x11;
/// File id of EF(TokenInfo).
pub const TOKEN_INFO: u16 = 0x5032;
/// Content of the object identifier of the OMA DM bootstrap object, 2.23.43.7.1.
pub const DM_BOOTSTRAP_OID: [u8; 4] = [0x67, 0x2B, 0x07, 0x01];
/// Content of the object identifier of the LwM2M bootstrap object, 2.23.43.9.1.
pub const LWM2M_BOOTSTRAP_OID: [u8; 4] = [0x67, 0x2B, 0x09, 0x01];

/// Why a directory file cannot be understood.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StructureError {
    /// Not even a sequence of objects.
    #[error(transparent)]
    Tlv(#[from] TlvError),
    /// Something that has to be there is not.
    #[error("{0} is missing")]
    Missing(&'static str),
    /// A path that names no file.
    #[error("the path {0} is no sequence of one to eight file identifiers")]
    Path(String),
}

/// The text of a label: UTF-8, other bytes replaced, at most 64 characters, none of which does something to a terminal.
fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).chars().map(|c| if is_plain(c) { c } else { '\u{FFFD}' }).take(64).collect()
}

/// Whether a character only shows itself: it is no control character, and neither turns the direction of the text nor
/// hides in it.
pub(crate) fn is_plain(character: char) -> bool {
    !character.is_control()
        && !matches!(character, '\u{200B}'..='\u{200F}' | '\u{2028}'..='\u{202E}' | '\u{2060}'..='\u{2069}' | '\u{FEFF}')
}
