//! What a life is going to be: the device, and the troubles that it meets. All of it is drawn from the seed.

use super::disk::Health;
use crate::random::Random;
use std::fmt;

/// A day in seconds.
pub const DAY: u64 = 24 * 3600;

/// How long a life lasts, in seconds: 10 years.
pub const LIFE: u64 = 3652 * DAY;

/// A whole life before it is lived.
#[derive(Debug, Clone)]
pub struct Plan {
    /// What it was drawn from.
    pub seed: u64,
    /// The device.
    pub device: Device,
    /// What it meets, by time.
    pub troubles: Vec<Trouble>,
    /// The method by which a good server can be reached in the end.
    pub way: Way,
}

/// How the device is made and configured.
#[derive(Debug, Clone)]
pub struct Device {
    /// There is a reader.
    pub card: bool,
    /// The card's message is behind a PIN.
    pub pin: bool,
    /// `card.allow` lets any card configure the device.
    pub any_card: bool,
    /// A factory file is configured.
    pub factory: bool,
    /// A bootstrap server is configured.
    pub server: bool,
    /// `sim.required`.
    pub sim_required: bool,
    /// `session.every`, in days.
    pub every: u64,
    /// `session.stale_after`, in days.
    pub stale_after: u64,
    /// Card, factory file and bootstrap server know the server from the beginning.
    pub ready: [bool; 3],
    /// The account brings no credentials: the device's own are used.
    pub own_login: bool,
    /// Whose certificates last for years: the bootstrap server's, then those of the DM Servers by their numbers.
    pub lasting: u64,
}

/// One of the methods.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Way {
    /// The card.
    Card,
    /// The factory file.
    Factory,
    /// The bootstrap server.
    Server,
}

impl Way {
    /// The methods in their order.
    pub const ALL: [Self; 3] = [Self::Card, Self::Factory, Self::Server];
}

/// Something that goes wrong, or merely happens.
#[derive(Debug, Clone)]
pub struct Trouble {
    /// When, in seconds of the life.
    pub at: u64,
    /// For how long; what happens once has no length.
    pub lasts: u64,
    /// What.
    pub what: What,
}

/// What happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum What {
    /// The power goes at the storage operation after so many.
    CutAtDisk(u32),
    /// The power goes at the exchange with network or card after so many.
    CutAtExchange(u32),
    /// The program is ended and started.
    Restart,
    /// The program is ended, its previous version runs once, and this one again.
    Rollback,
    /// A person resets the device.
    Reset,
    /// The DM Server is in this condition.
    DmServer(Ill),
    /// The bootstrap server is in this condition.
    BootstrapServer(Ill),
    /// The DM Server is at another address from now on; the old one dies, or lives on for this long.
    Moved {
        /// Whether the bootstrap server knows it at once.
        told: bool,
    },
    /// Another operator's server takes over.
    Operator,
    /// The DM Server's certificate is of another authority from now on.
    Recertified,
    /// The device's password at the DM Server is another one from now on.
    NewPassword,
    /// The card in the reader is in this condition.
    Card(CardIll),
    /// A card is put in that is made from what is right now; `other` is another card.
    NewCard {
        /// Another ICCID.
        other: bool,
    },
    /// A person changes the card's PIN.
    NewPin,
    /// A person writes a wrong PIN into the PIN file, and the right one at the end.
    WrongPinFile,
    /// The system's clock is like this.
    Clock(ClockIll),
    /// The disk is in this condition.
    Disk(Health),
    /// The factory file holds what is right now.
    NewFactoryFile,
    /// The factory file is gone or damaged.
    Factory(FileIll),
    /// The file with the device's own secret is gone.
    NoSecretFile,
    /// Whoever is responsible brings one method up to date: the one by which a good server can be reached in the end.
    Remedy,
}

