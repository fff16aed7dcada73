//! What clients prove by certificates and pre-shared keys, in TLS 1.3 and 1.2, to our server and to plain OpenSSL.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

mod kit;

use kit::{
    KEY, authority, client, context, know, now, offer, plain_client, plain_options, plain_server, psk_options, reach,
    serve, server_of,
};
use omadm_tls::ca::{self, Identity, Validity};
use omadm_tls::{ClientIdentity, DeviceAuthorities, Peer, Proof, ServerOptions, TlsError};
use openssl::ssl::{SslVerifyMode, SslVersion};

fn psk(identity: &str, key: &[u8]) -> ClientIdentity {
    ClientIdentity::psk(identity, key).unwrap()
}

fn device(ca: &Identity, dev_id: &str, validity: Validity) -> (Identity, ClientIdentity) {
    let device = ca::issue_device(ca, dev_id, validity).unwrap();
    let (chain, key) = device.to_der().unwrap();
    (device, ClientIdentity::x509(&chain, &key).unwrap())
}

fn knowing(ca: &Identity) -> ServerOptions {
    ServerOptions { authorities: DeviceAuthorities::from_pem(&ca.certificate).unwrap(), ..plain_options() }
}

#[test]
fn a_pre_shared_key_proves_both_ends_without_certificates() {
    let server = server_of(&authority(), Validity::of_server(now()));
    let (address, seen) = serve(context(&server, psk_options()), 1);
    // The client trusts another CA: with the key that does not matter.
    let stream = reach(&client(&authority().certificate, &psk("device", KEY)), address).unwrap();
    assert_eq!((stream.version(), stream.proved(), stream.resumed()), ("TLSv1.3", Proof::Psk, false));
    assert!(matches!(&seen.join().unwrap()[0], Ok(Peer::Psk { identity, .. }) if identity == "device"));
}

#[test]
fn a_wrong_key_and_an_unknown_identity_fail_alike() {
    let ca = authority();
    let server = server_of(&ca, Validity::of_server(now()));
    let mut sentences = Vec::new();
    for identity in [psk("device", b"another key, 16+"), psk("stranger", KEY)] {
        let (address, seen) = serve(context(&server, psk_options()), 1);
        let error = reach(&client(&ca.certificate, &identity), address).unwrap_err();
        assert!(matches!(error, TlsError::Psk { .. }), "{error}");
        sentences.push(error.to_string());
        assert!(seen.join().unwrap()[0].is_err());
    }
    assert_eq!(sentences[0], sentences[1]);
}

#[test]
fn a_client_with_a_key_takes_no_server_that_does_not_have_it() {
    let ca = authority();
    let server = server_of(&ca, Validity::of_server(now()));
    let mine = psk("device", KEY);
    // Even a certificate of the right CA does not replace the key; one of another CA is not the reason that is told.
    for anchors in [&ca, &authority()] {
        let (address, _seen) = serve(context(&server, plain_options()), 1);
        let error = reach(&client(&anchors.certificate, &mine), address).unwrap_err();
        assert!(matches!(error, TlsError::Psk { .. }), "{error}");
        for version in [SslVersion::TLS1_2, SslVersion::TLS1_3] {
            let (address, _end) = plain_server(&server, version, |_| ());
            let error = reach(&client(&anchors.certificate, &mine), address).unwrap_err();
            assert!(matches!(error, TlsError::Psk { .. }), "{error}");
            let (address, _end) = plain_server(&server, version, |context| know(context, "someone else", KEY));
            let error = reach(&client(&anchors.certificate, &mine), address).unwrap_err();
            assert!(matches!(error, TlsError::Psk { .. }), "{error}");
        }
    }
}

#[test]
fn pre_shared_keys_work_with_plain_openssl_at_either_end() {
    let server = server_of(&authority(), Validity::of_server(now()));
    for version in [SslVersion::TLS1_2, SslVersion::TLS1_3] {
        let (address, end) = plain_server(&server, version, |context| {
            context.set_cipher_list("ECDHE-PSK-CHACHA20-POLY1305").unwrap();
            know(context, "device", KEY);
        });
        let stream = reach(&client(&authority().certificate, &psk("device", KEY)), address).unwrap();
        assert_eq!(stream.proved(), Proof::Psk);
        end.join().unwrap().unwrap();

        let (address, seen) = serve(context(&server, psk_options()), 3);
        let all = "ALL:PSK";
        let stream = plain_client(address, version, |context| {
            context.set_cipher_list(all).unwrap();
            offer(context, "device", KEY);
        })
        .unwrap();
        let suite = stream.ssl().current_cipher().unwrap().name();
        assert!(["ECDHE-PSK-CHACHA20-POLY1305", "TLS_AES_128_GCM_SHA256"].contains(&suite), "{suite}");
        for (identity, key) in [("device", &b"another key, 16+"[..]), ("stranger", KEY)] {
            let failed = plain_client(address, version, |context| {
                context.set_cipher_list(all).unwrap();
                offer(context, identity, key);
            });
            assert!(failed.is_err());
        }
        let seen = seen.join().unwrap();
        assert!(matches!(&seen[0], Ok(Peer::Psk { identity, .. }) if identity == "device"));
        assert!(seen[1].is_err() && seen[2].is_err());
    }
}

