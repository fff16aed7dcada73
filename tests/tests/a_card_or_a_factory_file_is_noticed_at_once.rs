//! A client that waits at the slow rate takes a card that is put in, and a factory file that is written, at once.

use omadm_tests::{CardReader, Device, Fleet, private_file, until};

/// Starts the client of a device that has nothing, and waits until it waits.
fn waiting(device: &mut Device) -> omadm_tests::Process {
    let client = device.run();
    until("the client waits", 60, || client.log().contains("next, at").then_some(()));
    assert_eq!(device.status().expect("a status")["state"], "waiting");
    client
}

fn card(fleet: &Fleet) -> std::path::PathBuf {
    let file = fleet.join("card.json");
    let pin = fleet.join("pin");
    private_file(&pin, b"1234");
    let (pin, path) = (pin.to_str().expect("UTF-8"), file.to_str().expect("UTF-8"));
    let (code, text) = fleet.omadm(&["card", "create", "--profile", "meters", "--pin", pin, "-o", path]);
    assert_eq!(code, 0, "{text}");
    file
}

#[test]
fn a_card_on_a_socket() {
    let fleet = Fleet::start();
    fleet.add_default_profile();
    let file = card(&fleet);
    let link = "[card]\nlink = \"socket:$HOME/card.sock\"\nwait = \"1s\"\npin_file = \"$HOME/pin\"\n";
    let mut device = Device::new("IMEI:490154203237518", link);
    private_file(&device.join("pin"), b"1234");
    let _client = waiting(&mut device);
    let _reader = CardReader::on_socket(&file, &device.join("card.sock"));
    device.managed(20);
}

#[test]
fn a_card_in_a_reader() {
    let fleet = Fleet::start();
    fleet.add_default_profile();
    let file = card(&fleet);
    let link = "[card]\nlink = \"pcsc\"\nwait = \"1s\"\npin_file = \"$HOME/pin\"\n";
    let mut device = Device::new("IMEI:490154203237518", link);
    private_file(&device.join("pin"), b"1234");
    let socket = device.join("pcscd.sock");
    device.use_pcscd(&socket);
    let _client = waiting(&mut device);
    let _reader = CardReader::with_pcscd(&file, &socket);
    device.managed(30);
}

#[test]
fn a_factory_file() {
    let fleet = Fleet::start();
    fleet.add_default_profile();
    let mut device =
        Device::new("IMEI:490154203237518", "[card]\nlink = \"off\"\n[factory]\nfile = \"$HOME/factory.json\"\n");
    let mut client = waiting(&mut device);
    private_file(&device.join("factory.json"), b"a draft");
    until("the file is refused", 10, || client.log().contains("malformed-message").then_some(()));
    assert!(client.runs());
    let message = fleet.issue_message("meters", "factory", "batch-1");
    private_file(&device.join("new.json"), &message);
    std::fs::rename(device.join("new.json"), device.join("factory.json")).expect("a file to rename");
    device.managed(20);
}
