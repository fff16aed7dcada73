//! Cards that are written to: what is put on them, how it is written, and what a client then reads.

#![allow(dead_code, unreachable_pub, clippy::unwrap_used, reason = "a part of each test file, which uses a part of it")]

use std::time::Duration;

use omadm_card::make::{CardPlan, NewObject, make};
use omadm_card::personalise::{
    AdmKey, Looking, PersonaliseError, Plan, Survey, Wanted, Written, carry_out, plan, survey,
};
use omadm_card::pkcs15::oid::ObjectId;
use omadm_card::{CardReading, Link, ReadRequest, VirtualUicc, read};
use omadm_core::secret::Secret;

/// The administrator's key of the cards.
pub const KEY: &str = "12345678";
/// Their PIN.
pub const PIN: &str = "4711";
/// How long reading or writing may take.
pub const LIMIT: Duration = Duration::from_secs(120);

/// A Bootstrap Message without secrets, of a server with this name.
pub fn message(name: &str) -> Vec<u8> {
    format!(
        r#"[{{"ClientURI":"urn:oma:mo:oma-dm-dmacc:1.2/acme/","MOData":{{"DMAcc":{{"SrvID":"acme","SrvURI":"https://dm.example/dm","Name":"{name}","Perm":{{"1":{{"MOID":"urn:oma:mo:oma-dm-devinfo:1.2"}}}}}}}}}}]"#
    )
    .into_bytes()
}

/// The same with credentials in it.
pub fn secret_message(name: &str) -> Vec<u8> {
    let text = String::from_utf8(message(name)).unwrap();
    text.replace(r#""Name""#, r#""Auth":{"Trsp":{"Data":"YmFzaWM6YQ==","Secret":"aHVzaA=="}},"Name""#).into_bytes()
}

/// To write this message.
pub fn dm(message: Vec<u8>) -> Wanted {
    Wanted::new(vec![NewObject::dm(message)])
}

/// A card made by this plan.
pub fn card(plan: &CardPlan) -> VirtualUicc {
    VirtualUicc::new(&make(plan).unwrap())
}

/// What is seen on the card before something is written.
pub fn seen(link: &mut dyn Link, wanted: &Wanted, pin: Option<&str>) -> Result<Survey, PersonaliseError> {
    let objects: Vec<ObjectId> = wanted.objects.iter().map(|object| object.oid.clone()).collect();
    let pin = pin.map(Secret::from);
    let looking = Looking {
        objects: &objects,
        pin: pin.as_ref(),
        rule: wanted.rule,
        private_by: wanted.behind_pin.then_some(wanted.adm),
    };
    survey(link, &looking, &|| Duration::ZERO, LIMIT)
}

/// What would be written.
pub fn planned(link: &mut dyn Link, wanted: &Wanted, pin: Option<&str>) -> Result<Plan, PersonaliseError> {
    plan(&seen(link, wanted, pin)?, wanted)
}

/// Writes it, with this key.
pub fn carried_out(link: &mut dyn Link, plan: &Plan, key: &str) -> Result<Written, PersonaliseError> {
    let key = AdmKey::parse(key).ok();
    carry_out(link, plan, key.as_ref(), (&|| Duration::ZERO, LIMIT), &mut |_, _| {})
}

/// All of it, after a reset.
pub fn write(card: &mut VirtualUicc, wanted: &Wanted, pin: Option<&str>) -> Result<Written, PersonaliseError> {
    card.reset();
    let plan = planned(card, wanted, pin)?;
    carried_out(card, &plan, KEY)
}

/// What a client reads, after a reset.
pub fn reading(card: &mut VirtualUicc, pin: Option<&str>) -> CardReading {
    card.reset();
    let pin = pin.map(Secret::from);
    read(card, &ReadRequest { pin: pin.as_ref(), ..ReadRequest::default() }, &|| Duration::ZERO)
}
