//! From text to a [`ClientUri`].

use super::text::{check_characters, decode, decode_name};
use super::{ClientUri, Condition, InstanceSegment, MAX_CONDITIONS, MAX_LENGTH, MAX_NAME, Segment, XName};
use crate::ids::InvalidName;
use std::str::FromStr;

/// Why text is no ClientURI; the status of the command is then 400.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UriError {
    /// Longer than [`MAX_LENGTH`].
    #[error("longer than {MAX_LENGTH} bytes")]
    TooLong,
    /// A character that must be percent-encoded.
    #[error("the character at byte {at} must be percent-encoded")]
    Character {
        /// Where it stands.
        at: usize,
    },
    /// A `%` without two hex digits.
    #[error("the % at byte {at} must be followed by two hexadecimal digits")]
    Percent {
        /// Where it stands.
        at: usize,
    },
    /// Decodes to bytes that are no UTF-8.
    #[error("{text:?} does not decode to UTF-8")]
    Utf8 {
        /// The part in question.
        text: String,
    },
    /// The part before the first `/` is no MOID.
    #[error("{0}")]
    Moid(#[source] InvalidName),
    /// There is no second `/`, behind the instance.
    #[error("the MOID must be followed by `/`, the instance or nothing, and `/`")]
    NoInstance,
    /// The instance is neither a MIID, an x-name, `*` nor empty.
    #[error("{0}")]
    Instance(#[source] InvalidName),
    /// A segment of the path that can be no node's name.
    #[error("{text:?} is no node name: 1 to {MAX_NAME} bytes without control characters are expected, not . or ..")]
    Name {
        /// The segment.
        text: String,
    },
    /// A query field that does not exist.
    #[error("unknown field {field:?}: `nv=` or `cv=` is expected")]
    UnknownField {
        /// Its name.
        field: String,
    },
    /// More than one `cv`.
    #[error("`cv` stands twice")]
    SecondValidator,
    /// More `nv` fields than [`MAX_CONDITIONS`].
    #[error("more than {MAX_CONDITIONS} `nv` fields")]
    TooManyConditions,
    /// An `nv` field that is not `(x)/path:value`.
    #[error("`nv={text}`: an x-name, `/`, real names, `:` and a value are expected")]
    Condition {
        /// The field's value.
        text: String,
    },
    /// A letter stands for two nodes.
    #[error("({letter}) stands twice in the path")]
    RepeatedLetter {
        /// The letter.
        letter: char,
    },
    /// A letter without a condition.
    #[error("({letter}) needs an `nv` field")]
    NoCondition {
        /// The letter.
        letter: char,
    },
    /// A condition for a letter that is not used.
    #[error("`nv` names ({letter}), which does not stand in the path")]
    UnusedLetter {
        /// The letter.
        letter: char,
    },
}

impl FromStr for ClientUri {
    type Err = UriError;

    fn from_str(text: &str) -> Result<Self, UriError> {
        if text.len() > MAX_LENGTH {
            return Err(UriError::TooLong);
        }
        check_characters(text)?;
        let (address, query) = match text.split_once('?') {
            Some((address, query)) => (address, Some(query)),
            None => (text, None),
        };
        let (moid, rest) = address.split_once('/').ok_or(UriError::NoInstance)?;
        let (instance, path) = rest.split_once('/').ok_or(UriError::NoInstance)?;
        let mut uri = ClientUri {
            moid: moid.parse().map_err(UriError::Moid)?,
            instance: parse_instance(instance)?,
            path: parse_path(path)?,
            conditions: Vec::new(),
            cv: None,
        };
        if let Some(query) = query {
            parse_query(&mut uri, query)?;
        }
        check_letters(&uri)?;
        // Encoding may have made it longer: then it could not be sent back.
        if uri.to_string().len() > MAX_LENGTH { Err(UriError::TooLong) } else { Ok(uri) }
    }
}

/// Parses a ClientURI that may lack the leading `urn:`, as serialized MOs are allowed to have it (spec 6.5).
pub fn parse_lenient(text: &str) -> Result<ClientUri, UriError> {
    if text.len() > MAX_LENGTH {
        return Err(UriError::TooLong);
    }
    if text.starts_with("urn:") { text.parse() } else { format!("urn:{text}").parse() }
}

fn parse_instance(text: &str) -> Result<InstanceSegment, UriError> {
    if text.is_empty() {
        return Ok(InstanceSegment::Only);
    }
    if text == "*" {
        return Ok(InstanceSegment::All);
    }
    if let Some(x_name) = x_name(text) {
        return Ok(InstanceSegment::XName(x_name));
    }
    decode(text)?.parse().map(InstanceSegment::Miid).map_err(UriError::Instance)
}

fn parse_path(text: &str) -> Result<Vec<Segment>, UriError> {
    if text.is_empty() {
        return Ok(Vec::new());
    }
    text.split('/').map(parse_segment).collect()
}

fn parse_segment(text: &str) -> Result<Segment, UriError> {
    if text == "*" {
        return Ok(Segment::All);
    }
    match x_name(text) {
        Some(x_name) => Ok(Segment::XName(x_name)),
        None => decode_name(text).map(Segment::Name),
    }
}

fn parse_query(uri: &mut ClientUri, query: &str) -> Result<(), UriError> {
    for field in query.split('&') {
        let Some((name, value)) = field.split_once('=') else {
            return Err(UriError::UnknownField { field: field.to_owned() });
        };
        match decode(name)?.as_str() {
            "nv" if uri.conditions.len() == MAX_CONDITIONS => return Err(UriError::TooManyConditions),
            "nv" => uri.conditions.push(parse_condition(value)?),
            "cv" if uri.cv.is_some() => return Err(UriError::SecondValidator),
            "cv" => uri.cv = Some(decode(value)?),
            other => return Err(UriError::UnknownField { field: other.to_owned() }),
        }
    }
    Ok(())
}

fn parse_condition(text: &str) -> Result<Condition, UriError> {
    let malformed = || UriError::Condition { text: text.to_owned() };
    let (place, value) = text.split_once(':').ok_or_else(malformed)?;
    let (letter, path) = place.split_once('/').ok_or_else(malformed)?;
    let x_name = x_name(letter).ok_or_else(malformed)?;
    let names = path.split('/').map(|segment| match parse_segment(segment)? {
        Segment::Name(name) => Ok(name),
        Segment::XName(_) | Segment::All => Err(malformed()),
    });
    Ok(Condition { x_name, path: names.collect::<Result<_, _>>()?, value: decode(value)? })
}

/// An unencoded `(`, letter, `)`.
fn x_name(text: &str) -> Option<XName> {
    let letter = text.strip_prefix('(')?.strip_suffix(')')?;
    let mut characters = letter.chars();
    let first = characters.next().filter(char::is_ascii_alphabetic)?;
    characters.next().is_none().then_some(XName(first))
}

fn check_letters(uri: &ClientUri) -> Result<(), UriError> {
    let instance = match uri.instance {
        InstanceSegment::XName(x_name) => Some(x_name),
        InstanceSegment::Miid(_) | InstanceSegment::Only | InstanceSegment::All => None,
    };
    let in_path = uri.path.iter().filter_map(|segment| match segment {
        Segment::XName(x_name) => Some(*x_name),
        Segment::Name(_) | Segment::All => None,
    });
    let mut used = Vec::new();
    for x_name in instance.into_iter().chain(in_path) {
        if used.contains(&x_name) {
            return Err(UriError::RepeatedLetter { letter: x_name.0 });
        }
        if !uri.conditions.iter().any(|condition| condition.x_name == x_name) {
            return Err(UriError::NoCondition { letter: x_name.0 });
        }
        used.push(x_name);
    }
    match uri.conditions.iter().find(|condition| !used.contains(&condition.x_name)) {
        Some(condition) => Err(UriError::UnusedLetter { letter: condition.x_name.0 }),
        None => Ok(()),
    }
}
