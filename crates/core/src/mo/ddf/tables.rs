//! Generated from `ddf/*.xml` by the test `ddf_tables`; not to be edited.

use super::Occurrence::{One, OneOrMore, ZeroOrMore, ZeroOrOne};
use super::Scope::{Dynamic, Permanent};
use super::{Access, Format, Occurrence, Row, Scope};

const NONE: Access = Access::NONE;
const A: Access = Access::ADD;
const D: Access = Access::DELETE;
const E: Access = Access::EXEC;
const G: Access = Access::GET;
const R: Access = Access::REPLACE;

const fn row(
    depth: u8,
    name: &'static str,
    format: Format,
    access: Access,
    occurrence: Occurrence,
    scope: Scope,
) -> Row {
    Row { depth, name, format, access, occurrence, scope }
}

/// MOIDs and their tables.
pub(super) static TABLES: &[(&str, &[Row])] = &[
    (super::DEVINFO, DEVINFO_ROWS),
    (super::DMACC, DMACC_ROWS),
    (super::SESSIONINFO, SESSIONINFO_ROWS),
    (super::FUMO, FUMO_ROWS),
    (super::SCOMO, SCOMO_ROWS),
    (super::DACMO, DACMO_ROWS),
    (super::EXAMPLE, EXAMPLE_ROWS),
];

#[rustfmt::skip]
static DEVINFO_ROWS: &[Row] = &[
    row(0, "DevInfo", Format::Node, G, One, Permanent),
    row(1, "DevID", Format::Chr, G, One, Permanent),
    row(1, "Man", Format::Chr, G, One, Permanent),
    row(1, "Mod", Format::Chr, G, One, Permanent),
    row(1, "DmV", Format::Chr, G, One, Permanent),
    row(1, "Lang", Format::Chr, G, One, Permanent),
    row(1, "DevType", Format::Chr, G, One, Permanent),
    row(1, "OEM", Format::Chr, G, One, Permanent),
    row(1, "FwV", Format::Chr, G, One, Permanent),
    row(1, "SwV", Format::Chr, G, One, Permanent),
    row(1, "HwV", Format::Chr, G, One, Permanent),
    row(1, "Bearer", Format::Node, G, ZeroOrOne, Permanent),
    row(1, "Ext", Format::Node, G, ZeroOrOne, Permanent),
];

#[rustfmt::skip]
static DMACC_ROWS: &[Row] = &[
    row(0, "DMAcc", Format::Node, G, ZeroOrMore, Dynamic),
    row(1, "SrvID", Format::Chr, G, One, Dynamic),
    row(1, "SrvURI", Format::Chr, G, One, Dynamic),
    row(1, "Name", Format::Chr, G, One, Dynamic),
    row(1, "Perm", Format::Node, NONE, One, Dynamic),
    row(2, "<x>", Format::Node, NONE, OneOrMore, Dynamic),
    row(3, "MOID", Format::Chr, NONE, One, Dynamic),
    row(1, "Auth", Format::Node, G, ZeroOrOne, Dynamic),
    row(2, "Bootstrap", Format::Node, G, ZeroOrOne, Dynamic),
    row(3, "ServerURI", Format::Chr, G, One, Dynamic),
    row(3, "SecMode", Format::Bin, G, One, Dynamic),
    row(3, "ClientPubKey", Format::Bin, NONE, ZeroOrOne, Dynamic),
    row(3, "ServerPubKey", Format::Bin, NONE, ZeroOrOne, Dynamic),
    row(3, "ClientSecretKey", Format::Bin, NONE, ZeroOrOne, Dynamic),
    row(2, "Noti", Format::Node, G, ZeroOrOne, Dynamic),
    row(3, "Type", Format::Int, G, One, Dynamic),
    row(3, "Data", Format::Bin, G, ZeroOrOne, Dynamic),
    row(3, "Secret", Format::Bin, NONE, ZeroOrOne, Dynamic),
    row(2, "Trsp", Format::Node, G, ZeroOrOne, Dynamic),
    row(3, "Data", Format::Bin, G, One, Dynamic),
    row(3, "Secret", Format::Bin, NONE, ZeroOrOne, Dynamic),
    row(1, "Push", Format::Node, G, ZeroOrOne, Dynamic),
    row(2, "GCM", Format::Node, G, ZeroOrOne, Dynamic),
    row(3, "SenderID", Format::Chr, G, ZeroOrOne, Dynamic),
    row(3, "RegURI", Format::Chr, G, ZeroOrOne, Dynamic),
    row(3, "UnRegURI", Format::Chr, G, ZeroOrOne, Dynamic),
    row(3, "RegParams", Format::Chr, G, ZeroOrOne, Dynamic),
    row(2, "Ext", Format::Node, G, ZeroOrOne, Dynamic),
    row(1, "Ext", Format::Node, G, ZeroOrOne, Dynamic),
    row(2, "omadm", Format::Node, G, ZeroOrOne, Dynamic),
    row(3, "ServerCA", Format::Chr, G, ZeroOrOne, Dynamic),
    row(3, "Origins", Format::Chr, G, ZeroOrOne, Dynamic),
    row(3, "Role", Format::Chr, G, ZeroOrOne, Dynamic),
];

