//! Making a failing life small: troubles are taken away as long as it fails in the same way.

use super::broken::Invariant;
use super::device::{Options, live};
use super::plan::Plan;
use std::sync::Arc;

/// The same life with as few troubles as possible.
pub fn shrink(plan: &Plan, invariant: Invariant, options: Options) -> Plan {
    let fails = |plan: &Plan| {
        let life = live(&Arc::new(plan.clone()), options);
        life.broken.is_some_and(|broken| broken.invariant == invariant)
    };
    let mut small = plan.clone();
    let mut size = small.troubles.len().div_ceil(2).max(1);
    loop {
        let mut at = 0;
        while at < small.troubles.len() {
            let mut less = small.clone();
            less.troubles.drain(at..(at + size).min(small.troubles.len()));
            if fails(&less) {
                small = less;
            } else {
                at += size;
            }
        }
        if size == 1 {
            return small;
        }
        size = size.div_ceil(2);
    }
}
