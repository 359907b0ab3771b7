//! Operations on names: create, remove, rename, look up, walk, list.

use alloc::vec;
use alloc::vec::Vec;

use engine_types::InodeId;
use meta_protocol::{OpenMode, Operation as O, op};
use meta_schema::Mode;

use super::Scene;
use crate::step::COOKIE_ON;
use crate::world::NodeId;

/// Names that operations share.
const NAMES: [&[u8]; 5] = [b"a", b"b", b"c", b"d", b"e"];
/// Modes, with what has rules of its own.
const MODES: [u32; 12] =
    [0o644, 0o755, 0o777, 0o700, 0o600, 0o070, 0o007, 0o1777, 0o2775, 0o4755, 0o6711, 0o000];
/// Paths of links, of which some lead in circles.
const TARGETS: [&[u8]; 9] =
    [b"a", b"b", b"../c", b"/a/b", b"./d/", b"e", b"/", b"a/../b", b"missing/x"];

impl Scene {
    /// A name that is in `dir`, or may be.
    pub(super) fn name(&mut self, dir: InodeId, there: u32) -> Vec<u8> {
        if self.rng.chance(25) {
            let odd: [Vec<u8>; 7] = [
                vec![],
                b".".to_vec(),
                b"..".to_vec(),
                b"a/b".to_vec(),
                vec![b'x'; 256],
                vec![b'x'; 255],
                vec![0xff, b'\n', 0x80],
            ];
            return self.one(&odd);
        }
        let id = self.world.inos.get(&dir.get()).copied();
        if let Some(id) = id.filter(|id| self.world.nodes.contains_key(id))
            && let Some(entries) = self.world.entries(id)
        {
            let names: Vec<Vec<u8>> = entries.keys().cloned().collect();
            if self.rng.chance(there)
                && let Some(name) = self.rng.pick(&names)
            {
                return name.clone();
            }
        }
        self.one(&NAMES).to_vec()
    }

    pub(super) fn mode(&mut self) -> Mode {
        Mode::new(self.one(&MODES))
    }

    fn umask(&mut self) -> Mode {
        Mode::new(self.one(&[0, 0o022, 0o077]))
    }

    pub(super) fn name_operation(&mut self) -> O {
        let creates = if self.is_full() { 15 } else { 45 };
        match self.rng.below(100) {
            drawn if drawn < creates => self.creates(),
            drawn if drawn < creates + 20 => self.removes(),
            drawn if drawn < creates + 35 => self.renames(),
            _ => self.looks(),
        }
    }

    fn creates(&mut self) -> O {
        let parent = self.dir();
        let name = self.name(parent, 200);
        let (mode, umask) = (self.mode(), self.umask());
        match self.rng.below(14) {
            0..4 => {
                let write = self.rng.chance(400);
                let read = self.rng.chance(700);
                let truncate = write && self.rng.chance(300);
                let open = OpenMode { read, write, truncate, append: false };
                let open = self.rng.chance(700).then_some(open);
                let exclusive = self.rng.chance(300);
                op::Create { parent, name, mode, umask, exclusive, open, layout: None }.into()
            }
            4..8 => op::Mkdir { parent, name, mode, umask, layout: None }.into(),
            8..10 => op::Symlink { parent, name, target: self.target() }.into(),
            10..12 => op::Link { ino: self.live(), parent, name }.into(),
            _ => {
                let kinds = [0, 0o100_000, 0o010_000, 0o140_000, 0o020_000, 0o060_000, 0o040_000];
                let mode = mode.bits() as u32 | self.one(&kinds);
                op::Mknod { parent, name, mode, umask, rdev: 0x0103 }.into()
            }
        }
    }

    /// Anything that is there.
    fn live(&mut self) -> InodeId {
        let id = self.node(|_, _| true);
        self.number(id)
    }

    /// A directory that is there, seldom something else.
    fn live_dir(&mut self) -> InodeId {
        if self.rng.chance(30) {
            return self.live();
        }
        let id = self.node(|world, id| world.node(id).is_directory());
        self.number(id)
    }

    fn target(&mut self) -> Vec<u8> {
        match self.rng.below(40) {
            0 => Vec::new(),
            1 => vec![b'x'; 4095],
            2 => vec![b'x'; 4096],
            _ => self.one(&TARGETS).to_vec(),
        }
    }

