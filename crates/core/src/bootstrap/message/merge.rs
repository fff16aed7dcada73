//! One Bootstrap Message from the messages of several objects of a card (Profile P-22).

use serde_json::Value;

use super::{BootstrapMessage, Limit, MessageError, client_uri};
use crate::account::DMACC_MOID;
use crate::ids::SrvId;
use crate::json;

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
/// [`Limit::Card`] says, together as [`Limit::WholeCard`] says. The first account of a SrvID wins. A message that stands
/// alone, or is the only valid one, comes out byte for byte.
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
        let mut srv_ids = accounts.into_iter().map(|(account, _)| account.srv_id);
        let mut added = Vec::new();
        let mut next = items.clone();
        for item in items_of(bytes) {
            let is_account = client_uri(&item).is_ok_and(|uri| uri.moid().as_str() == DMACC_MOID);
            // Accounts and their items stand in the same order.
            if let Some(srv_id) = is_account.then(|| srv_ids.next()).flatten() {
                if known.contains(&srv_id) {
                    merged.left_out.push((place, LeftOut::SrvIdTwice(srv_id)));
                    continue;
                }
                added.push(srv_id);
            }
            next.push(item);
        }
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
