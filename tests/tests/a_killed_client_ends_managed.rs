//! SIGKILL of the real client at 50 random moments of bootstrap and session: it always ends managed, never with half an
//! account.

use std::time::{Duration, Instant};

use omadm_tests::{Device, Fleet, Random, Signal, private_file, seed};

#[test]
fn at_50_random_moments() {
    let fleet = Fleet::start();
    fleet.add_default_profile();
    let dev_id = "IMEI:490154203237567";
    fleet.add_device(dev_id, "enrolment secret");
    let section = fleet.bootstrap_section("IMEI%3A490154203237567", "$HOME/secret");
    let configuration = format!("[card]\nlink = \"off\"\n{section}");
    let mut device = Device::new(dev_id, &configuration);
    private_file(&device.join("secret"), b"enrolment secret");

    // How long one undisturbed bootstrap with its session takes sets where the kills may fall.
    let started = Instant::now();
    device.run_until_idle(30);
    let whole = started.elapsed();

    let mut random = Random::new(seed());
    for kill in 0..50 {
        device = Device::new(dev_id, &configuration);
        private_file(&device.join("secret"), b"enrolment secret");
        let mut client = device.run();
        let moment = Duration::from_micros(random.below(u64::try_from(whole.as_micros()).expect("short")));
        std::thread::sleep(moment);
        client.signal(Signal::KILL);
        client.wait(5);
        let status = device.status();
        let accounts = status.as_ref().and_then(|one| one["accounts"].as_array()).map_or(0, Vec::len);
        assert!(accounts <= 1, "kill {kill} after {moment:?}: {status:?}");
        if accounts == 1 {
            let account = &status.as_ref().expect("a status")["accounts"][0];
            assert_eq!((&account["srv_id"], &account["name"]), (&"acme".into(), &"Acme device management".into()));
        }
        println!("kill {kill} after {moment:?}");
        device.run_until_idle(30);
    }
}
