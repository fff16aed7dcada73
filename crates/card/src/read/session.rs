//! Selecting files on one channel, with the fallbacks that cards in the field need. Reading them: [`super::blocks`].

use crate::apdu::{Command, Protocol, Response, SELECT, StatusWord};
use crate::channel::{Card, Channel};
use crate::error::CardError;
use crate::file::fcp::Fcp;
use crate::read::shortcuts::Shortcut;

/// Stands for the application that is selected.
const CURRENT_ADF: [u8; 2] = [0x7F, 0xFF];
/// The MF.
const MF: [u8; 2] = [0x3F, 0x00];

/// What SELECT is asked to return, in the order to try.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Answer {
    /// FCP, ETSI TS 102 221.
    Fcp,
    /// FCI, ISO 7816-4: some cards know only this, others refuse it.
    Fci,
    /// Nothing.
    None,
}

impl Answer {
    const ALL: [Self; 3] = [Self::Fcp, Self::Fci, Self::None];

    fn command(self, p1: u8, data: &[u8]) -> Command {
        match self {
            Self::Fcp => Command::case4(SELECT, p1, 0x04, data),
            Self::Fci => Command::case4(SELECT, p1, 0x00, data),
            Self::None => Command::case3(SELECT, p1, 0x0C, data),
        }
    }
}

/// How a file of the current application is named in SELECT, in the order to try.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    /// By path from the MF, 7FFF standing for the application.
    Alias,
    /// By path from the current DF.
    Below,
    /// By its identifier alone.
    Identifier,
}

impl Way {
    const ALL: [Self; 3] = [Self::Alias, Self::Below, Self::Identifier];
}

/// How the application was selected, to come back to it.
#[derive(Debug, Clone)]
enum Home {
    Aid(Vec<u8>),
    Df(Vec<u8>),
}

/// The card said no, with this status word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Refusal(pub(crate) StatusWord);

/// One channel of a card.
pub(crate) struct Session<'c, 'l> {
    card: &'c mut Card<'l>,
    channel: Channel,
    /// What this card returned with SELECT before.
    answer: Option<Answer>,
    /// How this card found a file of the application before.
    way: Way,
    /// The application that was selected, where we selected it.
    home: Option<Home>,
    /// Whether the current DF may be another one than that of the application.
    pub(super) strayed: bool,
    /// How READ BINARY is asked, see [`super::blocks`].
    pub(super) block: super::blocks::Block,
    /// Short identifiers that this card told of files of the application, used where the card is read on the short way.
    pub(super) shortcuts: Vec<Shortcut>,
    /// Whether a PIN was sent: one reading sends one PIN, once.
    pub(super) pin_sent: bool,
}

impl<'c, 'l> Session<'c, 'l> {
    /// Begins on an open channel.
    pub(crate) fn new(card: &'c mut Card<'l>, channel: Channel) -> Self {
        Self {
            card,
            channel,
            answer: None,
            way: Way::Alias,
            home: None,
            strayed: false,
            block: super::blocks::Block::default(),
            shortcuts: Vec::new(),
            pin_sent: false,
        }
    }

