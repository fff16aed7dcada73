//! The server's end of a session (spec 3): it takes a package and what is queued for the device, and gives the next
//! Package#2. All of its state is a value that any node can keep in the store between two packages.

use serde::{Deserialize, Serialize};

use super::MAX_PACKAGES;
use crate::package::{Command, MAX_COMMANDS, Package1, Package2, Package3, Status};

/// Commands that belong together: they go out in one package, and their statuses come back together.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Job {
    /// The job's name in the queue.
    pub id: String,
    /// Its commands, without END.
    pub commands: Vec<Command>,
}

/// How a job's commands went.
#[derive(Debug, Clone, PartialEq)]
pub struct JobResult {
    /// The job's name in the queue.
    pub id: String,
    /// One status for each of its commands.
    pub statuses: Vec<Status>,
}

/// What one package of the client leads to.
#[derive(Debug, Clone, PartialEq)]
pub struct Turn {
    /// The answer.
    pub reply: Package2,
    /// The jobs that went out with it.
    pub sent: Vec<String>,
    /// The results that came in.
    pub results: Vec<JobResult>,
    /// Whether the answer ends the session.
    pub ended: bool,
}

/// Why a Package#3 cannot be taken. The session is over.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SessionError {
    /// The session has ended, or was never begun.
    #[error("no Package#3 is expected in this session")]
    NotExpected,
    /// Not one status for each command.
    #[error("{commands} commands were sent, {statuses} statuses came back")]
    StatusCount {
        /// How many commands were sent.
        commands: usize,
        /// How many statuses came.
        statuses: usize,
    },
}

/// A session as the server knows it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ServerSession {
    packages: u32,
    outstanding: Vec<Outstanding>,
    open: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Outstanding {
    job: String,
    commands: usize,
}

impl ServerSession {
    /// A session that has not begun.
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether a Package#3 is expected.
    pub fn is_open(&self) -> bool {
        self.open
    }

    /// Takes the Package#1 that opens the session.
    pub fn begin(&mut self, _package1: &Package1, queue: Vec<Job>) -> Turn {
        *self = Self { open: true, ..Self::default() };
        self.send(queue, Vec::new())
    }

    /// Takes a Package#3. The results are matched to the commands by their order.
    pub fn proceed(&mut self, package3: &Package3, queue: Vec<Job>) -> Result<Turn, SessionError> {
        if !self.open {
            return Err(SessionError::NotExpected);
        }
        let commands = self.outstanding.iter().map(|one| one.commands).sum();
        if package3.statuses.len() != commands {
            self.open = false;
            return Err(SessionError::StatusCount { commands, statuses: package3.statuses.len() });
        }
        let mut statuses = package3.statuses.iter().cloned();
        let results = std::mem::take(&mut self.outstanding)
            .into_iter()
            .map(|one| JobResult { id: one.job, statuses: statuses.by_ref().take(one.commands).collect() })
            .collect();
        Ok(self.send(queue, results))
    }

    /// Sends as many of the jobs as one package takes, in order; END where none is left, and in the last package that a
    /// session may have.
    fn send(&mut self, queue: Vec<Job>, results: Vec<JobResult>) -> Turn {
        self.packages += 1;
        let (mut commands, mut sent) = (Vec::new(), Vec::new());
        if self.packages < MAX_PACKAGES {
            for job in queue {
                if job.commands.is_empty() || commands.len() + job.commands.len() > MAX_COMMANDS {
                    break;
                }
                self.outstanding.push(Outstanding { job: job.id.clone(), commands: job.commands.len() });
                commands.extend(job.commands);
                sent.push(job.id);
            }
        }
        self.open = !commands.is_empty();
        if !self.open {
            commands.push(Command::End);
        }
        Turn { reply: Package2 { commands }, sent, results, ended: !self.open }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::status::StatusCode;

    fn get(uri: &str) -> Command {
        Command::Get { client_uri: uri.to_owned() }
    }

    fn job(id: &str, commands: usize) -> Job {
        Job { id: id.to_owned(), commands: vec![get("urn:x:y/1/"); commands] }
    }

    fn answer(codes: &[u16]) -> Package3 {
        Package3 { statuses: codes.iter().map(|code| StatusCode(*code).into()).collect(), alerts: Vec::new() }
    }

    #[test]
    fn an_empty_queue_ends_the_session_at_once() {
        let turn = ServerSession::new().begin(&Package1::default(), Vec::new());
        assert!(turn.ended && turn.reply.ends_session() && turn.reply.commands.len() == 1);
    }

    #[test]
    fn results_are_matched_to_jobs_by_order() {
        let mut session = ServerSession::new();
        let turn = session.begin(&Package1::default(), vec![job("a", 2), job("b", 1)]);
        assert_eq!((turn.sent, turn.reply.commands.len()), (vec!["a".to_owned(), "b".to_owned()], 3));
        let turn = session.proceed(&answer(&[200, 404, 403]), Vec::new()).unwrap();
        let codes: Vec<_> =
            turn.results.iter().map(|r| (&*r.id, r.statuses.iter().map(|s| s.sc.0).collect())).collect();
        assert_eq!(codes, [("a", vec![200, 404]), ("b", vec![403])]);
        assert!(turn.ended);
        assert_eq!(session.proceed(&answer(&[]), Vec::new()), Err(SessionError::NotExpected));
    }

    #[test]
    fn a_wrong_number_of_statuses_ends_the_session() {
        let mut session = ServerSession::new();
        session.begin(&Package1::default(), vec![job("a", 2)]);
        let error = session.proceed(&answer(&[200]), Vec::new()).unwrap_err();
        assert_eq!(error, SessionError::StatusCount { commands: 2, statuses: 1 });
        assert!(!session.is_open());
    }

    #[test]
    fn packages_are_bounded() {
        let mut session = ServerSession::new();
        let mut turn = session.begin(&Package1::default(), vec![job("a", 200), job("b", 100)]);
        assert_eq!(turn.sent, ["a"], "b would make more than 256 commands");
        let mut packages = 1;
        while !turn.ended {
            let count = turn.reply.commands.len();
            turn = session.proceed(&answer(&vec![200; count]), vec![job("c", 1)]).unwrap();
            packages += 1;
        }
        assert_eq!(packages, MAX_PACKAGES);
    }

    #[test]
    fn the_state_survives_the_store() {
        let mut session = ServerSession::new();
        session.begin(&Package1::default(), vec![job("a", 1)]);
        let stored = serde_json::to_string(&session).unwrap();
        let mut session: ServerSession = serde_json::from_str(&stored).unwrap();
        assert_eq!(session.proceed(&answer(&[200]), Vec::new()).unwrap().results[0].id, "a");
    }
}
