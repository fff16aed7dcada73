//! Handshakes over real sockets on loopback: the good one, and each failure with its own kind.

#![allow(clippy::unwrap_used)]

mod kit;

use kit::{LIMIT, authority, context, now, plain_options, serve, server_of};
use omadm_tls::ca::Validity;
use omadm_tls::{
    Anchors, ClientContext, ClientIdentity, ContextError, Fault, Peer, ServerContext, TlsError, TlsStream,
};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

fn start(identity: &omadm_tls::ca::Identity) -> (SocketAddr, kit::Seen) {
    serve(context(identity, plain_options()), 1)
}

fn connect(anchors: &str, host: &str, address: SocketAddr) -> Result<TlsStream<TcpStream>, TlsError> {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(LIMIT)).unwrap();
    kit::client(anchors, &ClientIdentity::nobody()).connect(host, address.port(), stream)
}

#[test]
fn a_server_of_the_anchors_ca_is_reached_by_each_of_its_names() {
    let ca = authority();
    let server = server_of(&ca, Validity::of_server(now()));
    for host in ["localhost", "LOCALHOST", "127.0.0.1", "::1", "[::1]"] {
        let (address, thread) = start(&server);
        let mut stream = connect(&ca.certificate, host, address).unwrap();
        assert_eq!(stream.version(), "TLSv1.3");
        stream.write_all(b"ping").unwrap();
        let mut word = [0; 4];
        stream.read_exact(&mut word).unwrap();
        assert_eq!(&word, b"ping");
        assert_eq!(stream.read(&mut word).unwrap(), 0);
        assert!(matches!(thread.join().unwrap()[0], Ok(Peer::Anonymous)));
    }
}

#[test]
fn the_servers_own_certificate_may_be_the_only_anchor() {
    let server = server_of(&authority(), Validity::of_server(now()));
    let (address, thread) = start(&server);
    drop(connect(&server.certificate, "localhost", address).unwrap());
    assert!(thread.join().unwrap()[0].is_ok());
}

#[test]
fn another_host_name_is_a_certificate_error() {
    let ca = authority();
    for host in ["other.example", "127.0.0.2", "localhost.example", ""] {
        let (address, thread) = start(&server_of(&ca, Validity::of_server(now())));
        let error = connect(&ca.certificate, host, address).unwrap_err();
        match host {
            "" => assert!(matches!(error, TlsError::Handshake { .. }), "{error}"),
            _ => assert!(matches!(error, TlsError::Certificate { fault: Fault::OtherHost, .. }), "{host}: {error}"),
        }
        assert!(thread.join().unwrap()[0].is_err());
    }
}

#[test]
fn a_foreign_ca_is_a_certificate_error_even_with_the_same_name() {
    let (address, _thread) = start(&server_of(&authority(), Validity::of_server(now())));
    let error = connect(&authority().certificate, "localhost", address).unwrap_err();
    assert!(matches!(error, TlsError::Certificate { fault: Fault::Foreign, .. }), "{error}");
}

#[test]
fn the_devices_trust_store_does_not_hold_our_ca() {
    let (address, _thread) = start(&server_of(&authority(), Validity::of_server(now())));
    let stream = TcpStream::connect(address).unwrap();
    let error = ClientContext::new(&Anchors::System, &ClientIdentity::nobody())
        .unwrap()
        .connect("localhost", 1, stream)
        .unwrap_err();
    assert!(matches!(error, TlsError::Certificate { fault: Fault::Foreign, .. }), "{error}");
}

#[test]
fn expired_and_not_yet_valid_are_errors_of_the_clock() {
    let ca = authority();
    for (validity, what) in [
        (Validity { from: now() - 7200, until: now() - 3600 }, Fault::Expired),
        (Validity { from: now() + 3600, until: now() + 7200 }, Fault::NotYetValid),
    ] {
        let (address, _thread) = start(&server_of(&ca, validity));
        let error = connect(&ca.certificate, "localhost", address).unwrap_err();
        assert!(matches!(error, TlsError::Clock { fault, .. } if fault == what), "{error}");
    }
}

