//! Where a new file may be: its access rule, and the identifiers that are free or left over.

use omadm_core::bootstrap::message::{BootstrapMessage, Limit};

use super::Planner;
use crate::error::Place;
use crate::personalise::access::{Right, Rule};
use crate::personalise::error::PersonaliseError;
use crate::personalise::files::{FileState, Present, Readers};
use crate::personalise::region::is_blank;
use crate::personalise::step::{MAX_OFFSET, RuleRef};
use crate::personalise::survey::OBJECT_FILES;
use crate::pkcs15::path::Path;
use crate::read::check_content;

impl<'a> Planner<'a> {
    /// The access rule of a new object's file, and the PIN that opens the file then, where it is to be private.
    pub(super) fn rule_of_new(&self, is_private: bool) -> Result<(RuleRef, Option<u8>), PersonaliseError> {
        if let Some(named) = self.wanted.rule {
            return Ok((named, self.named_pin(named, is_private)?));
        }
        let adm = self.wanted.adm;
        let mut rules = self.survey.rules.iter();
        let found = match is_private {
            true => rules.find_map(|rule| rule.pin(adm).map(|pin| (rule.at, Some(pin)))),
            false => rules.find(|rule| rule.is_open(adm)).map(|rule| (rule.at, None)),
        };
        found.ok_or_else(|| self.no_rule(is_private))
    }

    /// What to do where no rule fits.
    pub(super) fn no_rule(&self, is_private: bool) -> PersonaliseError {
        let adm = self.wanted.adm;
        let rules = &self.survey.rules;
        let mut others: Vec<u8> = rules.iter().filter_map(Rule::writer).collect();
        others.retain(|other| rules.iter().any(|rule| rule.fits(*other, is_private)));
        others.sort_unstable();
        others.dedup();
        let advice = if let Some(other) = others.first() {
            format!("its rules let the administrator {other:02X}: give that one's key, with --adm-ref {other:02X}")
        } else if rules.is_empty() {
            "the card shows no rules: ask its maker for them, and name one by --access-rule FILE:RECORD".to_owned()
        } else {
            let file = rules.first().map_or(0, |rule| rule.at.file);
            let rest = if is_private { ", or leave --behind-pin away" } else { "" };
            format!("have its maker add one to EF(ARR) {file:04X}, or name one by --access-rule FILE:RECORD{rest}")
        };
        let readers = if is_private { "the holder of a PIN" } else { "everybody" };
        PersonaliseError::NoRule { readers, adm, advice }
    }

    /// The PIN that a rule asks for which was named by hand; that is what makes a file private, whatever was asked for.
    pub(super) fn named_pin(&self, named: RuleRef, is_private: bool) -> Result<Option<u8>, PersonaliseError> {
        let pin = self.survey.rule_pin(Some(named));
        let why = match (is_private, pin, self.survey.rule(named)) {
            (true, Some(_), _) | (false, None, _) => return Ok(pin),
            (false, Some(pin), _) => {
                format!(
                    "by this rule only the holder of PIN {pin:02X} reads the file; give --behind-pin too for a new object"
                )
            }
            (true, None, Some(Rule { read: Right::Always, .. })) => {
                "by this rule everybody reads the file, which is to lie behind a PIN; name another".to_owned()
            }
            (true, None, Some(_)) => {
                "this rule does not ask for a PIN of the user alone, so that it is not known who reads the file; name \
                 another"
                    .to_owned()
            }
            (true, None, None) => {
                "the card does not let this rule be read, so that it is not known who reads the file; name another"
                    .to_owned()
            }
        };
        Err(PersonaliseError::Place { place: format!("access rule {named}"), why })
    }

    /// The first file that is not there, or that is left over from a run that was cut off.
    pub(super) fn free_file(
        &self,
        content: &[u8],
        rule: RuleRef,
        is_private: bool,
    ) -> Result<Option<(u16, &'a FileState)>, PersonaliseError> {
        let size = self.file_size(content)?;
        Ok(OBJECT_FILES.filter(|id| !self.taken.contains(id)).find_map(|id| {
            let path = Path::bare(id);
            let state = self.survey.file(&path);
            let is_free = match state {
                // An entry for a file that is not there would name the new one.
                FileState::Absent => !self.survey.is_named(&path),
                FileState::Present(file) => {
                    self.fits(file, rule, is_private)
                        && self.is_free(file, content)
                        && file.size.is_some_and(|there| there >= size)
                        && !self.survey.is_named(&path)
                }
            };
            is_free.then_some((id, state))
        }))
    }

    /// Whether a file that is there is read and written by the same as one that is made by this rule.
    fn fits(&self, file: &Present, rule: RuleRef, is_private: bool) -> bool {
        let pin_by = |at: RuleRef| self.survey.rule(at).and_then(|rule| rule.pin(self.wanted.adm));
        match (file.readers, file.rule) {
            (Readers::Everybody, _) => !is_private,
            (Readers::NotEverybody, Some(at)) => {
                is_private && (at == rule || pin_by(rule).is_some() && pin_by(at) == pin_by(rule))
            }
            // It does not tell its rule, but the PIN opened it.
            (Readers::NotEverybody, None) => {
                let opened = self.survey.opened.filter(|_| file.content.is_some());
                is_private && opened.is_some() && opened == pin_by(rule)
            }
            (Readers::Unknown, _) => false,
        }
    }

    /// Whether a file that no directory names is left over from a run that was cut off: of the same content, or of a message
    /// of its own. What lies behind the PIN may be unseen: then it is enough that nothing on the card can name it.
    fn is_free(&self, file: &Present, content: &[u8]) -> bool {
        match &file.content {
            Some(old) if old.starts_with(content) || old.iter().all(|byte| is_blank(*byte)) => true,
            Some(_) | None if self.survey.is_partly_unknown() => false,
            Some(old) if is_left_over(old, content) => true,
            Some(old) => check_content(old.clone(), Place::Link)
                .is_ok_and(|message| BootstrapMessage::parse(&message, Limit::Card).is_ok()),
            None => file.is_unseen() && file.trouble.is_none(),
        }
    }

    fn file_size(&self, content: &[u8]) -> Result<usize, PersonaliseError> {
        let size = self.wanted.file_size.unwrap_or(content.len());
        if size < content.len() || size > MAX_OFFSET {
            let why = format!("{size} bytes were asked for, {} are needed, {MAX_OFFSET} possible", content.len());
            return Err(PersonaliseError::Place { place: "a new file".to_owned(), why });
        }
        Ok(size)
    }
}

/// Whether a file that nothing names is one that a run was writing when it was cut off: blank at its first byte, or done.
pub(super) fn is_left_over(old: &[u8], content: &[u8]) -> bool {
    old.first().is_none_or(|first| is_blank(*first)) || old.starts_with(content)
}
