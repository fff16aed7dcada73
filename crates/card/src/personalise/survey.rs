//! What is on a card before anything is written: the PKCS#15 application, its directories, the objects in them.

use omadm_core::ids::Iccid;
use omadm_core::secret::Secret;
use std::time::Duration;

use crate::apdu::StatusWord;
use crate::channel::{Card, Channel};
use crate::error::{CardError, CardErrorKind, Place};
use crate::file::digits;
use crate::file::tlv::{Objects, Tlv};
use crate::link::Link;
use crate::personalise::access::{Right, Rule};
use crate::personalise::error::PersonaliseError;
use crate::personalise::files::{FileState, Present};
use crate::personalise::pin;
use crate::personalise::region::is_blank;
use crate::personalise::step::{Action, RuleRef};
use crate::pkcs15::aodf::PinObject;
use crate::pkcs15::dir::Application;
use crate::pkcs15::dodf::{DataObject, Form};
use crate::pkcs15::odf::Odf;
use crate::pkcs15::oid::ObjectId;
use crate::pkcs15::path::Path;
use crate::pkcs15::{self, AID, USUAL_DF};
use crate::read::{FileSession, Refusal, applications, is_user_pin};

/// The most bytes of a directory that are looked at.
const MAX_DIRECTORY: usize = 8_192;
/// The most records of an EF(ARR).
const MAX_RULES: u8 = 32;
/// The most EF(ARR)s.
const MAX_RULE_FILES: usize = 4;
/// The EF(ARR) of a UICC under the MF, ETSI TS 102 221 13.4.
const USUAL_RULES: u16 = 0x2F06;
/// Identifiers of files that are made for objects.
pub(crate) const OBJECT_FILES: std::ops::RangeInclusive<u16> = 0x6434..=0x643F;
/// Identifiers of directories that are made: EF(DODF) first, then EF(AODF) and a further EF(DODF).
pub(crate) const DIRECTORY_FILES: [u16; 4] = [0x6430, 0x6431, 0x6432, 0x6433];

/// What was found on a card.
#[derive(Debug, Clone)]
pub struct Survey {
    /// Which card it is, where it tells.
    pub iccid: Option<Iccid>,
    /// How many commands it took to look.
    pub commands: u32,
    /// How the application is selected.
    pub(crate) application: Action,
    /// Path of its DF without the MF.
    df: Vec<u8>,
    pub(crate) odf: Directory,
    pub(crate) dodfs: Vec<Directory>,
    pub(crate) aodfs: Vec<Directory>,
    /// The files of objects that are listed, and those that may be made, by what selects them.
    files: Vec<(Vec<u8>, FileState)>,
    pub(crate) rules: Vec<Rule>,
    /// The PIN that was verified to see what lies behind it.
    pub(crate) opened: Option<u8>,
}

/// A directory file.
#[derive(Debug, Clone)]
pub(crate) struct Directory {
    pub(crate) id: u16,
    pub(crate) name: String,
    /// What selects it.
    pub(crate) path: Vec<u8>,
    /// All its bytes.
    pub(crate) content: Vec<u8>,
    /// Where its entries end.
    pub(crate) end: usize,
    /// Why nothing can be added to it.
    pub(crate) damage: Option<String>,
    pub(crate) rule: Option<RuleRef>,
}

/// What a survey is for, and what may be used for it.
#[derive(Debug, Clone, Copy, Default)]
pub struct Looking<'a> {
    /// The identifiers of the objects that are to be written.
    pub objects: &'a [ObjectId],
    /// The PIN of the user, to see what lies behind it. It is sent once at most, where such a file may be written, and
    /// never as the last try.
    pub pin: Option<&'a Secret>,
    /// The access rule that is named by hand, [`Wanted::rule`](crate::personalise::Wanted::rule).
    pub rule: Option<RuleRef>,
    /// Whether new objects are to lie behind the PIN, and whose key writes them: then the PIN also shows what an earlier
    /// run left behind.
    pub private_by: Option<u8>,
}

