//! The commands of Package#2 (spec 5).

use serde::ser::SerializeSeq;
use serde::{Deserialize, Serialize, Serializer};
use serde_json::Value;

/// A command with its parameters as they came; URIs are parsed where it is carried out, since a bad one is the
/// command's own status.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs, reason = "the fields are the standard's parameters")]
pub enum Command {
    /// Fetch data over HTTP and put it into the tree.
    Hget { server_uri: String, client_uris: Vec<String> },
    /// Send the addressed data by HTTP PUT.
    Hput { server_uri: String, client_uris: Vec<String> },
    /// Send the addressed data by HTTP POST.
    Hpost { server_uri: String, client_uris: Vec<String> },
    /// Return data inside the session.
    Get { client_uri: String },
    /// Delete a node and all below.
    Delete { client_uri: String },
    /// Send the further packages of this session to another URI.
    Cont { server_uri: String },
    /// End the session.
    End,
    /// A command of the standard that this client answers with 501.
    Unsupported { name: String, params: Vec<String> },
    /// Not a command: answered with 400.
    Malformed(Value),
}

/// The commands of the standard that are not carried out yet.
const KNOWN_UNSUPPORTED: [&str; 5] = ["EXEC", "SHOW", "DEFAULT", "SUB", "UNSUB"];

impl Command {
    /// Reads one command of `CMD`.
    pub fn from_json(item: Value) -> Self {
        let Ok(words) = Vec::<String>::deserialize(&item) else { return Self::Malformed(item) };
        let Some((name, params)) = words.split_first() else { return Self::Malformed(item) };
        match (name.as_str(), params) {
            ("HGET", [server_uri, rest @ ..]) => {
                Self::Hget { server_uri: server_uri.clone(), client_uris: rest.to_vec() }
            }
            ("HPUT", [server_uri, first, rest @ ..]) => {
                Self::Hput { server_uri: server_uri.clone(), client_uris: [std::slice::from_ref(first), rest].concat() }
            }
            ("HPOST", [server_uri, first, rest @ ..]) => Self::Hpost {
                server_uri: server_uri.clone(),
                client_uris: [std::slice::from_ref(first), rest].concat(),
            },
            ("GET", [client_uri]) => Self::Get { client_uri: client_uri.clone() },
            ("DELETE", [client_uri]) => Self::Delete { client_uri: client_uri.clone() },
            ("CONT", [server_uri]) => Self::Cont { server_uri: server_uri.clone() },
            ("END", []) => Self::End,
            (name, _) if ["HGET", "HPUT", "HPOST", "GET", "DELETE", "CONT", "END"].contains(&name) => {
                Self::Malformed(item)
            }
            (name, params) => Self::Unsupported { name: name.to_owned(), params: params.to_vec() },
        }
    }

    /// The command's name, as on the wire.
    pub fn name(&self) -> &str {
        match self {
            Self::Hget { .. } => "HGET",
            Self::Hput { .. } => "HPUT",
            Self::Hpost { .. } => "HPOST",
            Self::Get { .. } => "GET",
            Self::Delete { .. } => "DELETE",
            Self::Cont { .. } => "CONT",
            Self::End => "END",
            Self::Unsupported { name, .. } => name,
            Self::Malformed(_) => "malformed",
        }
    }

    /// Whether a server may queue it: well-formed, and of the standard.
    pub fn is_of_the_standard(&self) -> bool {
        match self {
            Self::Unsupported { name, .. } => KNOWN_UNSUPPORTED.contains(&&**name),
            Self::Malformed(_) => false,
            Self::Hget { .. }
            | Self::Hput { .. }
            | Self::Hpost { .. }
            | Self::Get { .. }
            | Self::Delete { .. }
            | Self::Cont { .. }
            | Self::End => true,
        }
    }
}

impl Serialize for Command {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let (first, rest): (Option<&String>, &[String]) = match self {
            Self::Hget { server_uri, client_uris }
            | Self::Hput { server_uri, client_uris }
            | Self::Hpost { server_uri, client_uris } => (Some(server_uri), client_uris),
            Self::Get { client_uri } | Self::Delete { client_uri } => (Some(client_uri), &[]),
            Self::Cont { server_uri } => (Some(server_uri), &[]),
            Self::End => (None, &[]),
            Self::Unsupported { params, .. } => (None, params),
            Self::Malformed(item) => return item.serialize(serializer),
        };
        let mut words = serializer.serialize_seq(None)?;
        words.serialize_element(self.name())?;
        for param in first.into_iter().chain(rest) {
            words.serialize_element(param)?;
        }
        words.end()
    }
}

impl<'de> Deserialize<'de> for Command {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Value::deserialize(deserializer).map(Self::from_json)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn parameters_are_counted() {
        for bad in [
            json!([]),
            json!(["GET"]),
            json!(["GET", "a", "b"]),
            json!(["HGET"]),
            json!(["HPUT", "https://a/"]),
            json!(["END", "x"]),
            json!(["GET", 1]),
            json!("END"),
            json!({}),
        ] {
            assert_eq!(Command::from_json(bad.clone()), Command::Malformed(bad));
        }
    }

    #[test]
    fn what_is_not_supported_keeps_its_name() {
        let exec = json!(["EXEC", "urn:a:b/1/x"]);
        let command = Command::from_json(exec.clone());
        assert_eq!(command.name(), "EXEC");
        assert!(command.is_of_the_standard());
        assert!(!Command::from_json(json!(["FLY"])).is_of_the_standard());
        assert_eq!(serde_json::to_value(command).unwrap(), exec);
    }
}
