//! The order of members in each chain: every disk is head, tail and anything between equally often.
//!
//! Heads take the writes of clients and tails commit them, so a disk that is head twice as often
//! as another has more to do. Chains and disks form a bipartite graph whose edges are members.
//! Split each disk into parts of as many edges as there are replicas: no vertex has more, so the
//! edges can be coloured with that many colours such that none meets twice (Koenig, 1916). The
//! colour is the position. A full part has every colour once, hence E306.
//!
//! Positions that members already have are kept where possible: in an extended table few chains
//! change their order.

use alloc::vec;
use alloc::vec::Vec;

use crate::search::Grid;
use crate::shape::narrow;

/// No edge has this colour here.
const NONE: u32 = u32::MAX;

struct Colouring {
    replicas: usize,
    /// Part of a disk that each edge ends in.
    part: Vec<u32>,
    colour: Vec<Option<u32>>,
    /// Edge of each (chain, colour) and (part, colour).
    at_chain: Vec<u32>,
    at_part: Vec<u32>,
}

/// For each chain, `replicas` in a row: which of its members is at each position.
pub(crate) fn positions(grid: &Grid, disks: usize) -> Vec<u32> {
    let mut colouring = Colouring::new(grid, disks);
    for edge in 0..grid.members.len() {
        if colouring.colour[edge].is_none() {
            colouring.add(edge);
        }
    }
    let first = |at: usize| narrow(at - at % grid.replicas);
    let member = |(at, &edge): (usize, &u32)| {
        assert_ne!(edge, NONE, "E306: every position of a chain is taken");
        edge - first(at)
    };
    colouring.at_chain.iter().enumerate().map(member).collect()
}

impl Colouring {
    /// Every edge has its part, and a colour if it can keep its position.
    fn new(grid: &Grid, disks: usize) -> Self {
        let replicas = grid.replicas;
        let mut edges = vec![Vec::new(); disks];
        for (edge, &disk) in grid.members.iter().enumerate() {
            edges[disk as usize].push(edge);
        }
        let mut this = Self {
            replicas,
            part: vec![NONE; grid.members.len()],
            colour: vec![None; grid.members.len()],
            at_chain: vec![NONE; grid.members.len()],
            at_part: Vec::new(),
        };
        for edges in &edges {
            this.split(edges);
        }
        this
    }

    /// Distributes the edges of one disk over its parts: whole ones, and the rest in the last.
    fn split(&mut self, edges: &[usize]) {
        let replicas = self.replicas;
        let first = self.at_part.len() / replicas;
        let whole = edges.len() / replicas;
        self.at_part.resize((first + edges.len().div_ceil(replicas)) * replicas, NONE);
        let mut taken = vec![0; replicas];
        let mut degree = vec![0; whole + 1];
        let mut others = Vec::new();
        for &edge in edges {
            let position = edge % replicas;
            if taken[position] < whole {
                let part = taken[position];
                taken[position] += 1;
                degree[part] += 1;
                self.set(edge, first + part, position);
            } else {
                others.push(edge);
            }
        }
        let mut rest = Vec::new();
        for &edge in &others {
            let position = edge % replicas;
            let is_free = || self.at_part[(first + whole) * replicas + position] == NONE;
            if degree[whole] < edges.len() % replicas && is_free() {
                degree[whole] += 1;
                self.set(edge, first + whole, position);
            } else {
                rest.push(edge);
            }
        }
        let mut part = 0;
        for edge in rest {
            while part < whole && degree[part] == replicas {
                part += 1;
            }
            degree[part] += 1;
            self.part[edge] = narrow(first + part);
        }
    }

    fn set(&mut self, edge: usize, part: usize, colour: usize) {
        self.part[edge] = narrow(part);
        self.colour[edge] = Some(narrow(colour));
        self.at_part[part * self.replicas + colour] = narrow(edge);
        self.at_chain[edge - edge % self.replicas + colour] = narrow(edge);
    }

    /// Colours one more edge.
    fn add(&mut self, edge: usize) {
        let row = edge - edge % self.replicas;
        let part = self.part[edge] as usize;
        let of_chain = &self.at_chain[row..row + self.replicas];
        let of_part = &self.at_part[part * self.replicas..][..self.replicas];
        let colours = 0..self.replicas;
        let both = colours.clone().find(|&c| of_chain[c] == NONE && of_part[c] == NONE);
        if let Some(colour) = both {
            return self.set(edge, part, colour);
        }
        let free = "fewer edges than colours are coloured here";
        let a = colours.clone().find(|&c| of_chain[c] == NONE).expect(free);
        let b = colours.clone().find(|&c| of_part[c] == NONE).expect(free);
        self.flip(part, a, b);
        self.set(edge, part, a);
    }

    /// Exchanges colours `a` and `b` along the path that leaves `part` with `a`. It never comes to
    /// a chain where `a` is free, as it enters chains with `a`.
    fn flip(&mut self, part: usize, a: usize, b: usize) {
        let mut path = Vec::new();
        let mut part = part;
        loop {
            let edge = self.at_part[part * self.replicas + a];
            if edge == NONE {
                break;
            }
            path.push((edge as usize, b));
            let row = edge as usize - edge as usize % self.replicas;
            let edge = self.at_chain[row + b];
            if edge == NONE {
                break;
            }
            path.push((edge as usize, a));
            part = self.part[edge as usize] as usize;
        }
        for &(edge, colour) in &path {
            let old = a + b - colour;
            self.at_part[self.part[edge] as usize * self.replicas + old] = NONE;
            self.at_chain[edge - edge % self.replicas + old] = NONE;
        }
        for &(edge, colour) in &path {
            self.set(edge, self.part[edge] as usize, colour);
        }
    }
}

#[cfg(test)]
mod tests;
