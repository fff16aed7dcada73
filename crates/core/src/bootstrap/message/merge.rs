//! One Bootstrap Message from the messages of several objects of a card (Profile P-22).

use serde_json::Value;

use super::{BootstrapMessage, Limit, MessageError, client_uri};
use crate::account::DMACC_MOID;
use crate::ids::SrvId;
use crate::json;
use crate::mo::ddf;

/// What became of several messages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Merged {
    /// The message; none where none of them is one.
    pub message: Option<Vec<u8>>,
    /// What was left out, by the place of the message from 0.
    pub left_out: Vec<(usize, LeftOut)>,
}

/// Why a message, or a part of it, is not in the merged one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LeftOut {
    /// It is no Bootstrap Message.
    #[error(transparent)]
    Refused(#[from] MessageError),
    /// An earlier message has an account of that name, which counts.
    #[error("the account {0} stands in an object before this one, and that one counts")]
    SrvIdTwice(SrvId),
    /// With it the merged message would break a bound.
    #[error("there is no room for it beside the objects before it: {0}")]
    NoRoom(MessageError),
}

/// Merges messages in order of priority: all accounts and all other MOs of those that are valid, each at most as large as
/// [`Limit::Card`] says, together as [`Limit::WholeCard`] says. The first account of a SrvID wins, and gets no right that a
/// later message gives to the account which it left out. A message that stands alone, or is the only valid one, comes out
/// byte for byte.
pub fn merge(messages: &[Vec<u8>]) -> Merged {
    let mut merged = Merged { message: None, left_out: Vec::new() };
    let mut items: Vec<Value> = Vec::new();
    let mut known: Vec<SrvId> = Vec::new();
    for (place, bytes) in messages.iter().enumerate() {
        let accounts = match BootstrapMessage::parse(bytes, Limit::Card) {
            Ok(message) => message.accounts,
            Err(error) => {
                merged.left_out.push((place, error.into()));
                continue;
            }
        };
        let (twice, mut added): (Vec<_>, Vec<_>) =
            accounts.into_iter().map(|(account, _)| account.srv_id).partition(|srv_id| known.contains(srv_id));
        // Accounts are left out with all that is for them: it would count for the earlier account of that name.
        let kept = |item: Value| if twice.is_empty() { Some(item) } else { without(&twice, item) };
        let mut next = items.clone();
        next.extend(items_of(bytes).into_iter().filter_map(kept));
        merged.left_out.extend(twice.iter().map(|srv_id| (place, LeftOut::SrvIdTwice(srv_id.clone()))));
        let candidate = match merged.message {
            None => bytes.clone(),
            Some(_) if next.len() == items.len() => continue,
            Some(_) => Value::Array(next.clone()).to_string().into_bytes(),
        };
        match BootstrapMessage::parse(&candidate, Limit::WholeCard) {
            Ok(_) => {
                merged.message = Some(candidate);
                items = next;
                known.append(&mut added);
            }
            Err(error) => merged.left_out.push((place, LeftOut::NoRoom(error))),
        }
    }
    merged
}

/// What is left of an item of a valid message without the accounts of these servers and what gives rights to them; none
/// where it is for them alone.
fn without(srv_ids: &[SrvId], mut item: Value) -> Option<Value> {
    // What cannot be read is for nobody whom we know.
    let is_for_them = |node: &Value| {
        let srv_id = node.get("SrvID").and_then(Value::as_str).and_then(|text| text.parse().ok());
        srv_id.is_none_or(|srv_id| srv_ids.contains(&srv_id))
    };
    let uri = client_uri(&item).ok()?;
    let is_account = uri.moid().as_str() == DMACC_MOID;
    if !is_account && uri.moid().as_str() != ddf::DACMO {
        return Some(item);
    }
    let root = item.get_mut("MOData")?.as_object_mut()?.values_mut().next()?;
    let is_left = if is_account {
        !is_for_them(root)
    } else {
        let acl = root.get_mut("ACL")?.as_object_mut()?;
        acl.retain(|_, entry| !is_for_them(entry));
        !acl.is_empty()
    };
    is_left.then_some(item)
}

