//! `qmicli` and `mbimcli` as stand-ins: commands of these names that print what the real ones print, with a virtual UICC in
//! the modem behind them. The texts are those of libqmi 1.34 and libmbim 1.28.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use omadm_card::apdu::{Command, MANAGE_CHANNEL, Protocol, READ_BINARY, Response, SELECT, channel_of, class};
use omadm_card::{CardImage, VirtualUicc, hex};

/// What a command prints and how it ends.
struct Printed {
    output: String,
    errors: String,
    code: u8,
}

/// A modem with a card, as far as the two commands show it.
#[derive(Debug)]
pub struct ToolModem {
    /// The card; none in an empty slot.
    pub card: Option<VirtualUicc>,
    /// What the modem says about its registration: `registered` for QMI, `home` for MBIM.
    pub registration: &'static str,
    /// Refuses to open channels, saying that all are taken.
    pub is_full: bool,
    /// The QMI clients that are not given back.
    pub clients: Vec<u32>,
    /// Open channels, with the QMI client that opened each; 0 for MBIM.
    pub channels: BTreeMap<u8, u32>,
    /// Commands that came for channel 0, MANAGE CHANNEL aside.
    pub strayed: u32,
    /// What was asked, one line for each call.
    pub asked: Vec<String>,
    next_client: u32,
}

/// A folder with the two commands, which are there until the value is dropped.
#[derive(Debug)]
pub struct ModemTools {
    folder: PathBuf,
    modem: Arc<Mutex<ToolModem>>,
    thread: Option<JoinHandle<()>>,
}

impl ModemTools {
    /// Puts the commands into this folder, which must not exist yet, and a card into their modem.
    pub fn new(folder: &Path, card: Option<&CardImage>) -> Self {
        std::fs::create_dir(folder).expect("a new folder");
        let fifo = |name: &str| {
            let path = folder.join(name);
            let mode = rustix::fs::Mode::from_raw_mode(0o600);
            rustix::fs::mknodat(rustix::fs::CWD, &path, rustix::fs::FileType::Fifo, mode, 0).expect("a fifo");
            // Open for both, so that nothing waits for the other end.
            OpenOptions::new().read(true).write(true).open(path).expect("a fifo")
        };
        let (ask, answer) = (fifo("ask"), fifo("answer"));
        for name in ["qmicli", "mbimcli"] {
            let place = folder.display();
            let script = format!(
                "#!/bin/sh\nprintf '%s\\n' \"{name} $*\" >{place}/ask\nread -r code <{place}/answer\n\
                 cat {place}/errors >&2\ncat {place}/output\nexit $code\n"
            );
            let path = folder.join(name);
            std::fs::write(&path, script).expect("a script");
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).expect("a mode");
        }
        let modem = Arc::new(Mutex::new(ToolModem {
            card: card.map(VirtualUicc::new),
            registration: "registered",
            is_full: false,
            clients: Vec::new(),
            channels: BTreeMap::new(),
            strayed: 0,
            asked: Vec::new(),
            next_client: 17,
        }));
        let (behind, place) = (modem.clone(), folder.to_owned());
        let thread = std::thread::spawn(move || serve(&behind, &place, ask, answer));
        Self { folder: folder.to_owned(), modem, thread: Some(thread) }
    }

    /// The modem, for the moment.
    pub fn modem(&self) -> MutexGuard<'_, ToolModem> {
        self.modem.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// PATH with the commands before all others.
    pub fn path(&self) -> OsString {
        let mut path = self.folder.clone().into_os_string();
        path.push(":/usr/bin:/bin");
        path
    }
}

