//! The order in which bytes are written, so that no reader ever takes half of them for the whole (Profile P-22).

use crate::personalise::step::{Action, BLOCK, Step};

/// What a card shows where nothing was written.
pub(crate) const BLANK: u8 = 0xFF;

/// Writes a whole region of the file that is selected: first byte blank, then the rest, the first byte last. What is
/// known to be there already is not written again; `old` is what is there, where that could be read.
pub(crate) fn rewrite(name: &str, index: usize, old: Option<&[u8]>, new: &[u8]) -> Vec<Step> {
    let Some((first, rest)) = new.split_first() else { return Vec::new() };
    if old == Some(new) {
        return Vec::new();
    }
    let mut steps = Vec::new();
    if old.and_then(<[u8]>::first) != Some(&BLANK) {
        let about = format!("{name}: blank its first byte, so that nobody reads it while it is written");
        steps.extend(update(index, &[BLANK], about));
    }
    for (number, block) in rest.chunks(BLOCK).enumerate() {
        let start = 1 + number * BLOCK;
        if old.and_then(|old| old.get(start..start + block.len())) == Some(block) {
            continue;
        }
        let about = format!("{name}: bytes {start} to {}", start + block.len() - 1);
        steps.extend(update(index + start, block, about));
    }
    if *first != BLANK {
        steps.extend(update(index, &[*first], format!("{name}: its first byte last, which makes it valid")));
    }
    steps
}

/// Appends an entry to a directory in the file that is selected, `room` bytes long from `end` on: its tag last, so that
/// what stands before it stays readable all the time and the entry is there whole or not at all. What an append that was
/// cut off left behind is ended by a blank.
pub(crate) fn append(name: &str, end: usize, room: &[u8], entry: &[u8]) -> Vec<Step> {
    let Some((tag, rest)) = entry.split_first() else { return Vec::new() };
    let mut rest = rest.to_vec();
    if room.get(entry.len()).is_some_and(|next| !is_blank(*next)) {
        rest.push(BLANK);
    }
    let mut steps = Vec::new();
    for (number, block) in rest.chunks(BLOCK).enumerate() {
        let about = format!("{name}: a new entry behind those that are there, but for its tag");
        steps.extend(update(end + 1 + number * BLOCK, block, about));
    }
    steps.extend(update(end, &[*tag], format!("{name}: the tag of the new entry, which makes it valid")));
    steps
}

/// Whether a reader takes it for padding.
pub(crate) fn is_blank(byte: u8) -> bool {
    matches!(byte, 0x00 | BLANK)
}

/// One UPDATE BINARY; none where it does not reach.
pub(crate) fn update(offset: usize, data: &[u8], about: String) -> Option<Step> {
    let offset = u16::try_from(offset).ok()?;
    Some(Step { action: Action::UpdateBinary { offset, data: data.to_vec() }, about })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The contents of a file after each of the steps.
    fn states(mut content: Vec<u8>, steps: &[Step]) -> Vec<Vec<u8>> {
        let states = steps.iter().map(|step| {
            let Action::UpdateBinary { offset, data } = &step.action else { panic!("{step:?}") };
            let at = usize::from(*offset);
            content[at..at + data.len()].copy_from_slice(data);
            content.clone()
        });
        states.collect()
    }

    proptest! {
        #[test]
        fn between_old_and_new_the_first_byte_is_blank(
            old in proptest::collection::vec(any::<u8>(), 1..700),
            seed in any::<u8>(),
            index in 0_usize..40,
            is_known in any::<bool>(),
        ) {
            let new: Vec<u8> = old.iter().map(|byte| byte.wrapping_mul(3) ^ seed).collect();
            let mut file = vec![0xAA; index];
            file.extend(&old);
            let states = states(file.clone(), &rewrite("EF", index, is_known.then_some(&old[..]), &new));
            let whole = |state: &Vec<u8>| state[index..] == new || state[index..] == old;
            prop_assert!(states.iter().all(|state| state[index] == BLANK || whole(state)));
            prop_assert!(states.iter().all(|state| state[..index] == file[..index]));
            prop_assert_eq!(&states.last().unwrap_or(&file)[index..], &new[..]);
        }

        #[test]
        fn an_entry_is_there_whole_or_not_at_all(length in 1_usize..600, end in 0_usize..50, residue in 0_usize..700) {
            let entry: Vec<u8> = std::iter::once(0x30).chain((1..length).map(|_| 0x11)).collect();
            let mut file = vec![0x22; end];
            file.push(BLANK);
            // What an append that was cut off left behind.
            file.extend(vec![0x33; residue]);
            file.resize(file.len().max(end + length + 5), BLANK);
            let states = states(file.clone(), &append("EF", end, &file[end..], &entry));
            let last = states.len() - 1;
            let unseen = |state: &Vec<u8>| state[end] == BLANK && state[..end].iter().all(|byte| *byte == 0x22);
            prop_assert!(states[..last].iter().all(unseen));
            prop_assert_eq!(&states[last][end..end + length], &entry[..]);
            prop_assert!(is_blank(states[last][end + length]));
        }
    }

    #[test]
    fn what_is_there_already_is_not_written() {
        assert!(rewrite("EF", 0, Some(b"same"), b"same").is_empty());
        let mut new = vec![b'x'; 600];
        let old = new.clone();
        new[300] = b'y';
        let offsets: Vec<_> =
            rewrite("EF", 0, Some(&old), &new).iter().map(|step| format!("{:?}", step.action)).collect();
        assert_eq!(offsets, ["update 1 bytes at 0", "update 255 bytes at 256", "update 1 bytes at 0"]);
    }
}
