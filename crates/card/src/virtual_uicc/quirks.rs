//! What cards in the field do otherwise, each as a switch; and how many logical channels they have.

use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use omadm_core::reason::Reason;

use crate::apdu::{MAX_CHANNEL, StatusWord};

/// One way in which a card differs from the one that the standards describe (docs/card-image.md, "Quirks").
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(into = "&'static str", try_from = "String")]
pub enum Quirk {
    /// SELECT with P2 = 04 is refused with 6A86: the card knows ISO 7816-4 only.
    RefuseP204,
    /// SELECT with P2 = 00 is refused with 6A86: the card knows ETSI TS 102 221 only.
    RefuseP200,
    /// SELECT with P2 = 0C is refused with 6A86.
    RefuseP20C,
    /// SELECT answers with the template 6F whatever P2 asks for.
    FciOnly,
    /// The template 6F holds the template 62.
    NestedFcp,
    /// SELECT answers with no template at all.
    NoFcp,
    /// The template of a file does not tell its size (tag 80).
    NoSize,
    /// The template of an application does not tell its PINs (tag C6).
    NoPinStatus,
    /// The template of a file does not tell its access rule (tag 8B).
    NoAccessRule,
    /// The template of a file does not tell its short identifier (tag 88), and there are none.
    NoSfi,
    /// SELECT by path from the MF (P1 = 08) is refused with 6A86; P1 = 09 and 00 work.
    NoPathFromMf,
    /// SELECT by path (P1 = 08 and 09) is refused with 6A86; only the identifier alone works (P1 = 00).
    OnlyById,
    /// 7FFF stands for nothing: SELECT with it is answered 6A82.
    NoAlias,
    /// An application is found by its full AID only, not by the beginning of it.
    FullAidOnly,
    /// The PKCS#15 application is not found by its AID, only by the path of its DF.
    Pkcs15ByPath,
    /// An application that is not there is answered 6999, as Java cards do.
    NoApplication6999,
    /// A wrong Le is answered 6Cxx on T=1 too, with READ and with SELECT.
    WrongLeOnT1,
    /// The answer to data waits for GET RESPONSE (61xx) on T=1 too.
    FetchOnT1,
    /// The answer to READ waits for GET RESPONSE (61xx).
    FetchOnRead,
    /// A toolkit command waits: 91xx in place of 9000.
    ToolkitWaiting,
    /// READ with Le = 00 returns no byte, and 9000.
    Le00Empty,
    /// READ with Le = 00 or above 128 is refused with 6700.
    BlocksOf128,
    /// READ with Le = 00 or above 64 is refused with 6700.
    BlocksOf64,
    /// READ BINARY returns at most 48 bytes, whatever is asked for, and 9000.
    ShortReads,
    /// Where a file ends before Le bytes, and behind its end, READ BINARY is answered 6282; on T=0 too.
    End6282,
    /// READ BINARY behind the end of a file is answered 6A86 in place of 6B00.
    End6A86,
    /// Where a file ends before Le bytes, READ BINARY returns what there is, and 9000; on T=0 too.
    End9000,
    /// A command without data has five bytes on T=0 and four on T=1, else it is refused with 6700.
    StrictCase1,
    /// MANAGE CHANNEL gives the highest free number first.
    HighestChannelFirst,
    /// MANAGE CHANNEL answers with a number that is none, 20, and opens nothing.
    Channel20,
    /// MANAGE CHANNEL with P1 = 80 is refused with 6985: a channel cannot be closed.
    ChannelsStayOpen,
    /// VERIFY without data is refused with 6700.
    EmptyVerify6700,
    /// VERIFY without data is refused with 6A86.
    EmptyVerify6A86,
}