impl Drop for ModemTools {
    fn drop(&mut self) {
        let _ = std::fs::write(self.folder.join("ask"), "quit\n");
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Answers call after call, until one is named quit.
fn serve(modem: &Mutex<ToolModem>, folder: &Path, ask: File, mut answer: File) {
    for line in BufReader::new(ask).lines().map_while(Result::ok).take_while(|line| line != "quit") {
        let mut modem = modem.lock().unwrap_or_else(PoisonError::into_inner);
        modem.asked.push(line.clone());
        let printed = modem.call(&line);
        std::fs::write(folder.join("output"), printed.output).expect("output");
        std::fs::write(folder.join("errors"), printed.errors).expect("errors");
        writeln!(answer, "{}", printed.code).expect("an answer");
    }
}

fn fails(errors: impl Into<String>) -> Printed {
    Printed { output: String::new(), errors: errors.into(), code: 1 }
}

fn prints(output: impl Into<String>) -> Printed {
    Printed { output: output.into(), errors: String::new(), code: 0 }
}

/// Pairs of digits with colons between them, as both tools print bytes.
fn colons(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02X}")).collect::<Vec<_>>().join(":")
}

impl ToolModem {
    fn call(&mut self, line: &str) -> Printed {
        let mut words = line.split(' ');
        let tool = words.next().unwrap_or_default();
        let (mut client, mut keep, mut action) = (None, false, "");
        for word in words {
            match word.split_once('=') {
                Some(("--device", "/dev/cdc-wdm0")) => {}
                None if word == "--device-open-proxy" => {}
                None if word == "--client-no-release-cid" => keep = true,
                Some(("--client-cid", number)) => client = number.parse::<u32>().ok(),
                _ if action.is_empty() => action = word,
                _ => return fails(format!("error: too many actions requested: {word}\n")),
            }
        }
        let (action, argument) = action.split_once('=').unwrap_or((action, ""));
        match tool {
            "qmicli" => self.qmi(client, keep, action, argument),
            _ => self.mbim(action, argument),
        }
    }

    /// One call of qmicli: the client is there before it, or made for it; it is given back unless it is to be kept.
    fn qmi(&mut self, known: Option<u32>, keep: bool, action: &str, argument: &str) -> Printed {
        let client = known.unwrap_or(self.next_client);
        if known.is_none() {
            self.next_client += 1;
            self.clients.push(client);
        } else if !self.clients.contains(&client) {
            return fails("error: couldn't create client for the 'uim' service: CID allocation failed\n");
        }
        let mut printed = self.qmi_action(client, action, argument);
        if keep {
            let kept = format!("[/dev/cdc-wdm0] Client ID not released:\n\tService: 'uim'\n\t    CID: '{client}'\n");
            printed.output.push_str(&kept);
        } else {
            self.clients.retain(|one| *one != client);
            // Its channels go with it.
            let gone: Vec<u8> =
                self.channels.iter().filter(|(_, owner)| **owner == client).map(|(one, _)| *one).collect();
            gone.into_iter().for_each(|channel| self.close(channel));
        }
        printed
    }

    fn qmi_action(&mut self, client: u32, action: &str, argument: &str) -> Printed {
        let parts: Vec<&str> = argument.split(',').collect();
        match (action, parts.as_slice()) {
            ("--uim-noop", _) => prints(""),
            ("--uim-get-card-status", _) => prints(self.card_status()),
            ("--uim-read-transparent", path) => match self.file(path) {
                Some(content) => prints(format!(
                    "[/dev/cdc-wdm0] Successfully read information from the UIM:\nCard result:\n\tSW1: '0x90'\n\tSW2: '0x00'\n\
                     Read result:\n\t{}\n",
                    colons(&content)
                )),
                None => fails(
                    "error: couldn't read transparent file from the UIM: QMI protocol error (80): 'SimFileNotFound'\n",
                ),
            },
            ("--nas-get-serving-system", _) => prints(format!(
                "[/dev/cdc-wdm0] Successfully got serving system:\n\tRegistration state: '{}'\n\tCS: 'attached'\n\tPS: 'attached'\n\
                 \tSelected network: '3gpp'\n\tRadio interfaces: '1'\n\t\t[0]: 'lte'\n",
                self.registration
            )),
            ("--uim-open-logical-channel", [_, aid]) => match self.open(aid, 0x04, client) {
                Ok(channel) => prints(format!("Open Logical Channel operation successfully completed: {channel}\n")),
                Err(None) => fails(
                    "error: open logical channel operation failed: QMI protocol error (68): 'InsufficientResources'\n",
                ),
                Err(Some(_)) => {
                    fails("error: open logical channel operation failed: QMI protocol error (80): 'SimFileNotFound'\n")
                }
            },
            ("--uim-close-logical-channel", [_, channel]) => {
                match channel.parse().ok().filter(|channel| self.channels.get(channel) == Some(&client)) {
                    Some(channel) => {
                        self.close(channel);
                        prints("Close Logical Channel operation successfully completed\n")
                    }
                    None => fails(
                        "error: close logical channel operation failed: QMI protocol error (48): 'InvalidArgument'\n",
                    ),
                }
            }
            ("--uim-send-apdu", [_, channel, apdu]) => {
                let channel: u8 = channel.parse().unwrap_or(u8::MAX);
                let command = hex::decode(apdu).unwrap_or_default();
                let named = command.first().copied().and_then(channel_of);
                // Channels belong to the client that opened them.
                let is_its_own = channel == 0 || self.channels.get(&channel) == Some(&client);
                if named != Some(channel) || !is_its_own {
                    return fails("error: send apdu operation failed: QMI protocol error (48): 'InvalidArgument'\n");
                }
                match self.transmit(&command) {
                    Some(answer) => {
                        prints(format!("Send APDU operation successfully completed: {}\n", colons(&answer)))
                    }
                    None => fails("error: send apdu operation failed: QMI protocol error (3): 'Internal'\n"),
                }
            }
            _ => fails(format!("error: Unknown option {action}\n")),
        }
    }

