//! The previous version of the client, as far as the state file shows it: it reads what it knows and writes that alone.

use serde_json::Value;

/// The members of a state that it knows, each with those within it; where none are named, it keeps all.
const KNOWN: &[(&str, &[&str])] = &[
    ("profile", &[]),
    ("accounts", &["accounts", "fallbacks", "last_number", "granted"]),
    ("tree", &[]),
    ("attempts", &[]),
    ("refused_pins", &[]),
    ("bootstrap_busy", &["origin", "status", "until"]),
    ("session_not_before", &[]),
    ("notes", &["written", "sim", "last_run", "sessions", "next"]),
];

/// The members of an account that it knows.
const ACCOUNT: &[&str] = &[
    "account",
    "source",
    "miid",
    "suspended",
    "bootstrap_complete_due",
    "installed_at",
    "last_session",
    "refusals",
    "mos_answered",
];

/// What the previous version makes of a state.
pub fn rewritten(mut state: Value) -> Value {
    keep(&mut state, &KNOWN.iter().map(|(name, _)| *name).collect::<Vec<_>>());
    for (name, within) in KNOWN {
        if let Some(value) = state.get_mut(name)
            && !within.is_empty()
        {
            keep(value, within);
        }
    }
    for list in ["accounts", "fallbacks"] {
        let accounts = state.get_mut("accounts").and_then(|book| book.get_mut(list)).and_then(Value::as_array_mut);
        accounts.into_iter().flatten().for_each(|account| keep(account, ACCOUNT));
    }
    state
}

fn keep(value: &mut Value, names: &[&str]) {
    if let Value::Object(members) = value {
        members.retain(|name, _| names.contains(&name.as_str()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_it_does_not_know_is_lost() {
        let state = json!({"profile": "p", "new": 1, "accounts": {"accounts": [{"miid": "1", "new": 2}], "new": 3}});
        let kept = json!({"profile": "p", "accounts": {"accounts": [{"miid": "1"}]}});
        assert_eq!(rewritten(state), kept);
    }
}
