//! `omadm factory key`, and reading what it made.

use omadm_tls::ca::{Identity, Use, Validity, self_signed};
use serde_json::json;
use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};
use zeroize::Zeroizing;

use crate::args::FactoryKey;
use crate::failure::Failure;
use crate::output;

/// The largest file with a key or certificates, in bytes.
const MAX: u64 = 64 * 1024;

/// Makes a key and its certificate.
pub(super) fn key(args: &FactoryKey) -> Result<(), Failure> {
    let purpose = if args.line { Use::Decrypting } else { Use::Signing };
    let name = args.name.file_name().and_then(|name| name.to_str()).unwrap_or("factory");
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let made = self_signed(name, purpose, Validity::of_ca(now))
        .map_err(|error| Failure::failed(format!("cannot make a key: {error}")))?;
    let (key, certificate) = (with_end(&args.name, "key"), with_end(&args.name, "pem"));
    if certificate.exists() {
        return Err(there_already(&certificate));
    }
    write_new(&key, made.key.as_bytes(), 0o600)?;
    write_new(&certificate, made.certificate.as_bytes(), 0o644)?;
    if args.listing.json {
        return output::json(&json!({"key": key, "cert": certificate}));
    }
    let (key, certificate) = (key.display(), certificate.display());
    output::say(if args.line {
        format!(
            "{key}: the devices' key; factory.key of omadm-client names it.\n\
             {certificate}: bundles are encrypted to it: omadm factory make … --encrypt-to {certificate}"
        )
    } else {
        format!(
            "{key}: signs bundles; keep it in the factory.\n\
             {certificate}: goes into each device; factory.signer of omadm-client names it."
        )
    })
}

/// Reads a key and its certificate.
pub(super) fn read(key: &Path, certificate: &Path) -> Result<Identity, Failure> {
    let file = File::open(key).map_err(|error| Failure::unreadable(key, &error))?;
    let mode = file.metadata().map_err(|error| Failure::unreadable(key, &error))?.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(Failure::usage(format!("{} has mode {mode:04o}, but holds a secret", key.display()))
            .advise(format!("chmod 600 {}", key.display())));
    }
    Ok(Identity { certificate: text(certificate)?, key: Zeroizing::new(text(key)?) })
}

/// The text of a small file.
pub(super) fn text(path: &Path) -> Result<String, Failure> {
    let mut text = String::new();
    let read = File::open(path).and_then(|file| file.take(MAX).read_to_string(&mut text));
    read.map_err(|error| Failure::unreadable(path, &error))?;
    Ok(text)
}

fn with_end(name: &Path, end: &str) -> PathBuf {
    let mut path = name.as_os_str().to_owned();
    path.push(".");
    path.push(end);
    path.into()
}

fn write_new(path: &Path, content: &[u8], mode: u32) -> Result<(), Failure> {
    let file = OpenOptions::new().write(true).create_new(true).mode(mode).open(path);
    let mut file = file.map_err(|error| match error.kind() {
        std::io::ErrorKind::AlreadyExists => there_already(path),
        _ => Failure::unwritable(path, &error),
    })?;
    file.write_all(content).and_then(|()| file.sync_all()).map_err(|error| {
        // Half a key is none.
        let _ = fs::remove_file(path);
        Failure::unwritable(path, &error)
    })
}

fn there_already(path: &Path) -> Failure {
    Failure::usage(format!("{} is there already, and a key is never replaced", path.display()))
        .advise("choose another name, or remove the file if nothing was made with it")
}