#[rustfmt::skip]
static SESSIONINFO_ROWS: &[Row] = &[
    row(0, "SessionInfo", Format::Node, G, One, Permanent),
    row(1, "CBT", Format::Int, G, One, Permanent),
    row(1, "ROAMING", Format::Int, G, One, Permanent),
];

#[rustfmt::skip]
static FUMO_ROWS: &[Row] = &[
    row(0, "FUMO", Format::Node, G, ZeroOrMore, Permanent),
    row(1, "PkgName", Format::Chr, G, ZeroOrOne, Permanent),
    row(1, "PkgVersion", Format::Chr, G, ZeroOrOne, Permanent),
    row(1, "Download", Format::Node, E.with(G), ZeroOrOne, Permanent),
    row(2, "PkgURL", Format::Chr, G.with(R), One, Permanent),
    row(1, "Update", Format::Node, E.with(G), ZeroOrOne, Permanent),
    row(2, "PkgData", Format::Bin, R, ZeroOrOne, Permanent),
    row(1, "DownloadAndUpdate", Format::Node, E.with(G), ZeroOrOne, Permanent),
    row(2, "PkgURL", Format::Chr, G.with(R), One, Permanent),
    row(1, "State", Format::Int, G, One, Permanent),
    row(1, "Ext", Format::Node, G, ZeroOrOne, Permanent),
];

