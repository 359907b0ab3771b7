//! The handshake of a connection, before its tasks start.
//!
//! Nothing of an unauthenticated peer is believed or kept (W12): bodies of a few hundred bytes, no
//! payload, and a time limit that closes the transport, which ends a pending read (V2).

use std::rc::Rc;

use engine_runtime::{Env, Writer, until};
use engine_wire::handshake::{self, HandshakeError, Session, Windows};
use engine_wire::{Decoder, FrameHeader, Limits};

use crate::config::NetConfig;
use crate::link::{EndReason, Link};
use crate::receive::Incoming;

/// An authenticated connection whose tasks have not started.
pub(crate) struct Established<E: Env> {
    pub(crate) incoming: Incoming<E>,
    pub(crate) writer: E::Writer,
    pub(crate) session: Session,
}

/// Either side's state machine.
enum Side {
    Client(handshake::Client),
    Server(handshake::Server),
}

impl Side {
    fn receive(
        &mut self,
        header: &FrameHeader,
        body: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<Option<Session>, HandshakeError> {
        match self {
            Self::Client(client) => client.receive(header, body, out),
            Self::Server(server) => server.receive(header, body, out),
        }
    }
}

/// Proves this side to the server, and the server to this side.
pub(crate) async fn as_client<E: Env>(
    link: &Rc<Link<E>>,
    config: &NetConfig,
    reader: E::Reader,
    writer: E::Writer,
) -> Result<Established<E>, EndReason> {
    let mut hello = Vec::new();
    let mut nonce = [0; 32];
    link.env.random_secret(&mut nonce);
    let client = handshake::Client::start(&config.local, None, nonce, &mut hello);
    limited(link, config, run(link.clone(), reader, writer, Side::Client(client), hello)).await
}

/// Lets a client prove itself, and proves this side to it; it is granted `windows`.
pub(crate) async fn as_server<E: Env>(
    link: &Rc<Link<E>>,
    config: &NetConfig,
    windows: Windows,
    reader: E::Reader,
    writer: E::Writer,
) -> Result<Established<E>, EndReason> {
    let mut nonce = [0; 32];
    link.env.random_secret(&mut nonce);
    let server = handshake::Server::new(&config.local, windows, nonce);
    limited(link, config, run(link.clone(), reader, writer, Side::Server(server), Vec::new())).await
}

/// Runs a handshake in a task of its own against the clock. When time is up the transport is
/// closed, which ends the task's pending operation (V2).
async fn limited<E: Env, T: 'static>(
    link: &Rc<Link<E>>,
    config: &NetConfig,
    handshake: impl Future<Output = Result<T, EndReason>> + 'static,
) -> Result<T, EndReason> {
    let limit = config.limits.handshake_time;
    let give_up_at = link.env.now() + limit;
    match until(&link.env, give_up_at, link.env.spawn(handshake)).await {
        Ok(result) => result,
        Err(_) => {
            link.close();
            Err(EndReason::HandshakeTimeout { limit })
        }
    }
}

/// Sends `out`, then takes and answers frames until there is a session.
async fn run<E: Env>(
    link: Rc<Link<E>>,
    reader: E::Reader,
    mut writer: E::Writer,
    mut side: Side,
    mut out: Vec<u8>,
) -> Result<Established<E>, EndReason> {
    let decoder = Decoder::new(Limits::HANDSHAKE);
    let mut incoming = Incoming::new(&link, reader, decoder).await?;
    send(&link, &mut writer, &mut out).await?;
    loop {
        let (header, body) = incoming.small_frame(&link).await?;
        let answer = side.receive(&header, &body, &mut out);
        // A refusal is sent as well; whether it arrives changes nothing.
        let sent = send(&link, &mut writer, &mut out).await;
        if let Some(session) = answer? {
            sent?;
            incoming.authenticated(session.protocol);
            return Ok(Established { incoming, writer, session });
        }
        sent?;
    }
}

async fn send<E: Env>(
    link: &Link<E>,
    writer: &mut E::Writer,
    out: &mut Vec<u8>,
) -> Result<(), EndReason> {
    if out.is_empty() {
        return Ok(());
    }
    let mut buf = link.memory(out.len()).await?;
    buf.extend_from_slice(out);
    out.clear();
    writer.write_all(&[buf.freeze()]).await.map_err(EndReason::Io)
}
