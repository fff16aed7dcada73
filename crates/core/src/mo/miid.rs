//! Giving MIIDs away, each once in a device's life (Profile P-17).

use crate::ids::Miid;

/// How many wishes for a MIID are granted at most, in all; then numbers are given.
pub const MAX_WISHES: usize = 256;

/// A MIID that was never given before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Given {
    /// The wish; to be remembered, since no counter tells that it was given.
    Wish(Miid),
    /// The next of the counter.
    Counted(Miid),
}

/// The wish, if it was never given and `granted` wishes before it are not too many; else the next MIID of the counter,
/// which is `prefix` and a number. `is_remembered` tells the wishes that were granted.
pub(crate) fn give(
    wish: Option<&Miid>,
    granted: usize,
    prefix: &str,
    counter: &mut u64,
    is_remembered: impl Fn(&Miid) -> bool,
) -> Given {
    if let Some(wish) = wish
        && granted < MAX_WISHES
        && !is_remembered(wish)
        && !was_counted(wish, prefix, *counter)
    {
        return Given::Wish(wish.clone());
    }
    loop {
        *counter = counter.saturating_add(1);
        // A granted wish may look like one of the counter.
        if let Ok(miid) = format!("{prefix}{counter}").parse::<Miid>()
            && !is_remembered(&miid)
        {
            return Given::Counted(miid);
        }
    }
}

/// Whether the counter gave this MIID already.
pub(crate) fn was_counted(miid: &Miid, prefix: &str, counter: u64) -> bool {
    let number = miid.as_str().strip_prefix(prefix).and_then(|digits| digits.parse::<u64>().ok());
    number.is_some_and(|number| number <= counter && miid.as_str() == format!("{prefix}{number}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    fn miid(text: &str) -> Miid {
        text.parse().unwrap()
    }

    #[test]
    fn no_miid_is_given_twice_whatever_is_wished_for() {
        for prefix in ["", "k"] {
            let (mut counter, mut granted, mut given) = (0, BTreeSet::new(), BTreeSet::new());
            let wishes = [None, Some("2"), Some("k2"), Some("left"), Some("left"), Some("1"), Some("k1"), Some("01")];
            for wish in wishes.iter().cycle().take(100) {
                let wish = wish.map(miid);
                let miid = match give(wish.as_ref(), granted.len(), prefix, &mut counter, |one| granted.contains(one)) {
                    Given::Wish(miid) => {
                        granted.insert(miid.clone());
                        miid
                    }
                    Given::Counted(miid) => miid,
                };
                assert!(given.insert(miid.clone()), "{prefix}: {miid} twice");
            }
        }
    }

    #[test]
    fn wishes_beyond_256_are_not_granted() {
        let mut counter = 0;
        let one = |granted, counter: &mut u64| give(Some(&miid("left")), granted, "k", counter, |_| false);
        assert_eq!(one(MAX_WISHES - 1, &mut counter), Given::Wish(miid("left")));
        assert_eq!(one(MAX_WISHES, &mut counter), Given::Counted(miid("k1")));
    }
}