    fn removes(&mut self) -> O {
        let parent = self.dir();
        let name = self.name(parent, 900);
        match self.rng.below(20) {
            0..11 => op::Unlink { parent, name, hold: self.rng.chance(300) }.into(),
            11..19 => op::Rmdir { parent, name }.into(),
            _ => op::RemoveTree { parent, name }.into(),
        }
    }

    fn renames(&mut self) -> O {
        let (from, mut to) = (self.live_dir(), self.live_dir());
        let from_name = self.name(from, 950);
        if self.rng.chance(200) {
            to = from;
        } else if self.rng.chance(150) {
            // Below itself.
            to = self.child(from, &from_name).unwrap_or(to);
        }
        let to_name = self.name(to, 600);
        let (no_replace, exchange) = (self.rng.chance(150), self.rng.chance(200));
        let hold = self.rng.chance(200);
        op::Rename { from, from_name, to, to_name, no_replace, exchange, hold }.into()
    }

    fn child(&self, dir: InodeId, name: &[u8]) -> Option<InodeId> {
        let id: NodeId = *self.world.inos.get(&dir.get())?;
        if !self.world.nodes.contains_key(&id) {
            return None;
        }
        self.world.child(id, name).map(|child| self.number(child))
    }

    fn looks(&mut self) -> O {
        let parent = self.dir();
        match self.rng.below(12) {
            0..2 => op::Lookup { parent, name: self.name(parent, 700) }.into(),
            2..4 => {
                let (path, follow) = (self.path(), self.rng.chance(500));
                op::Walk { start: parent, path, follow }.into()
            }
            4..6 => op::Stat { ino: self.any() }.into(),
            6 => {
                let inos = (0..self.rng.below(5)).map(|_| self.any()).collect();
                op::StatBatch { inos }.into()
            }
            7 => {
                let link = self.node(|world, id| world.node(id).is_symlink());
                let link = self.number(link);
                op::Readlink { ino: if self.rng.chance(700) { link } else { self.any() } }.into()
            }
            _ => {
                let cookie = if self.rng.chance(500) { 0 } else { COOKIE_ON };
                let (limit, plus) = (self.one(&[1, 2, 3, 1000]), self.rng.chance(500));
                op::Readdir { dir: parent, cookie, limit, plus }.into()
            }
        }
    }

    fn path(&mut self) -> Vec<u8> {
        let mut path = Vec::new();
        if self.rng.chance(300) {
            path.push(b'/');
        }
        for _ in 0..self.rng.below(5) {
            let part: &[u8] = match self.rng.below(10) {
                0 => b"..",
                1 => b".",
                2 => b"",
                _ => self.one(&NAMES),
            };
            path.extend(part);
            path.push(b'/');
        }
        if self.rng.chance(700) {
            path.pop();
        }
        path
    }
}

/// Forms of an operation that ask for less.
pub(super) fn simpler(operation: &O) -> Vec<O> {
    let mut forms = Vec::new();
    match operation {
        O::Create(ask) => {
            let plain = op::Create {
                mode: Mode::new(0o644),
                umask: Mode::new(0),
                exclusive: false,
                open: None,
                ..ask.clone()
            };
            forms.push(op::Create { mode: plain.mode, umask: plain.umask, ..ask.clone() }.into());
            forms.push(plain.into());
        }
        O::Mkdir(ask) => {
            let (mode, umask) = (Mode::new(0o755), Mode::new(0));
            forms.push(op::Mkdir { mode, umask, ..ask.clone() }.into());
        }
        O::Rename(ask) => {
            let plain = op::Rename { no_replace: false, exchange: false, ..ask.clone() };
            forms.push(op::Rename { hold: false, ..plain.clone() }.into());
            forms.push(plain.into());
        }
        O::Unlink(ask) => forms.push(op::Unlink { hold: false, ..ask.clone() }.into()),
        O::Readdir(ask) => {
            forms.push(op::Readdir { limit: 1000, plus: false, cookie: 0, ..*ask }.into());
        }
        _ => {}
    }
    forms.retain(|form| form != operation);
    forms
}