/// What can be wrong with a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ill {
    /// Nobody listens.
    Down,
    /// It takes connections and says nothing.
    Silent,
    /// Its name is not known.
    NoName,
    /// It answers with this status, and perhaps a Retry-After in seconds.
    Status(u16, Option<u32>),
    /// It answers 200 with something else.
    Garbage,
    /// Its answer is larger than allowed.
    Huge,
    /// It redirects to somebody else.
    Redirects,
    /// A certificate of a foreign authority.
    ForeignCertificate,
    /// A certificate that has expired.
    Expired,
    /// A certificate that is valid in the future.
    NotYetValid,
    /// It sends the device's credentials and data elsewhere, if the device lets it.
    Hostile,
    /// It never ends a session; as a bootstrap server: it gives a message for another server, which does not work.
    Odd,
}

/// What can be wrong with the card.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CardIll {
    /// It is out.
    Out,
    /// A card without a message is in its place.
    Bare,
    /// Some of its answers are lost: one of so many.
    Worn(u8),
    /// It cannot be read at all.
    Unreadable,
    /// It answers so slowly that time is over.
    Slow,
    /// Its message is damaged.
    Damaged,
}

/// What can be wrong with the clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClockIll {
    /// It begins at 1970 with each power-on.
    Epoch,
    /// It is ahead by so many seconds.
    Ahead(u64),
    /// It is behind by so many seconds.
    Behind(u64),
}

/// What can be wrong with a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileIll {
    /// It is not there.
    Gone,
    /// It is cut.
    Cut,
    /// It cannot be read.
    Unreadable,
}

impl Plan {
    /// The life of this seed.
    pub fn of(seed: u64) -> Self {
        let mut random = Random::new(seed);
        let device = Device::draw(&mut random);
        let configured: Vec<_> = Way::ALL.into_iter().filter(|way| device.has(*way)).collect();
        let way = random.pick(&configured).copied().unwrap_or(Way::Server);
        let mut troubles = Vec::new();
        for _ in 0..2 + random.below(5) {
            // Troubles come in bad times: some within days, so that they meet.
            let begin = random.below(LIFE - 90 * DAY);
            for _ in 0..1 + random.below(5) {
                let at = begin + random.spread(1, 20 * DAY);
                troubles.push(Trouble::draw(at, &mut random));
            }
        }
        if random.chance(30) {
            troubles.push(Trouble { at: 0, lasts: random.spread(60, 3 * DAY), what: What::Clock(ClockIll::Epoch) });
        }
        if random.chance(50) {
            troubles.push(Trouble { at: 0, ..Trouble::draw(0, &mut random) });
        }
        // What leads nowhere from now on is put right within days.
        let ready = device.ready[Way::ALL.iter().position(|one| *one == way).unwrap_or(0)];
        let mut outdated: Vec<_> = troubles.iter().filter(|one| one.what.outdates()).map(|one| one.at).collect();
        outdated.extend((!ready).then_some(0));
        for at in outdated {
            let after = random.spread(3600, 9 * DAY);
            troubles.push(Trouble { at: at + after, lasts: 0, what: What::Remedy });
        }
        troubles.sort_by_key(|trouble| trouble.at);
        Self { seed, device, troubles, way }
    }
}

impl Device {
    fn draw(random: &mut Random) -> Self {
        let kind = 1 + random.below(7);
        let every = if random.chance(1) { 4 + random.below(20) } else { 50 + random.below(41) };
        Self {
            card: kind & 1 != 0,
            pin: random.chance(40),
            any_card: random.chance(30),
            factory: kind & 2 != 0,
            server: kind & 4 != 0,
            sim_required: kind & 1 != 0 && random.chance(10),
            every,
            stale_after: every + 7 + random.below(every),
            ready: [random.chance(70), random.chance(70), random.chance(80)],
            own_login: random.chance(15),
            lasting: random.bits(),
        }
    }

    /// Whether a method is configured.
    pub fn has(&self, way: Way) -> bool {
        match way {
            Way::Card => self.card,
            Way::Factory => self.factory,
            Way::Server => self.server,
        }
    }
}

