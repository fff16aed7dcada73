//! The second connection to a server goes back to the first, for the same client only.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

mod kit;

use kit::{
    authority, client, context, now, plain_client, plain_options, plain_server, psk_options, reach, serve, server_of,
};
use omadm_tls::ca::{self, Identity, Validity};
use omadm_tls::{ClientContext, ClientIdentity, DeviceAuthorities, Peer, Proof, Resumptions, ServerOptions, Sessions};
use openssl::ssl::{Ssl, SslContext, SslMethod, SslStream, SslVersion};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::{Arc, Barrier};

fn nobody() -> ClientIdentity {
    ClientIdentity::nobody()
}

fn resumed(context: &ClientContext, address: SocketAddr) -> bool {
    // A server of the test listens at a new port each time; for the client it is the same one.
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(kit::LIMIT)).unwrap();
    let mut stream = context.connect("localhost", 443, stream).unwrap();
    kit::exchange(&mut stream);
    // One that is resumed goes back to the certificates that were shown then.
    let Proof::Certificate { since } = stream.proved() else { panic!("no certificate") };
    assert!((1..2 * 24 * 3600).contains(&(now() - since)), "{since}");
    stream.resumed()
}

fn device(ca: &Identity, dev_id: &str) -> ClientIdentity {
    let device = ca::issue_device(ca, dev_id, Validity::of_device(now())).unwrap();
    ClientIdentity::from_pem(&device.certificate, &device.key).unwrap()
}

#[test]
fn each_connection_gives_the_next_and_says_who_it_is() {
    let (ca, devices) = (authority(), authority());
    let options =
        ServerOptions { authorities: DeviceAuthorities::from_pem(&devices.certificate).unwrap(), ..plain_options() };
    let (address, seen) = serve(context(&server_of(&ca, Validity::of_server(now())), options), 4);
    let sessions = Sessions::new();
    let context = client(&ca.certificate, &device(&devices, "IMEI:1")).resuming(&sessions);
    assert!(!resumed(&context, address));
    assert!(resumed(&context, address));
    // A context made anew, of the same anchors and identity, goes on.
    assert!(resumed(&context.clone(), address));
    sessions.clear();
    assert!(!resumed(&context, address));
    let seen = seen.join().unwrap();
    let who = |one: &Result<Peer, _>| match one {
        Ok(Peer::Certificate(shown)) => shown.device.clone(),
        Ok(Peer::Anonymous | Peer::Psk { .. }) | Err(_) => None,
    };
    assert!(seen.iter().all(|one| who(one).as_deref() == Some("IMEI:1")), "{seen:?}");
}

#[test]
fn another_identity_or_other_anchors_start_from_the_beginning() {
    let (ca, devices) = (authority(), authority());
    let (address, seen) = serve(context(&server_of(&ca, Validity::of_server(now())), plain_options()), 5);
    let sessions = Sessions::new();
    let first = device(&devices, "IMEI:1");
    assert!(!resumed(&client(&ca.certificate, &nobody()).resuming(&sessions), address));
    assert!(!resumed(&client(&ca.certificate, &first).resuming(&sessions), address));
    assert!(!resumed(&client(&ca.certificate, &device(&devices, "IMEI:2")).resuming(&sessions), address));
    let more = format!("{}{}", ca.certificate, authority().certificate);
    assert!(!resumed(&client(&more, &first).resuming(&sessions), address));
    // The first two are still there for themselves.
    assert!(resumed(&client(&ca.certificate, &first).resuming(&sessions), address));
    assert!(seen.join().unwrap().iter().all(Result::is_ok));
}