    fn card_status(&self) -> String {
        let head = "[/dev/cdc-wdm0] Successfully got card status\nProvisioning applications:\n";
        let none = "\tPrimary 1X:   session doesn't exist\n\tSecondary GW: session doesn't exist\n\tSecondary 1X: session doesn't exist\n";
        let pins = "\tUPIN state: 'not-initialized'\n\t\tUPIN retries: '0'\n\t\tUPUK retries: '0'\n";
        if self.card.is_none() {
            return format!(
                "{head}\tPrimary GW:   session doesn't exist\n{none}Slot [1]:\n\tCard state: 'absent'\n{pins}"
            );
        }
        format!(
            "{head}\tPrimary GW:   slot '1', application '1'\n{none}Slot [1]:\n\tCard state: 'present'\n{pins}\
             \tApplication [1]:\n\t\tApplication type:  'usim (2)'\n\t\tApplication state: 'ready'\n\t\tApplication ID:\n\
             \t\t\tA0:00:00:00:87:10:02:FF:49:FF:05:89\n\t\tPersonalization state: 'ready'\n\
             \t\tUPIN replaces PIN1: 'no'\n\t\tPIN1 state: 'disabled'\n\t\t\tPIN1 retries: '3'\n\t\t\tPUK1 retries: '10'\n"
        )
    }

    fn mbim(&mut self, action: &str, argument: &str) -> Printed {
        let value = |key: &str| {
            let pair = argument.split(',').filter_map(|pair| pair.split_once('=')).find(|(name, _)| *name == key);
            pair.map_or("", |(_, value)| value)
        };
        match action {
            "--query-subscriber-ready-status" => {
                let iccid = self.iccid();
                let (state, iccid) = match &iccid {
                    Some(iccid) => ("initialized", iccid.as_str()),
                    None => ("sim-not-inserted", "unknown"),
                };
                prints(format!(
                    "[/dev/cdc-wdm0] Subscriber ready status retrieved:\n\t      Ready state: '{state}'\n\
                     \t    Subscriber ID: '001010123456789'\n\t        SIM ICCID: '{iccid}'\n\t       Ready info: 'none'\n\
                     \tTelephone numbers: (0) 'unknown'\n"
                ))
            }
            "--query-home-provider" => prints(
                "[/dev/cdc-wdm0] Home provider:\n\t   Provider ID: '00101'\n\t Provider name: 'Test'\n\t         State: 'home'\n",
            ),
            "--query-registration-state" => prints(format!(
                "[/dev/cdc-wdm0] Registration status:\n\t         Network error: 'unknown'\n\t        Register state: '{}'\n\
                 \t         Register mode: 'automatic'\n",
                self.registration
            )),
            "--ms-set-uicc-open-channel" => {
                let p2 = value("selectp2arg").parse().unwrap_or(0);
                let (word, channel) = match self.open(value("application-id"), p2, 0) {
                    Ok(channel) => (0x9000, channel),
                    Err(word) => (word.unwrap_or(0x6881), 0),
                };
                prints(format!(
                    "Succesfully retrieved open channel info:\n\t  status: {}\n\t channel: {channel}\n\tresponse: (null)\n",
                    u16::swap_bytes(word)
                ))
            }
            "--ms-set-uicc-close-channel" => {
                if let Ok(channel) = value("channel").parse() {
                    self.close(channel);
                }
                prints("Succesfully retrieved close channel info:\n\tstatus: 144\n")
            }
            "--ms-set-uicc-apdu" => {
                let channel: u8 = value("channel").parse().unwrap_or(u8::MAX);
                let mut command = hex::decode(value("command")).unwrap_or_default();
                if !self.channels.contains_key(&channel) || value("classbyte-type") != "inter-industry" {
                    return fails("error: operation failed: InvalidParameters\n");
                }
                if let Some(first) = command.first_mut() {
                    *first = *first & 0x80 | class(channel);
                }
                let Some(answer) = self.transmit(&command).and_then(Response::parse) else {
                    return fails("error: operation failed: Failure\n");
                };
                let data = if answer.data.is_empty() { "(null)".to_owned() } else { colons(&answer.data) };
                let status = u16::swap_bytes(answer.status.0);
                prints(format!("Succesfully retrieved UICC APDU response:\n\t  status: {status}\n\tresponse: {data}\n"))
            }
            _ => fails(format!("error: Unknown option {action}\n")),
        }
    }

