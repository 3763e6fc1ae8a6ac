//! Datagrams.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use dns::Transport;
use tokio::net::UdpSocket;
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::answerer::{Answerer, Client, Scratch, Step};
use super::stopped;

/// The largest datagram that is read.
const DATAGRAM_OCTETS_MAX: usize = 65_535;
/// Questions answered before the task looks at anything else.
const BATCH: usize = 64;

/// Answers the questions of one socket until `stop`. Several tasks may share the
/// socket: the kernel gives each datagram to one of them.
pub(super) async fn serve(
    socket: Arc<UdpSocket>,
    answerer: Arc<Answerer>,
    mut stop: watch::Receiver<bool>,
) {
    let mut waiting = JoinSet::new();
    let mut octets = vec![0; DATAGRAM_OCTETS_MAX];
    let mut scratch = Scratch::new();
    loop {
        tokio::select! {
            () = stopped(&mut stop) => break,
            Some(_) = waiting.join_next(), if !waiting.is_empty() => continue,
            // It fails only together with the runtime.
            ready = socket.readable() => if ready.is_err() { break },
        }
        for _ in 0..BATCH {
            match socket.try_recv_from(&mut octets) {
                Ok((length, client)) => {
                    let client = Client { address: client, transport: Transport::Udp };
                    let message = &octets[..length];
                    match answerer.answer_now(message, client, &mut scratch) {
                        Step::Reply => send(&socket, scratch.reply(), client.address).await,
                        Step::Nothing => {}
                        Step::Later => wait(&socket, &answerer, message, client, &mut waiting),
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                // The fate of an earlier reply (port unreachable), reported late.
                Err(_) => {}
            }
        }
    }
    waiting.shutdown().await;
}

/// Answers a question that has to wait in a task of its own. The places are
/// limited by the answerer: one question more is answered with SERVFAIL there.
fn wait(
    socket: &Arc<UdpSocket>,
    answerer: &Arc<Answerer>,
    message: &[u8],
    client: Client,
    waiting: &mut JoinSet<()>,
) {
    let (socket, answerer) = (Arc::clone(socket), Arc::clone(answerer));
    let place = answerer.try_place();
    let Some(place) = place else {
        let mut scratch = Scratch::new();
        if answerer.answer_overloaded(message, client, &mut scratch) == Step::Reply {
            // No room to send is no worse than a lost datagram.
            let _ = socket.try_send_to(scratch.reply(), client.address);
        }
        return;
    };
    let message = message.to_vec();
    waiting.spawn(async move {
        let _place = place;
        if let Some(reply) = answerer.answer(&message, client).await {
            send(&socket, &reply, client.address).await;
        }
    });
}

/// Sends a reply. Who does not get it asks again: errors are nobody's business.
async fn send(socket: &UdpSocket, reply: &[u8], client: SocketAddr) {
    if let Err(error) = socket.try_send_to(reply, client)
        && error.kind() == io::ErrorKind::WouldBlock
    {
        let _ = socket.send_to(reply, client).await;
    }
}
