//! SELECT, in the forms that telecom readers and OpenSC use.

use super::files::{Kind, MF};
use super::quirks::Quirk;
use super::{Request, VirtualUicc};
use crate::apdu::{Response, StatusWord};
use crate::file::tlv::object;

const CURRENT_ADF: u16 = 0x7FFF;
const MF_ID: u16 = 0x3F00;

impl VirtualUicc {
    pub(super) fn select(&mut self, request: &Request<'_>) -> Response {
        let Some(channel) = self.channel(request.number).cloned() else {
            return StatusWord::NO_CHANNEL.into();
        };
        let quirks = &self.quirks;
        let refused = match request.p1 {
            0x08 => quirks.has(Quirk::NoPathFromMf) || quirks.has(Quirk::OnlyById),
            0x09 => quirks.has(Quirk::OnlyById),
            _ => false,
        };
        if refused {
            return StatusWord::WRONG_P1_P2.into();
        }
        let found = match (request.p1, request.data) {
            (0x00, []) => Some(MF),
            (0x00, [high, low]) => self.by_id(channel.df, channel.adf, u16::from_be_bytes([*high, *low])),
            (0x03, []) => self.tree.nodes.get(channel.df).map(|node| node.parent),
            (0x04, aid) => self.tree.by_aid(aid, quirks),
            (0x08, path) => match path.strip_prefix(&CURRENT_ADF.to_be_bytes()) {
                Some(_) if quirks.has(Quirk::NoAlias) => None,
                Some(rest) => channel.adf.and_then(|adf| self.walk(adf, rest)),
                None => self.walk(MF, path),
            },
            (0x09, path) => self.walk(channel.df, path),
            (0x00 | 0x03, _) => return StatusWord::WRONG_LENGTH.into(),
            _ => return StatusWord::WRONG_P1_P2.into(),
        };
        let template = match request.p2 {
            0x00 if !quirks.has(Quirk::RefuseP200) => Some(0x6F),
            0x04 if !quirks.has(Quirk::RefuseP204) => Some(if quirks.has(Quirk::FciOnly) { 0x6F } else { 0x62 }),
            0x0C if !quirks.has(Quirk::RefuseP20C) => None,
            _ => return StatusWord::WRONG_P1_P2.into(),
        };
        let Some(number) = found else {
            let is_application = request.p1 == 0x04 && quirks.has(Quirk::NoApplication6999);
            return if is_application { StatusWord::NO_SUCH_APPLICATION } else { StatusWord::NOT_FOUND }.into();
        };
        self.make_current(request, number);
        // Where nothing is expected nothing is returned; T=0 cannot tell.
        let wanted = request.le.is_some() || self.protocol == crate::apdu::Protocol::T0;
        let template = template.filter(|_| wanted && !self.quirks.has(Quirk::NoFcp));
        let data = template.map(|tag| {
            let parameters = self.tree.parameters(number, &self.quirks);
            let is_nested = tag == 0x6F && self.quirks.has(Quirk::NestedFcp);
            object(tag, &if is_nested { object(0x62, &parameters) } else { parameters })
        });
        Response { data: data.unwrap_or_default(), status: StatusWord::OK }
    }

    fn make_current(&mut self, request: &Request<'_>, number: usize) {
        let Some(node) = self.tree.nodes.get(number) else { return };
        let parent = node.parent;
        let is_application = matches!(&node.kind, Kind::Application(_));
        let is_directory = self.tree.is_directory(number);
        let by_name = request.p1 == 0x04;
        let Some(channel) = self.channel(request.number) else { return };
        channel.record = 0;
        if is_directory {
            channel.df = number;
            channel.ef = None;
            if is_application && by_name {
                channel.adf = Some(number);
            }
        } else {
            channel.df = parent;
            channel.ef = Some(number);
        }
    }

    /// By identifier alone: a child of the current directory, that directory, its parent, or a directory beside it.
    fn by_id(&self, df: usize, adf: Option<usize>, id: u16) -> Option<usize> {
        let parent = self.tree.nodes.get(df)?.parent;
        match id {
            MF_ID => Some(MF),
            CURRENT_ADF if self.quirks.has(Quirk::NoAlias) => None,
            CURRENT_ADF => adf,
            _ if self.tree.nodes.get(df)?.id == Some(id) => Some(df),
            _ => self
                .tree
                .child(df, id)
                .or_else(|| self.tree.child(parent, id).filter(|number| self.tree.is_directory(*number))),
        }
    }

    /// Follows identifiers from a directory on; all but the last are directories.
    fn walk(&self, from: usize, path: &[u8]) -> Option<usize> {
        let (ids, rest) = path.as_chunks::<2>();
        if !rest.is_empty() || (ids.is_empty() && from == MF) {
            return None;
        }
        ids.iter().try_fold(from, |number, id| self.tree.child(number, u16::from_be_bytes(*id)))
    }
}