#[test]
fn dates_are_no_excuse_for_a_foreign_ca() {
    let (address, _thread) = start(&server_of(&authority(), Validity { from: now() - 7200, until: now() - 3600 }));
    let error = connect(&authority().certificate, "localhost", address).unwrap_err();
    assert!(matches!(error, TlsError::Certificate { fault: Fault::Foreign, .. }), "{error}");
}

#[test]
fn a_floor_helps_a_clock_that_is_behind() {
    let ca = authority();
    let (address, _thread) = start(&server_of(&ca, Validity { from: now() + 3600, until: now() + 7200 }));
    let context = kit::client(&ca.certificate, &ClientIdentity::nobody()).not_before(now() + 4000);
    context.connect("localhost", 1, TcpStream::connect(address).unwrap()).unwrap();
}

#[test]
fn a_peer_that_speaks_no_tls_is_a_handshake_error() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let thread = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut hello = [0; 64];
        let _ = stream.read(&mut hello);
        stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").unwrap();
    });
    let error = connect(&authority().certificate, "localhost", address).unwrap_err();
    assert!(matches!(error, TlsError::Handshake { .. }), "{error}");
    thread.join().unwrap();
}

#[test]
fn silence_ends_at_the_time_limit_at_either_end() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let error = connect(&authority().certificate, "localhost", listener.local_addr().unwrap()).unwrap_err();
    assert!(matches!(error, TlsError::Timeout { .. }), "{error}");

    let (address, thread) = start(&server_of(&authority(), Validity::of_server(now())));
    let _silent = TcpStream::connect(address).unwrap();
    assert!(matches!(thread.join().unwrap()[0], Err(TlsError::Timeout { .. })));
}

#[test]
fn a_connection_that_closes_early_is_an_error_of_the_stream() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let thread = std::thread::spawn(move || drop(listener.accept().unwrap()));
    let error = connect(&authority().certificate, "localhost", address).unwrap_err();
    assert!(matches!(error, TlsError::Io { .. } | TlsError::Handshake { .. }), "{error}");
    thread.join().unwrap();
}

#[test]
fn contexts_say_what_is_wrong_with_certificates_and_keys() {
    let (ca, other) = (authority(), authority());
    assert!(matches!(
        ServerContext::from_pem(&ca.certificate, &other.key, plain_options()),
        Err(ContextError::Mismatch)
    ));
    assert!(matches!(ServerContext::from_pem("nonsense", &ca.key, plain_options()), Err(ContextError::NoCertificate)));
    assert!(matches!(ServerContext::from_pem(&ca.certificate, "nonsense", plain_options()), Err(ContextError::Key(_))));
    assert!(matches!(
        ClientContext::new(&Anchors::Pem(String::new()), &ClientIdentity::nobody()),
        Err(ContextError::NoCertificate)
    ));
}

#[test]
fn nobody_is_asked_for_a_pass_phrase_whatever_is_encrypted() {
    let ca = authority();
    let key = openssl::pkey::PKey::private_key_from_pem(ca.key.as_bytes()).unwrap();
    let cipher = openssl::symm::Cipher::aes_256_cbc();
    let encrypted = String::from_utf8(key.private_key_to_pem_pkcs8_passphrase(cipher, b"a phrase").unwrap()).unwrap();
    let server = ServerContext::from_pem(&ca.certificate, &encrypted, plain_options());
    assert!(matches!(server, Err(ContextError::EncryptedKey)));
    let client = ClientIdentity::from_pem(&ca.certificate, &encrypted);
    assert!(matches!(client, Err(ContextError::EncryptedKey)));
    // A file may hold both.
    let both = format!("a: b\n{}{encrypted}", ca.certificate);
    assert!(ClientIdentity::from_pem(&both, &ca.key).is_ok());

    let headers = "-----BEGIN CERTIFICATE-----\nProc-Type: 4,ENCRYPTED\n                   DEK-Info: AES-128-CBC,00112233445566778899AABBCCDDEEFF\n\n";
    let certificate = ca.certificate.replace("-----BEGIN CERTIFICATE-----\n", headers);
    let error = ClientContext::new(&Anchors::Pem(certificate), &ClientIdentity::nobody()).err().unwrap().to_string();
    assert!(error.contains("header lines"), "{error}");
}
