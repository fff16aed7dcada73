//! What modems in the field do otherwise.

/// A way in which a modem differs from the one that behaves. What a reader makes of it stands with each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ModemQuirk {
    /// CCHO is refused. A channel is opened by CSIM.
    NoCcho,
    /// CCHC is refused. The message is read; the channel stays open until the card is reset.
    NoCchc,
    /// CSIM is refused. Together with [`Self::NoCcho`] nothing can be opened: `no-logical-channel`.
    NoCsim,
    /// CRSM is refused. The ICCID comes from CCID, EF(DIR) and the length of the MNC from nowhere.
    NoCrsm,
    /// CSIM works on channel 0 only. Together with [`Self::NoCcho`] the card is not reached: `card-io`.
    CsimFailsOnOpened,
    /// Digits are sent without quotation marks, and the name of a channel without `+CCHO:`.
    Bare,
    /// The name of a channel is a word, not a number.
    TextHandle,
    /// CCHO wants the AID without quotation marks.
    AidUnquotedOnly,
    /// Commands are sent back, whatever ATE0 says.
    Echo,
    /// Between all lines come some that nobody asked for.
    Unsolicited,
    /// Responses of more than 128 bytes are refused.
    Blocks128,
    /// Responses of more than 64 bytes are refused.
    Blocks64,
    /// Errors are told in words, whatever CMEE says.
    ErrorsInWords,
    /// Errors are told by ERROR alone, whatever CMEE says.
    ErrorsPlain,
    /// GET RESPONSE is sent by the modem itself, so that a card on T=0 looks as on T=1.
    FetchesResponses,
    /// A command with data and Le is refused with 6700 where the card talks T=0.
    StrictT0,
    /// The SIM waits for its PIN. An open message is read; the SIM is not ready.
    PinPending,
    /// The modem is registered only after it was asked some times.
    RegistrationLate,
    /// The modem is never registered: the SIM is not ready.
    NotRegistered,
    /// There is no SIM: `no-card`.
    NoSim,
}

impl ModemQuirk {
    /// All of them, with their names.
    pub const ALL: [(Self, &'static str); 20] = [
        (Self::NoCcho, "no-ccho"),
        (Self::NoCchc, "no-cchc"),
        (Self::NoCsim, "no-csim"),
        (Self::NoCrsm, "no-crsm"),
        (Self::CsimFailsOnOpened, "csim-fails-on-opened"),
        (Self::Bare, "bare"),
        (Self::TextHandle, "text-handle"),
        (Self::AidUnquotedOnly, "aid-unquoted-only"),
        (Self::Echo, "echo"),
        (Self::Unsolicited, "unsolicited"),
        (Self::Blocks128, "blocks-128"),
        (Self::Blocks64, "blocks-64"),
        (Self::ErrorsInWords, "errors-in-words"),
        (Self::ErrorsPlain, "errors-plain"),
        (Self::FetchesResponses, "fetches-responses"),
        (Self::StrictT0, "strict-t0"),
        (Self::PinPending, "pin-pending"),
        (Self::RegistrationLate, "registration-late"),
        (Self::NotRegistered, "not-registered"),
        (Self::NoSim, "no-sim"),
    ];

    /// Its name, in kebab case.
    pub fn name(self) -> &'static str {
        Self::ALL.iter().find(|(quirk, _)| *quirk == self).map_or("", |(_, name)| name)
    }
}

/// No quirk has this name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no modem is so; known are {}", ModemQuirk::ALL.map(|(_, name)| name).join(", "))]
pub struct UnknownQuirk;

impl std::str::FromStr for ModemQuirk {
    type Err = UnknownQuirk;

    fn from_str(text: &str) -> Result<Self, UnknownQuirk> {
        Self::ALL.iter().find(|(_, name)| *name == text).map(|(quirk, _)| *quirk).ok_or(UnknownQuirk)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_quirk_is_found_by_its_name() {
        for (quirk, name) in ModemQuirk::ALL {
            assert_eq!((name.parse(), quirk.name()), (Ok(quirk), name));
        }
        assert!("loud".parse::<ModemQuirk>().unwrap_err().to_string().contains("no-ccho"));
    }
}
