//! A device with accounts and a tree, on which targets let servers act.

use std::sync::OnceLock;

use omadm_core::access::{DeviceRights, Principal};
use omadm_core::account::{AccountBook, Change, InstalledAccount, Judgement, Source};
use omadm_core::bootstrap::message::{BootstrapMessage, Limit};
use omadm_core::ids::{Miid, Moid};
use omadm_core::mo::{Definitions, Node, Tree};
use omadm_core::reason::Method;
use omadm_core::time::Timestamp;

pub(crate) const DEVINFO: &str = "urn:oma:mo:oma-dm-devinfo:1.2";
pub(crate) const DMACC: &str = "urn:oma:mo:oma-dm-dmacc:1.2";
pub(crate) const EXAMPLE: &str = "urn:omadm:mo:example:1.0";

const MESSAGE: &str = r#"[{"ClientURI":"urn:oma:mo:oma-dm-dmacc:1.2/acme/","MOData":{"DMAcc":{
"SrvID":"acme","SrvURI":"https://dm.example/dm","Name":"Acme","Perm":{"1":{"MOID":"urn:oma:mo:oma-dm-devinfo:1.2"},
"2":{"MOID":"urn:omadm:mo:example:1.0"},"3":{"MOID":"urn:oma:mo:oma-dm-dmacc:1.2"}},
"Auth":{"Trsp":{"Data":"YmFzaWM6YWNtZQ==","Secret":"aHVudGVyMi1ub2JvZHkta25vd3M="}},
"Ext":{"omadm":{"Origins":"https://other.example"}}}}},
{"ClientURI":"urn:oma:mo:oma-dm-dmacc:1.2/rival/","MOData":{"DMAcc":{
"SrvID":"rival","SrvURI":"https://rival.example/dm","Name":"Rival","Perm":{"1":{"MOID":"urn:omadm:mo:example:1.0"}}}}}]"#;

const EXAMPLES: &str = r#"[{"ClientURI":"urn:omadm:mo:example:1.0/left/","MOData":{"Example":{"Name":"left","Target":21.5,
"Enabled":true,"Count":3}}},{"ClientURI":"urn:omadm:mo:example:1.0/right/","MOData":{"Example":{"Name":"right"}}}]"#;

/// What the device is before a target does anything with it.
pub(crate) struct Device {
    pub(crate) definitions: Definitions,
    pub(crate) account: InstalledAccount,
    pub(crate) rights: DeviceRights,
    pub(crate) tree: Tree,
}

impl Device {
    /// The one device of all runs, made once.
    pub(crate) fn shared() -> &'static Self {
        static DEVICE: OnceLock<Device> = OnceLock::new();
        DEVICE.get_or_init(Self::new)
    }

    fn new() -> Self {
        let mut definitions = Definitions::new();
        for definition in Definitions::standard().iter() {
            definitions.insert(definition.clone().with_cache(definition.moid().as_str() == EXAMPLE));
        }
        let message = BootstrapMessage::parse(MESSAGE.as_bytes(), Limit::Elsewhere).expect("a message");
        let source = Source { method: Method::Factory, origin: "/factory.json".to_owned() };
        let by = Judgement { now: Timestamp(1_000_000), stale_after: 3600 };
        let book = match AccountBook::default().install(message.accounts(), &source, by).expect("installed") {
            Change::Installed(book) | Change::Resumed(book) | Change::Withdrawn(book) => book,
            Change::Unchanged | Change::Removed => AccountBook::default(),
        };
        let account = book.iter().next().expect("an account").clone();
        let mut tree = Tree::new();
        book.publish(&mut tree, &definitions).expect("published");
        let names = ["DevID", "Man", "Mod", "DmV", "Lang", "DevType", "OEM", "FwV", "SwV", "HwV"];
        let root = Node::interior(names.map(|name| (name, Node::chr(format!("the {name}")))));
        tree.put_local(&definitions, &moid(DEVINFO), miid("1"), root).expect("DevInfo");
        let mut device = Self { definitions, account, rights: DeviceRights::default(), tree };
        let mut tree = device.tree.clone();
        tree.hget(&device.definitions, &device.server(), &[], EXAMPLES.as_bytes()).expect("examples");
        device.tree = tree;
        device
    }

    /// The server that the account is for.
    pub(crate) fn server(&self) -> Principal<'_> {
        self.account.principal(&self.rights)
    }
}

pub(crate) fn moid(text: &str) -> Moid {
    text.parse().expect("a MOID")
}

pub(crate) fn miid(text: &str) -> Miid {
    text.parse().expect("a MIID")
}
