//! Putting a few things into order: what `sort` of the standard library does for a thousand, in a fiftieth of its code.

/// Moves each thing before those that it `is_before`; what is equal stays in its order. The time grows with the square of
/// the length, so it is for lists of a bounded few.
pub fn put_in_order<T>(list: &mut [T], is_before: impl Fn(&T, &T) -> bool) {
    for end in 1..list.len() {
        let mut at = end;
        while let Some([before, one]) = at.checked_sub(1).and_then(|start| list.get_mut(start..=at))
            && is_before(one, before)
        {
            std::mem::swap(before, one);
            at -= 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn it_is_the_order_of_the_standard_library(mut list in proptest::collection::vec((0_u8..5, any::<u8>()), 0..20)) {
            let mut sorted = list.clone();
            sorted.sort_by_key(|(key, _)| *key);
            put_in_order(&mut list, |(one, _), (other, _)| one < other);
            prop_assert_eq!(list, sorted);
        }
    }
}
