//! Selecting and reading files on one channel, with the fallbacks that cards in the field need.

use crate::apdu::{Command, READ_BINARY, READ_RECORD, SELECT, StatusWord};
use crate::channel::{Card, Channel};
use crate::error::{CardError, Place};
use crate::file::fcp::Fcp;

/// The most bytes of one READ.
const BLOCK: usize = 255;
/// The highest offset of READ BINARY; a higher P1 means a short file identifier.
const MAX_OFFSET: usize = 0x7FFF;

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

/// The card said no, with this status word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Refusal(pub(crate) StatusWord);

/// One channel of a card.
pub(crate) struct Session<'c, 'l> {
    card: &'c mut Card<'l>,
    channel: Channel,
    /// What this card returned with SELECT before.
    answer: Option<Answer>,
}

impl<'c, 'l> Session<'c, 'l> {
    /// Begins on an open channel.
    pub(crate) fn new(card: &'c mut Card<'l>, channel: Channel) -> Self {
        Self { card, channel, answer: None }
    }

    pub(crate) fn card(&mut self) -> &mut Card<'l> {
        self.card
    }

    pub(crate) fn send(&mut self, command: &Command) -> Result<crate::apdu::Response, CardError> {
        self.card.send(self.channel, command)
    }

    /// Selects an application by its AID.
    pub(crate) fn select_aid(&mut self, aid: &[u8]) -> Result<Result<Fcp, Refusal>, CardError> {
        self.select(0x04, aid)
    }

    /// Selects the application of this channel once more, for its parameters or to be back in its DF.
    pub(crate) fn select_application(&mut self) -> Result<Result<Fcp, Refusal>, CardError> {
        self.select(0x00, &[0x7F, 0xFF])
    }

    /// Selects a file by its path from the MF, which may begin with 7FFF for the current application. What P1 = 08
    /// does not find is tried from the current DF and by its identifier alone.
    pub(crate) fn select_path(&mut self, path: &[u8]) -> Result<Result<Fcp, Refusal>, CardError> {
        let first = match self.select(0x08, path)? {
            Ok(fcp) => return Ok(Ok(fcp)),
            Err(refusal) => refusal,
        };
        if first.0 == StatusWord::NOT_ALLOWED {
            return Ok(Err(first));
        }
        if let Some(relative) = path.strip_prefix(&[0x7F, 0xFF])
            && !relative.is_empty()
        {
            for (p1, data) in [(0x09, relative), (0x00, relative.last_chunk::<2>().map_or(relative, |id| id))] {
                if let Ok(fcp) = self.select(p1, data)? {
                    return Ok(Ok(fcp));
                }
            }
        }
        Ok(Err(first))
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

    fn select(&mut self, p1: u8, data: &[u8]) -> Result<Result<Fcp, Refusal>, CardError> {
        let mut refusal = Refusal(StatusWord::WRONG_P1_P2);
        for answer in Answer::ALL {
            if self.answer.is_some_and(|known| known != answer) {
                continue;
            }
            let response = self.send(&answer.command(p1, data))?;
            if response.status.is_ok() {
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

    /// Reads a part of the selected transparent file, at most `limit` bytes from `offset` on, fewer where the file
    /// ends. `Refusal` where the card refuses the first block.
    pub(crate) fn read_binary(
        &mut self,
        place: Place,
        fcp: &Fcp,
        offset: usize,
        limit: usize,
    ) -> Result<Result<Vec<u8>, Refusal>, CardError> {
        let end = offset.saturating_add(limit).min(fcp.size.unwrap_or(usize::MAX)).min(MAX_OFFSET + BLOCK);
        let mut content = Vec::new();
        loop {
            let at = offset.saturating_add(content.len());
            let left = end.saturating_sub(at);
            let Some([p1, p2]) =
                u16::try_from(at).ok().filter(|at| usize::from(*at) <= MAX_OFFSET).map(u16::to_be_bytes)
            else {
                break;
            };
            let Ok(le @ 1..) = u8::try_from(left.min(BLOCK)) else { break };
            let mut response = self.send(&Command::case2(READ_BINARY, p1, p2, le))?;
            if response.status == StatusWord::WRONG_LENGTH {
                response = self.send(&Command::case2(READ_BINARY, p1, p2, 0))?;
            }
            let done = response.status == StatusWord::END_OF_FILE || response.data.is_empty();
            match response.status {
                status if status.is_ok() || status == StatusWord::END_OF_FILE => {
                    response.data.truncate(left);
                    content.append(&mut response.data);
                }
                StatusWord::WRONG_OFFSET => break,
                StatusWord::WRONG_P1_P2 if !content.is_empty() => break,
                status if content.is_empty() => return Ok(Err(Refusal(status))),
                status => return Err(CardError::status(place, &format!("READ BINARY at byte {at}"), status)),
            }
            if done {
                break;
            }
        }
        Ok(Ok(content))
    }

    /// Reads one record of the selected file, counted from 1.
    pub(crate) fn read_record(&mut self, fcp: &Fcp, number: u8) -> Result<Result<Vec<u8>, Refusal>, CardError> {
        let response = self.send(&Command::case2(READ_RECORD, number, 0x04, fcp.record_length.unwrap_or(0)))?;
        Ok(if response.status.is_ok() || response.status == StatusWord::END_OF_FILE {
            Ok(response.data)
        } else {
            Err(Refusal(response.status))
        })
    }
}
