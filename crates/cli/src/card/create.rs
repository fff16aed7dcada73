//! `omadm card create` and `omadm card script`.

use omadm_card::make::{CardPlan, make};
use serde_json::json;

use super::making::{self, Issued};
use crate::args::{CreateCard, NewCard, ScriptCard};
use crate::failure::Failure;
use crate::output;
use crate::private;

/// Makes a card file.
pub(super) fn create(args: &CreateCard) -> Result<(), Failure> {
    private::check_free(&args.output, args.force)?;
    let adm = making::adm_key(args.adm_file.as_deref())?;
    let (plan, issued) = making::plan(&args.card, &args.reach)?;
    let plan = CardPlan { adm, ..plan };
    let image = make(&plan).map_err(|error| Failure::usage(error.to_string()))?;
    private::write_new(&args.output, image.to_json().as_bytes(), args.force)?;
    issued.into_iter().for_each(Issued::keep);
    if args.listing.json {
        return output::json(&json!({"file": args.output, "iccid": args.card.iccid, "pin": plan.pin.is_some()}));
    }
    let (what, file) = (what(&args.card, &plan), args.output.display());
    output::say(format!("{file}: card {} {what}. Look into it: omadm card inspect {file}", args.card.iccid))
}

/// Writes a script that makes such a card.
pub(super) fn script(args: &ScriptCard) -> Result<(), Failure> {
    private::check_free(&args.output, args.force)?;
    let key = making::adm_key(args.adm_file.as_deref())?;
    let (plan, issued) = making::plan(&args.card, &args.reach)?;
    let image = make(&plan).map_err(|error| Failure::usage(error.to_string()))?;
    let script = making::script(&image, &args.card.iccid, args.kind, &args.scripting, key.as_ref())?;
    private::write_new(&args.output, script.as_bytes(), args.force)?;
    issued.into_iter().for_each(Issued::keep);
    if plan.pin.is_some() {
        output::remark("the script sets no PIN: the card has to have the one that you named");
    }
    if args.listing.json {
        return output::json(&json!({"file": args.output, "iccid": args.card.iccid, "pin": plan.pin.is_some()}));
    }
    let (what, file) = (what(&args.card, &plan), args.output.display());
    output::say(format!("{file}: a script for the card {} {what}", args.card.iccid))
}

fn what(card: &NewCard, plan: &CardPlan) -> String {
    let how = if plan.pin.is_some() { "behind its PIN" } else { "readable by everybody" };
    let others = match plan.others.len() {
        0 => String::new(),
        1 => " and another object".to_owned(),
        count => format!(" and {count} other objects"),
    };
    match card.content.empty {
        true => format!("without a message{}", others.replacen(" and", ", with", 1)),
        false => format!("with a message{others} {how}"),
    }
}
