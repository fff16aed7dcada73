//! What a configuration may say, and what is said about one that is wrong.

use super::*;

const LEAST: &str = "state = \"state\"\ndev_id = \"IMEI:493005100592800\"\n";

fn parse(more: &str) -> Result<Config, ConfigError> {
    Config::parse(&format!("{LEAST}{more}"), Path::new("/etc/omadm/client.toml"))
}

#[test]
fn defaults_are_those_of_the_reference() {
    let config = parse("").unwrap();
    assert_eq!(config.state, Path::new("/etc/omadm/state"), "relative to the configuration file");
    assert_eq!(config.card.link, CardLink::Auto);
    assert_eq!((config.card.timeout, config.card.wait), (Duration::from_secs(20), Duration::from_secs(30)));
    assert_eq!((config.sim.required, config.sim.wait), (false, Duration::from_secs(60)));
    assert_eq!(config.session.every, Duration::from_secs(24 * 3600));
    assert_eq!(config.session.stale_after, Duration::from_secs(7 * 24 * 3600));
    assert_eq!((config.bootstrap, config.factory, config.card.allow), (None, None, None));
    assert!(!config.example_mo);
}

#[test]
fn every_key_is_read() {
    let config = parse(
        r#"
man = "Example Devices"
mod = "Meter 3"
dev_type = "meter"
oem = "Example"
fw_v = "3.1.0"
sw_v = "7.2"
hw_v = "B"
lang = "en"
example_mo = true
[card]
link = "socket:card.sock"
reader = "Virtual"
pin_file = "pin"
timeout = "500ms"
wait = "2s"
allow = ["8988", "8949"]
every = "12h"
fast = true
[factory]
file = "/usr/share/omadm/factory.json"
signer = "factory.pem"
key = "line.key"
[bootstrap]
url = "https://bs.example/bootstrap?x=1"
ca = "ca.pem"
auth = "basic"
user = "u"
secret_file = "secret"
cert = ""
key = ""
[sim]
required = true
wait = "1m"
mcc = "001"
mnc = "01"
[session]
every = "1h"
stale_after = "1d"
[http]
connect_timeout = "5s"
timeout = "30s"
[access]
"urn:oma:mo:oma-fumo:1.0" = ["read", "execute"]
"#,
    )
    .unwrap();
    assert_eq!(config.device.model, "Meter 3");
    assert_eq!(config.card.link, CardLink::Socket("/etc/omadm/card.sock".into()));
    assert_eq!(config.card.pin_file.as_deref(), Some(Path::new("/etc/omadm/pin")));
    assert_eq!(config.card.allow, Some(Allow::Prefixes(vec!["8988".to_owned(), "8949".to_owned()])));
    assert!(config.card.fast && config.card.every == Duration::from_secs(12 * 3600));
    let factory = FactoryConfig {
        file: "/usr/share/omadm/factory.json".into(),
        signer: Some("/etc/omadm/factory.pem".into()),
        key: Some("/etc/omadm/line.key".into()),
    };
    assert_eq!(config.factory, Some(factory));
    let bootstrap = config.bootstrap.unwrap();
    assert_eq!(bootstrap.url.to_string(), "https://bs.example/bootstrap?x=1");
    assert_eq!((config.login.unwrap().user.as_deref(), bootstrap.auth), (Some("u"), Auth::Basic));
    assert_eq!(config.sim.mnc.unwrap().as_str(), "01");
    let rights = config.access.values().next().unwrap();
    assert_eq!((rights.read, rights.write, rights.execute), (true, false, true));
}

