//! Tag, length, value. Card data may be BER where DER is asked for, and is padded with FF or 00.

/// Why bytes are no sequence of objects.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TlvError {
    /// The bytes end inside a tag or a length.
    #[error("the bytes end in the header of an object, at byte {0}")]
    Header(usize),
    /// A length of a form that is not used on cards: indefinite, or of more than four bytes.
    #[error("the object {tag:02X} at byte {offset} has a length of a form that is not supported")]
    Length {
        /// The tag of the object.
        tag: u32,
        /// Where it begins.
        offset: usize,
    },
    /// The object says that it is longer than what is there.
    #[error("the object {tag:02X} at byte {offset} should have {length} bytes, {left} are there")]
    Truncated {
        /// The tag of the object.
        tag: u32,
        /// Where it begins.
        offset: usize,
        /// How long it says it is.
        length: usize,
        /// How many bytes are left.
        left: usize,
    },
}

/// One object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tlv<'a> {
    /// The tag with its class bits, as it stands: one to three bytes.
    pub tag: u32,
    /// The value.
    pub value: &'a [u8],
}

/// The objects in some bytes, one after the other. Ends at the end, at a tag byte 00 or FF, or after an error.
#[derive(Debug, Clone)]
pub struct Objects<'a> {
    bytes: &'a [u8],
    offset: usize,
}

impl<'a> Objects<'a> {
    /// Begins at the first byte.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, offset: 0 }
    }

    /// How many bytes of whole objects were read so far.
    pub fn offset(&self) -> usize {
        self.offset
    }

    fn read(&mut self) -> Result<Option<Tlv<'a>>, TlvError> {
        let start = self.offset;
        let mut at = start;
        let mut byte = || {
            let byte = self.bytes.get(at).copied();
            at += 1;
            byte.ok_or(TlvError::Header(start))
        };
        let Some(first) = self.bytes.get(start).copied().filter(|first| !matches!(first, 0x00 | 0xFF)) else {
            return Ok(None);
        };
        let mut tag = u32::from(byte()?);
        if first & 0x1F == 0x1F {
            for _ in 0..2 {
                let next = byte()?;
                tag = tag << 8 | u32::from(next);
                if next & 0x80 == 0 {
                    break;
                }
            }
        }
        let length = match byte()? {
            short @ ..=0x7F => usize::from(short),
            long @ 0x81..=0x84 => {
                let mut length = 0_usize;
                for _ in 0..long & 0x0F {
                    length = length << 8 | usize::from(byte()?);
                }
                length
            }
            _ => return Err(TlvError::Length { tag, offset: start }),
        };
        let left = self.bytes.len().saturating_sub(at);
        let value = self.bytes.get(at..at.saturating_add(length));
        let value = value.ok_or(TlvError::Truncated { tag, offset: start, length, left })?;
        self.offset = at + length;
        Ok(Some(Tlv { tag, value }))
    }
}

impl<'a> Iterator for Objects<'a> {
    type Item = Result<Tlv<'a>, TlvError>;

    fn next(&mut self) -> Option<Self::Item> {
        let object = self.read().transpose();
        if !matches!(object, Some(Ok(_))) {
            self.bytes = &[];
        }
        object
    }
}

/// The value of the first object with this tag.
pub fn find(bytes: &[u8], tag: u32) -> Result<Option<&[u8]>, TlvError> {
    for object in Objects::new(bytes) {
        let object = object?;
        if object.tag == tag {
            return Ok(Some(object.value));
        }
    }
    Ok(None)
}

/// The first damage in these bytes and in the constructed objects within, with its place counted from the first of all
/// bytes.
pub fn first_damage(bytes: &[u8]) -> Option<(usize, TlvError)> {
    damage_below(bytes, 0, 0)
}

