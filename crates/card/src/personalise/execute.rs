//! Carrying a plan out: the key is sent once and never as the last try, every command is judged, and what was written is
//! read back.

use std::time::Duration;
use zeroize::Zeroize;

use crate::apdu::{Command, READ_BINARY, StatusWord};
use crate::channel::Card;
use crate::error::{CardError, Place};
use crate::file::fcp::Fcp;
use crate::link::Link;
use crate::personalise::error::{PersonaliseError, advice};
use crate::personalise::key::AdmKey;
use crate::personalise::plan::{Check, Plan};
use crate::personalise::step::{Action, Step};
use crate::personalise::survey::{iccid, on_channel};
use crate::read::{FileSession, Refusal};

/// Blocks to try where a card refuses a longer one.
const SMALLER: [usize; 2] = [128, 64];

/// What came of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Written {
    /// How many commands it took, reading back included.
    pub commands: u32,
    /// Files that were written but that may not be read with the key alone.
    pub unchecked: Vec<u16>,
}

/// Carries a plan out on the card for which it was made. `told` hears of each step, and its number from 0, before it is
/// taken; `now` tells the time since some fixed moment, `limit` how long all may take.
///
/// # Errors
/// If the card is another one, refuses the key or a command, or reads differently afterwards. What was written up to
/// then stays; the order of the steps sees to it that no reader takes it for a whole message.
pub fn carry_out(
    link: &mut dyn Link,
    plan: &Plan,
    key: Option<&AdmKey>,
    clock: (&dyn Fn() -> Duration, Duration),
    told: &mut dyn FnMut(usize, &Step),
) -> Result<Written, PersonaliseError> {
    let (now, limit) = clock;
    let mut card = Card::new(link, now, limit);
    let unchecked = on_channel(&mut card, |card, channel| {
        let mut session = FileSession::new(card, channel);
        if iccid(&mut session)? != plan.iccid {
            return Err(PersonaliseError::OtherCard);
        }
        // Where somebody verified the PIN, what can be read proves nothing.
        let hides = session.card().is_exclusive() && !plan.is_opened;
        for (number, step) in plan.steps.iter().enumerate() {
            told(number, step);
            take(&mut session, step, key)?;
            if let Action::SelectFile { path } = &step.action
                && let Some(check) = plan.checks.iter().find(|check| hides && check.is_closed && check.path == *path)
            {
                is_hidden(&mut session, check)?;
            }
        }
        let mut unchecked = Vec::new();
        if !plan.steps.is_empty() {
            for check in &plan.checks {
                if !read_back(&mut session, check, hides)? {
                    unchecked.push(check.file);
                }
            }
        }
        Ok(unchecked)
    })?;
    Ok(Written { commands: card.counts().total(), unchecked })
}

fn take(session: &mut FileSession<'_, '_>, step: &Step, key: Option<&AdmKey>) -> Result<(), PersonaliseError> {
    let command = step.action.command(None);
    match &step.action {
        Action::VerifyKey { reference } => verify(session, &step.action, *reference, key),
        Action::SelectApplication { aid } => {
            let status = session.send(&command)?.status;
            if status.is_ok() {
                return Ok(());
            }
            // Some cards want to return parameters.
            session.select_aid(aid)?.map(drop).map_err(|Refusal(status)| refused(step, status, false))
        }
        Action::SelectDf { path } => {
            let status = session.send(&command)?.status;
            if status.is_ok() {
                return Ok(());
            }
            session.select_df(path)?.map(drop).map_err(|Refusal(status)| refused(step, status, false))
        }
        Action::SelectFile { path } => {
            let status = session.send(&command)?.status;
            if status.is_ok() {
                return Ok(());
            }
            session.select_path(path)?.map(drop).map_err(|Refusal(status)| refused(step, status, false))
        }
        Action::CreateFile { .. } => {
            let status = session.send(&command)?.status;
            if status.is_ok() { Ok(()) } else { Err(refused(step, status, true)) }
        }
        Action::UpdateBinary { offset, data } => update(session, step, *offset, data),
    }
}

