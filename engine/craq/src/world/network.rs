//! Links between nodes: in order or cut, with everything that is on its way.

use super::node::In;
use super::*;

type Packet = (In, Option<Content>);

/// What is on its way, by sender and receiver; and the generation of each link that stands.
pub(super) struct Links {
    queues: BTreeMap<(usize, usize), VecDeque<Packet>>,
    standing: BTreeMap<(usize, usize), u64>,
    generations: u64,
}

fn pair(a: usize, b: usize) -> (usize, usize) {
    (a.min(b), a.max(b))
}

impl Links {
    pub(super) const fn new() -> Self {
        Self { queues: BTreeMap::new(), standing: BTreeMap::new(), generations: 0 }
    }

    pub(super) fn generation(&self, a: usize, b: usize) -> Option<u64> {
        self.standing.get(&pair(a, b)).copied()
    }

    pub(super) fn push(&mut self, from: usize, to: usize, packet: Packet) {
        self.queues.entry((from, to)).or_default().push_back(packet);
    }

    pub(super) fn is_quiet(&self) -> bool {
        self.queues.values().all(VecDeque::is_empty)
    }
}

impl World {
    /// One packet arrives at the sockets of its receiver.
    pub(super) fn carry_one(&mut self) {
        let filled = self.links.queues.iter().filter(|(_, queue)| !queue.is_empty());
        let filled: Vec<_> = filled.map(|(ends, _)| *ends).collect();
        let Some(&(from, to)) = self.rng.pick(&filled) else { return };
        let link = self.links.generation(from, to).expect("what is cut is empty");
        let queue = self.links.queues.get_mut(&(from, to)).unwrap();
        let (packet, content) = queue.pop_front().unwrap();
        if let (In::Message { payload: Some(payload), .. }, Some(content)) = (&packet, content) {
            self.begin_stream(to, *payload, content, Some((link, from)));
        }
        self.nodes[to].inbox.push_back(packet);
    }

    pub(super) fn connect_one(&mut self) {
        let (a, b) = (self.any_node(), self.any_node());
        if a == b || self.links.generation(a, b).is_some() {
            return;
        }
        if self.nodes[a].replica.is_none() || self.nodes[b].replica.is_none() {
            return;
        }
        self.links.generations += 1;
        self.links.standing.insert(pair(a, b), self.links.generations);
        for (own, other) in [(a, b), (b, a)] {
            let peer = self.nodes[other].peer();
            self.nodes[own].inbox.push_back(In::Event(Event::LinkUp { peer }));
        }
    }

    pub(super) fn cut_one(&mut self) {
        let (a, b) = (self.any_node(), self.any_node());
        self.cut(a, b);
    }

    pub(super) fn cut(&mut self, a: usize, b: usize) {
        let Some(generation) = self.links.standing.remove(&pair(a, b)) else { return };
        for (own, other) in [(a, b), (b, a)] {
            self.links.queues.remove(&(own, other));
            let peer = self.nodes[other].peer();
            let node = &mut self.nodes[own];
            if node.replica.is_none() {
                continue;
            }
            let over = |stream: &&Payload| node.streams[*stream].link == Some((generation, other));
            let streams: Vec<Payload> = node.streams.keys().filter(over).copied().collect();
            for payload in streams {
                node.inbox.push_back(In::End { payload, complete: false });
            }
            node.inbox.push_back(In::Event(Event::LinkDown { peer }));
        }
    }
}
