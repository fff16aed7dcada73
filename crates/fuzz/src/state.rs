//! What the device remembers: any content that is read as a state is written as one that is read as the same, so that a
//! state never gets worse by being kept (spec 2.2).

use omadm_client::state::State;

pub(crate) fn run(bytes: &[u8]) {
    let Ok(state) = serde_json::from_slice::<State>(bytes) else { return };
    let written = serde_json::to_vec(&state).expect("a state can be written");
    let again: State = serde_json::from_slice(&written).expect("what was written is a state");
    assert!(again == state, "another state is read than was written");
    assert_eq!(serde_json::to_vec(&again).expect("written"), written);
}
