//! The demo's cards, each in the reader of a private pcscd, or behind a local socket where that cannot be had.

use omadm_card::VirtualUicc;
use omadm_card::link::vpcd::{PcscdError, PrivatePcscd, ServedCard, SharedCard, listen};
use std::path::Path;

use super::props::CardLink;
use super::watch::home;
use crate::args::Cast;
use crate::failure::Failure;

/// The cards, in place until the value is dropped.
#[derive(Debug)]
pub(super) struct Cards {
    places: Vec<Place>,
    /// Why there is no pcscd.
    pub(super) without_pcscd: Option<String>,
}

#[derive(Debug)]
struct Place {
    cast: Cast,
    link: CardLink,
    // Before the service: a card leaves its reader before the reader goes.
    _served: ServedCard,
    /// One service has one reader, so each card has a service of its own.
    service: Option<PrivatePcscd>,
}

impl Cards {
    /// Puts each card where its device finds it.
    pub(super) fn insert(folder: &Path, cards: Vec<(Cast, VirtualUicc)>, use_pcscd: bool) -> Result<Self, Failure> {
        let mut all = Self { places: Vec::new(), without_pcscd: None };
        if !use_pcscd || !cfg!(feature = "pcsc") {
            all.without_pcscd = Some("it is switched off".to_owned());
        }
        for (cast, card) in cards {
            let place = all.place(folder, cast, SharedCard::new(card))?;
            all.places.push(place);
        }
        Ok(all)
    }

    fn place(&mut self, folder: &Path, cast: Cast, card: SharedCard) -> Result<Place, Failure> {
        let failed = |error| Failure::failed(format!("the card of {} finds no place: {error}", cast.name()));
        if self.without_pcscd.is_none() {
            match service(&home(folder, cast).join("pcscd")) {
                Ok(service) => {
                    let link = CardLink::Reader(service.reader().to_owned());
                    let served = service.insert(card).map_err(failed)?;
                    return Ok(Place { cast, link, _served: served, service: Some(service) });
                }
                Err(error) => self.without_pcscd = Some(error.to_string()),
            }
        }
        let served = listen(&home(folder, cast).join("card.sock"), card).map_err(failed)?;
        Ok(Place { cast, link: CardLink::Socket, _served: served, service: None })
    }

    /// How a device reaches its card.
    pub(super) fn link(&self, cast: Cast) -> &CardLink {
        self.of(cast).map_or(&CardLink::Off, |place| &place.link)
    }

    /// What a device's client needs in its environment to find its reader.
    pub(super) fn environment(&self, cast: Cast) -> Option<(&'static str, &Path)> {
        self.of(cast)?.service.as_ref().map(PrivatePcscd::environment)
    }

    /// How many cards are in place.
    pub(super) fn count(&self) -> usize {
        self.places.len()
    }

    fn of(&self, cast: Cast) -> Option<&Place> {
        self.places.iter().find(|place| place.cast == cast)
    }
}

fn service(socket: &Path) -> Result<PrivatePcscd, PcscdError> {
    PrivatePcscd::available()?;
    PrivatePcscd::start(socket)
}
