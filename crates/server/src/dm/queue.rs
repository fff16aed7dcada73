//! Jobs on their way into a package: places in the data repository become URLs with one-time tokens.

use omadm_core::package::{Command, MAX_COMMANDS};
use omadm_core::session::server::Job;
use omadm_core::web::Url;
use serde_json::{Value, json};
use std::collections::BTreeMap;

use crate::clock;
use crate::random::{self, NoRandomness};
use crate::store::{Item, JobKind, JobRow, NewJob};

/// Stands before the name of a place in the data repository, where a command has its ServerURI.
const PLACE: &str = "data:";
/// The commands whose first parameter is a ServerURI of the data repository, and whether the device sends there.
const WITH_PLACE: [(&str, bool); 3] = [("HGET", false), ("HPUT", true), ("HPOST", true)];
/// Moves the session to another address, where the client shows no cookie.
pub(super) const CONT: &str = "CONT";
/// The parameter of a CONT URI's query that holds its one-time token (Profile P-5).
pub(super) const CONT_TOKEN: &str = "t";
/// The longest commands of one job, in bytes of JSON: as many jobs as one package takes stay below its limit.
const MAX_SIZE: usize = 32 * 1024;
/// The MO that tells what a device is.
const DEVINFO: &str = "urn:oma:mo:oma-dm-devinfo:1.2//";

/// A job that cannot be queued.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum JobError {
    #[error("commands: an array of 1 to {} commands is expected", MAX_COMMANDS - 1)]
    Count,
    #[error("commands: at most {MAX_SIZE} bytes of JSON are allowed; put larger content into data")]
    Size,
    #[error("commands[{index}]: not a command of the standard; [name, parameter, ...] is expected")]
    Command { index: usize },
    #[error("commands[{index}]: END is the server's own to send")]
    End { index: usize },
    #[error("commands[{index}]: {PLACE}NAME with a NAME of 1 to 64 characters of A-Z a-z 0-9 . _ - is expected")]
    Name { index: usize },
    #[error("commands[{index}]: data has no member {name}")]
    NoData { index: usize, name: String },
}

/// Reads DevInfo twice: by HPUT and by GET.
pub(crate) fn read_devinfo(device: i64) -> NewJob {
    NewJob {
        device,
        kind: JobKind::ReadDevInfo,
        commands: json!([["HPUT", "data:devinfo", DEVINFO], ["GET", DEVINFO]]),
        data: BTreeMap::new(),
        at: clock::now(),
    }
}

/// Checks what a person wants queued.
pub(crate) fn check(commands: &Value, data: &BTreeMap<String, Value>) -> Result<(), JobError> {
    let list = commands.as_array().filter(|list| (1..MAX_COMMANDS).contains(&list.len())).ok_or(JobError::Count)?;
    if commands.to_string().len() > MAX_SIZE {
        return Err(JobError::Size);
    }
    for (index, item) in list.iter().enumerate() {
        let command = Command::from_json(item.clone());
        if command == Command::End {
            return Err(JobError::End { index });
        }
        if !command.is_of_the_standard() {
            return Err(JobError::Command { index });
        }
        if let Some((name, upload)) = place(item) {
            if !is_name(name) {
                return Err(JobError::Name { index });
            }
            if !upload && !data.contains_key(name) {
                return Err(JobError::NoData { index, name: name.to_owned() });
            }
        }
    }
    Ok(())
}

/// The job as the session takes it, and the places that its commands address.
pub(super) fn to_send(public: &str, device: i64, row: &JobRow) -> Result<(Job, Vec<Item>), NoRandomness> {
    let mut commands = row.commands.as_array().cloned().unwrap_or_default();
    let mut items = Vec::new();
    for command in &mut commands {
        if let Some(uri) = next_node(command) {
            let token = random::token()?;
            if let Some(server_uri) = command.get_mut(1) {
                *server_uri = format!("{uri}?{CONT_TOKEN}={token}").into();
            }
            let (name, made_at, used_at) = (CONT.to_owned(), clock::now(), None);
            items.push(Item { token, device, job: row.id, name, upload: false, content: None, made_at, used_at });
            continue;
        }
        let Some((name, upload)) = place(command).map(|(name, upload)| (name.to_owned(), upload)) else { continue };
        let token = random::token()?;
        if let Some(server_uri) = command.get_mut(1) {
            *server_uri = format!("{public}/data/{token}/{name}").into();
        }
        let content = if upload { None } else { row.data.get(&name).map(|value| value.to_string().into_bytes()) };
        let (made_at, used_at) = (clock::now(), None);
        items.push(Item { token, device, job: row.id, name, upload, content, made_at, used_at });
    }
    let commands = commands.into_iter().map(Command::from_json).collect();
    Ok((Job { id: row.id.to_string(), commands }, items))
}

