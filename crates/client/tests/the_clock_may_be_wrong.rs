//! A clock that is not set, set late, or years ahead (Profile P-27): no account becomes stale by it, nothing waits for
//! years, and a wrong time is not kept.
#![allow(clippy::unwrap_used)]

mod kit;

use kit::clocked::Clocked;
use kit::{Device, Server, answer, message};
use omadm_client::client::Client;
use omadm_client::schedule::{Schedule, Task};
use omadm_client::watch::Sign;
use omadm_client::world::World;
use omadm_core::time::Timestamp;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

const DAY: u64 = 24 * 3600;
const YEAR: u64 = 365 * DAY;

/// A device with a factory file whose server is not there.
fn device() -> Device {
    let device = Device::new();
    device.write("factory.json", &message("acme", "http://127.0.0.1:1/dm"));
    device.configure("[card]\nlink = \"off\"\n[factory]\nfile = \"factory.json\"\n");
    device
}

fn start(device: &Device, world: &Arc<Clocked>) -> (Client, Schedule) {
    (device.open_in(world.clone()), Schedule::new())
}

/// Carries out what is due; says how long nothing is.
fn settle(client: &mut Client, schedule: &mut Schedule) -> u64 {
    for _ in 0..10 {
        if let Some(pause) = schedule.step(client).unwrap() {
            return pause.as_secs();
        }
    }
    panic!("there is always something due");
}

fn due(client: &Client, schedule: &Schedule, now: Timestamp) -> (u64, Task) {
    let (next, task) = schedule.next(client, now).unwrap();
    (next.at.since(now), task)
}

/// A time that is not long after the build.
fn lately() -> u64 {
    omadm_client::clock::at_start().0
}

#[test]
fn an_account_from_before_the_clock_was_set_is_not_stale_when_it_is() {
    let (device, world) = (device(), Clocked::new(0));
    let (mut client, mut schedule) = start(&device, &world);
    settle(&mut client, &mut schedule);
    assert_eq!(client.state().accounts.iter().count(), 1);
    let real = lately() + 3 * YEAR;
    world.set(real);
    schedule.step(&mut client).unwrap();
    let (wait, task) = due(&client, &schedule, Timestamp(real));
    assert!(matches!(task, Task::Session(_)), "{task:?} in {wait} s");

    // The same over a restart.
    let world = Clocked::new(0);
    let other = self::device();
    let (mut client, mut schedule) = start(&other, &world);
    settle(&mut client, &mut schedule);
    drop(client);
    world.set(real);
    let (mut client, mut schedule) = start(&other, &world);
    settle(&mut client, &mut schedule);
    assert!(client.state().attempts.iter().all(|one| one.at.0 < real), "nothing but the account was asked");
}

#[test]
fn a_clock_that_is_set_back_makes_nothing_wait_for_years() {
    let real = lately() + 2 * YEAR;
    let (device, world) = (device(), Clocked::new(real + 9 * YEAR));
    let (mut client, mut schedule) = start(&device, &world);
    settle(&mut client, &mut schedule);
    world.set(real);
    schedule.step(&mut client).unwrap();
    let (wait, _) = due(&client, &schedule, Timestamp(real));
    assert!(wait <= 30, "{wait} s");
    let stale = client.state().accounts.iter().next().unwrap().stale_at(7 * DAY);
    assert!(stale <= Timestamp(real + 7 * DAY), "{stale}");
}

#[test]
fn a_time_that_nothing_confirmed_is_not_kept() {
    let real = lately() + 2 * YEAR;
    let (device, world) = (device(), Clocked::new(real + 9 * YEAR));
    let (mut client, mut schedule) = start(&device, &world);
    settle(&mut client, &mut schedule);
    let world = Clocked::new(real);
    let (client, schedule) = start(&device, &world);
    let (wait, _) = due(&client, &schedule, Timestamp(real));
    assert_eq!(wait, 0);
    assert!(client.status().state == omadm_client::status::Stage::Bootstrapped);
    assert!(client.state().known_time().0 < real, "{}", client.state().known_time());
}

#[test]
fn signs_are_heeded_at_once_after_a_clock_that_was_ahead() {
    let real = lately() + 2 * YEAR;
    let (device, world) = (Device::new(), Clocked::new(real + 9 * YEAR));
    device.configure("[card]\nlink = \"off\"\n");
    let (mut client, mut schedule) = start(&device, &world);
    settle(&mut client, &mut schedule);
    schedule.notice(Sign::FactoryFile, Timestamp(real + 9 * YEAR));
    settle(&mut client, &mut schedule);
    world.set(real);
    schedule.step(&mut client).unwrap();
    schedule.notice(Sign::FactoryFile, Timestamp(real));
    let (wait, task) = due(&client, &schedule, Timestamp(real));
    assert!(task == Task::Bootstrap && wait <= 60, "{wait} s");
}

#[test]
fn a_session_that_was_noted_years_ahead_keeps_no_account_fresh() {
    let real = lately() + 2 * YEAR;
    let alive = Arc::new(AtomicBool::new(true));
    let lives = alive.clone();
    let server = Server::start(move |_, _| match lives.load(Ordering::Relaxed) {
        true => answer(200, "application/vnd.oma.dm.request+json", r#"{"CMD":[["END"]]}"#),
        false => answer(503, "text/plain", ""),
    });
    let device = Device::new();
    device.write("factory.json", &message("acme", &format!("{}/dm", server.base)));
    device.configure("[card]\nlink = \"off\"\n[factory]\nfile = \"factory.json\"\n");
    let (mut client, mut schedule) = start(&device, &Clocked::new(real + 9 * YEAR));
    settle(&mut client, &mut schedule);
    assert!(client.state().accounts.iter().all(|one| one.last_session.is_some()));
    drop(client);
    alive.store(false, Ordering::Relaxed);
    // Twelve hours at a time, with the right clock.
    let given_up = (0..40).find(|half_day| {
        let world = Clocked::new(real + half_day * DAY / 2);
        let (mut client, mut schedule) = start(&device, &world);
        settle(&mut client, &mut schedule);
        client.state().attempts.iter().any(|one| one.message.contains("is installed already"))
    });
    assert!(given_up.is_some_and(|half_day| (14..=16).contains(&half_day)), "{given_up:?}");
}

#[test]
fn without_a_clock_an_account_becomes_stale_over_short_days_all_the_same() {
    let device = device();
    // A day of six hours, sixty times; each begins in the year of the build.
    let asked = (0..60).find(|_| {
        let world = Clocked::new(0);
        let (mut client, mut schedule) = start(&device, &world);
        while world.monotonic() < Duration::from_secs(6 * 3600) {
            world.pass(settle(&mut client, &mut schedule).max(1));
            world.set(0);
        }
        client.state().attempts.iter().any(|one| one.message.contains("is installed already"))
    });
    assert!(asked.is_some_and(|day| day >= 7), "{asked:?}");
}