impl Quirk {
    /// All of them.
    pub const ALL: [Self; 33] = [
        Self::RefuseP204,
        Self::RefuseP200,
        Self::RefuseP20C,
        Self::FciOnly,
        Self::NestedFcp,
        Self::NoFcp,
        Self::NoSize,
        Self::NoPinStatus,
        Self::NoAccessRule,
        Self::NoSfi,
        Self::NoPathFromMf,
        Self::OnlyById,
        Self::NoAlias,
        Self::FullAidOnly,
        Self::Pkcs15ByPath,
        Self::NoApplication6999,
        Self::WrongLeOnT1,
        Self::FetchOnT1,
        Self::FetchOnRead,
        Self::ToolkitWaiting,
        Self::Le00Empty,
        Self::BlocksOf128,
        Self::BlocksOf64,
        Self::ShortReads,
        Self::End6282,
        Self::End6A86,
        Self::End9000,
        Self::StrictCase1,
        Self::HighestChannelFirst,
        Self::Channel20,
        Self::ChannelsStayOpen,
        Self::EmptyVerify6700,
        Self::EmptyVerify6A86,
    ];

    /// Its name in images and on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::RefuseP204 => "refuse-p2-04",
            Self::RefuseP200 => "refuse-p2-00",
            Self::RefuseP20C => "refuse-p2-0c",
            Self::FciOnly => "fci-only",
            Self::NestedFcp => "nested-fcp",
            Self::NoFcp => "no-fcp",
            Self::NoSize => "no-size",
            Self::NoPinStatus => "no-pin-status",
            Self::NoAccessRule => "no-access-rule",
            Self::NoSfi => "no-sfi",
            Self::NoPathFromMf => "no-path-from-mf",
            Self::OnlyById => "only-by-id",
            Self::NoAlias => "no-alias",
            Self::FullAidOnly => "full-aid-only",
            Self::Pkcs15ByPath => "pkcs15-by-path",
            Self::NoApplication6999 => "no-application-6999",
            Self::WrongLeOnT1 => "6c-on-t1",
            Self::FetchOnT1 => "61-on-t1",
            Self::FetchOnRead => "61-on-read",
            Self::ToolkitWaiting => "91-for-9000",
            Self::Le00Empty => "le-00-empty",
            Self::BlocksOf128 => "blocks-of-128",
            Self::BlocksOf64 => "blocks-of-64",
            Self::ShortReads => "short-reads",
            Self::End6282 => "end-6282",
            Self::End6A86 => "end-6a86",
            Self::End9000 => "end-9000",
            Self::StrictCase1 => "strict-case-1",
            Self::HighestChannelFirst => "highest-channel-first",
            Self::Channel20 => "channel-20",
            Self::ChannelsStayOpen => "channels-stay-open",
            Self::EmptyVerify6700 => "empty-verify-6700",
            Self::EmptyVerify6A86 => "empty-verify-6a86",
        }
    }

    /// What a correct reader makes of a card that is good but for this quirk: none where it reads the message, else the
    /// reason that it gives. It knows the right PIN; `private` says whether it needs one, `exclusive` whether the basic
    /// channel is its own ([`crate::Link::is_exclusive`]).
    pub fn hinders(self, private: bool, exclusive: bool) -> Option<Reason> {
        match self {
            // How many tries are left cannot be asked for without risk, so the PIN is not sent.
            Self::EmptyVerify6700 | Self::EmptyVerify6A86 => private.then_some(Reason::PinNeeded),
            // No channel was opened.
            Self::Channel20 => (!exclusive).then_some(Reason::NoLogicalChannel),
            Self::RefuseP204
            | Self::RefuseP200
            | Self::RefuseP20C
            | Self::FciOnly
            | Self::NestedFcp
            | Self::NoFcp
            | Self::NoSize
            | Self::NoPinStatus
            | Self::NoAccessRule
            | Self::NoSfi
            | Self::NoPathFromMf
            | Self::OnlyById
            | Self::NoAlias
            | Self::FullAidOnly
            | Self::Pkcs15ByPath
            | Self::NoApplication6999
            | Self::WrongLeOnT1
            | Self::FetchOnT1
            | Self::FetchOnRead
            | Self::ToolkitWaiting
            | Self::Le00Empty
            | Self::BlocksOf128
            | Self::BlocksOf64
            | Self::ShortReads
            | Self::End6282
            | Self::End6A86
            | Self::End9000
            | Self::StrictCase1
            | Self::HighestChannelFirst
            | Self::ChannelsStayOpen => None,
        }
    }
}