impl What {
    /// Whether accounts and messages of before are of no use afterwards.
    fn outdates(self) -> bool {
        matches!(self, Self::Moved { .. } | Self::Operator | Self::Recertified | Self::NewPassword | Self::NewPin)
    }
}

impl Trouble {
    fn draw(at: u64, random: &mut Random) -> Self {
        let longest = if random.chance(3) { 30 * DAY } else { 2 * DAY };
        let long = random.spread(60, longest);
        let (what, lasts) = match random.below(100) {
            0..20 => (What::CutAtDisk(random.below(14) as u32), long),
            20..28 => (What::CutAtExchange(random.below(60) as u32), long),
            28..32 => (What::Restart, 0),
            32..35 => (What::Rollback, 0),
            35..37 => (What::Reset, 0),
            37..49 => (What::DmServer(Ill::draw(random)), long),
            49..60 => (What::BootstrapServer(Ill::draw(random)), long),
            60..64 => (What::Moved { told: random.chance(70) }, 0),
            64..66 => (What::Operator, 0),
            66..69 => (What::Recertified, 0),
            69..72 => (What::NewPassword, 0),
            72..80 => (What::Card(CardIll::draw(random)), long),
            80..83 => (What::NewCard { other: random.chance(50) }, 0),
            83..84 => (What::NewPin, 0),
            84..86 => (What::WrongPinFile, long),
            86..91 => (What::Clock(ClockIll::draw(random)), long),
            91..95 => {
                let ills = [Health::Full, Health::ReadOnly, Health::SyncFails];
                (What::Disk(random.pick(&ills).copied().unwrap_or_default()), long)
            }
            95..97 => (What::NewFactoryFile, 0),
            97..99 => {
                let ills = [FileIll::Gone, FileIll::Cut, FileIll::Unreadable];
                (What::Factory(random.pick(&ills).copied().unwrap_or(FileIll::Gone)), long)
            }
            _ => (What::NoSecretFile, long),
        };
        Self { at, lasts, what }
    }

    /// When it is over.
    pub fn end(&self) -> u64 {
        self.at + self.lasts
    }
}

impl Ill {
    fn draw(random: &mut Random) -> Self {
        const STATUS: [u16; 9] = [401, 403, 404, 204, 429, 500, 503, 408, 415];
        match random.below(14) {
            0..2 => Self::Down,
            2 => Self::Silent,
            3 => Self::NoName,
            4..7 => {
                let status = random.pick(&STATUS).copied().unwrap_or(503);
                let wait = random.chance(50).then(|| random.spread(1, 3 * DAY) as u32);
                Self::Status(status, wait)
            }
            7 => Self::Garbage,
            8 => Self::Huge,
            9 => Self::Redirects,
            10 => Self::ForeignCertificate,
            11 => Self::Expired,
            12 => Self::NotYetValid,
            _ => [Self::Hostile, Self::Odd][random.below(2) as usize],
        }
    }
}

impl CardIll {
    fn draw(random: &mut Random) -> Self {
        match random.below(6) {
            0 => Self::Out,
            1 => Self::Bare,
            2 => Self::Worn(2 + random.below(60) as u8),
            3 => Self::Unreadable,
            4 => Self::Slow,
            _ => Self::Damaged,
        }
    }
}

impl ClockIll {
    fn draw(random: &mut Random) -> Self {
        match random.below(3) {
            0 => Self::Epoch,
            1 => Self::Ahead(random.spread(60, 20 * 365 * DAY)),
            _ => Self::Behind(random.spread(60, 5 * 365 * DAY)),
        }
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}  {:?}", moment(self.at), self.what)?;
        if self.lasts > 0 { write!(f, ", until {}", moment(self.end())) } else { Ok(()) }
    }
}

/// A time of a life for people: day and time of day.
pub fn moment(seconds: u64) -> String {
    let (day, rest) = (seconds / DAY, seconds % DAY);
    format!("day {day:>4} {:02}:{:02}:{:02}", rest / 3600, rest / 60 % 60, rest % 60)
}
