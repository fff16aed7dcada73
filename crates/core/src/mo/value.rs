//! The value of a leaf, and its form in a serialized MO (Profile P-16).

use super::serialized::Scalar;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use std::fmt;

/// What a node holds (spec 10).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Format {
    /// Other nodes.
    Node,
    /// Nothing.
    Null,
    /// Bytes, which DM 1.x carried in base64.
    B64,
    /// Bytes.
    Bin,
    /// True or false.
    Bool,
    /// Text.
    Chr,
    /// A whole number, 32 bits with sign.
    Int,
    /// XML, kept as text.
    Xml,
    /// A date, ISO 8601.
    Date,
    /// A time of day, ISO 8601.
    Time,
    /// A number, 32 bits, finite.
    Float,
}

impl Format {
    /// All of them.
    pub const ALL: [Self; 11] = [
        Self::Node,
        Self::Null,
        Self::B64,
        Self::Bin,
        Self::Bool,
        Self::Chr,
        Self::Int,
        Self::Xml,
        Self::Date,
        Self::Time,
        Self::Float,
    ];

    /// Whether nodes of this format hold a value, not other nodes.
    pub fn is_leaf(self) -> bool {
        self != Self::Node
    }

    /// The word for it in a DDF.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Node => "node",
            Self::Null => "null",
            Self::B64 => "b64",
            Self::Bin => "bin",
            Self::Bool => "bool",
            Self::Chr => "chr",
            Self::Int => "int",
            Self::Xml => "xml",
            Self::Date => "date",
            Self::Time => "time",
            Self::Float => "float",
        }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The value of a leaf. Its serde form, for the state file, keeps the format and loses nothing.
