//! Whether a card can exist: the bounds of what an image says.

use std::collections::HashSet;

use super::{
    Access, AdmKey, Byte, CardFile, CardImage, CardParts, FORMAT, FORMATS, FileId, ImageError, MAX_APPLICATIONS,
    MAX_FILE, MAX_FILES, MAX_JSON, MAX_PINS, Pin,
};
use crate::apdu::MAX_CHANNEL;
use crate::hex;
use crate::virtual_uicc::{ChannelRefusal, Channels};

/// Identifiers that no file may have.
const RESERVED: [u16; 3] = [0x3F00, 0x3FFF, 0x7FFF];

impl TryFrom<CardParts> for CardImage {
    type Error = ImageError;

    /// Any format that is read becomes the one that is written.
    fn try_from(mut parts: CardParts) -> Result<Self, ImageError> {
        let bounds = |what: String| Err(ImageError::Bounds(what));
        if !FORMATS.contains(&parts.format.as_str()) {
            return Err(ImageError::Format(parts.format));
        }
        FORMAT.clone_into(&mut parts.format);
        if parts.pins.len() > MAX_PINS || parts.applications.len() > MAX_APPLICATIONS {
            return bounds(format!("at most {MAX_PINS} PINs and {MAX_APPLICATIONS} applications"));
        }
        let Channels { count, refusal } = parts.channels;
        if count > MAX_CHANNEL {
            return bounds(format!("{count} logical channels; at most {MAX_CHANNEL} are possible"));
        }
        if count > 0 && matches!(refusal, ChannelRefusal::NoInstruction | ChannelRefusal::NoClass) {
            return bounds(format!("a card with logical channels refuses one more with 6A81 or 6881, not {refusal:?}"));
        }
        let mut references = HashSet::new();
        for pin in &parts.pins {
            check_pin(pin, &mut references)?;
        }
        if let Some(adm) = &parts.adm {
            check_adm(adm, &references)?;
        }
        let mut top = HashSet::from(RESERVED);
        check_files(&parts.files, &mut top, &references)?;
        let mut aids = HashSet::new();
        for application in &parts.applications {
            let aid = &application.aid.0;
            if !(5..=16).contains(&aid.len()) || !aids.insert(aid) {
                return bounds(format!("AID {} has not 5 to 16 bytes, or stands twice", hex::encode(aid)));
            }
            if let Some(FileId(df)) = application.df
                && !top.insert(df)
            {
                return bounds(format!("{df:04X} stands twice under the MF"));
            }
            check_files(&application.files, &mut HashSet::from(RESERVED), &references)?;
        }
        let may_be_too_long = longest(&parts) > MAX_JSON;
        let image = Self(parts);
        if may_be_too_long && image.to_json().len() > MAX_JSON {
            return bounds(format!("as a file it would have more than {MAX_JSON} bytes; make its files smaller"));
        }
        Ok(image)
    }
}

/// More bytes than the card has as a file: a byte of content becomes two digits and its share of a line, one of a name
/// at most six where it is escaped, and a file has members and indents.
fn longest(parts: &CardParts) -> usize {
    let inside = parts.applications.iter().flat_map(|application| &application.files);
    let files = parts.files.iter().chain(inside);
    let file = |file: &CardFile| 512 + 3 * file.content.0.len() + 6 * (file.name.len() + file.about.len());
    let names = parts.applications.iter().map(|application| 512 + 6 * application.name.len());
    8192 + files.map(file).sum::<usize>() + names.sum::<usize>()
}

fn check_pin(pin: &Pin, references: &mut HashSet<u8>) -> Result<(), ImageError> {
    let bounds = |what: String| Err(ImageError::Bounds(what));
    let digits = pin.value.expose();
    let reference = pin.reference.0;
    if !matches!(reference, 0x01..=0x1F | 0x81..=0x9F) || !references.insert(reference) {
        return bounds(format!("PIN reference {reference:02X} is 00, too high, or stands twice"));
    }
    if !(4..=8).contains(&digits.len()) || !digits.iter().all(u8::is_ascii_digit) {
        return bounds(format!("PIN {reference:02X} has not 4 to 8 digits"));
    }
    if !(1..=15).contains(&pin.tries) || pin.tries_left > pin.tries {
        return bounds(format!("PIN {reference:02X} has not 1 to 15 tries, or more of them left"));
    }
    if let Some(puk) = &pin.puk {
        let digits = puk.value.expose();
        if digits.len() != 8 || !digits.iter().all(u8::is_ascii_digit) {
            return bounds(format!("the PUK of PIN {reference:02X} has not 8 digits"));
        }
        if !(1..=15).contains(&puk.tries) || puk.tries_left > puk.tries {
            return bounds(format!("the PUK of PIN {reference:02X} has not 1 to 15 tries, or more of them left"));
        }
    }
    Ok(())
}

fn check_adm(adm: &AdmKey, pins: &HashSet<u8>) -> Result<(), ImageError> {
    let bounds = |what: String| Err(ImageError::Bounds(what));
    let reference = adm.reference.0;
    // ETSI TS 102 221, table 9.3: ADM1 to ADM5, and ADM6 to ADM10.
    if !matches!(reference, 0x0A..=0x0E | 0x8A..=0x8E) || pins.contains(&reference) {
        return bounds(format!("ADM reference {reference:02X} is not 0A to 0E or 8A to 8E, or is that of a PIN"));
    }
    if adm.key.expose().len() != 8 {
        return bounds(format!("the ADM key {reference:02X} has not 8 bytes"));
    }
    if !(1..=15).contains(&adm.tries) || adm.tries_left > adm.tries {
        return bounds(format!("the ADM key {reference:02X} has not 1 to 15 tries, or more of them left"));
    }
    Ok(())
}

fn check_files(files: &[CardFile], ids: &mut HashSet<u16>, pins: &HashSet<u8>) -> Result<(), ImageError> {
    let bounds = |what: String| Err(ImageError::Bounds(what));
    if files.len() > MAX_FILES {
        return bounds(format!("more than {MAX_FILES} files in one place"));
    }
    for file in files {
        let FileId(id) = file.id;
        let size = file.content.0.len();
        if !ids.insert(id) {
            return bounds(format!("file {id:04X} is reserved or stands twice"));
        }
        if size > MAX_FILE {
            return bounds(format!("file {id:04X} has {size} bytes; at most {MAX_FILE} are possible"));
        }
        if let Some(length) = file.record_length
            && (length == 0 || size % usize::from(length) != 0 || size / usize::from(length) > 254)
        {
            return bounds(format!("file {id:04X} has {size} bytes, which are not 0 to 254 records of {length}"));
        }
        if file.sfi.is_some_and(|sfi| !(1..=30).contains(&sfi)) {
            return bounds(format!("file {id:04X} has a short identifier that is not 1 to 30"));
        }
        for access in [file.read, file.update] {
            if let Access::Pin(Byte(pin)) = access
                && !pins.contains(&pin)
            {
                return bounds(format!("file {id:04X} is behind PIN {pin:02X}, which the card does not have"));
            }
        }
    }
    Ok(())
}
