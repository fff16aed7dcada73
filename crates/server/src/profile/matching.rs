//! Which profile a device gets: by exact DevID, longest DevID prefix, MCC and MNC, default, in this order.

use omadm_core::ids::{DevId, Mcc, Mnc};
use std::fmt;

use super::format::Match;
use super::listed::Listed;

/// By what a profile matched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Matched {
    DevId,
    Prefix(String),
    Network(Mcc, Mnc),
    Default,
}

impl fmt::Display for Matched {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::DevId => f.write_str("its DevID is listed there"),
            Self::Prefix(prefix) => write!(f, "its DevID begins with {prefix}"),
            Self::Network(mcc, mnc) => write!(f, "its home network is {mcc}/{mnc}"),
            Self::Default => f.write_str("it is the default"),
        }
    }
}

/// The profile for a device, and why.
pub(crate) fn select<'a>(
    profiles: &'a [Listed],
    dev_id: Option<&DevId>,
    mcc: Option<&Mcc>,
    mnc: Option<&Mnc>,
) -> Option<(&'a Listed, Matched)> {
    if let Some(dev_id) = dev_id {
        if let Some(profile) = profiles.iter().find(|profile| profile.matches().dev_id.contains(dev_id)) {
            return Some((profile, Matched::DevId));
        }
        let longest = profiles
            .iter()
            .flat_map(|profile| profile.matches().dev_id_prefix.iter().map(move |prefix| (profile, prefix)))
            .filter(|(_, prefix)| dev_id.as_str().starts_with(prefix.as_str()))
            .max_by_key(|(_, prefix)| prefix.len());
        if let Some((profile, prefix)) = longest {
            return Some((profile, Matched::Prefix(prefix.clone())));
        }
    }
    if let (Some(mcc), Some(mnc)) = (mcc, mnc) {
        let of_network = |profile: &&Listed| {
            profile.matches().network.iter().any(|network| network.mcc == *mcc && network.mnc == *mnc)
        };
        if let Some(profile) = profiles.iter().find(of_network) {
            return Some((profile, Matched::Network(mcc.clone(), mnc.clone())));
        }
    }
    profiles.iter().find(|profile| profile.matches().default).map(|profile| (profile, Matched::Default))
}

/// What two profiles both match by, so that it would be chance which one a device gets.
pub(crate) fn overlap(one: &Match, other: &Match) -> Option<String> {
    if let Some(dev_id) = one.dev_id.iter().find(|dev_id| other.dev_id.contains(dev_id)) {
        return Some(format!("the DevID {dev_id}"));
    }
    if let Some(prefix) = one.dev_id_prefix.iter().find(|prefix| other.dev_id_prefix.contains(prefix)) {
        return Some(format!("the DevID prefix {prefix}"));
    }
    if let Some(network) = one.network.iter().find(|network| other.network.contains(network)) {
        return Some(format!("the network {}/{}", network.mcc, network.mnc));
    }
    (one.default && other.default).then(|| "every other device (default)".to_owned())
}

#[cfg(test)]
mod tests {
    use super::super::format::Profile;
    use super::*;
    use serde_json::json;
    use std::sync::Arc;

    fn profile(name: &str, matches: serde_json::Value) -> Listed {
        let message = json!([{"ClientURI": "urn:oma:mo:oma-dm-dmacc:1.2//", "MOData": {"DMAcc": {
            "SrvID": "acme", "Name": "Acme", "Perm": {"1": {"MOID": "urn:oma:mo:oma-dm-devinfo:1.2"}}}}}]);
        let text = json!({"name": name, "match": matches, "message": message}).to_string();
        Listed::Readable(Arc::new(Profile::parse(text.as_bytes()).unwrap()))
    }

    #[test]
    fn exact_then_longest_prefix_then_network_then_default() {
        let profiles = [
            profile("default", json!({"default": true})),
            profile("network", json!({"network": [{"mcc": "001", "mnc": "01"}]})),
            profile("short", json!({"dev_id_prefix": ["IMEI:4930"]})),
            profile("long", json!({"dev_id_prefix": ["IMEI:49300510"]})),
            profile("exact", json!({"dev_id": ["IMEI:493005100592800"]})),
        ];
        let chosen = |dev_id: Option<&str>, mcc: Option<&str>, mnc: Option<&str>| {
            let dev_id = dev_id.map(|text| text.parse().unwrap());
            let (mcc, mnc) = (mcc.map(|text| text.parse().unwrap()), mnc.map(|text| text.parse().unwrap()));
            select(&profiles, dev_id.as_ref(), mcc.as_ref(), mnc.as_ref()).unwrap().0.name().to_owned()
        };
        let home = (Some("001"), Some("01"));
        assert_eq!(chosen(Some("IMEI:493005100592800"), home.0, home.1), "exact");
        assert_eq!(chosen(Some("IMEI:493005100592801"), home.0, home.1), "long");
        assert_eq!(chosen(Some("IMEI:493099999999999"), home.0, home.1), "short");
        assert_eq!(chosen(Some("IMEI:000000000000000"), home.0, home.1), "network");
        assert_eq!(chosen(None, home.0, home.1), "network");
        assert_eq!(chosen(None, home.0, None), "default");
        assert_eq!(chosen(None, home.0, Some("001")), "default");
        assert!(select(&profiles[1..], None, None, None).is_none());
    }

    #[test]
    fn what_two_profiles_share_is_named() {
        let one = profile("one", json!({"dev_id_prefix": ["IMEI:4930"], "default": true}));
        let other = profile("other", json!({"dev_id_prefix": ["IMEI:49300"], "default": true}));
        assert_eq!(overlap(one.matches(), other.matches()).unwrap(), "every other device (default)");
        let other = profile("other", json!({"dev_id_prefix": ["IMEI:4930"]}));
        assert_eq!(overlap(one.matches(), other.matches()).unwrap(), "the DevID prefix IMEI:4930");
        assert_eq!(overlap(one.matches(), profile("other", json!({"dev_id": ["IMEI:4930"]})).matches()), None);
    }
}
