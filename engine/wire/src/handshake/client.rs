//! The side that connects.

use alloc::vec::Vec;

use engine_types::{ClusterId, NodeId, Status};
use hmac::Mac;

use super::{
    FrameHeader, HandshakeError, Identity, Kind, Local, Nonce, Session, Versions, Windows, append,
    client_mac, not_myself, not_zero, read, server_mac, transcript,
};
use crate::bodies::{Challenge, Hello, Proof, Refusal, Welcome};

/// The connecting side of one handshake.
#[derive(Clone, Debug)]
pub struct Client {
    local: Local,
    /// The node meant, if a certain one is.
    expected: Option<NodeId>,
    nonce: Nonce,
    state: State,
}

#[derive(Clone, Debug)]
enum State {
    /// Hello is sent.
    Challenge { hello: Vec<u8> },
    /// Proof is sent.
    Welcome { transcript: [u8; 32], peer: Identity, protocol: u16 },
    /// Established or failed.
    Ended,
}

impl Client {
    /// Begins a handshake: appends the first frame to `out`. `nonce` must be fresh random bytes.
    pub fn start(local: &Local, expected: Option<NodeId>, nonce: Nonce, out: &mut Vec<u8>) -> Self {
        let hello = Hello {
            cluster: local.cluster.get(),
            identity: local.identity.to_body(),
            nonce,
            peer_node: expected.map_or(Hello::ANY_NODE, NodeId::get),
            protocol_min: local.versions.min,
            protocol_max: local.versions.max,
            reserved: [0; 8],
        };
        let start = append(&hello, out);
        let state = State::Challenge { hello: out[start..].to_vec() };
        Self { local: local.clone(), expected, nonce, state }
    }

    /// Takes the server's next frame; appends the answer, if there is one, to `out`.
    ///
    /// # Errors
    /// Why there will be no session. The connection is closed.
    pub fn receive(
        &mut self,
        header: &FrameHeader,
        body: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<Option<Session>, HandshakeError> {
        // Failed unless a step says otherwise: an error can never be followed by success.
        let state = core::mem::replace(&mut self.state, State::Ended);
        if header.kind == Kind::REFUSAL && !matches!(state, State::Ended) {
            return Err(self.refused(&read(header, body)?));
        }
        match state {
            State::Challenge { hello } => {
                self.state = self.challenged(&hello, &read(header, body)?, body, out)?;
                Ok(None)
            }
            State::Welcome { transcript, peer, protocol } => {
                let welcome: Welcome = read(header, body)?;
                let windows = Windows::from_body(&welcome);
                server_mac(&self.local.secret, &transcript, windows)
                    .verify_slice(&welcome.mac)
                    .map_err(|_| HandshakeError::BadProof { peer })?;
                windows.check()?;
                Ok(Some(Session { protocol, peer, windows }))
            }
            State::Ended => Err(HandshakeError::AfterEnd { found: header.kind }),
        }
    }

    fn challenged(
        &self,
        hello: &[u8],
        challenge: &Challenge,
        body: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<State, HandshakeError> {
        let (found, expected) = (ClusterId::new(challenge.cluster), self.local.cluster);
        if found != expected {
            return Err(HandshakeError::WrongCluster { found, expected });
        }
        not_zero("reserved bytes of a challenge", u64::from(challenge.reserved != [0; 14]))?;
        let peer = Identity::from_body(&challenge.identity)?;
        not_myself(&self.local, peer, self.nonce, challenge.nonce)?;
        if let Some(expected) = self.expected
            && peer.node != expected
        {
            return Err(HandshakeError::WrongNode { found: peer.node, expected });
        }
        let protocol = challenge.protocol;
        let chosen = Versions { min: protocol, max: protocol };
        if self.local.versions.common(chosen).is_none() {
            let expected = self.local.versions;
            return Err(HandshakeError::Versions { found: chosen, expected });
        }
        let transcript = transcript(hello, body);
        let mac = client_mac(&self.local.secret, &transcript).finalize().into_bytes().into();
        append(&Proof { mac }, out);
        Ok(State::Welcome { transcript, peer, protocol })
    }

    /// The error that says what the server said. It is not authenticated: a hint, nothing more.
    fn refused(&self, refusal: &Refusal) -> HandshakeError {
        let status = Status::from_code(refusal.status);
        let cluster = ClusterId::new(refusal.cluster);
        let versions = Versions { min: refusal.protocol_min, max: refusal.protocol_max };
        match (status, self.expected) {
            (Status::WrongCluster, _) => {
                HandshakeError::WrongCluster { found: cluster, expected: self.local.cluster }
            }
            (Status::UnsupportedVersion, _) => {
                HandshakeError::Versions { found: versions, expected: self.local.versions }
            }
            (Status::WrongNode, Some(expected)) => {
                HandshakeError::WrongNode { found: NodeId::new(refusal.node), expected }
            }
            _ => HandshakeError::Refused { status },
        }
    }
}