fn damage_below(bytes: &[u8], base: usize, depth: usize) -> Option<(usize, TlvError)> {
    const MAX_DEPTH: usize = 8;
    let mut objects = Objects::new(bytes);
    loop {
        let start = objects.offset();
        let object = match objects.next()? {
            Ok(object) => object,
            Err(error) => return Some((base + start, error)),
        };
        // The first byte of the tag says whether objects are within.
        let first = object.tag.to_be_bytes().into_iter().find(|byte| *byte != 0).unwrap_or(0);
        if first & 0x20 != 0 && depth < MAX_DEPTH {
            let within = base + objects.offset() - object.value.len();
            if let Some(damage) = damage_below(object.value, within, depth + 1) {
                return Some(damage);
            }
        }
    }
}

/// Writes one object with a one-byte tag and a DER length.
pub fn object(tag: u8, value: &[u8]) -> Vec<u8> {
    let mut bytes = vec![tag];
    let length = value.len().to_be_bytes();
    match value.len() {
        0..=0x7F => bytes.extend(length.last()),
        _ => {
            let significant: Vec<u8> = length.into_iter().skip_while(|byte| *byte == 0).collect();
            bytes.push(0x80 | u8::try_from(significant.len()).unwrap_or(8));
            bytes.extend(significant);
        }
    }
    bytes.extend_from_slice(value);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn lengths_may_be_longer_than_needed() {
        for bytes in [&[0x30, 2, 1, 2][..], &[0x30, 0x81, 2, 1, 2], &[0x30, 0x83, 0, 0, 2, 1, 2]] {
            assert_eq!(find(bytes, 0x30), Ok(Some(&[1, 2][..])));
        }
    }

    #[test]
    fn objects_end_at_padding_and_are_taken_by_their_own_length() {
        let bytes = [0x04, 2, 0xFF, 0x00, 0x02, 1, 0, 0xFF, 0x30];
        let tags: Vec<_> = Objects::new(&bytes).map(|object| object.unwrap().tag).collect();
        assert_eq!(tags, [0x04, 0x02]);
        assert_eq!(Objects::new(&[0, 0x30, 1, 1]).count(), 0);
    }

    #[test]
    fn damage_is_found_at_any_depth_with_its_place_in_the_whole() {
        let good = object(0x30, &[object(0x04, &[1, 2]), object(0xA1, &object(0x04, &[3]))].concat());
        assert_eq!(first_damage(&[&good[..], &[0xFF; 4]].concat()), None);
        let bad = object(0x30, &[object(0x04, &[1, 2]), object(0xA1, &[0x04, 9, 3])].concat());
        let damage = TlvError::Truncated { tag: 4, offset: 0, length: 9, left: 1 };
        assert_eq!(first_damage(&[&good[..], &bad].concat()), Some((good.len() + 2 + 4 + 2, damage)));
        assert_eq!(first_damage(&object(0x04, &[0x30])), None, "what is not constructed holds bytes");
    }

    #[test]
    fn what_is_cut_off_is_an_error_and_the_last_item() {
        let whole = object(0x30, &object(0x5F, &[7; 200]));
        for cut in 1..whole.len() {
            let objects: Vec<_> = Objects::new(&whole[..cut]).collect();
            assert!(matches!(objects.as_slice(), [Err(_)]), "{cut}");
        }
        assert!(Objects::new(&[0x30, 0x80, 0, 0]).next().unwrap().is_err());
        assert!(Objects::new(&[0x30, 0x84, 0xFF, 0xFF, 0xFF, 0xFF]).next().unwrap().is_err());
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            prop_assert!(Objects::new(&bytes).count() <= bytes.len());
        }

        #[test]
        fn what_is_written_is_read(value in proptest::collection::vec(any::<u8>(), 0..70_000)) {
            let written = object(0x04, &value);
            let mut objects = Objects::new(&written);
            prop_assert_eq!(objects.next(), Some(Ok(Tlv { tag: 4, value: &value })));
            prop_assert_eq!(objects.offset(), written.len());
        }
    }
}
