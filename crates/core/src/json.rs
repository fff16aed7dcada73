//! JSON as this protocol reads it: bounded before it is parsed, and strict (spec 6).

use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};
use std::fmt;

/// How deeply values may be nested (spec 6).
pub const MAX_DEPTH: usize = 32;

/// How many values there may be, members and items counted: a byte or two of text become some 100 in memory.
pub const MAX_VALUES: usize = 1 << 16;

/// Why bytes are not JSON as expected here.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JsonError {
    /// More bytes than allowed.
    #[error("{size} bytes; at most {limit} are allowed")]
    TooLarge {
        /// How many there are.
        size: usize,
        /// How many are allowed.
        limit: usize,
    },
    /// Nested more deeply than [`MAX_DEPTH`].
    #[error("nested more than {MAX_DEPTH} levels deep")]
    TooDeep,
    /// More values than [`MAX_VALUES`].
    #[error("more than {MAX_VALUES} values")]
    TooMany,
    /// Not JSON, or a member stands twice.
    #[error("{0}")]
    Syntax(String),
}

/// Parses one JSON value of at most `limit` bytes. A member that stands twice is an error (spec 6), and so is anything
/// behind the value.
pub fn parse(bytes: &[u8], limit: usize) -> Result<Value, JsonError> {
    if bytes.len() > limit {
        return Err(JsonError::TooLarge { size: bytes.len(), limit });
    }
    check_bounds(bytes)?;
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    let value = Strict.deserialize(&mut deserializer).map_err(|error| JsonError::Syntax(error.to_string()))?;
    deserializer.end().map_err(|error| JsonError::Syntax(error.to_string()))?;
    Ok(value)
}

/// Counts brackets and commas outside strings, so that depth and memory are bounded before anything is built.
fn check_bounds(bytes: &[u8]) -> Result<(), JsonError> {
    let (mut depth, mut values, mut in_string, mut escaped) = (0_usize, 1_usize, false, false);
    for byte in bytes {
        match (in_string, byte) {
            (true, _) if escaped => escaped = false,
            (true, b'\\') => escaped = true,
            (true, b'"') => in_string = false,
            (false, b'"') => in_string = true,
            (false, b'[' | b'{') => {
                (depth, values) = (depth + 1, values + 1);
                if depth > MAX_DEPTH {
                    return Err(JsonError::TooDeep);
                }
            }
            (false, b']' | b'}') => depth = depth.saturating_sub(1),
            (false, b',') => values += 1,
            _ => {}
        }
        if values > MAX_VALUES {
            return Err(JsonError::TooMany);
        }
    }
    Ok(())
}

struct Strict;

impl<'de> DeserializeSeed<'de> for Strict {
    type Value = Value;
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }
    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }
    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }
    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }
    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Value, E> {
        Number::from_f64(value).map(Value::Number).ok_or_else(|| E::custom("number out of range"))
    }
    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }
    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }
    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut array = Vec::new();
        while let Some(item) = items.next_element_seed(Strict)? {
            array.push(item);
        }
        Ok(Value::Array(array))
    }
    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let mut object = Map::new();
        while let Some(name) = members.next_key::<String>()? {
            let value = members.next_value_seed(Strict)?;
            if object.contains_key(&name) {
                return Err(serde::de::Error::custom(format_args!("the member {name:?} stands twice")));
            }
            object.insert(name, value);
        }
        Ok(Value::Object(object))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_value_is_read() {
        let text = br#"{"a":[1,-2,1.5,"x\"]",null,true,{"a":1}]}"#;
        assert_eq!(parse(text, 100).unwrap(), json!({"a":[1,-2,1.5,"x\"]",null,true,{"a":1}]}));
    }

    #[test]
    fn a_member_that_stands_twice_is_refused_at_any_depth() {
        let error = parse(br#"[{"a":{"b":1,"b":2}}]"#, 100).unwrap_err();
        assert!(error.to_string().contains("\"b\" stands twice"), "{error}");
    }

    #[test]
    fn size_and_depth_are_bounded_before_parsing() {
        assert_eq!(parse(b"[1]", 2), Err(JsonError::TooLarge { size: 3, limit: 2 }));
        let nested = |n| "[".repeat(n) + &"]".repeat(n);
        assert!(parse(nested(32).as_bytes(), 1000).is_ok());
        assert_eq!(parse(nested(33).as_bytes(), 1000), Err(JsonError::TooDeep));
        assert_eq!(parse("[".repeat(100_000).as_bytes(), 1 << 20), Err(JsonError::TooDeep));
    }

    #[test]
    fn a_float_stays_what_it_was() {
        let number = parse(b"56666666666666666666666666666666666666667.5", 100).unwrap();
        assert_eq!(parse(number.to_string().as_bytes(), 100).unwrap(), number);
    }

    #[test]
    fn values_are_counted_before_parsing() {
        let list = |n: usize| format!("[{}1]", "1,".repeat(n - 2));
        assert!(parse(list(MAX_VALUES).as_bytes(), 1 << 20).is_ok());
        assert_eq!(parse(list(MAX_VALUES + 1).as_bytes(), 1 << 20), Err(JsonError::TooMany));
        assert_eq!(parse("[],".repeat(1 << 16).as_bytes(), 1 << 20), Err(JsonError::TooMany));
        assert!(parse(format!("\"{}\"", ",".repeat(1 << 17)).as_bytes(), 1 << 20).is_ok());
    }

    #[test]
    fn what_follows_the_value_is_refused() {
        assert!(parse(b"[] x", 100).is_err() && parse(b"", 100).is_err() && parse(b"[1,]", 100).is_err());
    }
}
