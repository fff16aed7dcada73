//! A factory bundle and a line of a manifest: what is understood is written and read again the same, and no secret is shown.

use omadm_core::factory::bundle::FactoryBundle;
use omadm_core::factory::manifest::{MAX_LINE, ManifestLine};
use omadm_tls::cms;

pub(crate) fn run(bytes: &[u8]) {
    if let Ok(bundle) = FactoryBundle::parse(bytes) {
        let written = bundle.to_bytes().expect("what was read can be written");
        assert_eq!(FactoryBundle::parse(&written).as_ref(), Ok(&bundle));
        if let Some(enrolment) = &bundle.enrolment {
            assert!(!enrolment.user.contains(':') && format!("{enrolment:?}").contains("Secret(hidden)"));
        }
        assert!(!cms::is_cms(bytes), "a bundle is not taken for what it is wrapped in");
    }
    if let Ok(line) = ManifestLine::parse(bytes) {
        match line.to_line() {
            Ok(text) => assert_eq!(ManifestLine::parse(text.as_bytes()), Ok(line)),
            // What is written has all members, also where they may be left out.
            Err(_) => assert!(bytes.len() + 64 > MAX_LINE),
        }
    }
    // Nobody signed this for us; and whatever it is, it is looked at within its bounds.
    let content = cms::open(bytes, None, None);
    assert!(cms::is_cms(bytes) || content.is_err());
}
