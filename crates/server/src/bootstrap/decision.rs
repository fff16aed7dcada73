//! The second step: which profile, which credentials, and why. Pure.

use omadm_core::time::Timestamp;
use std::sync::Arc;

use super::facts::{Facts, Identity};
use crate::profile::{Listed, Matched, Profile, Release, Scheme, select};
use crate::store::Device;

/// What a bootstrap request gets.
#[derive(Debug, Clone)]
pub(crate) enum Decision {
    /// The message of this profile.
    Release { profile: Arc<Profile>, why: String },
    /// There is nothing for this device (204).
    Nothing { why: String },
    /// Credentials are needed (401).
    Challenge { code: &'static str, why: String },
    /// The credentials are good, but not for this DevID (403).
    Forbidden { why: String },
    /// The profile that is for this device cannot be read (503).
    Unreadable { why: String },
    /// The device is blocked (403).
    Blocked { since: Timestamp },
}

/// Decides. The query alone never releases anything that holds a secret (spec 2.4).
pub(crate) fn decide(facts: &Facts, profiles: &[Listed], anonymous: bool) -> Decision {
    let query = &facts.query;
    match &facts.identity {
        Identity::Unproven { why } => Decision::Challenge { code: "wrong-credentials", why: (*why).to_owned() },
        Identity::Nobody => {
            let chosen = select(profiles, query.dev_id.as_ref(), query.mcc.as_ref(), query.mnc.as_ref());
            match chosen.filter(|_| anonymous) {
                Some((Listed::Readable(profile), matched)) if profile.release == Release::Anyone => {
                    release(profile, &matched, "released to anyone")
                }
                Some((Listed::Unreadable { name, .. }, matched)) => unreadable(name, &matched),
                Some((Listed::Readable(_), _)) | None => {
                    Decision::Challenge { code: "no-credentials", why: "it shows no credentials".to_owned() }
                }
            }
        }
        Identity::Enrolled(Device { blocked_at: Some(since), .. }) => Decision::Blocked { since: *since },
        Identity::Enrolled(device) => {
            if let Some(claimed) = query.dev_id.as_ref().filter(|claimed| **claimed != device.dev_id) {
                let why = format!("it claims to be {claimed}, but proves to be {}", device.dev_id);
                return Decision::Forbidden { why };
            }
            // The DevID that counts is the proven one.
            match select(profiles, Some(&device.dev_id), query.mcc.as_ref(), query.mnc.as_ref()) {
                Some((Listed::Readable(profile), matched)) => {
                    release(profile, &matched, "released to a device that proved who it is")
                }
                // Another one might demand less of it.
                Some((Listed::Unreadable { name, .. }, matched)) => unreadable(name, &matched),
                None => Decision::Nothing { why: "no profile is for this device".to_owned() },
            }
        }
    }
}

fn unreadable(name: &str, matched: &Matched) -> Decision {
    let why = format!("profile {name} is for it, since {matched}, and cannot be read; `omadm profile list` says why");
    Decision::Unreadable { why }
}

fn release(profile: &Arc<Profile>, matched: &Matched, to: &str) -> Decision {
    let credentials = match profile.credentials {
        Scheme::Basic => "with a fresh user and password",
        Scheme::Psk => "with a fresh pre-shared key",
        Scheme::X509 => "with a fresh certificate",
        Scheme::None => "without credentials",
    };
    Decision::Release {
        profile: Arc::clone(profile),
        why: format!("profile {}, since {matched}; {to}, {credentials}", profile.name),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{DeviceState, ProfileRow};
    use omadm_core::bootstrap::request::BootstrapQuery;
    use serde_json::json;

    fn profile(name: &str, matches: serde_json::Value, anyone: bool) -> Listed {
        let (release, credentials) = if anyone { ("anyone", "none") } else { ("known", "basic") };
        let text = json!({"name": name, "match": matches, "release": release, "credentials": credentials, "message":
            [{"ClientURI": "urn:oma:mo:oma-dm-dmacc:1.2//", "MOData": {"DMAcc": {"SrvID": "acme", "Name": "Acme",
            "Perm": {"1": {"MOID": "urn:oma:mo:oma-dm-devinfo:1.2"}}}}}]});
        Listed::Readable(Arc::new(Profile::parse(text.to_string().as_bytes()).unwrap()))
    }

    fn profiles() -> Vec<Listed> {
        vec![
            profile("tac", json!({"dev_id_prefix": ["IMEI:4930"]}), false),
            profile("open", json!({"network": [{"mcc": "001", "mnc": "01"}]}), true),
            Listed::read(&ProfileRow {
                name: "later".into(),
                content: json!({"match": {"dev_id_prefix": ["IMEI:7"]}, "of_a_later_version": 1}).to_string(),
                changed_at: Timestamp(0),
            })
            .unwrap(),
        ]
    }

    fn query(dev_id: Option<&str>, home: bool) -> BootstrapQuery {
        BootstrapQuery {
            dev_id: dev_id.map(|text| text.parse().unwrap()),
            mcc: home.then(|| "001".parse().unwrap()),
            mnc: home.then(|| "01".parse().unwrap()),
        }
    }

    fn enrolled(dev_id: &str) -> Identity {
        Identity::Enrolled(Device {
            id: 1,
            dev_id: dev_id.parse().unwrap(),
            user: "u".into(),
            state: DeviceState::Known,
            source: None,
            srv_id: None,
            devinfo: None,
            added_at: Timestamp(0),
            blocked_at: None,
        })
    }

    fn blocked(dev_id: &str) -> Identity {
        match enrolled(dev_id) {
            Identity::Enrolled(device) => Identity::Enrolled(Device { blocked_at: Some(Timestamp(1)), ..device }),
            other => other,
        }
    }

    fn word(identity: Identity, query: BootstrapQuery, anonymous: bool) -> String {
        match decide(&Facts { query, identity }, &profiles(), anonymous) {
            Decision::Release { profile, .. } => format!("{} {:?}", profile.name, profile.credentials),
            Decision::Nothing { .. } => "nothing".into(),
            Decision::Challenge { .. } => "challenge".into(),
            Decision::Forbidden { .. } => "forbidden".into(),
            Decision::Blocked { .. } => "blocked".into(),
            Decision::Unreadable { .. } => "unreadable".into(),
        }
    }

    #[test]
    fn the_identity_decides_and_the_query_never_weakens_it() {
        let wrong = || Identity::Unproven { why: "x" };
        for (identity, query, anonymous, expected) in [
            (enrolled("IMEI:4930"), query(Some("IMEI:4930"), true), false, "tac Basic"),
            (enrolled("IMEI:4930"), query(None, false), false, "tac Basic"),
            (enrolled("IMEI:4930"), query(Some("IMEI:4931"), true), true, "forbidden"),
            (enrolled("IMEI:5000"), query(None, true), false, "open None"),
            (enrolled("IMEI:5000"), query(None, false), false, "nothing"),
            (blocked("IMEI:4930"), query(Some("IMEI:4930"), true), true, "blocked"),
            (enrolled("IMEI:7"), query(None, true), true, "unreadable"),
            (blocked("IMEI:7"), query(None, true), true, "blocked"),
            (Identity::Nobody, query(Some("IMEI:7"), true), true, "unreadable"),
            (Identity::Nobody, query(Some("IMEI:7"), true), false, "challenge"),
            (Identity::Nobody, query(None, true), true, "open None"),
            (Identity::Nobody, query(Some("IMEI:5000"), true), true, "open None"),
            (Identity::Nobody, query(None, true), false, "challenge"),
            (Identity::Nobody, query(Some("IMEI:4930"), true), true, "challenge"),
            (Identity::Nobody, query(None, false), true, "challenge"),
            (wrong(), query(None, true), true, "challenge"),
        ] {
            let shown = format!("{identity:?} {query:?} {anonymous}");
            assert_eq!(word(identity, query, anonymous), expected, "{shown}");
        }
    }
}
