//! Which serial ports look like those of modems.

use omadm_core::order::put_in_order;
use std::fs;
use std::path::{Path, PathBuf};

/// The most ports that are told.
const MAX_PORTS: usize = 16;
/// The most entries of /dev that are looked at.
const MAX_ENTRIES: usize = 10_000;
/// Drivers of plain adapters, behind which anything may be that AT would disturb.
const ADAPTERS: [&str; 8] = ["ark3116", "ch341", "ch341-uart", "cp210x", "ftdi_sio", "mos7840", "oti6858", "pl2303"];

/// A port that may be a modem's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundPort {
    /// Where it is.
    pub path: PathBuf,
    /// Why it is not tried, in a sentence; none where it is.
    pub why_not: Option<String>,
}

/// The ports of this machine, in order; at most 16.
pub fn ports() -> Vec<FoundPort> {
    ports_in(Path::new("/dev"), Path::new("/sys"))
}

/// The ports below these two folders.
pub(super) fn ports_in(dev: &Path, sys: &Path) -> Vec<FoundPort> {
    let entries = fs::read_dir(dev).into_iter().flatten().take(MAX_ENTRIES).filter_map(Result::ok);
    let names = entries.filter_map(|entry| entry.file_name().into_string().ok()).filter(|name| is_a_modems(name));
    let mut names: Vec<String> = names.collect();
    // ttyUSB2 before ttyUSB10.
    put_in_order(&mut names, |one, other| (one.len(), one) < (other.len(), other));
    names.truncate(MAX_PORTS);
    let found = |name: String| FoundPort { why_not: why_not(&sys.join("class/tty").join(&name)), path: dev.join(name) };
    names.into_iter().map(found).collect()
}

/// USB modems are ttyUSB and ttyACM; those that the kernel knows as modems have ports such as wwan0at0.
fn is_a_modems(name: &str) -> bool {
    let numbered = |rest: Option<&str>| rest.is_some_and(is_number);
    let wwan = name.strip_prefix("wwan").and_then(|rest| rest.split_once("at"));
    numbered(name.strip_prefix("ttyUSB"))
        || numbered(name.strip_prefix("ttyACM"))
        || wwan.is_some_and(|(device, port)| is_number(device) && is_number(port))
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// What the system says against it, if it says anything.
fn why_not(class: &Path) -> Option<String> {
    let device = class.join("device");
    let driver = fs::read_link(device.join("driver")).ok();
    let driver = driver.as_deref().and_then(Path::file_name).and_then(|name| name.to_str());
    if let Some(driver) = driver.filter(|driver| ADAPTERS.contains(driver)) {
        return Some(format!("a plain serial adapter ({driver}); if a modem is behind it, name it by at:PATH"));
    }
    // Of the class of communication devices, 1 to 6 are kinds of AT commands.
    let protocol = fs::read_to_string(device.join("bInterfaceProtocol")).ok()?;
    let is_at = matches!(protocol.trim(), "01" | "02" | "03" | "04" | "05" | "06");
    (!is_at).then(|| "it says that it knows no AT commands; if it does, name it by at:PATH".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn ports_of_modems_are_found_in_order_and_adapters_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let (dev, sys) = (folder.path().join("dev"), folder.path().join("sys"));
        fs::create_dir(&dev).unwrap();
        for name in [
            "ttyUSB10",
            "ttyUSB2",
            "ttyACM0",
            "ttyACM1",
            "wwan0at1",
            "wwan0qmi0",
            "wwanat",
            "ttyS0",
            "ttyUSB",
            "ttyUSBx",
        ] {
            fs::write(dev.join(name), "").unwrap();
        }
        let device = |name: &str| {
            let device = sys.join("class/tty").join(name).join("device");
            fs::create_dir_all(&device).unwrap();
            device
        };
        symlink("/sys/bus/usb-serial/drivers/ftdi_sio", device("ttyUSB2").join("driver")).unwrap();
        symlink("/sys/bus/usb-serial/drivers/option1", device("ttyUSB10").join("driver")).unwrap();
        fs::write(device("ttyACM0").join("bInterfaceProtocol"), "00\n").unwrap();
        fs::write(device("ttyACM1").join("bInterfaceProtocol"), "01\n").unwrap();
        let found = ports_in(&dev, &sys);
        let names = |found: Vec<&FoundPort>| {
            found.iter().map(|port| port.path.file_name().unwrap().to_str().unwrap().to_owned()).collect::<Vec<_>>()
        };
        let (tried, not): (Vec<_>, Vec<_>) = found.iter().partition(|port| port.why_not.is_none());
        assert_eq!(names(tried), ["ttyACM1", "ttyUSB10", "wwan0at1"]);
        assert_eq!(names(not), ["ttyACM0", "ttyUSB2"]);
        assert!(found.iter().any(|port| port.why_not.as_deref().is_some_and(|why| why.contains("ftdi_sio"))));
        assert_eq!(ports_in(&folder.path().join("none"), &sys), []);
    }
}