#[test]
fn an_error_names_file_line_and_what_was_expected() {
    for (more, line, expected) in [
        ("\n\nstat = 1\n", 5, "unknown field `stat`"),
        ("[card]\nlink = \"auto\"\nslot = 1\n", 5, "unknown field `slot`"),
        ("[modem]\n", 3, "unknown field `modem`"),
        ("[card]\nlink = \"at:\"\n", 4, "auto, pcsc, at:PATH, exec:COMMAND, socket:PATH or off is expected"),
        ("[card]\nlink = \"exec: \"\n", 4, "names no command: no program is named"),
        ("[card]\nlink = \"exec:a 'b\"\n", 4, "names no command: a quote is not closed"),
        ("[card]\nlink = \"usb\"\n", 4, "auto, pcsc, at:PATH, exec:COMMAND, socket:PATH or off is expected"),
        ("[card]\nlink = \"socket:\"\n", 4, "auto, pcsc, at:PATH, exec:COMMAND, socket:PATH or off is expected"),
        ("[card]\ntimeout = \"20\"\n", 4, "a whole number with ms, s, m, h or d"),
        ("[card]\ntimeout = 20\n", 4, "expected a string"),
        ("[card]\n\nwait = \"-1s\"\n", 5, "not a time"),
        ("[card]\ntimeout = \"0s\"\n", 4, "longer than zero"),
        ("[card]\nfast = \"yes\"\n", 4, "true or false"),
        ("[card]\nallow = \"all\"\n", 4, "a list of ICCID prefixes is expected"),
        ("[card]\nallow = [\"89x\"]\n", 4, "a list of ICCID prefixes is expected"),
        ("[card]\nevery = \"0s\"\n", 4, "longer than zero"),
        ("[session]\nevery = \"0s\"\n", 4, "longer than zero"),
        ("[session]\nevery = \"99999999999999d\"\n", 4, "at most 366d"),
        ("[sim]\nmcc = \"01\"\n", 4, "3 digits are expected"),
        ("[sim]\nmnc = \"1\"\n", 4, "2 or 3 digits are expected"),
        ("[bootstrap]\nauth = \"aka\"\n", 4, "not supported yet"),
        ("[bootstrap]\nauth = \"psk\"\n", 3, "secret_file is needed"),
        ("[bootstrap]\nauth = \"x509\"\ncert = \"c.pem\"\n", 3, "bootstrap.cert and bootstrap.key are needed"),
        ("[bootstrap]\nauth = \"password\"\n", 4, "basic, x509, psk or none is expected"),
        ("[bootstrap]\nurl = \"https://b.example/\"\n", 3, "secret_file is needed"),
        ("[bootstrap]\nurl = \"http://b.example/\"\nsecret_file = \"s\"\n", 4, "https"),
        ("[bootstrap]\nurl = \"b.example\"\nsecret_file = \"s\"\n", 4, "bootstrap.url"),
        ("[bootstrap]\nurl = \"https://b/\"\nsecret_file = \"s\"\nuser = \"a:b\"\n", 6, "colon"),
        ("[bootstrap]\ncert = \"c.pem\"\n", 4, "bootstrap.cert and bootstrap.key belong to bootstrap.auth"),
        ("[factory]\nsigner = \"s.pem\"\n", 3, "belong to factory.file"),
        ("[factory]\nfile = \"f\"\n[bootstrap]\nurl = \"https://b/\"\n", 5, "factory.signer and a bundle"),
        ("[access]\n\"urn:x:1\" = [\"read\"]\n\"urn:x:2\" = [\"all\"]\n", 5, "read, write or execute is expected"),
        ("[access]\n\"x\" = [\"read\"]\n", 4, "not a MOID"),
        ("man = \"a\\u0007\"\n", 3, "control characters"),
        ("oem = \n", 3, ""),
    ] {
        let error = parse(more).unwrap_err().to_string();
        assert!(error.starts_with(&format!("/etc/omadm/client.toml:{line}: ")), "{more:?}: {error}");
        assert!(error.contains(expected), "{more:?}: {error}");
    }
    let error = Config::parse("dev_id = \"x\"\n", Path::new("c.toml")).unwrap_err().to_string();
    assert!(error.contains("missing field `state`"), "{error}");
    let error = Config::parse("state = \"s\"\ndev_id = \"a b\"\n", Path::new("c.toml")).unwrap_err().to_string();
    assert!(error.starts_with("c.toml:2: not a DevID"), "{error}");
}

