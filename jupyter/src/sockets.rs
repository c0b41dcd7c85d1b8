//! Sockets to clients that come and go.

use std::io::ErrorKind;
use std::time::{Duration, Instant};

use jupyter_protocol::messaging::JupyterMessage;
use jupyter_zmq_client::{RouterRecvConnection, RouterSendConnection, RuntimeError};
use tokio::sync::mpsc;

use crate::error::Result;

/// How long a port that another process still holds is waited for, such as the kernel that this one replaces.
const MOVING_OUT: Duration = Duration::from_secs(10);

/// Sends to the client that asked; false where it is gone, as after a closed tab or a question on a short-lived connection. Nobody else lacks
/// the message then.
pub async fn answer(client: &mut RouterSendConnection, message: JupyterMessage) -> bool {
    let sent = client.send(message).await;
    if let Err(e) = &sent {
        eprintln!("a message to Jupyter was left out: {e}");
    }
    sent.is_ok()
}

/// Opens a socket, and tries again while its port is in use.
pub async fn once_free<T, F>(open: impl Fn() -> F) -> Result<T>
where
    F: Future<Output = std::result::Result<T, RuntimeError>>,
{
    let until = Instant::now() + MOVING_OUT;
    loop {
        match open().await {
            Err(e) if is_in_use(&e) && Instant::now() < until => tokio::time::sleep(Duration::from_millis(100)).await,
            opened => return Ok(opened?),
        }
    }
}

fn is_in_use(error: &RuntimeError) -> bool {
    let mut causes = std::iter::successors(Some(error as &dyn std::error::Error), |e| e.source());
    causes.any(|e| e.downcast_ref::<std::io::Error>().is_some_and(|e| e.kind() == ErrorKind::AddrInUse))
}

/// Passes on what clients send until the kernel ends.
pub fn forward<T: Send + 'static>(mut from: RouterRecvConnection, to: mpsc::UnboundedSender<T>, wrap: fn(JupyterMessage) -> T) {
    tokio::spawn(async move {
        loop {
            match from.read().await {
                Ok(message) => {
                    if to.send(wrap(message)).is_err() {
                        return;
                    }
                }
                // A message that cannot be read, e.g. with a wrong signature, must not end the kernel.
                Err(RuntimeError::ZmqError(e)) => {
                    eprintln!("connection to Jupyter: {e}");
                    return;
                }
                Err(e) => eprintln!("a message of Jupyter's was left out: {e}"),
            }
        }
    });
}
