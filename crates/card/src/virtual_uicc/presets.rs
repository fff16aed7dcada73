//! Kinds of cards in the field, by what they do and not by who made them.

use super::quirks::{ChannelRefusal, Channels, Quirk};
use crate::apdu::Protocol;
use crate::image::{CardImage, ImageError, Layout};

/// A kind of card: protocol, channels, quirks and layouts under one name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Preset {
    /// Its name on the command line.
    pub name: &'static str,
    /// What kind of card it is, in one line.
    pub about: &'static str,
    protocol: Protocol,
    channels: Channels,
    quirks: &'static [Quirk],
    layouts: &'static [Layout],
}

const ALL_CHANNELS: Channels = Channels { count: 19, refusal: ChannelRefusal::NoFunction };

const fn no_channels(refusal: ChannelRefusal) -> Channels {
    Channels { count: 0, refusal }
}

impl Preset {
    /// All of them.
    pub const ALL: &'static [Self] = &[
        Self {
            name: "plain",
            about: "behaves as the standards say, on T=1",
            protocol: Protocol::T1,
            channels: ALL_CHANNELS,
            quirks: &[],
            layouts: &[],
        },
        Self {
            name: "t0-telecom",
            about: "a UICC of today: T=0, three channels, ETSI forms only, five bytes for each command",
            protocol: Protocol::T0,
            channels: Channels { count: 3, refusal: ChannelRefusal::NoFunction },
            quirks: &[Quirk::RefuseP200, Quirk::StrictCase1],
            layouts: &[],
        },
        Self {
            name: "old-sim",
            about: "T=0, no channels, no application by AID, paths from EF(DIR), small blocks",
            protocol: Protocol::T0,
            channels: no_channels(ChannelRefusal::NoInstruction),
            quirks: &[Quirk::Pkcs15ByPath, Quirk::BlocksOf128, Quirk::NoPinStatus, Quirk::NoSfi],
            layouts: &[Layout::PathsFromMf],
        },
        Self {
            name: "java-card",
            about: "an applet: FCI only, 6999 for what is not there, no short identifiers, 61xx on T=1",
            protocol: Protocol::T1,
            channels: Channels { count: 3, refusal: ChannelRefusal::NoChannel },
            quirks: &[Quirk::FciOnly, Quirk::NoApplication6999, Quirk::NoSfi, Quirk::FetchOnT1],
            layouts: &[],
        },
        Self {
            name: "opensc-token",
            about: "a PKCS#15 token of the office: ISO forms only, no channels, paths from the MF",
            protocol: Protocol::T1,
            channels: no_channels(ChannelRefusal::NoClass),
            quirks: &[Quirk::RefuseP204, Quirk::NestedFcp, Quirk::NoAccessRule, Quirk::NoPinStatus],
            layouts: &[Layout::PathsFromMf, Layout::TransparentDir],
        },
        Self {
            name: "picky-p2",
            about: "SELECT with P2 = 0C only, and no template",
            protocol: Protocol::T1,
            channels: ALL_CHANNELS,
            quirks: &[Quirk::RefuseP204, Quirk::RefuseP200],
            layouts: &[],
        },
        Self {
            name: "no-channels",
            about: "MANAGE CHANNEL is answered 6881",
            protocol: Protocol::T1,
            channels: no_channels(ChannelRefusal::NoChannel),
            quirks: &[],
            layouts: &[],
        },
        Self {
            name: "sparse",
            about: "tells nothing: no template at SELECT, no EF(DIR), short reads, 6A86 behind the end",
            protocol: Protocol::T1,
            channels: ALL_CHANNELS,
            quirks: &[Quirk::NoFcp, Quirk::ShortReads, Quirk::End6A86],
            layouts: &[Layout::NoDir, Layout::NoTokenInfo],
        },
        Self {
            name: "toolkit",
            about: "a SIM with an applet that wants attention: 91xx for 9000, 6Cxx on T=1, high channel numbers",
            protocol: Protocol::T1,
            channels: ALL_CHANNELS,
            quirks: &[Quirk::ToolkitWaiting, Quirk::WrongLeOnT1, Quirk::HighestChannelFirst],
            layouts: &[],
        },
        Self {
            name: "sloppy-der",
            about: "directories of a careless bureau: doubled OIDs, long lengths, 00 for padding, a foreign object first",
            protocol: Protocol::T0,
            channels: ALL_CHANNELS,
            quirks: &[],
            layouts: &[Layout::ForeignFirst, Layout::DoubledOid, Layout::ZeroPadding, Layout::LongLengths],
        },
    ];

    /// The one with this name.
    pub fn named(name: &str) -> Option<&'static Self> {
        Self::ALL.iter().find(|preset| preset.name == name)
    }

    /// The card as one of this kind. Files and their content stay, PINs and keys too.
    ///
    /// # Errors
    /// If the layouts of the kind make no possible card of it.
    pub fn apply(&self, image: CardImage) -> Result<CardImage, ImageError> {
        let mut parts = image.into_parts();
        parts.protocol = self.protocol;
        parts.channels = self.channels;
        parts.quirks = self.quirks.iter().copied().collect();
        self.layouts.iter().try_fold(parts.try_into()?, |image, layout| layout.apply(image))
    }
}
