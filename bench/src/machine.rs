//! Where a measurement was taken. What the system does not tell is absent, never guessed.

use core::fmt;
use std::fs;
use std::process::Command;

use serde::Serialize;

/// The machine and the commit.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Machine {
    /// Model name of the first CPU.
    pub(crate) cpu_model: Option<String>,
    /// CPUs that this process may use.
    pub(crate) cores: Option<usize>,
    /// Release of the kernel.
    pub(crate) kernel: Option<String>,
    /// Commit of the working directory; `-dirty` when it has changes.
    pub(crate) commit: Option<String>,
    /// Whether the build is optimised and free of debug assertions.
    pub(crate) release_build: bool,
}

impl Machine {
    /// Asks the system.
    pub(crate) fn read() -> Self {
        Self {
            cpu_model: fs::read_to_string("/proc/cpuinfo").ok().and_then(|text| cpu_model(&text)),
            cores: std::thread::available_parallelism().ok().map(Into::into),
            kernel: fs::read_to_string("/proc/sys/kernel/osrelease")
                .ok()
                .map(|text| text.trim().to_owned()),
            commit: commit(),
            release_build: !cfg!(debug_assertions),
        }
    }
}

impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let or_unknown = |text: &Option<String>| text.clone().unwrap_or("unknown".to_owned());
        write!(f, "{}", or_unknown(&self.cpu_model))?;
        if let Some(cores) = self.cores {
            write!(f, ", {cores} CPUs")?;
        }
        write!(f, ", Linux {}, commit {}", or_unknown(&self.kernel), or_unknown(&self.commit))
    }
}

fn cpu_model(cpuinfo: &str) -> Option<String> {
    let line = cpuinfo.lines().find(|line| line.starts_with("model name"))?;
    let (_, model) = line.split_once(':')?;
    Some(model.trim().to_owned())
}

/// Without git, or outside a checkout, there is no commit to tell.
fn commit() -> Option<String> {
    let output = Command::new("git")
        .args(["describe", "--always", "--dirty", "--abbrev=12"])
        .output()
        .ok()
        .filter(|output| output.status.success())?;
    let text = String::from_utf8(output.stdout).ok()?;
    Some(text.trim().to_owned()).filter(|text| !text.is_empty())
}
