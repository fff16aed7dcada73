//! The query of a bootstrap request (Profile P-4): written by the client, read by the server.

use percent_encoding::{percent_decode_str, utf8_percent_encode};

use crate::ids::{DevId, Mcc, Mnc};
use crate::web::{UNRESERVED, Url, UrlError};

/// The longest query that is read, in bytes.
const MAX_QUERY: usize = 2048;

/// Who asks, as far as the client knows. What is not known is left out, never sent empty (spec 2.1).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct BootstrapQuery {
    /// Mobile network code of the home network.
    pub mnc: Option<Mnc>,
    /// Mobile country code of the home network.
    pub mcc: Option<Mcc>,
    /// DevInfo/DevID.
    pub dev_id: Option<DevId>,
}

/// What is wrong with a bootstrap request: the detail of a problem document.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum QueryError {
    /// A parameter stands twice.
    #[error("{0} is given twice")]
    Twice(&'static str),
    /// A parameter has a wrong form.
    #[error("{name} is malformed: {rule}")]
    Malformed {
        /// Which one.
        name: &'static str,
        /// What was expected.
        rule: String,
    },
    /// DevID in the query and OMADM-DevID differ.
    #[error("DevID and the header OMADM-DevID differ")]
    Differ,
    /// The query is too long.
    #[error("the query is longer than {MAX_QUERY} bytes")]
    TooLong,
}

impl BootstrapQuery {
    /// The URL to ask: `base`, its own query kept, and what is known.
    pub fn url(&self, base: &Url) -> Result<Url, UrlError> {
        let pairs: Vec<String> = [
            self.mnc.as_ref().map(|mnc| ("MNC", mnc.as_str())),
            self.mcc.as_ref().map(|mcc| ("MCC", mcc.as_str())),
            self.dev_id.as_ref().map(|dev_id| ("DevID", dev_id.as_str())),
        ]
        .into_iter()
        .flatten()
        .map(|(name, value)| format!("{name}={}", utf8_percent_encode(value, UNRESERVED)))
        .collect();
        base.with_query(&pairs.join("&"))
    }

    /// Reads the query of a request and the value of its header OMADM-DevID. Either alone may hold the DevID; other
    /// parameters are left to others.
    pub fn parse(query: Option<&str>, dev_id_header: Option<&str>) -> Result<Self, QueryError> {
        let query = query.unwrap_or_default();
        if query.len() > MAX_QUERY {
            return Err(QueryError::TooLong);
        }
        let dev_id = parameter(query, "DevID")?;
        let header = dev_id_header.map(|text| value("OMADM-DevID", text)).transpose()?;
        if let (Some(dev_id), Some(header)) = (&dev_id, &header)
            && dev_id != header
        {
            return Err(QueryError::Differ);
        }
        Ok(Self { mnc: parameter(query, "MNC")?, mcc: parameter(query, "MCC")?, dev_id: dev_id.or(header) })
    }
}

/// The one value of a parameter; names are compared after decoding, so that `%44evID` cannot hide.
fn parameter<T>(query: &str, name: &'static str) -> Result<Option<T>, QueryError>
where
    T: std::str::FromStr,
    T::Err: std::fmt::Display,
{
    let mut found = query
        .split('&')
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
        .filter(|(key, _)| percent_decode_str(key).eq(name.bytes()));
    let Some((_, text)) = found.next() else { return Ok(None) };
    if found.next().is_some() {
        return Err(QueryError::Twice(name));
    }
    let text = percent_decode_str(text)
        .decode_utf8()
        .map_err(|_| QueryError::Malformed { name, rule: "UTF-8 is expected".to_owned() })?;
    value(name, &text).map(Some)
}

fn value<T>(name: &'static str, text: &str) -> Result<T, QueryError>
where
    T: std::str::FromStr,
    T::Err: std::fmt::Display,
{
    text.parse().map_err(|error| QueryError::Malformed { name, rule: format!("{error}") })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn query() -> BootstrapQuery {
        BootstrapQuery {
            mnc: Some("01".parse().unwrap()),
            mcc: Some("001".parse().unwrap()),
            dev_id: Some("IMEI:493005100592800".parse().unwrap()),
        }
    }

    #[test]
    fn the_request_of_the_worked_example() {
        let base = "https://bs.example/bootstrap".parse().unwrap();
        let url = query().url(&base).unwrap();
        assert_eq!(url.path_and_query(), "/bootstrap?MNC=01&MCC=001&DevID=IMEI%3A493005100592800");
        let without_sim = BootstrapQuery { mnc: None, mcc: None, ..query() };
        assert_eq!(without_sim.url(&base).unwrap().path_and_query(), "/bootstrap?DevID=IMEI%3A493005100592800");
        let own = "https://bs.example/b?tenant=7".parse().unwrap();
        assert!(query().url(&own).unwrap().path_and_query().starts_with("/b?tenant=7&MNC=01&"));
        assert_eq!(BootstrapQuery::default().url(&own).unwrap(), own);
    }

    #[test]
    fn what_is_written_is_read() {
        let url = query().url(&"https://a/b".parse().unwrap()).unwrap();
        let text = url.path_and_query().split_once('?').unwrap().1;
        assert_eq!(BootstrapQuery::parse(Some(text), Some("IMEI:493005100592800")), Ok(query()));
        assert_eq!(BootstrapQuery::parse(None, None), Ok(BootstrapQuery::default()));
        let header_alone = BootstrapQuery::parse(None, Some("IMEI:1")).unwrap();
        assert_eq!(header_alone.dev_id.unwrap().as_str(), "IMEI:1");
    }

    #[test]
    fn hostile_queries_are_refused_with_a_sentence() {
        let refused = |query: &str| BootstrapQuery::parse(Some(query), None).unwrap_err().to_string();
        assert_eq!(refused("MNC=01&MNC=01"), "MNC is given twice");
        assert_eq!(refused("DevID=a&%44evID=b"), "DevID is given twice");
        assert!(refused("MNC=1").starts_with("MNC is malformed"));
        assert!(refused("MNC=").starts_with("MNC is malformed"));
        assert!(refused("MCC=00a").starts_with("MCC is malformed"));
        assert!(refused("DevID=%ff").starts_with("DevID is malformed"));
        assert!(refused(&format!("x={}", "a".repeat(3000))).contains("longer"));
        assert_eq!(BootstrapQuery::parse(Some("DevID=a"), Some("b")), Err(QueryError::Differ));
    }
}