impl fmt::Display for Quirk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A word that is the name of no quirk.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is the name of no quirk; docs/card-image.md lists them")]
pub struct UnknownQuirk(String);

impl From<Quirk> for &'static str {
    fn from(quirk: Quirk) -> Self {
        quirk.name()
    }
}

impl TryFrom<String> for Quirk {
    type Error = UnknownQuirk;

    fn try_from(name: String) -> Result<Self, UnknownQuirk> {
        name.parse()
    }
}

impl FromStr for Quirk {
    type Err = UnknownQuirk;

    fn from_str(name: &str) -> Result<Self, UnknownQuirk> {
        let quirk = Self::ALL.into_iter().find(|quirk| quirk.name() == name);
        quirk.ok_or_else(|| UnknownQuirk(name.chars().take(40).collect()))
    }
}

/// The quirks of a card; none by default.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Quirks(BTreeSet<Quirk>);

impl Quirks {
    /// Whether the card has this one.
    pub fn has(&self, quirk: Quirk) -> bool {
        self.0.contains(&quirk)
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Adds one.
    pub fn insert(&mut self, quirk: Quirk) {
        self.0.insert(quirk);
    }

    /// Those that it has.
    pub fn iter(&self) -> impl Iterator<Item = Quirk> {
        self.0.iter().copied()
    }
}

impl FromIterator<Quirk> for Quirks {
    fn from_iter<I: IntoIterator<Item = Quirk>>(quirks: I) -> Self {
        Self(quirks.into_iter().collect())
    }
}

/// The logical channels of a card beside the basic one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Channels {
    /// How many may be open at once, 0 to 19.
    pub count: u8,
    /// How one more is refused.
    #[serde(default)]
    pub refusal: ChannelRefusal,
}

impl Default for Channels {
    /// All 19.
    fn default() -> Self {
        Self { count: MAX_CHANNEL, refusal: ChannelRefusal::NoFunction }
    }
}

/// How MANAGE CHANNEL is answered when there is no channel (more).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum ChannelRefusal {
    /// 6A81, function not supported.
    #[default]
    #[serde(rename = "6A81")]
    NoFunction,
    /// 6881, logical channel not supported.
    #[serde(rename = "6881")]
    NoChannel,
    /// 6D00, instruction not supported. A card without any channel only.
    #[serde(rename = "6D00")]
    NoInstruction,
    /// 6E00, class not supported. A card without any channel only.
    #[serde(rename = "6E00")]
    NoClass,
}

impl ChannelRefusal {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::NoFunction, Self::NoChannel, Self::NoInstruction, Self::NoClass];

    /// The status word.
    pub fn status(self) -> StatusWord {
        match self {
            Self::NoFunction => StatusWord::NOT_SUPPORTED,
            Self::NoChannel => StatusWord::NO_CHANNEL,
            Self::NoInstruction => StatusWord::WRONG_INS,
            Self::NoClass => StatusWord::WRONG_CLA,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_quirk_is_listed_once_under_the_name_that_stands_in_images() {
        let all: Quirks = Quirk::ALL.into_iter().collect();
        assert_eq!(all.iter().count(), Quirk::ALL.len());
        for quirk in Quirk::ALL {
            assert_eq!(serde_json::to_value(quirk).unwrap(), quirk.name());
            assert_eq!(quirk.name().parse(), Ok(quirk));
        }
        assert!("no-such".parse::<Quirk>().is_err());
    }
}
