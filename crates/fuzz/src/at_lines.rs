//! A modem that sends anything (docs/card-links.md): opening and reading end within their bounds, and nothing that the
//! modem says makes us send a command to channel 0 or one of its own PINs.
//!
//! The first byte chooses the virtual modem, the second how bytes are cut on the way; then it is said answer by answer
//! what is sent: a byte below 0x80, what the virtual modem says; above, the counted bytes that follow, as they are.

use std::cell::{Cell, RefCell};
use std::time::Duration;

use omadm_card::apdu::{MANAGE_CHANNEL, VERIFY, channel_of};
use omadm_card::link::Patience;
use omadm_card::link::at::{AtLink, Port, PortError};
use omadm_card::virtual_modem::{ModemQuirk, VirtualModem};
use omadm_card::{ReadRequest, VirtualUicc, hex, read};
use omadm_core::secret::Secret;

use crate::card_conversation::cards;
use crate::script::Script;

/// Opening, reading, and closing by their own limits, in the time of the wire.
const LONGEST: Duration = Duration::from_secs(120);
/// More lines than a reading of 1,000 commands takes: a command may be asked for in smaller blocks and without Le.
const MOST_LINES: usize = 6_000;
/// The longest line that is sent: 261 bytes as digits, with a name and a handle.
const LONGEST_LINE: usize = 640;

pub(crate) fn run(bytes: &[u8]) {
    let mut script = Script::new(bytes);
    let (choice, step) = (script.byte().unwrap_or(0), script.byte().unwrap_or(0));
    let images = cards();
    let Some(image) = images.get(usize::from(choice) % images.len()) else { return };
    let (quirk, _) = ModemQuirk::ALL[usize::from(choice / 8) % ModemQuirk::ALL.len()];
    let clock = Cell::new(Duration::ZERO);
    let lines = RefCell::new(Vec::new());
    let wire = Wire {
        modem: VirtualModem::new(VirtualUicc::new(image), &[quirk]),
        script,
        waiting: Vec::new(),
        step: usize::from(step).max(1),
        clock: &clock,
        lines: &lines,
    };
    let patience = Patience { wait: Duration::from_secs(5), ..Patience::default() };
    if let Ok(mut link) = AtLink::open(wire, &patience) {
        let pin = Secret::from("1234");
        let request = ReadRequest { pin: Some(&pin), ..ReadRequest::default() };
        let reading = read(&mut link, &request, &|| clock.get());
        assert!(reading.counts.total() <= 1_002);
    }
    assert!(clock.get() <= LONGEST, "{:?}", clock.get());
    let lines = lines.borrow();
    assert!(lines.len() <= MOST_LINES, "{} lines", lines.len());
    lines.iter().for_each(|line| look_at(line));
}

/// Rules for what may be sent at all.
fn look_at(line: &str) {
    assert!(line.len() <= LONGEST_LINE, "a line of {} bytes", line.len());
    assert!(line.starts_with("AT") && line.bytes().all(|byte| (0x20..=0x7E).contains(&byte)), "{line}");
    assert!(!line.contains("=?"), "{line}");
    let apdu = || {
        let digits = line.rsplit_once(',').map(|(_, digits)| digits.trim_matches('"'));
        hex::decode(digits.expect("digits")).expect("hexadecimal digits")
    };
    if line.starts_with("AT+CSIM=") {
        let apdu = apdu();
        let channel = channel_of(apdu[0]).expect("a class with a channel");
        assert!(channel != 0 || apdu[1] == MANAGE_CHANNEL, "channel 0: {line}");
        assert!(apdu[1] != VERIFY || !matches!(apdu[3], 0x01 | 0x11), "{line}");
    } else if line.starts_with("AT+CGLA=") {
        let apdu = apdu();
        assert_eq!(channel_of(apdu[0]), Some(0), "the modem sets the channel: {line}");
        assert!(apdu[1] != VERIFY || !matches!(apdu[3], 0x01 | 0x11), "{line}");
    }
}

/// The modem at the other end, and the time that passes there.
struct Wire<'a> {
    modem: VirtualModem,
    script: Script<'a>,
    waiting: Vec<u8>,
    step: usize,
    clock: &'a Cell<Duration>,
    lines: &'a RefCell<Vec<String>>,
}

impl Port for Wire<'_> {
    fn write(&mut self, bytes: &[u8], _: Duration) -> Result<(), PortError> {
        let line = std::str::from_utf8(bytes).expect("ASCII").strip_suffix('\r').expect("a whole line");
        self.lines.borrow_mut().push(line.to_owned());
        let honest = self.modem.answer(bytes);
        match self.script.byte() {
            None | Some(0..0x80) => self.waiting.extend(honest),
            Some(0x80..0xF0) => self.waiting.extend(self.script.counted()),
            Some(0xF0..0xF8) => {
                self.waiting.extend(self.script.counted());
                self.waiting.extend(honest);
            }
            Some(0xF8..0xFC) => self.waiting.extend(b"\r\n+CREG: 1\r\n".repeat(10_000)),
            Some(0xFC..0xFE) => return Err(PortError::TimedOut),
            Some(0xFE..) => return Err(PortError::Gone),
        }
        Ok(())
    }

    fn read(&mut self, room: &mut [u8], limit: Duration) -> Result<usize, PortError> {
        let count = self.waiting.len().min(room.len()).min(self.step);
        if count == 0 {
            self.clock.set(self.clock.get() + limit);
        }
        for (place, byte) in room.iter_mut().zip(self.waiting.drain(..count)) {
            *place = byte;
        }
        Ok(count)
    }

    fn now(&self) -> Duration {
        self.clock.get()
    }
}