/// The names of a job's commands.
pub(super) fn names(row: &JobRow) -> impl Iterator<Item = String> + '_ {
    row.commands.as_array().into_iter().flatten().map(|command| Command::from_json(command.clone()).name().to_owned())
}

/// Where a CONT leads, if that is where a node of this fleet takes packages.
fn next_node(command: &Value) -> Option<String> {
    if command.get(0)?.as_str()? != CONT {
        return None;
    }
    let uri = command.get(1)?.as_str()?;
    let url: Url = uri.parse().ok()?;
    (url.path_and_query() == "/dm").then(|| uri.to_owned())
}

/// The place that a command addresses, and whether the device sends there.
fn place(command: &Value) -> Option<(&str, bool)> {
    let (_, upload) = WITH_PLACE.iter().find(|(name, _)| command.get(0).and_then(Value::as_str) == Some(name))?;
    let name = command.get(1)?.as_str()?.strip_prefix(PLACE)?;
    Some((name, *upload))
}

fn is_name(text: &str) -> bool {
    (1..=64).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;
    use omadm_core::time::Timestamp;

    #[test]
    fn only_commands_that_can_be_sent_are_queued() {
        let data = BTreeMap::from([("new".to_owned(), json!([]))]);
        let checked = |commands: Value| check(&commands, &data);
        assert_eq!(
            checked(json!([["GET", "urn:x:1//"], ["HGET", "data:new"], ["HPUT", "data:up", "urn:x:1//"]])),
            Ok(())
        );
        assert_eq!(checked(json!([["HGET", "https://other.example/x"]])), Ok(()));
        for (commands, error) in [
            (json!([]), JobError::Count),
            (json!({}), JobError::Count),
            (json!([["GET", "x".repeat(40_000)]]), JobError::Size),
            (json!([["GET"]]), JobError::Command { index: 0 }),
            (json!([["GET", "urn:x:1//"], ["JUMP"]]), JobError::Command { index: 1 }),
            (json!([["END"]]), JobError::End { index: 0 }),
            (json!([["HGET", "data:a/b"]]), JobError::Name { index: 0 }),
            (json!([["HGET", "data:old"]]), JobError::NoData { index: 0, name: "old".into() }),
        ] {
            assert_eq!(checked(commands), Err(error));
        }
    }

    fn row(commands: Value) -> JobRow {
        JobRow {
            id: 3,
            kind: JobKind::Operator,
            commands,
            data: BTreeMap::new(),
            state: crate::store::JobState::Waiting,
            tries: 0,
            results: None,
            made_at: Timestamp(0),
            done_at: None,
        }
    }

    #[test]
    fn a_cont_to_a_node_carries_a_token_and_one_to_elsewhere_does_not() {
        let row = row(json!([["CONT", "https://b.example:8443/dm"], ["CONT", "https://b.example/other"]]));
        let (job, items) = to_send("https://dm.example", 7, &row).unwrap();
        let [Command::Cont { server_uri: ours }, Command::Cont { server_uri: theirs }] = &job.commands[..] else {
            panic!("{job:?}")
        };
        assert_eq!(*ours, format!("https://b.example:8443/dm?t={}", items[0].token));
        assert_eq!((theirs.as_str(), items.len()), ("https://b.example/other", 1));
    }

    #[test]
    fn places_become_urls_that_differ_each_time() {
        let row = row(read_devinfo(7).commands);
        let (job, items) = to_send("https://dm.example", 7, &row).unwrap();
        let Command::Hput { server_uri, .. } = &job.commands[0] else { panic!("{job:?}") };
        assert_eq!(*server_uri, format!("https://dm.example/data/{}/devinfo", items[0].token));
        assert_eq!(items.len(), 1);
        let (_, again) = to_send("https://dm.example", 7, &row).unwrap();
        assert_ne!(items[0].token, again[0].token);
        assert_eq!(names(&row).collect::<Vec<_>>(), ["HPUT", "GET"]);
    }
}