#[test]
fn a_renewed_server_certificate_does_not_end_it_and_a_restart_does() {
    let ca = authority();
    let resumptions = Resumptions::new(8);
    let start = |resumptions: &Resumptions| {
        let options = ServerOptions { resumptions: resumptions.clone(), ..plain_options() };
        serve(context(&server_of(&ca, Validity::of_server(now())), options), 1)
    };
    let context = client(&ca.certificate, &nobody()).resuming(&Sessions::new());
    assert!(!resumed(&context, start(&resumptions).0));
    assert!(resumed(&context, start(&resumptions).0));
    // A server that forgot does a full handshake, and the one after it is short again.
    let other = Resumptions::new(8);
    assert!(!resumed(&context, start(&other).0));
    assert!(resumed(&context, start(&other).0));
}

#[test]
fn a_server_that_forgot_still_has_to_show_the_right_certificate() {
    let (ca, other) = (authority(), authority());
    let context_of = |ca: &Identity| context(&server_of(ca, Validity::of_server(now())), plain_options());
    let context = client(&ca.certificate, &nobody()).resuming(&Sessions::new());
    let (address, _seen) = serve(context_of(&ca), 1);
    assert!(!resumed(&context, address));
    let (address, _seen) = serve(context_of(&other), 1);
    let stream = TcpStream::connect(address).unwrap();
    assert!(context.connect("localhost", 443, stream).is_err());
}

/// The name and key that a connection leaves for the next one.
fn left_by(stream: &SslStream<TcpStream>) -> (&'static str, &'static [u8]) {
    let (mut name, mut key) = ([0; 16], vec![0; 32]);
    let label = "EXPORTER-omadm-resumption";
    stream.ssl().export_keying_material(&mut name, label, Some(b"identity")).unwrap();
    stream.ssl().export_keying_material(&mut key, label, Some(b"key")).unwrap();
    let hex: String = name.iter().map(|byte| format!("{byte:02x}")).collect();
    (format!("omadm-resumption:{hex}").leak(), key.leak())
}

/// With plain OpenSSL, since our own client forgets what it offered.
#[test]
fn what_was_used_once_is_no_way_in_any_more() {
    let ca = authority();
    let (address, seen) = serve(context(&server_of(&ca, Validity::of_server(now())), plain_options()), 4);
    let first = plain_client(address, SslVersion::TLS1_3, |_| ()).unwrap();
    let (name, key) = left_by(&first);
    // Whoever saw the name but has not the key neither gets in nor uses it up.
    assert!(plain_client(address, SslVersion::TLS1_3, |context| kit::offer(context, name, &[7; 32])).is_err());
    for resumed in [true, false] {
        let again = plain_client(address, SslVersion::TLS1_3, |context| kit::offer(context, name, key)).unwrap();
        assert_eq!(again.ssl().session_reused(), resumed);
    }
    assert_eq!(seen.join().unwrap().iter().filter(|one| matches!(one, Ok(Peer::Anonymous))).count(), 3);
}

/// Waits for another one before the client's second flight: by then the server knows what both go on from.
#[derive(Debug)]
struct Together(TcpStream, usize, Arc<Barrier>);

impl Read for Together {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        self.0.read(buffer)
    }
}

impl Write for Together {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.1 += 1;
        if self.1 == 2 {
            self.2.wait();
        }
        self.0.write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.0.flush()
    }
}

#[test]
fn of_two_connections_at_once_from_the_same_one_gets_in() {
    let ca = authority();
    let options = ServerOptions { resumptions: Resumptions::new(8), ..plain_options() };
    let server = context(&server_of(&ca, Validity::of_server(now())), options);
    let first = plain_client(serve(server.clone(), 1).0, SslVersion::TLS1_3, |_| ()).unwrap();
    let (name, key) = left_by(&first);
    let barrier = Arc::new(Barrier::new(2));
    let race: Vec<_> = (0..2)
        .map(|_| {
            let ((address, seen), barrier) = (serve(server.clone(), 1), Arc::clone(&barrier));
            let client = std::thread::spawn(move || {
                let mut builder = SslContext::builder(SslMethod::tls_client()).unwrap();
                kit::offer(&mut builder, name, key);
                let stream = Together(TcpStream::connect(address).unwrap(), 0, barrier);
                let mut stream = Ssl::new(&builder.build()).unwrap().connect(stream).unwrap();
                assert!(stream.ssl().session_reused());
                stream.write_all(b"ping").is_ok() && stream.read_exact(&mut [0; 4]).is_ok()
            });
            (client, seen)
        })
        .collect();
    let outcome: Vec<(bool, bool)> = race
        .into_iter()
        .map(|(client, seen)| (client.join().unwrap(), seen.join().unwrap().iter().all(Result::is_ok)))
        .collect();
    assert!(outcome.contains(&(true, true)) && outcome.contains(&(false, false)), "{outcome:?}");
}

