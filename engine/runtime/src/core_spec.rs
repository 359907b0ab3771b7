//! What a core is given, and how it ends.

/// Resources of one executor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CoreSpec {
    /// Names the thread; at most 15 bytes are shown by the system.
    pub name: String,
    /// The CPU to pin to; `None` leaves the thread to the scheduler.
    pub cpu: Option<usize>,
    /// Limit of the buffer pool, bytes.
    pub pool_bytes: usize,
    /// Most blocking calls that run at once; further ones wait in line.
    pub blocking_max: usize,
    /// Entries of the submission ring; a power of two.
    pub ring_entries: u32,
    /// Seed of [`Env::random`](crate::Env::random); `None` takes one from the system.
    pub seed: Option<u64>,
}

impl CoreSpec {
    /// Buffers of a core by default: enough for 32 bulk payloads of 4 MiB in flight, and a laptop
    /// that runs a dozen cores of all roles stays below 2 GiB.
    pub const POOL_BYTES: usize = 128 << 20;
    /// Blocking calls are administrative (discard, open, key-value commits): a handful is enough.
    pub const BLOCKING_MAX: usize = 8;
    /// Twice the requests in flight that one device needs to be busy.
    pub const RING_ENTRIES: u32 = 256;

    /// The defaults under a name.
    pub fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            cpu: None,
            pool_bytes: Self::POOL_BYTES,
            blocking_max: Self::BLOCKING_MAX,
            ring_entries: Self::RING_ENTRIES,
            seed: None,
        }
    }

    /// The same, pinned to `cpu`.
    pub fn on_cpu(mut self, cpu: usize) -> Self {
        self.cpu = Some(cpu);
        self
    }
}

/// How the executor of a core ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CoreEnd {
    /// Its main function returned and its I/O has completed.
    Finished,
    /// A task panicked; the text of the panic.
    Panicked(String),
}
