//! Packages are within their bounds, and written ones are read as the same (spec 6.1 to 6.3, Profile P-30).

use omadm_core::package::{Command, MAX_COMMANDS, MAX_PACKAGE, Package1, Package2, Package3, PackageError};

pub(crate) fn run(bytes: &[u8]) {
    checked(Package1::parse(bytes), Package1::to_bytes, Package1::parse, |package| {
        assert_eq!(package.alerts.iter().filter(|alert| alert.opens_session()).count(), 1);
    });
    checked(Package2::parse(bytes), Package2::to_bytes, Package2::parse, |package| {
        assert!(package.commands.len() <= MAX_COMMANDS);
        assert_eq!(package.ends_session(), package.commands.contains(&Command::End));
        for command in &package.commands {
            let json = serde_json::to_value(command).expect("a command can be written");
            assert_eq!(Command::from_json(json), *command);
        }
    });
    checked(Package3::parse(bytes), Package3::to_bytes, Package3::parse, |package| {
        assert!(package.statuses.len() <= MAX_COMMANDS);
        assert!(package.statuses.iter().all(|status| (100..1000).contains(&status.sc.0)));
    });
}

fn checked<T: PartialEq + std::fmt::Debug>(
    result: Result<T, PackageError>,
    write: fn(&T) -> Vec<u8>,
    read: fn(&[u8]) -> Result<T, PackageError>,
    rules: impl FnOnce(&T),
) {
    match result {
        Ok(package) => {
            rules(&package);
            let written = write(&package);
            assert!(!written.is_empty());
            // What the peer wrote without escapes may be longer in our own writing, and then it is not sent.
            if written.len() <= MAX_PACKAGE {
                assert_eq!(read(&written).as_ref(), Ok(&package));
            }
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}
