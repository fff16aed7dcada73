//! Reading the Bootstrap Message from a card (docs/card-files.md, "How it is read").

mod blocks;
mod content;
mod identity;
mod message;
mod passed_over;
mod pin;
mod session;
mod shortcuts;
mod way;

use omadm_core::bootstrap::sequence::Admitted;
use omadm_core::ids::{Iccid, Mcc, Mnc};
use omadm_core::reason::Reason;
use omadm_core::secret::Secret;
use std::time::Duration;

use crate::channel::{Card, Channel, Counts};
use crate::error::{CardError, CardErrorKind, Place};
use crate::link::Link;
use crate::pkcs15::oid::ObjectId;
use identity::Teller;
use session::Session;
use way::Way;

pub use content::MAX_MESSAGE;
pub use passed_over::{Cause, PassedOver};
pub use pin::RefusedPin;
pub use shortcuts::Shortcuts;

pub(crate) use blocks::Part;
pub(crate) use identity::{applications, open_usim};
pub(crate) use message::MAX_DIRECTORY;
pub(crate) use pin::is_user_pin;
pub(crate) use session::{Refusal, Session as FileSession};
pub(crate) use way::{Selected, open as open_pkcs15};

pub(crate) use content::check as check_content;

/// What is to be read, and what may be used for it.
#[derive(Debug, Clone)]
pub struct ReadRequest<'a> {
    /// The PIN for a private object, 4 to 8 digits.
    pub pin: Option<&'a Secret>,
    /// The PINs that cards refused earlier, as [`CardReading::refused_pin`] gave them.
    pub refused: &'a [RefusedPin],
    /// The cards whose message is wanted. Of another one only its identity is read: no PIN of ours is sent to it.
    pub admitted: &'a Admitted,
    /// Whether MCC and MNC are to be read too.
    pub sim: bool,
    /// Read the object with this identifier instead, as it is: the first one that can be read, at most [`MAX_MESSAGE`] bytes.
    pub object: Option<&'a ObjectId>,
    /// Read on the short way (`card.fast`), with what the card told before; anything unexpected is read on the plain one.
    pub fast: Option<&'a Shortcuts>,
    /// How long the whole reading may take. One command takes as long as the link allows.
    pub limit: Duration,
}

impl Default for ReadRequest<'_> {
    /// No PIN, any card, the Bootstrap Message, MCC and MNC too, the plain way, 20 seconds.
    fn default() -> Self {
        Self {
            pin: None,
            refused: &[],
            admitted: &Admitted::Any,
            sim: true,
            object: None,
            fast: None,
            limit: Duration::from_secs(20),
        }
    }
}

/// What a card told.
#[derive(Clone)]
pub struct CardReading {
    /// Which card it is; none where it does not tell.
    pub iccid: Option<Iccid>,
    /// The Bootstrap Message without padding, not yet understood, or why there is none. Where several objects hold one it
    /// is one message of all of them, within [`Limit::WholeCard`](omadm_core::bootstrap::message::Limit).
    pub message: Result<Vec<u8>, CardError>,
    /// What else lies in the place of a message and did not add to it.
    pub passed_over: Vec<PassedOver>,
    /// Whether the object lies behind a PIN, of several each that holds a secret; otherwise everybody who holds the card
    /// can read it (Profile P-36).
    pub behind_pin: bool,
    /// What the card told of short identifiers, for [`ReadRequest::fast`] of a later reading.
    pub shortcuts: Shortcuts,
    /// What the card tells about its SIM.
    pub sim: SimFacts,
    /// A PIN that the card refused just now, or that was sent without an answer. To be kept durably before anything
    /// else is done, in place of what was kept of the same PIN, and given with every later [`ReadRequest`].
    pub refused_pin: Option<RefusedPin>,
    /// A PIN that was sent without an answer earlier and is right: what was kept of it is to be forgotten.
    pub accepted_pin: Option<RefusedPin>,
    /// The commands that it took.
    pub counts: Counts,
}

impl std::fmt::Debug for CardReading {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The message may hold secrets.
        f.debug_struct("CardReading")
            .field("iccid", &self.iccid)
            .field("message", &self.message.as_ref().map(|bytes| format!("{} bytes", bytes.len())))
            .field("passed_over", &self.passed_over)
            .field("behind_pin", &self.behind_pin)
            .field("sim", &self.sim)
            .field("refused_pin", &self.refused_pin)
            .field("accepted_pin", &self.accepted_pin)
            .field("counts", &self.counts)
            .finish()
    }
}

impl CardReading {
    /// Whether something that may hold a message could not be read or understood.
    pub fn is_partial(&self) -> bool {
        self.passed_over.iter().any(|one| match one.cause {
            Cause::Damaged | Cause::Unread => true,
            Cause::Unused => false,
        })
    }

    /// The reading of a card that could not even be reached.
    pub fn unreachable(error: CardError) -> Self {
        let sim = SimFacts {
            present: false,
            ready: false,
            mcc: None,
            mnc: None,
            reason: Some(error.reason()),
            message: Some(error.to_string()),
        };
        Self {
            iccid: None,
            message: Err(error),
            passed_over: Vec::new(),
            behind_pin: false,
            shortcuts: Shortcuts::default(),
            sim,
            refused_pin: None,
            accepted_pin: None,
            counts: Counts::default(),
        }
    }
}

/// What is known of the SIM (Profile P-24, P-26).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SimFacts {
    /// A card answered. That there is none is proven only by the reason `no-card`.
    pub present: bool,
    /// It has a USIM that can be selected, and no PIN is pending.
    pub ready: bool,
    /// Country of the home network.
    pub mcc: Option<Mcc>,
    /// Home network in that country.
    pub mnc: Option<Mnc>,
    /// Why it is not ready.
    pub reason: Option<Reason>,
    /// The same in a sentence; also why MCC and MNC are not known where it is ready.
    pub message: Option<String>,
}

