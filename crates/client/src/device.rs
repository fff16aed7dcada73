//! What the device itself puts into the tree: DevInfo, SessionInfo, and the accounts as a server may read them.

use crate::config::{Config, DeviceFacts};
use omadm_core::access::{DeviceRights, Rights};
use omadm_core::account::AccountBook;
use omadm_core::ids::{Miid, Moid};
use omadm_core::mo::{Definitions, MoError, Node, Tree, Value, ddf};

/// The version of the protocol, as DevInfo tells it (spec 10).
const DM_VERSION: &str = "2.0";

/// The MIID of what there is once only.
const ONLY: &str = "1";

/// Bearer and roaming are not known here (Profile P-21).
const UNKNOWN: i32 = 0;

/// The MOs that this device supports: the registered ones, and the maker's example where it is switched on.
pub fn definitions(config: &Config) -> Definitions {
    let mut definitions = Definitions::new();
    let offered = |moid: &Moid| config.example_mo || moid.as_str() != ddf::EXAMPLE;
    definitions.extend(Definitions::standard().iter().filter(|definition| offered(definition.moid())).cloned());
    definitions
}

/// What servers may do with what the device made, narrowed as configured (Profile P-33).
pub fn rights(config: &Config) -> DeviceRights {
    let mut rights = DeviceRights::default();
    for (moid, list) in &config.access {
        let pairs = [(list.read, Rights::READ), (list.write, Rights::WRITE), (list.execute, Rights::EXECUTE)];
        let given = pairs.iter().filter(|(given, _)| *given).fold(Rights::NONE, |all, (_, right)| all | *right);
        rights.narrow(moid, given);
    }
    rights
}

/// Brings the tree in line with the configuration and the accounts. A tree that is in line stays as it is.
pub fn refresh(
    tree: &mut Tree,
    definitions: &Definitions,
    facts: &DeviceFacts,
    accounts: &AccountBook,
) -> Result<(), MoError> {
    put(tree, definitions, ddf::DEVINFO, dev_info(facts))?;
    put(tree, definitions, ddf::SESSIONINFO, session_info())?;
    accounts.publish(tree, definitions)
}

fn put(tree: &mut Tree, definitions: &Definitions, moid: &str, root: Node) -> Result<(), MoError> {
    if let (Ok(moid), Ok(miid)) = (moid.parse::<Moid>(), ONLY.parse::<Miid>()) {
        tree.put_local(definitions, &moid, miid, root)?;
    }
    Ok(())
}

fn dev_info(facts: &DeviceFacts) -> Node {
    Node::interior([
        ("DevID", Node::chr(facts.dev_id.as_str())),
        ("Man", Node::chr(&facts.man)),
        ("Mod", Node::chr(&facts.model)),
        ("DmV", Node::chr(DM_VERSION)),
        ("Lang", Node::chr(&facts.lang)),
        ("DevType", Node::chr(&facts.dev_type)),
        ("OEM", Node::chr(&facts.oem)),
        ("FwV", Node::chr(&facts.fw_v)),
        ("SwV", Node::chr(&facts.sw_v)),
        ("HwV", Node::chr(&facts.hw_v)),
    ])
}

fn session_info() -> Node {
    Node::interior([("CBT", Node::Leaf(Value::Int(UNKNOWN))), ("ROAMING", Node::Leaf(Value::Int(UNKNOWN)))])
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    fn config(more: &str) -> Config {
        let text = format!("state = \"s\"\ndev_id = \"IMEI:493005100592800\"\nman = \"Example\"\n{more}");
        Config::parse(&text, Path::new("c.toml")).unwrap()
    }

    #[test]
    fn the_tree_is_brought_in_line_once() {
        let config = config("");
        let definitions = definitions(&config);
        let mut tree = Tree::new();
        refresh(&mut tree, &definitions, &config.device, &AccountBook::default()).unwrap();
        let before = tree.clone();
        refresh(&mut tree, &definitions, &config.device, &AccountBook::default()).unwrap();
        assert_eq!(tree, before);
        let uri = "urn:oma:mo:oma-dm-devinfo:1.2//DevID".parse().unwrap();
        let read = tree.get_local(&definitions, &uri).unwrap();
        assert!(serde_json::to_string(&read.items).unwrap().contains("IMEI:493005100592800"));
    }

    #[test]
    fn the_example_mo_is_offered_only_where_it_is_switched_on() {
        let example = ddf::EXAMPLE.parse().unwrap();
        assert!(definitions(&config("")).get(&example).is_none());
        assert!(definitions(&config("example_mo = true\n")).get(&example).is_some());
    }

    #[test]
    fn the_configuration_takes_rights_away_and_gives_none() {
        let fumo: Moid = ddf::FUMO.parse().unwrap();
        assert_eq!(rights(&config("")).of(&fumo), Rights::READ | Rights::WRITE | Rights::EXECUTE);
        let narrowed = rights(&config("[access]\n\"urn:oma:mo:oma-fumo:1.0\" = [\"read\"]\n"));
        assert_eq!(narrowed.of(&fumo), Rights::READ);
        let devinfo: Moid = ddf::DEVINFO.parse().unwrap();
        let widened = rights(&config("[access]\n\"urn:oma:mo:oma-dm-devinfo:1.2\" = [\"read\", \"write\"]\n"));
        assert_eq!(widened.of(&devinfo), Rights::READ);
    }
}
