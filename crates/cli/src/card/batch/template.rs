//! A Bootstrap Message with places that each card fills in: `{name}` in a text stands for the column of that name.

use omadm_card::read::MAX_MESSAGE;
use serde_json::Value;

/// A message that is the same for all cards but for its places.
pub(super) struct Template {
    value: Value,
    /// The columns that fill it in.
    places: Vec<String>,
    /// The bytes as they are, where there are no places.
    fixed: Option<Vec<u8>>,
}

impl Template {
    /// Reads a message; every place has to be a column.
    pub(super) fn parse(text: &[u8], columns: &[String]) -> Result<Self, String> {
        let value = omadm_core::json::parse(text, MAX_MESSAGE).map_err(|error| error.to_string())?;
        let mut places = Vec::new();
        walk(&value, &mut |text| places.extend(pieces(text).filter_map(Piece::place).map(str::to_owned)));
        if let Some(unknown) = places.iter().find(|place| !columns.contains(place)) {
            return Err(format!("{{{unknown}}} names no column; there are {}", columns.join(", ")));
        }
        Ok(Self { value, fixed: places.is_empty().then(|| text.to_vec()), places })
    }

    /// Whether a column fills in something.
    pub(super) fn uses(&self, column: &str) -> bool {
        self.places.iter().any(|place| place == column)
    }

    /// The message of the card with these fields.
    pub(super) fn fill(&self, columns: &[String], fields: &[String]) -> Vec<u8> {
        if let Some(fixed) = &self.fixed {
            return fixed.clone();
        }
        let field = |name: &str| {
            let place = columns.iter().position(|column| column == name);
            place.and_then(|place| fields.get(place)).map(String::as_str).unwrap_or_default()
        };
        let mut value = self.value.clone();
        change(&mut value, &|text| {
            pieces(text)
                .map(|piece| match piece {
                    Piece::Text(text) => text,
                    Piece::Place(name) => field(name),
                })
                .collect()
        });
        value.to_string().into_bytes()
    }
}

/// A part of a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Piece<'a> {
    Text(&'a str),
    Place(&'a str),
}

impl<'a> Piece<'a> {
    fn place(self) -> Option<&'a str> {
        match self {
            Self::Place(name) => Some(name),
            Self::Text(_) => None,
        }
    }
}

/// Takes a text apart. What is no name in braces is text.
fn pieces(mut rest: &str) -> impl Iterator<Item = Piece<'_>> {
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        if let Some((name, behind)) = name_at_start(rest) {
            rest = behind;
            return Some(Piece::Place(name));
        }
        let next =
            rest.char_indices().skip(1).map(|(at, _)| at).find(|at| rest.get(*at..).and_then(name_at_start).is_some());
        let (text, behind) = rest.split_at(next.unwrap_or(rest.len()));
        rest = behind;
        Some(Piece::Text(text))
    })
}

fn name_at_start(text: &str) -> Option<(&str, &str)> {
    let (name, behind) = text.strip_prefix('{')?.split_once('}')?;
    let is_name =
        !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_');
    is_name.then_some((name, behind))
}

fn walk(value: &Value, told: &mut impl FnMut(&str)) {
    match value {
        Value::String(text) => told(text),
        Value::Array(items) => items.iter().for_each(|item| walk(item, told)),
        Value::Object(members) => members.values().for_each(|member| walk(member, told)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

fn change(value: &mut Value, new: &impl Fn(&str) -> String) {
    match value {
        Value::String(text) => *text = new(text),
        Value::Array(items) => items.iter_mut().for_each(|item| change(item, new)),
        Value::Object(members) => members.values_mut().for_each(|member| change(member, new)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn columns() -> Vec<String> {
        ["iccid", "name"].map(str::to_owned).to_vec()
    }

    #[test]
    fn places_are_filled_in_as_text_whatever_they_hold() {
        let template =
            Template::parse(br#"[{"Name":"Meter {name} of {iccid}","Other":"{ no } {}"}]"#, &columns()).unwrap();
        let fields = ["8901".to_owned(), "\"}],{iccid}\\".to_owned()];
        let filled: Value = serde_json::from_slice(&template.fill(&columns(), &fields)).unwrap();
        assert_eq!(filled[0]["Name"], "Meter \"}],{iccid}\\ of 8901", "what is filled in is not looked at again");
        assert_eq!(filled[0]["Other"], "{ no } {}");
    }

    #[test]
    fn a_message_without_places_stays_byte_for_byte() {
        let text = b"[ {\"Name\": \"Acme\"} ]";
        assert_eq!(Template::parse(text, &columns()).unwrap().fill(&columns(), &[]), text);
    }

    #[test]
    fn a_place_that_is_no_column_is_told() {
        let error = Template::parse(br#"["{nmae}"]"#, &columns()).err().unwrap();
        assert!(error.contains("{nmae}") && error.contains("iccid, name"), "{error}");
        assert!(Template::parse(b"[", &columns()).is_err());
    }

    proptest! {
        #[test]
        fn a_text_is_the_sum_of_its_pieces(text in "[{}a-c_ \u{e9}]{0,40}") {
            let whole: String = pieces(&text).map(|piece| match piece {
                Piece::Text(text) => text.to_owned(),
                Piece::Place(name) => format!("{{{name}}}"),
            }).collect();
            prop_assert_eq!(whole, text);
        }
    }
}