///
/// A leaf whose format is not `null` and whose value is [`Null`](Self::Null) has no value now: GET answers 204.
/// `Debug` shows of bytes only how many there are, since keys are bytes.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Value {
    /// No value.
    Null,
    /// Format bool.
    Bool(bool),
    /// Format int.
    Int(i32),
    /// Format float; finite.
    Float(f32),
    /// Format chr.
    Chr(String),
    /// Format xml.
    Xml(String),
    /// Format date.
    Date(String),
    /// Format time.
    Time(String),
    /// Format bin.
    Bin(#[serde(with = "base64_text")] Vec<u8>),
    /// Format b64.
    B64(#[serde(with = "base64_text")] Vec<u8>),
}

impl Value {
    /// The format of which this is a value.
    pub fn format(&self) -> Format {
        match self {
            Self::Null => Format::Null,
            Self::Bool(_) => Format::Bool,
            Self::Int(_) => Format::Int,
            Self::Float(_) => Format::Float,
            Self::Chr(_) => Format::Chr,
            Self::Xml(_) => Format::Xml,
            Self::Date(_) => Format::Date,
            Self::Time(_) => Format::Time,
            Self::Bin(_) => Format::Bin,
            Self::B64(_) => Format::B64,
        }
    }

    /// The text, if it is of a format that holds text.
    pub fn as_text(&self) -> Option<&str> {
        match self {
            Self::Chr(text) | Self::Xml(text) | Self::Date(text) | Self::Time(text) => Some(text),
            Self::Null | Self::Bool(_) | Self::Int(_) | Self::Float(_) | Self::Bin(_) | Self::B64(_) => None,
        }
    }

    /// The bytes, if it is of a format that holds bytes.
    pub fn as_bytes(&self) -> Option<&[u8]> {
        match self {
            Self::Bin(bytes) | Self::B64(bytes) => Some(bytes),
            Self::Null | Self::Bool(_) | Self::Int(_) | Self::Float(_) => None,
            Self::Chr(_) | Self::Xml(_) | Self::Date(_) | Self::Time(_) => None,
        }
    }

    /// Whether it can be a value of a leaf of this format. [`Null`](Self::Null), no value now, is one of each.
    pub(super) fn fits(&self, format: Format) -> bool {
        let holds = match self {
            Self::Float(number) => number.is_finite(),
            Self::Date(text) => is_date(text),
            Self::Time(text) => is_time(text),
            Self::Null => return format != Format::Node,
            Self::Bool(_) | Self::Int(_) | Self::Chr(_) | Self::Xml(_) | Self::Bin(_) | Self::B64(_) => true,
        };
        holds && self.format() == format
    }

    /// Reads a value of `format` from a serialized MO; numbers and booleans may come as strings. `None` if it is
    /// none.
    pub(super) fn from_scalar(format: Format, scalar: &Scalar) -> Option<Self> {
        match (format, scalar) {
            (Format::Null, Scalar::Null) => Some(Self::Null),
            (Format::Bool, Scalar::Bool(value)) => Some(Self::Bool(*value)),
            (Format::Int, Scalar::Number(number)) => Some(Self::Int(i32::try_from(number.as_i64()?).ok()?)),
            (Format::Float, Scalar::Number(number)) => finite(number.as_f64()? as f32),
            (_, Scalar::Text(text)) => Self::from_text(format, text),
            (_, Scalar::Null | Scalar::Bool(_) | Scalar::Number(_)) => None,
        }
    }

    /// Reads a value of `format` from text: as in a string of a serialized MO, or in an `nv` field.
    pub(super) fn from_text(format: Format, text: &str) -> Option<Self> {
        match format {
            Format::Node | Format::Null => None,
            Format::Bool => text.parse().ok().map(Self::Bool),
            Format::Int => text.parse().ok().map(Self::Int),
            Format::Float => finite(text.parse().ok()?),
            Format::Chr => Some(Self::Chr(text.to_owned())),
            Format::Xml => Some(Self::Xml(text.to_owned())),
            Format::Date => is_date(text).then(|| Self::Date(text.to_owned())),
            Format::Time => is_time(text).then(|| Self::Time(text.to_owned())),
            Format::Bin => STANDARD.decode(text).ok().map(Self::Bin),
            Format::B64 => STANDARD.decode(text).ok().map(Self::B64),
        }
    }

    /// The form in a serialized MO.
    pub(super) fn to_scalar(&self) -> Scalar {
        match self {
            Self::Null => Scalar::Null,
            Self::Bool(value) => Scalar::Bool(*value),
            Self::Int(number) => Scalar::Number((*number).into()),
            Self::Float(number) => float_number(*number).map_or(Scalar::Null, Scalar::Number),
            Self::Chr(text) | Self::Xml(text) | Self::Date(text) | Self::Time(text) => Scalar::Text(text.clone()),
            Self::Bin(bytes) | Self::B64(bytes) => Scalar::Text(STANDARD.encode(bytes)),
        }
    }

    /// How many bytes it takes, about.
    pub(super) fn weight(&self) -> usize {
        match self {
            Self::Null | Self::Bool(_) | Self::Int(_) | Self::Float(_) => 4,
            Self::Chr(text) | Self::Xml(text) | Self::Date(text) | Self::Time(text) => text.len(),
            Self::Bin(bytes) | Self::B64(bytes) => bytes.len(),
        }
    }
}

impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.write_str("Null"),
            Self::Bool(value) => write!(f, "Bool({value})"),
            Self::Int(number) => write!(f, "Int({number})"),
            Self::Float(number) => write!(f, "Float({number})"),
            Self::Chr(text) => write!(f, "Chr({text:?})"),
            Self::Xml(text) => write!(f, "Xml({text:?})"),
            Self::Date(text) => write!(f, "Date({text:?})"),
            Self::Time(text) => write!(f, "Time({text:?})"),
            Self::Bin(bytes) => write!(f, "Bin({} bytes)", bytes.len()),
            Self::B64(bytes) => write!(f, "B64({} bytes)", bytes.len()),
        }
    }
}

fn finite(number: f32) -> Option<Value> {
    number.is_finite().then_some(Value::Float(number))
}

/// The number whose decimal digits are the fewest that mean this float, so that 0.1 is written as 0.1.
fn float_number(number: f32) -> Option<serde_json::Number> {
    serde_json::Number::from_f64(number.to_string().parse().ok()?)
}

/// `2026-01-31` or `20260131`.
fn is_date(text: &str) -> bool {
    match_form(text, "dddd-dd-dd") || match_form(text, "dddddddd")
}

/// `12:30:00` or `123000`, perhaps with `.` and a fraction, perhaps with `Z` or an offset.
fn is_time(text: &str) -> bool {
    let (clock, zone) = match text.find(['Z', '+', '-']) {
        Some(at) => text.split_at(at),
        None => (text, ""),
    };
    let (whole, fraction) = clock.split_once('.').unwrap_or((clock, "0"));
    let fraction_is_fine = !fraction.is_empty() && fraction.bytes().all(|b| b.is_ascii_digit());
    let zone_is_fine = ["", "Z"].contains(&zone)
        || zone.strip_prefix(['+', '-']).is_some_and(|offset| {
            match_form(offset, "dd:dd") || match_form(offset, "dddd") || match_form(offset, "dd")
        });
    (match_form(whole, "dd:dd:dd") || match_form(whole, "dddddd")) && fraction_is_fine && zone_is_fine
}