    /// Opens a channel with this application selected; else the status word, or none where no channel is free.
    fn open(&mut self, aid: &str, p2: u8, client: u32) -> Result<u8, Option<u16>> {
        let Some(card) = self.card.as_mut().filter(|_| !self.is_full) else { return Err(None) };
        let opened = Response::parse(card.answer(&[0x00, MANAGE_CHANNEL, 0, 0, 1])).ok_or(None)?;
        let Some(channel) = opened.data.first().copied().filter(|_| opened.status.is_ok()) else { return Err(None) };
        let aid = hex::decode(aid).unwrap_or_default();
        let select = if p2 == 0x0C { Command::case3(SELECT, 4, p2, &aid) } else { Command::case4(SELECT, 4, p2, &aid) };
        let selected = Response::parse(card.answer(&select.encode(channel, Protocol::T1))).ok_or(None)?;
        if selected.status.is_ok() {
            self.channels.insert(channel, client);
            return Ok(channel);
        }
        card.answer(&[0x00, MANAGE_CHANNEL, 0x80, channel]);
        Err(Some(selected.status.0))
    }

    fn close(&mut self, channel: u8) {
        if self.channels.remove(&channel).is_some()
            && let Some(card) = &mut self.card
        {
            card.answer(&[0x00, MANAGE_CHANNEL, 0x80, channel]);
        }
    }

    fn transmit(&mut self, command: &[u8]) -> Option<Vec<u8>> {
        if command.first().copied().and_then(channel_of) == Some(0) && command.get(1) != Some(&MANAGE_CHANNEL) {
            self.strayed += 1;
        }
        self.card.as_mut().map(|card| card.answer(command))
    }

    /// What the modem reads by itself, on a channel that nobody sees: a file by its path, each part as `0x3F00`.
    fn file(&mut self, path: &[&str]) -> Option<Vec<u8>> {
        let card = self.card.as_mut()?;
        let ids: Vec<u8> = path.iter().filter_map(|id| hex::decode(id.strip_prefix("0x")?).ok()).flatten().collect();
        let path = ids.strip_prefix(&[0x3F, 0x00])?;
        if path.starts_with(&[0x7F, 0xFF]) {
            card.answer(&Command::case3(SELECT, 4, 0x0C, &[0xA0, 0, 0, 0, 0x87, 0x10, 0x02]).encode(0, Protocol::T1));
        }
        card.answer(&Command::case3(SELECT, 8, 0x0C, path).encode(0, Protocol::T1));
        let read = Response::parse(card.answer(&Command::case2(READ_BINARY, 0, 0, 0).encode(0, Protocol::T1)))?;
        (!read.data.is_empty()).then_some(read.data)
    }

    fn iccid(&mut self) -> Option<String> {
        let file = self.file(&["0x3F00", "0x2FE2"])?;
        omadm_card::file::digits::iccid(&file).map(|iccid| iccid.to_string())
    }
}
