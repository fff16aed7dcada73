//! What must not be readable by everybody who holds a card (Profile P-36).

use omadm_core::bootstrap::message::Limit;
use serde_json::Value;

/// Members that hold secrets, wherever they stand in the message.
const NAMES: [&str; 4] = ["secret", "clientsecretkey", "password", "privatekey"];

/// Where the secrets in a Bootstrap Message are, as `ClientURI path/to/leaf`; none of them itself. In bytes that are no
/// message, such as a damaged one, only the names of secrets can be found.
pub fn in_message(message: &[u8]) -> Vec<String> {
    let mut found = Vec::new();
    match omadm_core::json::parse(message, Limit::WholeCard.bytes()) {
        Ok(value) => walk(&value, "", &mut |place| found.push(place.to_owned())),
        Err(_) => {
            let text = String::from_utf8_lossy(message).to_ascii_lowercase();
            let named = NAMES.iter().filter(|name| text.contains(&format!("\"{name}\"")));
            found.extend(named.map(|name| format!("{name}, in bytes that are no message")));
        }
    }
    found
}

/// Refuses bytes that everybody would be able to read and that hold a secret (Profile P-36); the error is its place.
/// Only text can be judged: what lies in the binary object of another protocol is not understood here.
pub fn refuse_public(content: &[u8]) -> Result<(), String> {
    in_message(content).into_iter().next().map_or(Ok(()), Err)
}

/// The message with its secrets replaced, for people to look at.
pub fn masked(message: &[u8]) -> Option<Value> {
    let mut value = omadm_core::json::parse(message, Limit::WholeCard.bytes()).ok()?;
    mask(&mut value);
    Some(value)
}

fn walk(value: &Value, place: &str, found: &mut impl FnMut(&str)) {
    match value {
        Value::Array(items) => {
            for item in items {
                let uri = item.get("ClientURI").and_then(Value::as_str).unwrap_or(place);
                walk(item, uri, found);
            }
        }
        Value::Object(members) => {
            for (name, member) in members {
                // The ClientURI ends in a slash; MOData is no node.
                let below = match (name.as_str(), place) {
                    ("MOData", _) => place.to_owned(),
                    (_, "") => name.clone(),
                    _ => format!("{}/{name}", place.trim_end_matches('/')),
                };
                if is_secret(name, member) {
                    found(&below);
                } else {
                    walk(member, &below, found);
                }
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn mask(value: &mut Value) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(mask),
        Value::Object(members) => {
            for (name, member) in members {
                if is_secret(name, member) {
                    *member = Value::String("(hidden)".to_owned());
                } else {
                    mask(member);
                }
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn is_secret(name: &str, value: &Value) -> bool {
    let by_name = NAMES.contains(&name.to_ascii_lowercase().as_str());
    match value {
        Value::String(text) => !text.is_empty() && by_name || text.contains("PRIVATE KEY-----"),
        Value::Number(_) => by_name,
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MESSAGE: &str = r#"[{"ClientURI":"urn:oma:mo:oma-dm-dmacc:1.2/acme/","MOData":{"DMAcc":{"Auth":{
        "Trsp":{"Data":"YWthOg==","Secret":"c2VjcmV0"},"Noti":{"Secret":""}}}}}]"#;

    #[test]
    fn a_secret_is_found_and_its_place_named() {
        assert_eq!(in_message(MESSAGE.as_bytes()), ["urn:oma:mo:oma-dm-dmacc:1.2/acme/DMAcc/Auth/Trsp/Secret"]);
        assert_eq!(in_message(b"[{\"Key\":\"-----BEGIN PRIVATE KEY-----\"}]"), ["Key"]);
        assert_eq!(in_message(&MESSAGE.as_bytes()[..150]), ["secret, in bytes that are no message"]);
        assert!(in_message(b"not json").is_empty() && in_message(br#"[{"Name":"Secret"}]"#).is_empty());
    }

    #[test]
    fn a_masked_message_shows_no_secret() {
        let text = masked(MESSAGE.as_bytes()).unwrap().to_string();
        assert!(!text.contains("c2VjcmV0") && text.contains("(hidden)") && text.contains("YWthOg=="));
    }
}
