//! Media types and the Accept header.

/// The media type of a Content-Type header without its parameters, in lower case.
pub fn media_type(content_type: &str) -> String {
    content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

/// The first of `offered` that the Accept header allows; all are allowed without the header. `None` calls for 406
/// (spec 3).
pub fn negotiate<'a>(accept: Option<&str>, offered: &[&'a str]) -> Option<&'a str> {
    let Some(accept) = accept.filter(|text| !text.trim().is_empty()) else {
        return offered.first().copied();
    };
    offered
        .iter()
        .copied()
        .map(|offer| (offer, quality(accept, offer)))
        .filter(|(_, quality)| *quality > 0.0)
        .fold(None, |best: Option<(&str, f32)>, (offer, quality)| match best {
            Some((_, best_quality)) if best_quality >= quality => best,
            _ => Some((offer, quality)),
        })
        .map(|(offer, _)| offer)
}

/// The weight that the most specific matching range gives to `offer`, 0 if none matches.
fn quality(accept: &str, offer: &str) -> f32 {
    let main_type = offer.split('/').next().unwrap_or_default();
    let (mut best_rank, mut best_quality) = (0, 0.0);
    for range in accept.split(',').take(64) {
        let mut parts = range.split(';');
        let name = parts.next().unwrap_or_default().trim().to_ascii_lowercase();
        let rank = match name.as_str() {
            "*/*" => 1,
            _ if name.strip_suffix("/*") == Some(main_type) => 2,
            _ if name == offer => 3,
            _ => continue,
        };
        let weight = parts
            .filter_map(|part| part.trim().strip_prefix("q=").or_else(|| part.trim().strip_prefix("Q=")))
            .find_map(|text| text.trim().parse::<f32>().ok())
            .unwrap_or(1.0);
        if rank > best_rank {
            (best_rank, best_quality) = (rank, weight);
        }
    }
    best_quality
}

#[cfg(test)]
mod tests {
    use super::super::media::{JSON, MO};
    use super::*;

    #[test]
    fn the_type_that_the_peer_likes_best_is_chosen() {
        assert_eq!(negotiate(None, &[MO, JSON]), Some(MO));
        assert_eq!(negotiate(Some("*/*"), &[MO, JSON]), Some(MO));
        assert_eq!(negotiate(Some("application/*;q=0.1, application/json"), &[MO, JSON]), Some(JSON));
        assert_eq!(negotiate(Some("application/vnd.oma.dm.mo+json, application/json;q=0.5"), &[MO, JSON]), Some(MO));
        assert_eq!(negotiate(Some("Application/JSON"), &[MO, JSON]), Some(JSON));
        assert_eq!(negotiate(Some("application/json;q=0"), &[JSON]), None);
        assert_eq!(negotiate(Some("*/*, application/json;q=0"), &[JSON]), None);
        assert_eq!(negotiate(Some("text/html"), &[MO, JSON]), None);
    }

    #[test]
    fn parameters_of_a_content_type_are_left_out() {
        assert_eq!(media_type("Application/JSON; charset=utf-8"), JSON);
    }
}