    pub(crate) fn card(&mut self) -> &mut Card<'l> {
        self.card
    }

    pub(crate) fn send(&mut self, command: &Command) -> Result<Response, CardError> {
        self.card.send(self.channel, command)
    }

    /// Selects an application by its AID.
    pub(crate) fn select_aid(&mut self, aid: &[u8]) -> Result<Result<Fcp, Refusal>, CardError> {
        let selected = self.select(0x04, aid)?;
        if selected.is_ok() {
            self.is_home(Home::Aid(aid.to_vec()));
        }
        Ok(selected)
    }

    /// Selects an application by its AID, on the short way without its parameters where they would cost a command.
    pub(crate) fn select_aid_briefly(&mut self, aid: &[u8]) -> Result<Result<Option<Fcp>, Refusal>, CardError> {
        if self.card.is_fast()
            && self.card.protocol() == Protocol::T0
            && self.send(&Answer::None.command(0x04, aid))?.status.is_ok()
        {
            self.is_home(Home::Aid(aid.to_vec()));
            return Ok(Ok(None));
        }
        Ok(self.select_aid(aid)?.map(Some))
    }

    /// Selects an application by the path of its DF from the MF.
    pub(crate) fn select_df(&mut self, path: &[u8]) -> Result<Result<Fcp, Refusal>, CardError> {
        let selected = self.select_path(path)?;
        if selected.is_ok() {
            self.is_home(Home::Df(path.to_vec()));
        }
        Ok(selected)
    }

    fn is_home(&mut self, home: Home) {
        self.home = Some(home);
        self.strayed = false;
    }

    /// Told that the link opened this channel with the application of this AID selected.
    pub(crate) fn was_opened_in(&mut self, aid: &[u8]) {
        self.home = Some(Home::Aid(aid.to_vec()));
    }

    /// Selects the application that the link had selected again, after files of the MF.
    pub(crate) fn go_back_into(&mut self, aid: &[u8]) -> Result<(), CardError> {
        if self.select_application()?.is_err() {
            self.was_opened_in(aid);
            self.come_home()?;
        }
        Ok(())
    }

    /// Selects the application of this channel once more, for its parameters or to be back in its DF.
    pub(crate) fn select_application(&mut self) -> Result<Result<Fcp, Refusal>, CardError> {
        self.select(0x00, &[0x7F, 0xFF])
    }

    /// Selects a file by its path from the MF, which may begin with 7FFF for the current application. What P1 = 08
    /// does not find is tried from the current DF and by its identifier alone.
    pub(crate) fn select_path(&mut self, path: &[u8]) -> Result<Result<Fcp, Refusal>, CardError> {
        match path.strip_prefix(&CURRENT_ADF) {
            Some(relative) if !relative.is_empty() => self.in_application(path, relative),
            Some(_) | None => self.below_mf(path),
        }
    }

    /// Selects the first of these paths that is there.
    pub(crate) fn select_first(&mut self, paths: &[Vec<u8>]) -> Result<Result<Fcp, Refusal>, CardError> {
        let mut refusal = Refusal(StatusWord::NOT_FOUND);
        for path in paths {
            match self.select_path(path)? {
                Ok(fcp) => return Ok(Ok(fcp)),
                Err(refused) => refusal = refused,
            }
        }
        Ok(Err(refusal))
    }

    fn in_application(&mut self, path: &[u8], relative: &[u8]) -> Result<Result<Fcp, Refusal>, CardError> {
        let mut refusal = None;
        // An identifier alone may be found in the wrong DF: it comes first only where nothing else stands in the path.
        let first = if self.way == Way::Identifier && relative.len() > 2 { Way::Alias } else { self.way };
        for way in [first].into_iter().chain(Way::ALL.into_iter().filter(|way| *way != first)) {
            if way != Way::Alias && self.strayed {
                self.come_home()?;
            }
            let selected = match way {
                Way::Alias => self.select(0x08, path)?,
                Way::Below => self.select(0x09, relative)?,
                Way::Identifier => self.select(0x00, relative.last_chunk::<2>().map_or(relative, |id| id))?,
            };
            match selected {
                Ok(fcp) => {
                    self.way = way;
                    self.learn(path, &fcp);
                    return Ok(Ok(fcp));
                }
                Err(refused) if refused.0 == StatusWord::NOT_ALLOWED => return Ok(Err(refused)),
                // "There is no such file" says more than "I do not know this form".
                Err(refused) if refusal.is_none_or(|Refusal(known)| is_of_form(known)) => {
                    if refusal.is_none() || !is_of_form(refused.0) {
                        refusal = Some(refused);
                    }
                }
                Err(_) => {}
            }
        }
        Ok(Err(refusal.unwrap_or(Refusal(StatusWord::NOT_FOUND))))
    }

    fn below_mf(&mut self, path: &[u8]) -> Result<Result<Fcp, Refusal>, CardError> {
        let refusal = match self.select(0x08, path)? {
            Ok(fcp) => {
                self.strayed = true;
                return Ok(Ok(fcp));
            }
            Err(refusal) => refusal,
        };
        if !is_of_form(refusal.0) || self.select(0x00, &MF)?.is_err() {
            return Ok(Err(refusal));
        }
        self.strayed = true;
        let mut last = Err(refusal);
        for id in path.as_chunks::<2>().0 {
            last = self.select(0x00, id)?;
            if last.is_err() {
                break;
            }
        }
        Ok(last)
    }

    /// Selects the application again, so that paths from the current DF begin there.
    fn come_home(&mut self) -> Result<(), CardError> {
        self.strayed = false;
        match self.home.clone() {
            Some(Home::Aid(aid)) => drop(self.select(0x04, &aid)?),
            Some(Home::Df(path)) => drop(self.below_mf(&path)?),
            None => {}
        }
        self.strayed = false;
        Ok(())
    }

    fn select(&mut self, p1: u8, data: &[u8]) -> Result<Result<Fcp, Refusal>, CardError> {
        let mut refusal = Refusal(StatusWord::WRONG_P1_P2);
        // Some cards answer in one form for applications and in another for files.
        let known = self.answer;
        for answer in known.into_iter().chain(Answer::ALL.into_iter().filter(|answer| Some(*answer) != known)) {
            let response = self.send(&answer.command(p1, data))?;
            // Two warnings are about the parameters alone.
            if response.status.is_ok() || matches!(response.status.0, 0x6200 | 0x6284) {
                self.answer = Some(answer);
                // A template that cannot be read tells as little as none.
                return Ok(Ok(Fcp::parse(&response.data).unwrap_or_default()));
            }
            refusal = Refusal(response.status);
            if !matches!(response.status, StatusWord::WRONG_P1_P2 | StatusWord::WRONG_OFFSET) {
                break;
            }
        }
        Ok(Err(refusal))
    }
}

/// Whether a status says that the form of the command is not known, rather than that something is not there.
fn is_of_form(status: StatusWord) -> bool {
    matches!(status, StatusWord::WRONG_P1_P2 | StatusWord::WRONG_OFFSET | StatusWord::NOT_SUPPORTED)
}
