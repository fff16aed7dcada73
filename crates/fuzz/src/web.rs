//! What comes in HTTP headers: URLs, origins, Basic, bootstrap queries, media types, Retry-After (spec 2.1, 3; Profile
//! P-4, P-31).
//!
//! The input is text; what has several parts takes them from its lines.

use omadm_core::bootstrap::request::BootstrapQuery;
use omadm_core::time::Timestamp;
use omadm_core::web::{Basic, MAX_URL, Origin, RETRY_AFTER_CAP, Url, media, media_type, negotiate, retry_after};

pub(crate) fn run(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    url(text);
    origin(text);
    basic(text);
    let (first, second) = text.split_once('\n').map_or((text, None), |(first, second)| (first, Some(second)));
    query(first, second);
    for now in [0, 784_111_777, u64::MAX / 4] {
        assert!(retry_after(text, Timestamp(now)).is_none_or(|seconds| seconds <= RETRY_AFTER_CAP));
    }
    let plain = media_type(text);
    assert_eq!(media_type(&plain), plain);
    let offered = [media::MO, media::JSON];
    assert!(negotiate(Some(text), &offered).is_none_or(|chosen| offered.contains(&chosen)));
}

fn url(text: &str) {
    let Ok(url) = text.parse::<Url>() else { return };
    assert!(url.path_and_query().starts_with('/'));
    assert!(!url.as_str().contains(|one: char| one.is_control() || one == ' ' || one == '#'));
    assert!(!url.host().is_empty() && url.port() != 0);
    assert!(url.as_str().starts_with(url.without_query()) && !url.without_query().contains('?'));
    assert_eq!(url.is_https() || url.origin().is_loopback(), url.clone().require_secure().is_ok());
    if url.as_str().len() <= MAX_URL {
        assert_eq!(url.as_str().parse().as_ref(), Ok(&url));
    }
    if let Ok(longer) = url.with_query("a=b") {
        assert_eq!(longer.origin(), url.origin());
        assert!(longer.path_and_query().ends_with("a=b"));
    }
    let origin = url.origin().to_string();
    assert_eq!(origin.parse().as_ref(), Ok(url.origin()), "{origin}");
}

fn origin(text: &str) {
    let Ok(origin) = text.parse::<Origin>() else { return };
    assert_eq!(origin.to_string().parse(), Ok(origin));
}

fn basic(text: &str) {
    let Ok(basic) = Basic::parse(text) else { return };
    assert!(!basic.user().contains(':'));
    let header = basic.header_value();
    let header = std::str::from_utf8(header.expose()).expect("text");
    assert_eq!(Basic::parse(header), Ok(basic.clone()));
    assert_eq!(Basic::new(basic.user(), basic.password().clone()), Ok(basic));
}

fn query(query: &str, header: Option<&str>) {
    let read = match BootstrapQuery::parse(Some(query), header) {
        Ok(read) => read,
        Err(error) => return assert!(!error.to_string().is_empty()),
    };
    let base: Url = "https://bs.example/bootstrap".parse().expect("a URL");
    let written = read.url(&base).expect("a short query");
    let query = written.path_and_query().split_once('?').map(|(_, query)| query);
    assert_eq!(BootstrapQuery::parse(query, None), Ok(read));
}