/// The items of a message that was parsed before.
fn items_of(bytes: &[u8]) -> Vec<Value> {
    match json::parse(bytes, Limit::Card.bytes()) {
        Ok(Value::Array(items)) => items,
        Ok(object) => vec![object],
        Err(_) => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn account(srv_id: &str, name: &str) -> String {
        format!(
            r#"{{"ClientURI":"urn:oma:mo:oma-dm-dmacc:1.2/{srv_id}/","MOData":{{"DMAcc":{{"SrvID":"{srv_id}","SrvURI":"https://dm.example/dm","Name":"{name}","Perm":{{"1":{{"MOID":"urn:oma:mo:oma-dm-devinfo:1.2"}}}}}}}}}}"#
        )
    }

    fn message(accounts: &[(&str, &str)]) -> Vec<u8> {
        let items: Vec<_> = accounts.iter().map(|(srv_id, name)| account(srv_id, name)).collect();
        format!("[ {} ]", items.join(", ")).into_bytes()
    }

    fn names(merged: &Merged) -> Vec<String> {
        let message = BootstrapMessage::parse(merged.message.as_ref().unwrap(), Limit::WholeCard).unwrap();
        message.accounts().iter().map(|(account, _)| format!("{} {}", account.srv_id, account.name)).collect()
    }

    #[test]
    fn all_accounts_are_taken_and_the_first_of_a_name_wins() {
        let merged =
            merge(&[message(&[("a", "1"), ("b", "2")]), message(&[("b", "3"), ("c", "4")]), message(&[("a", "5")])]);
        assert_eq!(names(&merged), ["a 1", "b 2", "c 4"]);
        let twice = |place, name: &str| (place, LeftOut::SrvIdTwice(name.parse().unwrap()));
        assert_eq!(merged.left_out, [twice(1, "b"), twice(2, "a")]);
    }

    #[test]
    fn an_object_gives_no_rights_to_an_account_of_another_object() {
        let rights = |srv_ids: &[&str]| {
            let entries: Vec<_> =
                srv_ids.iter().map(|one| format!(r#""{one}":{{"SrvID":"{one}","Rights":15}}"#)).collect();
            format!(
                r#"{{"ClientURI":"urn:oma:mo:oma-dm-dacmo:1.0//","MOData":{{"DACMO":{{"MOID":"urn:oma:mo:oma-dm-devinfo:1.2","MIID":"1","ACL":{{{}}}}}}}}}"#,
                entries.join(",")
            )
        };
        let given = |second: &[String]| {
            let merged = merge(&[message(&[("a", "1")]), format!("[{}]", second.join(",")).into_bytes()]);
            let message = BootstrapMessage::parse(merged.message.as_ref().unwrap(), Limit::WholeCard).unwrap();
            let given: Vec<_> = message
                .accounts()
                .iter()
                .map(|(account, _)| format!("{} {}", account.srv_id, serde_json::to_string(&account.given).unwrap()))
                .collect();
            (given, merged.left_out)
        };
        let twice = [(1, LeftOut::SrvIdTwice("a".parse().unwrap()))];
        let nothing = (vec!["a []".to_owned()], twice.to_vec());
        assert_eq!(given(&[rights(&["a"]), account("a", "2")]), nothing, "wherever it stands");
        assert_eq!(given(&[account("a", "2"), rights(&["a"])]), nothing);
        let own = r#"b ["15 urn:oma:mo:oma-dm-devinfo:1.2 1"]"#.to_owned();
        let both = given(&[account("a", "2"), rights(&["a", "b"]), account("b", "3")]);
        assert_eq!(both, (vec!["a []".to_owned(), own], twice.to_vec()), "an account of its own gets its rights");
    }

    #[test]
    fn one_message_comes_out_byte_for_byte() {
        let only = message(&[("a", "1")]);
        assert_eq!(merge(std::slice::from_ref(&only)), Merged { message: Some(only.clone()), left_out: vec![] });
        let merged = merge(&[b"[]".to_vec(), only.clone(), b"[{".to_vec(), only.clone()]);
        assert_eq!(merged.message, Some(only));
        assert!(matches!(
            merged.left_out.as_slice(),
            [(0, LeftOut::Refused(_)), (2, LeftOut::Refused(_)), (3, LeftOut::SrvIdTwice(_))]
        ));
        assert_eq!(merge(&[]), Merged { message: None, left_out: vec![] });
    }

    #[test]
    fn mos_beside_the_accounts_are_kept() {
        let other = r#"{"ClientURI":"urn:x:1.0//","MOData":{"X":{"Y":1}}}"#;
        let merged = merge(&[message(&[("a", "1")]), format!("[{},{other}]", account("a", "2")).into_bytes()]);
        let text = String::from_utf8(merged.message.clone().unwrap()).unwrap();
        assert!(text.contains("urn:x:1.0//") && names(&merged) == ["a 1"], "{text}");
    }

    #[test]
    fn what_goes_beyond_the_whole_bound_is_left_out_and_what_fits_behind_it_is_not() {
        let large = |srv_id: &str| message(&[(srv_id, &"x".repeat(32_000))]);
        let messages: Vec<_> =
            ["a", "b", "c", "d", "e"].map(large).into_iter().chain([message(&[("f", "6")])]).collect();
        let merged = merge(&messages);
        assert_eq!(names(&merged).iter().map(|name| &name[..1]).collect::<Vec<_>>(), ["a", "b", "c", "d", "f"]);
        assert!(matches!(merged.left_out.as_slice(), [(4, LeftOut::NoRoom(_))]));
        assert!(merged.message.unwrap().len() <= Limit::WholeCard.bytes());
        let too_large = message(&[("a", &"x".repeat(33_000))]);
        assert!(matches!(merge(&[too_large]).left_out.as_slice(), [(0, LeftOut::Refused(_))]));
    }
}