/// Looks at a card without changing anything. `now` tells the time since some fixed moment, `limit` how long it may
/// take.
///
/// # Errors
/// If the card cannot be read, has no PKCS#15 application that can be written to, or refuses the PIN.
pub fn survey(
    link: &mut dyn Link,
    looking: &Looking<'_>,
    now: &dyn Fn() -> Duration,
    limit: Duration,
) -> Result<Survey, PersonaliseError> {
    let mut card = Card::new(link, now, limit);
    let mut survey = on_channel(&mut card, |card, channel| look(&mut FileSession::new(card, channel), looking))?;
    survey.commands = card.counts().total();
    Ok(survey)
}

/// Does something on the basic channel where that is ours, else on one that is opened and closed for it.
pub(crate) fn on_channel<T>(
    card: &mut Card<'_>,
    work: impl FnOnce(&mut Card<'_>, Channel) -> Result<T, PersonaliseError>,
) -> Result<T, PersonaliseError> {
    // Some cards take the key of the administrator on the basic channel only.
    let channel = if card.is_exclusive() { Some(Channel::BASIC) } else { card.open_channel()? };
    let Some(channel) = channel else {
        let detail = "the card gave no logical channel, and the basic channel belongs to the modem";
        return Err(CardError::new(CardErrorKind::NoLogicalChannel, Place::Channel, detail).into());
    };
    let result = work(card, channel);
    card.close_channel(channel);
    result
}

/// Which card it is.
pub(crate) fn iccid(session: &mut FileSession<'_, '_>) -> Result<Option<Iccid>, CardError> {
    let content = match session.select_path(&[0x2F, 0xE2])? {
        Ok(fcp) => session.read_binary(Place::Iccid, &fcp, 0, 10)?,
        Err(refusal) => Err(refusal),
    };
    Ok(content.ok().and_then(|content| digits::iccid(&content)))
}

fn look(session: &mut FileSession<'_, '_>, looking: &Looking<'_>) -> Result<Survey, PersonaliseError> {
    let iccid = iccid(session)?;
    let (application, df) = select_application(session)?;
    let path = Path::bare(pkcs15::ODF);
    let odf = directory(session, Place::Odf, "EF(ODF)", &path, &df)?
        .ok_or_else(|| PersonaliseError::NoApplication("the PKCS#15 application has no EF(ODF) 5031".to_owned()))?;
    let listed = Odf::parse(&odf.content);
    let mut dodfs = Vec::new();
    for path in &listed.dodfs {
        let place = Place::Dodf(path.file_id());
        dodfs.extend(directory(session, place, "EF(DODF)", path, &df)?);
    }
    let mut aodfs = Vec::new();
    for path in &listed.aodfs {
        let place = Place::Aodf(path.file_id());
        aodfs.extend(directory(session, place, "EF(AODF)", path, &df)?);
    }
    let (files, rules) = (Vec::new(), Vec::new());
    let mut survey = Survey { iccid, commands: 0, application, df, odf, dodfs, aodfs, files, rules, opened: None };
    let mut paths: Vec<Path> = survey.objects().map(|(_, object)| object.path).collect();
    let ours = DIRECTORY_FILES.into_iter().chain(OBJECT_FILES).map(Path::bare);
    paths.extend(ours);
    for path in paths {
        let key = survey.key(&path);
        if survey.files.iter().all(|(known, _)| *known != key) {
            let state = FileState::look(session, &path, &survey.df)?;
            survey.files.push((key, state));
        }
    }
    survey.rules = access_rules(session, &survey, looking.rule)?;
    let rules = survey.rules.clone();
    for file in survey.present() {
        let place = file.place();
        let rule = rules.iter().find(|rule| Some(rule.at) == file.rule);
        file.judge(session, place, rule)?;
    }
    if let Some(pin) = looking.pin {
        survey.open(session, looking, pin)?;
    }
    Ok(survey)
}

/// By its AID, else as EF(DIR) says: by a longer AID, or by the path of its DF.
fn select_application(session: &mut FileSession<'_, '_>) -> Result<(Action, Vec<u8>), PersonaliseError> {
    let Err(refusal) = session.select_aid(&AID)? else {
        return Ok((Action::SelectApplication { aid: AID.to_vec() }, USUAL_DF.to_be_bytes().to_vec()));
    };
    let listed =
        applications(session)?.map_err(|Refusal(status)| CardError::status(Place::Dir, "reading the file", status))?;
    for application in listed.into_iter().filter(Application::is_pkcs15) {
        if session.select_aid(&application.aid)?.is_ok() {
            return Ok((Action::SelectApplication { aid: application.aid }, application.df));
        }
        if !application.df.is_empty() && session.select_df(&application.df)?.is_ok() {
            return Ok((Action::SelectDf { path: application.df.clone() }, application.df));
        }
    }
    if refusal.0.says_no_application() {
        return Err(PersonaliseError::NoApplication(format!("SELECT of its AID was answered {}", refusal.0)));
    }
    Err(CardError::status(Place::Pkcs15, "SELECT", refusal.0).into())
}

/// Reads a directory; none where it is not there.
fn directory(
    session: &mut FileSession<'_, '_>,
    place: Place,
    name: &str,
    path: &Path,
    df: &[u8],
) -> Result<Option<Directory>, CardError> {
    let mut refusal = Refusal(StatusWord::NOT_FOUND);
    for selection in path.selections(df) {
        let fcp = match session.select_path(&selection)? {
            Ok(fcp) => fcp,
            Err(refused) => {
                refusal = refused;
                continue;
            }
        };
        let content = session
            .read_binary(place, &fcp, 0, MAX_DIRECTORY)?
            .map_err(|Refusal(status)| CardError::status(place, "reading the file", status))?;
        let mut objects = Objects::new(&content);
        let broken = objects.by_ref().find_map(Result::err).map(|error| error.to_string());
        let end = objects.offset();
        let damage = broken.or_else(|| refuse_to_add(path, &content, end));
        let name = format!("{name} {:04X}", path.file_id());
        let rule = fcp.access_rule.map(|(file, record)| RuleRef { file, record });
        return Ok(Some(Directory { id: path.file_id(), name, path: selection, content, end, damage, rule }));
    }
    match refusal.0 {
        status if is_missing(status) => Ok(None),
        status => Err(CardError::status(place, "SELECT", status)),
    }
}

/// Whether a file is not there. A card that does not know P1 = 08 says so first of all. That it is there after all comes
/// out when it is created.
pub(crate) fn is_missing(status: StatusWord) -> bool {
    matches!(
        status,
        StatusWord::NOT_FOUND
            | StatusWord::NOT_SUPPORTED
            | StatusWord::WRONG_P1_P2
            | StatusWord::WRONG_OFFSET
            | StatusWord::NO_SUCH_APPLICATION
    )
}

/// Why nothing may be added behind the entries of a directory that is otherwise sound.
fn refuse_to_add(path: &Path, content: &[u8], end: usize) -> Option<String> {
    let rest = content.get(end..).unwrap_or_default();
    if path.index != 0 || path.length.is_some() {
        return Some("it is a part of a file, which cannot grow".to_owned());
    }
    // Some readers go on behind a gap of 00, so what follows one may be somebody's.
    if rest.first() == Some(&0x00) && !rest.iter().all(|byte| is_blank(*byte)) {
        return Some(format!("behind byte {end} there is a gap and something else behind it"));
    }
    None
}

/// The access rules that directories, files and who writes the card refer to, and those of the EF(ARR) that every UICC
/// has, ETSI TS 102 221 13.4: not every card tells the rules of its files.
fn access_rules(
    session: &mut FileSession<'_, '_>,
    survey: &Survey,
    named: Option<RuleRef>,
) -> Result<Vec<Rule>, CardError> {
    let of_directories = survey.directories().filter_map(|one| one.rule);
    let of_files = survey.files.iter().filter_map(|(_, state)| match state {
        FileState::Present(file) => file.rule,
        FileState::Absent => None,
    });
    let told = of_directories.chain(named).chain(of_files).map(|rule| rule.file).chain([USUAL_RULES]);
    let mut files: Vec<u16> = Vec::new();
    for file in told {
        if files.len() < MAX_RULE_FILES && !files.contains(&file) {
            files.push(file);
        }
    }
    let mut rules = Vec::new();
    for file in files {
        let id = file.to_be_bytes();
        // Identifiers that begin with 2F are those of files under the MF.
        let path = if id[0] == 0x2F { id.to_vec() } else { [&[0x7F, 0xFF], &id[..]].concat() };
        let Ok(fcp) = session.select_path(&path)? else { continue };
        for record in 1..=fcp.records.unwrap_or(MAX_RULES).min(MAX_RULES) {
            let Ok(content) = session.read_record(&fcp, record)? else { break };
            rules.push(Rule::parse(RuleRef { file, record }, &content));
        }
    }
    Ok(rules)
}

impl Survey {
    /// Verifies the PIN, where a file behind one is to be written or may be left over, and looks into all that it opens.
    fn open(
        &mut self,
        session: &mut FileSession<'_, '_>,
        looking: &Looking<'_>,
        secret: &Secret,
    ) -> Result<(), CardError> {
        let Some(reference) = self.closing_pin(session, looking)? else { return Ok(()) };
        pin::verify(session, reference, secret)?;
        self.opened = Some(reference);
        for file in self.present().filter(|file| file.is_unseen()) {
            let place = file.place();
            file.look_again(session, place)?;
        }
        Ok(())
    }

    /// The PIN behind which the objects lie that are to be written, as far as they were not seen; else that of new ones, if
    /// there is a file behind it that nothing names.
    fn closing_pin(&self, session: &mut FileSession<'_, '_>, looking: &Looking<'_>) -> Result<Option<u8>, CardError> {
        for (_, object) in self.objects().filter(|(_, object)| looking.objects.iter().any(|oid| object.is(oid))) {
            let FileState::Present(file) = self.file(&object.path) else { continue };
            if !file.is_unseen() {
                continue;
            }
            let Some(reference) = self.pin_of(file, &object) else {
                let sentence = "the object lies behind a PIN, but nothing on the card says behind which";
                return Err(CardError::new(CardErrorKind::PinNeeded, file.place(), sentence));
            };
            return Ok(Some(reference));
        }
        // Any other PIN is none of our business, and this one is not its.
        let of_new = looking.private_by.and_then(|adm| match looking.rule {
            Some(named) => self.rule_pin(Some(named)),
            None => self.rules.iter().find_map(|rule| rule.pin(adm)),
        });
        let Some(reference) = of_new else { return Ok(None) };
        let is_left_over = OBJECT_FILES.map(Path::bare).any(|path| match self.file(&path) {
            FileState::Present(file) if file.is_unseen() && !self.is_named(&path) => match file.rule {
                Some(rule) => self.rule_pin(Some(rule)) == of_new,
                None => self.only_pin() == of_new,
            },
            FileState::Present(_) | FileState::Absent => false,
        });
        Ok((is_left_over && !pin::is_of_modem(session, reference)).then_some(reference))
    }

    /// P2 of VERIFY for a file of an object: of its access rule, else of the directories of PINs.
    pub(crate) fn pin_of(&self, file: &Present, object: &DataObject) -> Option<u8> {
        let listed = || {
            let mut pins = self.pins().filter(|pin| object.auth_id.as_ref().is_none_or(|id| *id == pin.auth_id));
            pins.next().map(|pin| pin.reference).filter(|reference| is_user_pin(*reference))
        };
        self.rule_pin(file.rule).or_else(listed)
    }

    /// The PIN of the user, where the card knows only one.
    fn only_pin(&self) -> Option<u8> {
        let by_rules = self.rules.iter().filter_map(|rule| self.rule_pin(Some(rule.at)));
        let mut known = self.pins().map(|pin| pin.reference).filter(|pin| is_user_pin(*pin)).chain(by_rules);
        let first = known.next()?;
        known.all(|other| other == first).then_some(first)
    }

    /// The PIN of the user that reads by this rule.
    pub(crate) fn rule_pin(&self, at: Option<RuleRef>) -> Option<u8> {
        match self.rule(at?)?.read {
            Right::Key(pin) if is_user_pin(pin) => Some(pin),
            Right::Key(_) | Right::Always | Right::Other => None,
        }
    }

    /// The access rule in this place, where it could be read.
    pub(crate) fn rule(&self, at: RuleRef) -> Option<&Rule> {
        self.rules.iter().find(|rule| rule.at == at)
    }

    /// Whether something on the card may name files that is not looked into: directories of other kinds, those beyond the
    /// first ones, damaged ones, and entries that are not understood.
    pub(crate) fn is_partly_unknown(&self) -> bool {
        let others = Objects::new(&self.odf.content).any(|entry| !matches!(entry, Ok(Tlv { tag: 0xA7 | 0xA8, .. })));
        let odf = Odf::parse(&self.odf.content);
        let skipped = odf.damage.is_some() || odf.dodfs.len() + odf.aodfs.len() > self.dodfs.len() + self.aodfs.len();
        let is_object = |entry| match entry {
            Ok(Tlv { tag: 0x30, value }) => DataObject::parse(value, Form::Opaque).is_ok(),
            Ok(Tlv { tag: 0xA1, value }) => DataObject::parse(value, Form::Oid).is_ok(),
            Ok(_) | Err(_) => false,
        };
        let mut entries = self.dodfs.iter().flat_map(|dodf| Objects::new(&dodf.content));
        others || skipped || !entries.all(is_object) || self.directories().any(|directory| directory.damage.is_some())
    }

    fn present(&mut self) -> impl Iterator<Item = &mut Present> {
        self.files.iter_mut().filter_map(|(_, state)| match state {
            FileState::Present(file) => Some(file),
            FileState::Absent => None,
        })
    }

    /// All directories.
    pub(crate) fn directories(&self) -> impl Iterator<Item = &Directory> {
        std::iter::once(&self.odf).chain(&self.dodfs).chain(&self.aodfs)
    }

    /// The objects that are listed, with the number of their directory.
    pub(crate) fn objects(&self) -> impl Iterator<Item = (usize, DataObject)> + '_ {
        self.dodfs.iter().enumerate().flat_map(|(number, dodf)| {
            DataObject::parse_all(&dodf.content).filter_map(Result::ok).map(move |object| (number, object))
        })
    }

    /// The PINs that are listed.
    pub(crate) fn pins(&self) -> impl Iterator<Item = PinObject> + '_ {
        self.aodfs.iter().flat_map(|aodf| PinObject::parse_all(&aodf.content).filter_map(Result::ok))
    }

    /// What is known of the file at this path.
    pub(crate) fn file(&self, path: &Path) -> &FileState {
        let key = self.key(path);
        self.files.iter().find(|(known, _)| *known == key).map_or(&FileState::Absent, |(_, state)| state)
    }

    /// Whether a directory names this file, in whatever form.
    pub(crate) fn is_named(&self, path: &Path) -> bool {
        // The identifier alone is looked at: where the DF lies is not always known, and a foreign file must not be taken.
        let id = path.file_id();
        self.objects().any(|(_, object)| object.path.file_id() == id)
            || self.directories().any(|directory| directory.id == id)
    }

    /// The first path to select it by, which is the same for all forms of a path.
    fn key(&self, path: &Path) -> Vec<u8> {
        path.selections(&self.df).into_iter().next().unwrap_or_default()
    }
}