/// VERIFY without a key first, which tells the tries that are left and spends none.
fn verify(
    session: &mut FileSession<'_, '_>,
    action: &Action,
    reference: u8,
    key: Option<&AdmKey>,
) -> Result<(), PersonaliseError> {
    let state = session.send(&action.command(None))?.status;
    if state.is_ok() {
        return Ok(());
    }
    let not_tried = |why: &str| Err(PersonaliseError::KeyNotTried { reference, why: why.to_owned() });
    match (state, state.tries()) {
        (StatusWord::BLOCKED, _) | (_, Some(0)) => return not_tried("it is blocked"),
        (_, Some(1)) => {
            return not_tried("one try is left, which is never used here; verify the key with another tool first");
        }
        (_, Some(_)) => {}
        (StatusWord(0x6A88), None) => {
            return not_tried("the card has no such key (6A88); name the one that it has by --adm-ref");
        }
        (_, None) => return not_tried(&format!("the card does not tell how many tries are left ({state})")),
    }
    let key = key.ok_or(PersonaliseError::KeyNeeded(reference))?;
    let mut command = action.command(Some(key));
    session.card().reset_when_released();
    let answer = session.send(&command);
    command.data.zeroize();
    let status = answer?.status;
    if status.is_ok() { Ok(()) } else { Err(PersonaliseError::KeyRefused { reference, status }) }
}

fn update(session: &mut FileSession<'_, '_>, step: &Step, offset: u16, data: &[u8]) -> Result<(), PersonaliseError> {
    let mut status = send_update(session, offset, data)?;
    for block in SMALLER {
        if status != StatusWord::WRONG_LENGTH || data.len() <= block {
            continue;
        }
        for (number, part) in data.chunks(block).enumerate() {
            let at = u16::try_from(number * block).map_or(u16::MAX, |more| offset.saturating_add(more));
            status = send_update(session, at, part)?;
            if !is_written(status) {
                break;
            }
        }
    }
    if is_written(status) { Ok(()) } else { Err(refused(step, status, false)) }
}

fn send_update(session: &mut FileSession<'_, '_>, offset: u16, data: &[u8]) -> Result<StatusWord, CardError> {
    let command: Command = Action::UpdateBinary { offset, data: data.to_vec() }.command(None);
    Ok(session.send(&command)?.status)
}

/// Done; or done after so many attempts of the card itself, ETSI TS 102 221 10.2.1.
fn is_written(status: StatusWord) -> bool {
    status.is_ok() || status.tries().is_some() || (status.sw1() == 0x92 && status.sw2() < 0x10)
}

fn refused(step: &Step, status: StatusWord, creates: bool) -> PersonaliseError {
    PersonaliseError::Refused { about: step.about.clone(), status, advice: advice(status, creates) }
}

/// Makes sure that nobody reads the selected file without the PIN, before anything is written into it: what a rule says
/// and what a card does are two things.
fn is_hidden(session: &mut FileSession<'_, '_>, check: &Check) -> Result<(), PersonaliseError> {
    let answer = session.send(&Command::case2(READ_BINARY, 0, 0, 1))?;
    if answer.data.is_empty() {
        return Ok(());
    }
    Err(PersonaliseError::Open { file: check.file, what: "; nothing was written into it" })
}

/// Compares; `false` where the file may not be read. `hides` tells whether the card still hides what lies behind the PIN.
fn read_back(session: &mut FileSession<'_, '_>, check: &Check, hides: bool) -> Result<bool, PersonaliseError> {
    let place = Place::Message(check.file);
    let fcp: Fcp = match session.select_path(&check.path)? {
        Ok(fcp) => fcp,
        Err(Refusal(status)) => {
            return Err(CardError::status(place, "SELECT, to read back what was written,", status).into());
        }
    };
    match session.read_binary(place, &fcp, check.offset, check.expected.len())? {
        Err(Refusal(StatusWord::NOT_ALLOWED)) => Ok(false),
        Ok(_) if hides && check.is_closed => Err(PersonaliseError::Open {
            file: check.file,
            what: "; what was written lies open: change the secrets in it, and use another card",
        }),
        Err(Refusal(status)) => Err(CardError::status(place, "reading back what was written", status).into()),
        Ok(found) => {
            let differs = (0..check.expected.len()).find(|at| found.get(*at) != check.expected.get(*at));
            match differs {
                Some(at) => Err(PersonaliseError::Differs { file: check.file, at: check.offset + at }),
                None => Ok(true),
            }
        }
    }
}