#[rustfmt::skip]
static SCOMO_ROWS: &[Row] = &[
    row(0, "SCOMO", Format::Node, G, ZeroOrMore, Permanent),
    row(1, "Download", Format::Node, G, One, Permanent),
    row(2, "<x>", Format::Node, A.with(D).with(G), ZeroOrMore, Dynamic),
    row(3, "PkgID", Format::Chr, A.with(G).with(R), One, Dynamic),
    row(3, "Name", Format::Chr, A.with(D).with(G).with(R), ZeroOrOne, Dynamic),
    row(3, "PkgURL", Format::Chr, A.with(G).with(R), One, Dynamic),
    row(3, "InstallParams", Format::Chr, A.with(D).with(G).with(R), ZeroOrOne, Dynamic),
    row(3, "Description", Format::Chr, A.with(D).with(G).with(R), ZeroOrOne, Dynamic),
    row(3, "Status", Format::Int, G, ZeroOrOne, Dynamic),
    row(3, "EnvType", Format::Chr, A.with(D).with(G).with(R), ZeroOrOne, Dynamic),
    row(3, "PkgType", Format::Chr, A.with(D).with(G).with(R), ZeroOrOne, Dynamic),
    row(3, "Operations", Format::Node, G, ZeroOrOne, Dynamic),
    row(4, "Download", Format::Null, E, ZeroOrOne, Dynamic),
    row(4, "DownloadInstall", Format::Null, E, ZeroOrOne, Dynamic),
    row(4, "DownloadInstallInactive", Format::Null, E, ZeroOrOne, Dynamic),
    row(1, "Inventory", Format::Node, G, One, Permanent),
    row(2, "Delivered", Format::Node, G, One, Permanent),
    row(3, "<x>", Format::Node, D.with(G), ZeroOrMore, Dynamic),
    row(4, "PkgID", Format::Chr, G, One, Dynamic),
    row(4, "Data", Format::Bin, NONE, ZeroOrOne, Dynamic),
    row(4, "Name", Format::Chr, G, ZeroOrOne, Dynamic),
    row(4, "Description", Format::Chr, G, ZeroOrOne, Dynamic),
    row(4, "InstallParams", Format::Chr, G.with(R), ZeroOrOne, Dynamic),
    row(4, "Status", Format::Int, G, ZeroOrOne, Dynamic),
    row(4, "State", Format::Int, G, ZeroOrOne, Dynamic),
    row(4, "PkgType", Format::Chr, G, ZeroOrOne, Dynamic),
    row(4, "EnvType", Format::Chr, G, ZeroOrOne, Dynamic),
    row(4, "Operations", Format::Node, G, ZeroOrOne, Dynamic),
    row(5, "Install", Format::Null, E, ZeroOrOne, Dynamic),
    row(5, "InstallInactive", Format::Null, E, ZeroOrOne, Dynamic),
    row(5, "Remove", Format::Null, E, ZeroOrOne, Dynamic),
    row(2, "Deployed", Format::Node, G, One, Permanent),
    row(3, "<x>", Format::Node, G, ZeroOrMore, Dynamic),
    row(4, "ID", Format::Chr, G, One, Dynamic),
    row(4, "PkgIDRef", Format::Chr, G, ZeroOrOne, Dynamic),
    row(4, "Name", Format::Chr, G, ZeroOrOne, Dynamic),
    row(4, "Description", Format::Chr, G, ZeroOrOne, Dynamic),
    row(4, "Version", Format::Chr, G, ZeroOrOne, Dynamic),
    row(4, "Status", Format::Int, G, ZeroOrOne, Dynamic),
    row(4, "State", Format::Int, G, ZeroOrOne, Dynamic),
    row(4, "EnvType", Format::Chr, G, ZeroOrOne, Dynamic),
    row(4, "Operations", Format::Node, G, ZeroOrOne, Dynamic),
    row(5, "Activate", Format::Null, E, ZeroOrOne, Dynamic),
    row(5, "Deactivate", Format::Null, E, ZeroOrOne, Dynamic),
    row(5, "Remove", Format::Null, E, ZeroOrOne, Dynamic),
];

#[rustfmt::skip]
static DACMO_ROWS: &[Row] = &[
    row(0, "DACMO", Format::Node, G, ZeroOrMore, Permanent),
    row(1, "MOID", Format::Chr, G, One, Permanent),
    row(1, "MIID", Format::Chr, G, One, Permanent),
    row(1, "Owner", Format::Chr, G, One, Permanent),
    row(1, "ACL", Format::Node, G, One, Permanent),
    row(2, "<x>", Format::Node, A.with(D).with(G), ZeroOrMore, Dynamic),
    row(3, "SrvID", Format::Chr, A.with(G).with(R), One, Dynamic),
    row(3, "Rights", Format::Int, A.with(G).with(R), One, Dynamic),
];

#[rustfmt::skip]
static EXAMPLE_ROWS: &[Row] = &[
    row(0, "Example", Format::Node, A.with(D).with(G), ZeroOrMore, Dynamic),
    row(1, "Name", Format::Chr, A.with(G).with(R), One, Dynamic),
    row(1, "Target", Format::Float, A.with(D).with(G).with(R), ZeroOrOne, Dynamic),
    row(1, "Enabled", Format::Bool, A.with(D).with(G).with(R), ZeroOrOne, Dynamic),
    row(1, "Count", Format::Int, A.with(D).with(G).with(R), ZeroOrOne, Dynamic),
    row(1, "Note", Format::Chr, A.with(D).with(G).with(R), ZeroOrOne, Dynamic),
    row(1, "Data", Format::Node, A.with(D).with(G), ZeroOrOne, Dynamic),
    row(2, "<x>", Format::Node, A.with(D).with(G), ZeroOrMore, Dynamic),
    row(3, "Date", Format::Chr, A.with(G).with(R), One, Dynamic),
    row(3, "Value", Format::Chr, A.with(G).with(R), One, Dynamic),
];
