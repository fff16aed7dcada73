//! The cookies of one session (RFC 6265, Profile P-5).

use omadm_core::web::{Origin, Url};

/// How many cookies a server may set; further ones are dropped.
const MAX_COOKIES: usize = 16;

/// The longest cookie, in bytes.
const MAX_SIZE: usize = 4096;

/// The cookies that a server set in this session. They go back only to the origin that set them, so that after CONT to
/// another origin no old cookie is sent (Profile P-5).
#[derive(Debug, Default)]
pub struct CookieJar(Vec<Cookie>);

struct Cookie {
    origin: Origin,
    path: String,
    name: String,
    value: String,
    secure: bool,
}

impl CookieJar {
    /// Takes in one `Set-Cookie` header of an answer to a request for `url`. What is no cookie for it is dropped.
    pub fn take(&mut self, url: &Url, header: &str) {
        let Some((cookie, expired)) = parse(url, header) else { return };
        self.0.retain(|old| (&old.origin, &old.path, &old.name) != (&cookie.origin, &cookie.path, &cookie.name));
        if !expired && self.0.len() < MAX_COOKIES {
            self.0.push(cookie);
        }
    }

    /// The `Cookie` header for a request for `url`; `None` if there is no cookie for it.
    pub fn header(&self, url: &Url) -> Option<String> {
        let path = path(url);
        let mut fitting: Vec<&Cookie> = Vec::new();
        for cookie in &self.0 {
            let here = cookie.origin == *url.origin() && path_matches(path, &cookie.path);
            if here && (!cookie.secure || is_secure(url)) {
                // Longer paths first, else in the order in which they were set (RFC 6265, 5.4).
                let place = fitting.partition_point(|other| other.path.len() >= cookie.path.len());
                fitting.insert(place, cookie);
            }
        }
        let pairs: Vec<_> = fitting.iter().map(|cookie| format!("{}={}", cookie.name, cookie.value)).collect();
        (!pairs.is_empty()).then(|| pairs.join("; "))
    }
}

fn parse(url: &Url, header: &str) -> Option<(Cookie, bool)> {
    if header.len() > MAX_SIZE || !header.bytes().all(|byte| (0x20..0x7f).contains(&byte)) {
        return None;
    }
    let mut parts = header.split(';').map(str::trim);
    let (name, value) = parts.next()?.split_once('=')?;
    let (name, value) = (name.trim(), value.trim());
    if name.is_empty() {
        return None;
    }
    let mut cookie = Cookie {
        origin: url.origin().clone(),
        path: default_path(path(url)),
        name: name.to_owned(),
        value: value.to_owned(),
        secure: false,
    };
    let mut expired = false;
    for attribute in parts {
        let (key, value) = attribute.split_once('=').unwrap_or((attribute, ""));
        match key.to_ascii_lowercase().as_str() {
            "path" if value.starts_with('/') => cookie.path = value.to_owned(),
            "secure" => cookie.secure = true,
            // A jar lives as long as a session, so only a cookie that is to go at once matters.
            "max-age" => expired = value.starts_with('-') || value == "0",
            "domain" if !domain_covers(value, url.host()) => return None,
            _ => {}
        }
    }
    // A cookie for secure connections that comes over an insecure one is not taken.
    (!cookie.secure || is_secure(url)).then_some((cookie, expired))
}

/// https, or loopback, where plain http is for tests.
fn is_secure(url: &Url) -> bool {
    url.is_https() || url.origin().is_loopback()
}

fn path(url: &Url) -> &str {
    url.path_and_query().split('?').next().unwrap_or_default()
}

/// The folder of the request's path.
fn default_path(path: &str) -> String {
    match path.rfind('/') {
        None | Some(0) => "/".to_owned(),
        Some(end) => path.get(..end).unwrap_or("/").to_owned(),
    }
}

fn path_matches(request: &str, cookie: &str) -> bool {
    request.strip_prefix(cookie).is_some_and(|rest| rest.is_empty() || cookie.ends_with('/') || rest.starts_with('/'))
}

fn domain_covers(domain: &str, host: &str) -> bool {
    let domain = domain.trim_start_matches('.').to_ascii_lowercase();
    host == domain || host.strip_suffix(&domain).is_some_and(|rest| rest.ends_with('.') && domain.contains('.'))
}

impl std::fmt::Debug for Cookie {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cookie").field("name", &self.name).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> Url {
        text.parse().unwrap()
    }

    fn jar(set_by: &str, headers: &[&str]) -> CookieJar {
        let mut jar = CookieJar::default();
        headers.iter().for_each(|header| jar.take(&url(set_by), header));
        jar
    }

    #[test]
    fn a_cookie_goes_back_to_its_origin_only() {
        let jar = jar("https://dm.example/dm", &["s=abc; Path=/dm; Secure; HttpOnly"]);
        assert_eq!(jar.header(&url("https://dm.example/dm")).as_deref(), Some("s=abc"));
        assert_eq!(jar.header(&url("https://DM.example:443/dm/x?y")).as_deref(), Some("s=abc"));
        for other in [
            "https://other.example/dm",
            "https://dm.example:8443/dm",
            "http://dm.example/dm",
            "https://sub.dm.example/dm",
            "https://dm.example/dmx",
            "https://dm.example/",
        ] {
            assert_eq!(jar.header(&url(other)), None, "{other}");
        }
    }

    #[test]
    fn a_cookie_is_replaced_and_removed_by_name_and_path() {
        let mut jar = jar("https://dm.example/a/b", &["s=1", "s=2", "t=3; Path=/"]);
        assert_eq!(jar.header(&url("https://dm.example/a/c")).as_deref(), Some("s=2; t=3"));
        jar.take(&url("https://dm.example/a/b"), "s=; Max-Age=0");
        assert_eq!(jar.header(&url("https://dm.example/a/c")).as_deref(), Some("t=3"));
    }

    #[test]
    fn what_is_no_cookie_for_this_request_is_dropped() {
        let long = format!("s={}", "x".repeat(MAX_SIZE));
        let headers = ["", "s", "=1", "s=\u{7}", "s=1; Domain=other.example", "s=1; Domain=example2", &long];
        assert_eq!(jar("https://dm.example/", &headers).header(&url("https://dm.example/")), None);
        assert_eq!(jar("http://dm.example/", &["s=1; Secure"]).header(&url("https://dm.example/")), None);
        let same =
            jar("https://dm.example/", &["s=1; Domain=dm.example", "t=2; Domain=.example.", "u=3; Domain=example"]);
        assert_eq!(same.header(&url("https://dm.example/")).as_deref(), Some("s=1"));
    }

    #[test]
    fn the_jar_is_bounded() {
        let mut jar = CookieJar::default();
        (0..100).for_each(|n| jar.take(&url("https://dm.example/"), &format!("c{n}=1")));
        assert_eq!(jar.0.len(), MAX_COOKIES);
    }
}
