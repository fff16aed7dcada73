//! What the sequence makes of a bootstrap server's answer (spec 2.4).

use super::Retry;
use crate::reason::{Outcome, Reason};
use crate::time::Timestamp;
use crate::web::{media, media_type, retry_after};

/// An HTTP answer to the bootstrap request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerAnswer {
    /// The status code.
    pub status: u16,
    /// Content-Type.
    pub content_type: Option<String>,
    /// Retry-After, as it came.
    pub retry_after: Option<String>,
    /// The body, bounded by the transport.
    pub body: Vec<u8>,
}

/// The message, or how the attempt ended; and how soon to ask again if nothing comes of it.
pub(super) struct Verdict {
    pub(super) message: Result<Vec<u8>, (Outcome, Reason, String)>,
    pub(super) retry: Retry,
}

pub(super) fn judge(answer: Result<ServerAnswer, (Reason, String)>, now: Timestamp) -> Verdict {
    let answer = match answer {
        Ok(answer) => answer,
        Err((reason, sentence)) => {
            // An answer that is too large is an answer like any other that is no message.
            let is_answer = reason == Reason::InvalidMessage;
            let retry = if is_answer { Retry::Slow } else { Retry::Backoff { retry_after: None } };
            return Verdict { message: Err((Outcome::Failed, reason, sentence)), retry };
        }
    };
    let status = answer.status;
    let failed = |sentence: &str| Err((Outcome::Failed, Reason::Http(status), sentence.to_owned()));
    let (message, retry) = match status {
        200 => {
            let content_type = answer.content_type.as_deref().map(media_type).unwrap_or_default();
            if [media::BOOTSTRAP, media::JSON].contains(&content_type.as_str()) {
                (Ok(answer.body), Retry::Slow)
            } else {
                (failed("the bootstrap server answered with something that is no Bootstrap Message"), Retry::Slow)
            }
        }
        204 | 404 => {
            let sentence = "the bootstrap server has nothing for this device".to_owned();
            (Err((Outcome::None, Reason::Http(status), sentence)), Retry::Slow)
        }
        401 => (failed("the bootstrap server did not accept the device's credentials"), Retry::Slow),
        403 => (failed("the bootstrap server refused this device"), Retry::Slow),
        300..=399 => (failed("the bootstrap server sent the device elsewhere, which is not followed"), Retry::Slow),
        408 | 425 | 429 | 500..=599 => {
            let retry_after = answer.retry_after.and_then(|text| retry_after(&text, now));
            let sentence = "the bootstrap server cannot answer now";
            (failed(sentence), Retry::Backoff { retry_after })
        }
        _ => (failed("the bootstrap server did not take the request"), Retry::Slow),
    };
    Verdict { message, retry }
}
