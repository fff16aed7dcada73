//! A device that is rolled back for one run.

use crate::previous::rewritten_state;
use serde_json::Value;

/// What the previous version of the client makes of a state: what it does not know is lost.
///
/// # Panics
/// If it would take the file for damaged, another program's or a newer one's: then all would be lost.
pub fn rewritten(state: Value) -> Value {
    rewritten_state(state).unwrap_or_else(|refused| panic!("rolled back: {refused}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_it_does_not_know_is_lost() {
        let book = |more: Value| json!({"accounts": [], "fallbacks": [], "last_number": 1, "granted": [], "new": more});
        let state = json!({"profile": "omadm-1", "new": 1, "accounts": book(json!(3))});
        let kept = rewritten(state);
        assert_eq!(kept["accounts"], json!({"accounts": [], "fallbacks": [], "last_number": 1, "granted": []}));
        assert!(kept.get("new").is_none());
    }
}