/// Reads the Bootstrap Message and what identifies the card. `now` tells the time since some fixed moment.
///
/// ICCID first and last, from the link where it tells it, else on the basic channel where that is ours; everything between
/// on a channel that is always closed. A card that was exchanged meanwhile gives [`CardErrorKind::Removed`]: read again.
pub fn read(link: &mut dyn Link, request: &ReadRequest<'_>, now: &dyn Fn() -> Duration) -> CardReading {
    let mut card = Card::new(link, now, request.limit);
    card.set_fast(request.fast.is_some());
    let mut reading = CardReading {
        iccid: None,
        message: Err(CardError::new(CardErrorKind::Io, Place::Link, "nothing was read")),
        passed_over: Vec::new(),
        behind_pin: false,
        shortcuts: Shortcuts::default(),
        sim: SimFacts { present: true, ..SimFacts::default() },
        refused_pin: None,
        accepted_pin: None,
        counts: Counts::default(),
    };
    if let Err(error) = read_into(&mut reading, &mut card, request) {
        reading.sim.ready = false;
        reading.sim.reason = Some(error.reason());
        reading.sim.message = Some(error.to_string());
        reading.message = Err(error);
    }
    reading.counts = card.counts();
    reading
}

/// Which card it is, and nothing else: told by the link, else by the card on the basic channel where that is ours. None
/// where neither tells. `now` tells the time since some fixed moment, `limit` how long it may take.
///
/// # Errors
/// If the card or its reader fails.
pub fn which_card(
    link: &mut dyn Link,
    now: &dyn Fn() -> Duration,
    limit: Duration,
) -> Result<Option<Iccid>, CardError> {
    Ok(told_iccid(&mut Card::new(link, now, limit))?.0)
}

/// The ICCID where it is told without a channel of ours, and who told it; nobody where a channel is needed.
fn told_iccid(card: &mut Card<'_>) -> Result<(Option<Iccid>, Option<Teller>), CardError> {
    let told = identity::iccid(card, Teller::Link)?;
    if told.is_some() {
        return Ok((told, Some(Teller::Link)));
    }
    if !card.is_exclusive() {
        return Ok((None, None));
    }
    let basic = Teller::Card(Channel::BASIC);
    Ok((identity::iccid(card, basic)?, Some(basic)))
}

fn read_into(reading: &mut CardReading, card: &mut Card<'_>, request: &ReadRequest<'_>) -> Result<(), CardError> {
    let (iccid, teller) = told_iccid(card)?;
    reading.iccid = iccid;
    if teller == Some(Teller::Link) && !request.admitted.covers(reading.iccid.as_ref()) {
        reading.message = Err(not_allowed());
        // Where the link tells of the SIM too, nothing has to be opened.
        let told = if request.sim { identity::told_sim(card)? } else { Some(reading.sim.clone()) };
        if let Some(sim) = told {
            reading.sim = sim;
            return is_same_card(reading, card, Teller::Link);
        }
    }
    match way::open(card)? {
        Ok(way) => {
            let result = read_on_channel(reading, card, &way, teller, request);
            card.close_channel(way.channel);
            result
        }
        Err(error) => {
            // A modem tells of the SIM although it opens nothing for us.
            let Some(sim) = identity::told_sim(card)? else { return Err(error) };
            reading.sim = sim;
            reading.message = Err(error);
            teller.map_or(Ok(()), |teller| is_same_card(reading, card, teller))
        }
    }
}

fn read_on_channel(
    reading: &mut CardReading,
    card: &mut Card<'_>,
    way: &Way,
    teller: Option<Teller>,
    request: &ReadRequest<'_>,
) -> Result<(), CardError> {
    let teller = match teller {
        Some(teller) => teller,
        None => {
            let teller = Teller::Card(way.channel);
            reading.iccid = identity::iccid(card, teller)?;
            if let Some(selected) = &way.selected {
                Session::new(card, way.channel).go_back_into(&selected.aid)?;
            }
            teller
        }
    };
    reading.message = if request.admitted.covers(reading.iccid.as_ref()) {
        let mut session = Session::new(card, way.channel);
        session.take_shortcuts(request.fast, reading.iccid.as_ref());
        let message = message::read(&mut session, way.selected.as_ref(), request, reading);
        reading.shortcuts = session.give_shortcuts(reading.iccid.as_ref());
        message
    } else {
        Err(not_allowed())
    };
    if let Err(error) = &reading.message
        && (error.place == Place::Link || reading.refused_pin.is_some())
    {
        // A refused PIN has to be made durable before anything else takes time.
        return Err(error.clone());
    }
    if request.sim && reading.refused_pin.is_none() {
        reading.sim = identity::sim(card, way.channel)?;
    }
    is_same_card(reading, card, teller)
}

fn not_allowed() -> CardError {
    CardError::new(CardErrorKind::NotAllowed, Place::Iccid, "the card may not configure the device (card.allow)")
}

fn is_same_card(reading: &CardReading, card: &mut Card<'_>, teller: Teller) -> Result<(), CardError> {
    let mut last = identity::iccid(card, teller)?;
    if last != reading.iccid && card.set_fast(false) {
        last = identity::iccid(card, teller)?;
    }
    if last == reading.iccid {
        return Ok(());
    }
    Err(CardError::new(
        CardErrorKind::Removed,
        Place::Iccid,
        "another card was there at the end than at the beginning; read again",
    ))
}
