//! Records of requests on their way to the store: many in one transaction, each waited for by its request.

use std::sync::Arc;
use tokio::sync::{mpsc, oneshot};

use crate::store::{Record, Store};

/// How many records may wait; requests beyond wait in line.
const QUEUE: usize = 1024;
/// How many records go into one transaction.
const BATCH: usize = 256;

type Entry = (Record, oneshot::Sender<()>);

/// Where requests leave their records.
#[derive(Clone)]
pub(crate) struct Recorder(mpsc::Sender<Entry>);

impl Recorder {
    /// Starts the writer; it ends when the last recorder is dropped.
    pub(crate) fn start(store: Arc<dyn Store>) -> Self {
        let (sender, receiver) = mpsc::channel(QUEUE);
        tokio::spawn(write(store, receiver));
        Self(sender)
    }

    /// Records a request, and returns when it is stored.
    pub(crate) async fn record(&self, record: Record) {
        let (done, stored) = oneshot::channel();
        if self.0.send((record, done)).await.is_ok() {
            let _ = stored.await;
        }
    }
}

async fn write(store: Arc<dyn Store>, mut receiver: mpsc::Receiver<Entry>) {
    let mut batch: Vec<Entry> = Vec::new();
    while receiver.recv_many(&mut batch, BATCH).await > 0 {
        let (records, waiting): (Vec<_>, Vec<_>) = batch.drain(..).unzip();
        if let Err(error) = store.record(records).await {
            tracing::error!(%error, "requests could not be recorded");
        }
        for done in waiting {
            let _ = done.send(());
        }
    }
}