#[test]
fn a_server_without_keys_still_serves_those_who_offer_one() {
    let server = server_of(&authority(), Validity::of_server(now()));
    let (address, seen) = serve(context(&server, plain_options()), 1);
    plain_client(address, SslVersion::TLS1_3, |context| offer(context, "device", KEY)).unwrap();
    assert!(matches!(seen.join().unwrap()[0], Ok(Peer::Anonymous)));
}

#[test]
fn a_device_ca_says_which_device_it_is() {
    let (ca, devices) = (authority(), authority());
    let (pem, identity) = device(&devices, "IMEI:493005100592800", Validity::of_device(now()));
    let validity = Validity { from: now() - 10, until: now() + 1000 };
    let server = server_of(&ca, validity);
    let (address, seen) = serve(context(&server, knowing(&devices)), 1);
    let stream = reach(&client(&ca.certificate, &identity), address).unwrap();
    // The CA has been valid for longer.
    assert_eq!((stream.proved(), stream.resumed()), (Proof::Certificate { since: validity.from }, false));
    let seen = seen.join().unwrap();
    let Ok(Peer::Certificate(shown)) = &seen[0] else { panic!("{seen:?}") };
    assert_eq!(shown.device.as_deref(), Some("IMEI:493005100592800"));
    assert_eq!(shown.key_digest, ca::key_digest(&pem.certificate).unwrap());
    assert_eq!(shown.validity.until, ca::valid_until(&pem.certificate).unwrap());
}

#[test]
fn client_certificates_work_with_plain_openssl_at_either_end() {
    let (ca, devices) = (authority(), authority());
    let (pem, identity) = device(&devices, "IMEI:1", Validity::of_device(now()));
    let server = server_of(&ca, Validity::of_server(now()));
    for version in [SslVersion::TLS1_2, SslVersion::TLS1_3] {
        let trusted = openssl::x509::X509::from_pem(devices.certificate.as_bytes()).unwrap();
        let (address, end) = plain_server(&server, version, |context| {
            context.set_verify(SslVerifyMode::PEER | SslVerifyMode::FAIL_IF_NO_PEER_CERT);
            context.cert_store_mut().add_cert(trusted).unwrap();
        });
        reach(&client(&ca.certificate, &identity), address).unwrap();
        end.join().unwrap().unwrap();

        let (address, seen) = serve(context(&server, knowing(&devices)), 1);
        plain_client(address, version, |context| {
            context.set_certificate(&openssl::x509::X509::from_pem(pem.certificate.as_bytes()).unwrap()).unwrap();
            let key = openssl::pkey::PKey::private_key_from_pem(pem.key.as_bytes()).unwrap();
            context.set_private_key(&key).unwrap();
        })
        .unwrap();
        let seen = seen.join().unwrap();
        assert!(matches!(&seen[0], Ok(Peer::Certificate(shown)) if shown.device.as_deref() == Some("IMEI:1")));
    }
}

#[test]
fn certificates_that_prove_no_device_are_told_apart_from_those_that_do() {
    let (ca, devices) = (authority(), authority());
    let server = server_of(&ca, Validity::of_server(now()));
    let expired = device(&devices, "IMEI:1", Validity { from: now() - 7200, until: now() - 3600 }).1;
    let early = device(&devices, "IMEI:1", Validity { from: now() + 3600, until: now() + 7200 }).1;
    let foreign = device(&authority(), "IMEI:1", Validity::of_device(now())).1;
    let wrong_purpose = server_of(&devices, Validity::of_server(now()));
    let wrong_purpose = ClientIdentity::from_pem(&wrong_purpose.certificate, &wrong_purpose.key).unwrap();
    for identity in [expired, early, foreign, wrong_purpose] {
        let (address, seen) = serve(context(&server, knowing(&devices)), 1);
        reach(&client(&ca.certificate, &identity), address).unwrap();
        let seen = seen.join().unwrap();
        assert!(matches!(&seen[0], Ok(Peer::Certificate(shown)) if shown.device.is_none()), "{seen:?}");
    }
}
