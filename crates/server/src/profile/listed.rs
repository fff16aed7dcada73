//! A profile as it is in the list: one that can be read, or what is known of one that cannot.

use std::sync::Arc;

use super::format::{Match, Profile};
use crate::store::ProfileRow;

/// A profile in the list.
#[derive(Debug, Clone)]
pub(crate) enum Listed {
    /// It can be read.
    Readable(Arc<Profile>),
    /// It cannot, and says for which devices it is: they get no other one, which might demand less of them.
    Unreadable {
        /// Its name.
        name: String,
        /// Which devices it is for, as far as that can be understood.
        matches: Arc<Match>,
    },
}

impl Listed {
    /// What a stored profile is; `None` if not even its devices are known.
    pub(crate) fn read(row: &ProfileRow) -> Option<Self> {
        let error = match Profile::parse(row.content.as_bytes()) {
            Ok(profile) => return Some(Self::Readable(Arc::new(profile))),
            Err(error) => error,
        };
        let (name, matches) = (row.name.clone(), Match::of_unreadable(row.content.as_bytes()));
        match matches {
            Some(_) => tracing::error!("the profile {name} cannot be read, and its devices get 503 meanwhile: {error}"),
            None => tracing::error!("the profile {name} is left out, since it cannot be read: {error}"),
        }
        Some(Self::Unreadable { name, matches: Arc::new(matches?) })
    }

    pub(crate) fn name(&self) -> &str {
        match self {
            Self::Readable(profile) => &profile.name,
            Self::Unreadable { name, .. } => name,
        }
    }

    pub(crate) fn matches(&self) -> &Match {
        match self {
            Self::Readable(profile) => &profile.matches,
            Self::Unreadable { matches, .. } => matches,
        }
    }
}

/// Those that can be read.
pub(crate) fn readable(profiles: &[Listed]) -> impl Iterator<Item = &Arc<Profile>> {
    profiles.iter().filter_map(|listed| match listed {
        Listed::Readable(profile) => Some(profile),
        Listed::Unreadable { .. } => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use omadm_core::time::Timestamp;
    use serde_json::{Value, json};

    fn read(content: &Value) -> Option<Listed> {
        Listed::read(&ProfileRow { name: "p".into(), content: content.to_string(), changed_at: Timestamp(0) })
    }

    #[test]
    fn the_devices_of_an_unreadable_profile_are_read_as_far_as_they_can_be() {
        let matches = json!({"dev_id": ["IMEI:1", 7, "no DevID"], "dev_id_prefix": ["IMEI:", ""], "later": true,
            "network": [{"mcc": "001", "mnc": "01", "later": 1}, {"mcc": "x", "mnc": "01"}], "default": "yes"});
        let listed = read(&json!({"name": "p", "match": matches, "later": 1})).unwrap();
        let understood = json!({"dev_id": ["IMEI:1"], "dev_id_prefix": ["IMEI:"],
            "network": [{"mcc": "001", "mnc": "01"}], "default": false});
        assert_eq!(serde_json::to_value(listed.matches()).unwrap(), understood);
        assert!(matches!(listed, Listed::Unreadable { name, .. } if name == "p"));
    }

    #[test]
    fn one_that_names_no_device_is_left_out() {
        for content in [json!({"name": "p"}), json!({"match": {"later": ["IMEI:1"]}}), json!({"match": 1}), json!([])] {
            assert!(read(&content).is_none(), "{content}");
        }
        let row = ProfileRow { name: "p".into(), content: "nonsense".into(), changed_at: Timestamp(0) };
        assert!(Listed::read(&row).is_none());
    }
}
