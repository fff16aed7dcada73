//! What requests leave behind, on its way to the store: many in one transaction, each waited for by its request.

use std::sync::Arc;
use tokio::sync::{mpsc, oneshot};

use crate::store::{Entry, Store};

/// How many entries may wait; requests beyond wait in line.
const QUEUE: usize = 1024;
/// How many entries go into one transaction.
const BATCH: usize = 256;

type Waiting = (Entry, oneshot::Sender<bool>);

/// Where requests leave their records, and the credentials that their answers give out.
#[derive(Clone)]
pub(crate) struct Recorder(mpsc::Sender<Waiting>);

impl Recorder {
    /// Starts the writer; it ends when the last recorder is dropped.
    pub(crate) fn start(store: Arc<dyn Store>) -> Self {
        let (sender, receiver) = mpsc::channel(QUEUE);
        tokio::spawn(write(store, receiver));
        Self(sender)
    }

    /// Keeps what a request leaves behind. Returns when it is stored: whether it is.
    pub(crate) async fn keep(&self, entry: Entry) -> bool {
        let (done, stored) = oneshot::channel();
        self.0.send((entry, done)).await.is_ok() && stored.await.unwrap_or(false)
    }
}

async fn write(store: Arc<dyn Store>, mut receiver: mpsc::Receiver<Waiting>) {
    let mut batch: Vec<Waiting> = Vec::new();
    while receiver.recv_many(&mut batch, BATCH).await > 0 {
        let (entries, waiting): (Vec<_>, Vec<_>) = batch.drain(..).unzip();
        let results = match store.keep(entries).await {
            Ok(results) => results,
            Err(error) => {
                tracing::error!(%error, "requests could not be recorded");
                Vec::new()
            }
        };
        let mut results = results.into_iter();
        for done in waiting {
            let kept = match results.next() {
                Some(Ok(())) => true,
                Some(Err(error)) => {
                    tracing::error!(%error, "a request could not be recorded");
                    false
                }
                None => false,
            };
            let _ = done.send(kept);
        }
    }
}