#[test]
fn the_device_proves_itself_by_password_key_or_certificate() {
    let means =
        |more: &str| parse(&format!("[bootstrap]\n{more}")).unwrap().login.map(|login| (login.user, login.means));
    let secret_file = Path::new("/etc/omadm/s").to_path_buf();
    let (cert, key) = (Path::new("/etc/omadm/c.pem").to_path_buf(), Path::new("/k.pem").to_path_buf());
    assert_eq!(means("auth = \"basic\"\n"), None);
    let password = Means::Password { secret_file: secret_file.clone() };
    assert_eq!(means("secret_file = \"s\"\n"), Some((None, password)));
    let psk = "auth = \"psk\"\nuser = \"IMEI:1\"\nsecret_file = \"s\"\n";
    assert_eq!(means(psk), Some((Some("IMEI:1".to_owned()), Means::PreSharedKey { secret_file })));
    let x509 = "auth = \"x509\"\ncert = \"c.pem\"\nkey = \"/k.pem\"\n";
    assert_eq!(means(x509), Some((None, Means::Certificate { cert, key })));
    let bundle = FactoryConfig { file: "/etc/omadm/f".into(), signer: Some("/etc/omadm/f.pem".into()), key: None };
    let from_bundle = "url = \"https://b/\"\n[factory]\nfile = \"f\"\nsigner = \"f.pem\"\n";
    assert_eq!(means(from_bundle), Some((None, Means::Bundle(bundle))));
    assert!(matches!(means(&format!("secret_file = \"s\"\n{from_bundle}")), Some((None, Means::Password { .. }))));
}

#[test]
fn a_modem_is_named_by_its_port() {
    let parsed = parse("[card]\nlink = \"at:modem\"\n");
    if cfg!(feature = "serial") {
        assert_eq!(parsed.unwrap().card.link, CardLink::Modem("/etc/omadm/modem".into()));
    } else {
        let error = parsed.unwrap_err().to_string();
        assert!(error.contains("built with the feature `serial`"), "{error}");
    }
}

#[cfg(not(feature = "pcsc"))]
#[test]
fn pcsc_without_the_feature_names_the_feature() {
    let error = parse("[card]\nlink = \"pcsc\"\n").unwrap_err().to_string();
    assert!(error.contains("built with the feature `pcsc`"), "{error}");
}

#[test]
fn a_missing_file_is_named() {
    let error = Config::load(Path::new("/does/not/exist.toml")).unwrap_err().to_string();
    assert!(error.contains("/does/not/exist.toml"), "{error}");
}

#[test]
fn the_example_of_the_documentation_is_read() {
    let text = include_str!("../../../../docs/examples/client.toml");
    let config = Config::parse(text, Path::new("/etc/omadm/client.toml")).unwrap();
    assert_eq!(config.device.dev_id.as_str(), "IMEI:493005100592800");
    assert!(config.bootstrap.is_some() && config.factory.is_some());
}

#[test]
fn an_executable_is_taken_apart_and_its_path_is_beside_the_file() {
    let link = |text: &str| {
        let text = format!("state = \"s\"\ndev_id = \"IMEI:1\"\n[card]\nlink = '''exec:{text}'''\n");
        Config::parse(&text, Path::new("/etc/omadm/client.toml")).unwrap().card.link
    };
    let words = |words: &[&str]| CardLink::Exec(words.iter().map(|&word| word.to_owned()).collect());
    assert_eq!(link("omadm-card-modem qmi /dev/cdc-wdm0"), words(&["omadm-card-modem", "qmi", "/dev/cdc-wdm0"]));
    assert_eq!(link("./card 'a b'"), words(&["/etc/omadm/./card", "a b"]));
    assert_eq!(link("/opt/card"), words(&["/opt/card"]));
}