#[test]
fn the_server_remembers_no_more_than_it_has_room_for() {
    let ca = authority();
    let options = ServerOptions { resumptions: Resumptions::new(1), ..plain_options() };
    let (address, seen) = serve(context(&server_of(&ca, Validity::of_server(now())), options), 3);
    let first = client(&ca.certificate, &nobody()).resuming(&Sessions::new());
    let second = client(&ca.certificate, &nobody()).resuming(&Sessions::new());
    assert!(!resumed(&first, address));
    assert!(!resumed(&second, address));
    assert!(!resumed(&first, address));
    assert!(seen.join().unwrap().iter().all(Result::is_ok));
}

#[test]
fn plain_openssl_is_not_disturbed_by_the_offer() {
    let ca = authority();
    let server = server_of(&ca, Validity::of_server(now()));
    for version in [SslVersion::TLS1_2, SslVersion::TLS1_3] {
        let context = client(&ca.certificate, &nobody()).resuming(&Sessions::new());
        for _ in 0..2 {
            let (address, end) = plain_server(&server, version, |_| ());
            assert!(!resumed(&context, address));
            end.join().unwrap().unwrap();
        }
    }
}

#[test]
fn with_a_pre_shared_key_each_handshake_is_a_full_one() {
    let ca = authority();
    let (address, seen) = serve(context(&server_of(&ca, Validity::of_server(now())), psk_options()), 2);
    let mine = ClientIdentity::psk("device", kit::KEY).unwrap();
    let context = client(&ca.certificate, &mine).resuming(&Sessions::new());
    for _ in 0..2 {
        let stream = reach(&context, address).unwrap();
        assert_eq!((stream.proved(), stream.resumed()), (Proof::Psk, false));
    }
    assert!(seen.join().unwrap().iter().all(|one| matches!(one, Ok(Peer::Psk { .. }))));
}

/// Counts what goes over the wire.
struct Counted(TcpStream, usize);

impl Read for Counted {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let read = self.0.read(buffer)?;
        self.1 += read;
        Ok(read)
    }
}

impl Write for Counted {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.1 += bytes.len();
        self.0.write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.0.flush()
    }
}

#[test]
fn it_saves_most_of_the_bytes() {
    let (ca, devices) = (authority(), authority());
    let server = server_of(&ca, Validity::of_server(now()));
    let (address, _seen) = serve(context(&server, psk_options()), 3);
    let bytes = |context: &ClientContext| {
        let stream = Counted(TcpStream::connect(address).unwrap(), 0);
        let mut stream = context.connect("localhost", 443, stream).unwrap();
        kit::exchange(&mut stream);
        stream.inner().1
    };
    let context = client(&ca.certificate, &device(&devices, "IMEI:1")).resuming(&Sessions::new());
    let (full, short) = (bytes(&context), bytes(&context));
    let psk = bytes(&client(&ca.certificate, &ClientIdentity::psk("device", kit::KEY).unwrap()));
    println!("bytes of a handshake and 8 more: x509 {full}, resumed {short}, psk {psk}");
    assert!(full < 2600 && short < 900 && psk < 900, "{full} {short} {psk}");
}
