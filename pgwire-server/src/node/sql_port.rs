//! The SQL port: one task for each client.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::connection::{self, Shared};

/// Listens.
pub(super) async fn bind(address: SocketAddr) -> Result<TcpListener> {
    TcpListener::bind(address).await.with_context(|| format!("cannot listen for clients on {address}"))
}

/// Accepts clients until the tasks that they share are ended, their connections among them.
pub(super) fn serve(listener: TcpListener, shared: Arc<Shared>) -> JoinHandle<()> {
    let tasks = shared.tasks.clone();
    tasks.spawn("sql port", async move {
        let mut connections = FuturesUnordered::new();
        let mut open = Some((listener, shared.farewell.welcome()));
        loop {
            let arrival = async {
                match &mut open {
                    Some((listener, guest)) => tokio::select! {
                        biased;
                        () = guest.told() => None,
                        accepted = listener.accept() => Some(accepted),
                    },
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                arrived = arrival => match arrived {
                    Some(Ok((socket, _))) => {
                        let shared = Arc::clone(&shared);
                        let serving = serve_one(socket, Arc::clone(&shared));
                        connections.push(shared.tasks.spawn("connection", serving));
                    }
                    Some(Err(error)) => {
                        // Out of file descriptors, say: those that are open go on, and some will close.
                        tracing::warn!(%error, "a client was not accepted");
                        tokio::time::sleep(Duration::from_millis(50)).await;
                    }
                    // The node stops.
                    None => open = None,
                },
                Some(ended) = connections.next(), if !connections.is_empty() => {
                    if let Err(error) = ended
                        && error.is_panic()
                    {
                        tracing::error!(%error, "a connection ended in a panic");
                    }
                }
            }
        }
    })
}

async fn serve_one(socket: tokio::net::TcpStream, shared: Arc<Shared>) {
    if let Err(error) = socket.set_nodelay(true) {
        tracing::debug!(%error, "a client left at once");
        return;
    }
    let metrics = Arc::clone(&shared.metrics);
    metrics.connection_opened();
    connection::serve(socket, shared).await;
    metrics.connection_closed();
}
