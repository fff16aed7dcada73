//! What a device says about itself, read twice: by HPUT and by GET.

use omadm_core::ids::DevId;
use omadm_core::json;
use omadm_core::mo::{Raw, Scalar, SerializedMo, parse_items};
use omadm_core::package::{MAX_PACKAGE, Status};
use serde_json::Value;

use crate::store::{DevInfo, Upload};

/// The most leaves that are kept, and the longest name and the longest value in bytes.
const MAX: (usize, usize, usize) = (64, 64, 1024);

/// What came of reading DevInfo twice.
pub(super) struct Reading {
    /// The values, if both are there or at least one.
    pub(super) values: Option<DevInfo>,
    /// Both are there, say the same, and name the device that was asked.
    pub(super) agreed: bool,
}

/// Compares what the device sent to the data repository with what it answered in the session.
pub(super) fn compare(dev_id: &DevId, uploads: &[Upload], statuses: &[Status]) -> Reading {
    let sent =
        uploads.last().and_then(|upload| json::parse(&upload.content, MAX_PACKAGE).ok()).and_then(|v| leaves(&v));
    let answered = statuses.iter().find_map(|status| status.data.as_ref()).and_then(leaves);
    let names_itself = |values: &DevInfo| values.get("DevID").is_some_and(|value| value == dev_id.as_str());
    let agreed = sent.is_some()
        && sent == answered
        && sent.as_ref().is_some_and(names_itself)
        && statuses.iter().all(|status| status.sc.is_success());
    Reading { values: answered.or(sent), agreed }
}

/// The leaves right below the root of the first item.
fn leaves(items: &Value) -> Option<DevInfo> {
    let SerializedMo { data: (_, root), .. } = parse_items(items).ok()?.into_iter().next()?;
    let Raw::Interior(children) = root else { return None };
    let text = |raw: Raw| match raw {
        Raw::Leaf(Scalar::Text(text)) if text.len() <= MAX.2 => Some(text),
        Raw::Leaf(Scalar::Number(number)) => Some(number.to_string()),
        Raw::Leaf(Scalar::Bool(value)) => Some(value.to_string()),
        Raw::Leaf(Scalar::Text(_) | Scalar::Null) | Raw::Interior(_) => None,
    };
    let named = children.into_iter().filter(|(name, _)| name.len() <= MAX.1).take(MAX.0);
    Some(named.filter_map(|(name, raw)| Some((name, text(raw)?))).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use omadm_core::status::StatusCode;
    use serde_json::json;

    fn item(dev_id: &str, man: &str) -> Value {
        json!([{"ClientURI": "urn:oma:mo:oma-dm-devinfo:1.2/1/",
            "MOData": {"DevInfo": {"DevID": dev_id, "Man": man, "Ext": {"x": "y"}}}}])
    }

    fn reading(sent: &Value, answered: &Value) -> Reading {
        let uploads = [Upload { name: "devinfo".into(), content: sent.to_string().into_bytes() }];
        let answer = Status { data: Some(answered.clone()), ..Status::from(StatusCode::OK) };
        compare(&"IMEI:1".parse().unwrap(), &uploads, &[Status::from(StatusCode::OK), answer])
    }

    #[test]
    fn both_ways_have_to_agree_and_name_the_device() {
        let good = reading(&item("IMEI:1", "Acme"), &item("IMEI:1", "Acme"));
        assert!(good.agreed);
        assert_eq!(good.values.unwrap()["Man"], "Acme");
        assert!(!reading(&item("IMEI:1", "Acme"), &item("IMEI:1", "Other")).agreed);
        assert!(!reading(&item("IMEI:2", "Acme"), &item("IMEI:2", "Acme")).agreed);
        assert!(!reading(&json!([]), &item("IMEI:1", "Acme")).agreed);
        assert!(!reading(&json!(7), &json!([])).agreed);
    }

    #[test]
    fn what_is_kept_is_bounded() {
        let mut devinfo = serde_json::Map::new();
        devinfo.insert("n".repeat(65), json!("long name"));
        devinfo.insert("DevID".into(), json!("IMEI:1"));
        devinfo.insert("Long".into(), json!("v".repeat(1025)));
        devinfo.extend((0..100).map(|number| (format!("x{number}"), json!("x"))));
        let item = json!([{"ClientURI": "urn:oma:mo:oma-dm-devinfo:1.2/1/", "MOData": {"DevInfo": devinfo}}]);
        let values = reading(&item, &item).values.unwrap();
        assert_eq!(values["DevID"], "IMEI:1");
        assert!(values.len() <= MAX.0 && values.iter().all(|(name, value)| name.len() <= 64 && value.len() <= 1024));
    }

    #[test]
    fn a_failed_command_is_no_agreement() {
        let uploads = [Upload { name: "devinfo".into(), content: item("IMEI:1", "Acme").to_string().into_bytes() }];
        let answer = Status { data: Some(item("IMEI:1", "Acme")), ..Status::from(StatusCode::OK) };
        let statuses = [Status::from(StatusCode::REPOSITORY_FAILED), answer];
        assert!(!compare(&"IMEI:1".parse().unwrap(), &uploads, &statuses).agreed);
        assert!(!compare(&"IMEI:1".parse().unwrap(), &[], &statuses[1..]).agreed);
    }
}