/// Whether `text` has a digit wherever `form` has a `d`, and is equal elsewhere.
fn match_form(text: &str, form: &str) -> bool {
    text.len() == form.len()
        && text.bytes().zip(form.bytes()).all(|(b, f)| if f == b'd' { b.is_ascii_digit() } else { b == f })
}

mod base64_text {
    use super::STANDARD;
    use base64::Engine;
    use serde::{Deserialize, Deserializer, Serializer};
    use std::borrow::Cow;

    pub(super) fn serialize<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&STANDARD.encode(bytes))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
        let text = Cow::<'de, str>::deserialize(deserializer)?;
        STANDARD.decode(text.as_bytes()).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn dates_and_times_have_their_forms() {
        for good in ["2026-01-31", "20260131"] {
            assert!(is_date(good), "{good}");
        }
        for bad in ["", "2026-1-31", "26-01-31", "2026/01/31", "2026-01-31 ", "2026-01-3\u{e9}"] {
            assert!(!is_date(bad), "{bad}");
        }
        for good in ["12:30:00", "123000", "12:30:00.25", "12:30:00Z", "12:30:00+01:00", "123000-0100", "123000+01"] {
            assert!(is_time(good), "{good}");
        }
        for bad in ["", "12:30", "12:30:00.", "12:30:00ZZ", "12:30:00+1", "x"] {
            assert!(!is_time(bad), "{bad}");
        }
    }

    #[test]
    fn numbers_and_booleans_are_read_from_strings_too() {
        let text = |text: &str| Scalar::Text(text.to_owned());
        assert_eq!(Value::from_scalar(Format::Int, &text("-5")), Some(Value::Int(-5)));
        assert_eq!(Value::from_scalar(Format::Float, &text("21.5")), Some(Value::Float(21.5)));
        assert_eq!(Value::from_scalar(Format::Float, &Scalar::Number(19.into())), Some(Value::Float(19.0)));
        assert_eq!(Value::from_scalar(Format::Bool, &text("true")), Some(Value::Bool(true)));
        assert_eq!(Value::from_scalar(Format::Bin, &text("AAE=")), Some(Value::Bin(vec![0, 1])));
        assert_eq!(Value::from_scalar(Format::B64, &text("AAE=")), Some(Value::B64(vec![0, 1])));
        for (format, scalar) in [
            (Format::Int, text("5.0")),
            (Format::Int, Scalar::Number((1_i64 << 31).into())),
            (Format::Int, Scalar::Bool(true)),
            (Format::Float, text("inf")),
            (Format::Float, text("1e39")),
            (Format::Bool, text("yes")),
            (Format::Chr, Scalar::Number(1.into())),
            (Format::Chr, Scalar::Null),
            (Format::Null, text("")),
            (Format::Bin, text("AAE")),
            (Format::Bin, text("AA-_")),
            (Format::Date, text("today")),
        ] {
            assert_eq!(Value::from_scalar(format, &scalar), None, "{format} {scalar:?}");
        }
    }

    #[test]
    fn debug_shows_no_bytes() {
        assert_eq!(format!("{:?}", Value::Bin(b"hunter2".to_vec())), "Bin(7 bytes)");
    }

    pub(crate) fn any_value() -> impl Strategy<Value = Value> {
        prop_oneof![
            any::<bool>().prop_map(Value::Bool),
            any::<i32>().prop_map(Value::Int),
            any::<f32>().prop_filter("finite", |n| n.is_finite()).prop_map(Value::Float),
            any::<String>().prop_map(Value::Chr),
            any::<String>().prop_map(Value::Xml),
            Just(Value::Date("2026-01-31".to_owned())),
            Just(Value::Time("12:30:00".to_owned())),
            any::<Vec<u8>>().prop_map(Value::Bin),
            any::<Vec<u8>>().prop_map(Value::B64),
            Just(Value::Null),
        ]
    }

    proptest! {
        #[test]
        fn the_form_in_a_serialized_mo_loses_nothing(value in any_value()) {
            prop_assert!(value.fits(value.format()));
            prop_assert_eq!(Value::from_scalar(value.format(), &value.to_scalar()), Some(value));
        }

        #[test]
        fn the_form_in_the_state_file_loses_nothing(value in any_value()) {
            let text = serde_json::to_string(&value).unwrap();
            prop_assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), value);
        }
    }
}
