//! A Bootstrap Message is refused whole with a sentence, or all of it can be installed (spec 2.2, 2.3; Profile P-2).

use omadm_core::account::{AccountBook, Change, Judgement, Source};
use omadm_core::bootstrap::message::{BootstrapMessage, Limit};
use omadm_core::ids::SrvId;
use omadm_core::mo::{Definitions, Node, Tree};
use omadm_core::reason::{Method, Reason, sentence};
use omadm_core::time::Timestamp;
use std::collections::BTreeSet;
use std::sync::OnceLock;

pub(crate) fn run(bytes: &[u8]) {
    let from_card = BootstrapMessage::parse(bytes, Limit::Card);
    let message = match BootstrapMessage::parse(bytes, Limit::Elsewhere) {
        Ok(message) => message,
        Err(error) => {
            let words = sentence(&error.to_string());
            assert!(!words.is_empty() && !words.chars().any(char::is_control));
            assert!(matches!(error.reason(), Reason::MalformedMessage | Reason::InvalidMessage));
            assert!(from_card.is_err(), "a card's message has the narrower bounds");
            return;
        }
    };
    assert_eq!(from_card.is_ok(), bytes.len() <= Limit::Card.bytes());
    let accounts = message.accounts();
    assert!(!accounts.is_empty());
    let srv_ids: BTreeSet<&SrvId> = accounts.iter().map(|(account, _)| &account.srv_id).collect();
    assert_eq!(srv_ids.len(), accounts.len(), "a SrvID stands twice");
    for (account, _) in accounts {
        assert!(account.srv_uri.clone().require_secure().is_ok());
        assert!(account.trusts(account.srv_uri.origin()));
        let _ = format!("{account:?}");
    }
    install(&message);
}

/// The accounts and all that stands beside them go into an empty device; a second time nothing changes.
fn install(message: &BootstrapMessage) {
    static DEFINITIONS: OnceLock<Definitions> = OnceLock::new();
    let definitions = DEFINITIONS.get_or_init(Definitions::standard);
    let source = Source { method: Method::Factory, origin: "/factory.json".to_owned() };
    let by = Judgement { now: Timestamp(1_000_000), stale_after: 3600 };
    let Ok(Change::Installed(book)) = AccountBook::default().install(message.accounts(), &source, by) else {
        panic!("an empty book takes every message")
    };
    assert_eq!(book.iter().count(), message.accounts().len());
    assert_eq!(book.install(message.accounts(), &source, by), Ok(Change::Unchanged));
    let written = serde_json::to_vec(&book).expect("a book can be written");
    assert_eq!(serde_json::from_slice::<AccountBook>(&written).expect("and read"), book);

    let mut tree = Tree::new();
    book.publish(&mut tree, definitions).expect("every account has a DMAcc");
    for installed in book.iter() {
        let hidden = ["Perm", "Secret", "ClientSecretKey"];
        assert!(!any_name(&installed.account.to_node(), &hidden), "a secret leaf is shown");
    }
    message.install_others(&mut tree, definitions);
    let once = tree.clone();
    message.install_others(&mut tree, definitions);
    assert_eq!(once.iter().count(), tree.iter().count(), "what was there is put in again");
}

fn any_name(node: &Node, names: &[&str]) -> bool {
    node.children()
        .into_iter()
        .flatten()
        .any(|(name, child)| (names.contains(&name.as_str()) && *child != empty(child)) || any_name(child, names))
}

/// What a leaf is that says nothing.
fn empty(node: &Node) -> Node {
    match node {
        Node::Leaf(_) => Node::Leaf(omadm_core::mo::Value::Null),
        Node::Interior(_) => Node::interior::<String>([]),
    }
}
