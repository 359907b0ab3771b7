//! The side that listens.

use alloc::vec::Vec;

use engine_types::{ClusterId, NodeId};
use hmac::Mac;

use super::{
    FrameHeader, HandshakeError, Identity, Local, Nonce, Session, Versions, Windows, append,
    client_mac, not_myself, not_zero, read, server_mac, transcript,
};
use crate::bodies::{Challenge, Hello, Proof, Refusal};

/// The listening side of one handshake.
#[derive(Clone, Debug)]
pub struct Server {
    local: Local,
    windows: Windows,
    nonce: Nonce,
    state: State,
}

#[derive(Clone, Debug)]
enum State {
    /// Nothing has come yet.
    Hello,
    /// Challenge is sent.
    Proof { transcript: [u8; 32], peer: Identity, protocol: u16 },
    /// Established or failed.
    Ended,
}

impl Server {
    /// Waits for a client, which will be granted `windows`. `nonce` must be fresh random bytes.
    ///
    /// # Panics
    /// If no client could work with the windows: they are our own.
    pub fn new(local: &Local, windows: Windows, nonce: Nonce) -> Self {
        if let Err(error) = windows.check() {
            panic!("a server offers windows that its clients refuse: {error}");
        }
        Self { local: local.clone(), windows, nonce, state: State::Hello }
    }

    /// Takes the client's next frame; appends the answer to `out`, which is sent in any case.
    ///
    /// # Errors
    /// Why there will be no session. The connection is closed once `out` is sent.
    pub fn receive(
        &mut self,
        header: &FrameHeader,
        body: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<Option<Session>, HandshakeError> {
        // Failed unless a step says otherwise: an error can never be followed by success.
        let result = match core::mem::replace(&mut self.state, State::Ended) {
            State::Hello => self.greeted(header, body, out).map(|state| {
                self.state = state;
                None
            }),
            State::Proof { transcript, peer, protocol } => self
                .proven(header, body, &transcript, peer, out)
                .map(|()| Some(Session { protocol, peer, windows: self.windows })),
            State::Ended => return Err(HandshakeError::AfterEnd { found: header.kind }),
        };
        if let Err(error) = &result {
            append(&self.refusal(error), out);
        }
        result
    }

    fn greeted(
        &self,
        header: &FrameHeader,
        body: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<State, HandshakeError> {
        let hello: Hello = read(header, body)?;
        let (found, expected) = (ClusterId::new(hello.cluster), self.local.cluster);
        if found != expected {
            return Err(HandshakeError::WrongCluster { found, expected });
        }
        let found = Versions { min: hello.protocol_min, max: hello.protocol_max };
        let expected = self.local.versions;
        let protocol =
            expected.common(found).ok_or(HandshakeError::Versions { found, expected })?;
        not_zero("reserved bytes of a hello", u64::from(hello.reserved != [0; 8]))?;
        let peer = Identity::from_body(&hello.identity)?;
        not_myself(&self.local, peer, self.nonce, hello.nonce)?;
        let mine = self.local.identity.node;
        if hello.peer_node != Hello::ANY_NODE && hello.peer_node != mine.get() {
            let expected = NodeId::new(hello.peer_node);
            return Err(HandshakeError::WrongNode { found: mine, expected });
        }
        let challenge = Challenge {
            cluster: self.local.cluster.get(),
            identity: self.local.identity.to_body(),
            nonce: self.nonce,
            protocol,
            reserved: [0; 14],
        };
        let start = append(&challenge, out);
        let transcript = transcript(body, &out[start..]);
        Ok(State::Proof { transcript, peer, protocol })
    }

    fn proven(
        &self,
        header: &FrameHeader,
        body: &[u8],
        transcript: &[u8; 32],
        peer: Identity,
        out: &mut Vec<u8>,
    ) -> Result<(), HandshakeError> {
        let proof: Proof = read(header, body)?;
        client_mac(&self.local.secret, transcript)
            .verify_slice(&proof.mac)
            .map_err(|_| HandshakeError::BadProof { peer })?;
        let mac = server_mac(&self.local.secret, transcript, self.windows);
        append(&self.windows.to_body(mac.finalize().into_bytes().into()), out);
        Ok(())
    }

    fn refusal(&self, error: &HandshakeError) -> Refusal {
        Refusal {
            cluster: self.local.cluster.get(),
            status: error.status().code(),
            protocol_min: self.local.versions.min,
            protocol_max: self.local.versions.max,
            reserved: [0; 2],
            node: self.local.identity.node.get(),
            reserved_end: 0,
        }
    }
}
