//! The cluster file: `id` and `secret`, for the eyes of its owner.

use core::fmt::Write as _;
use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;
use std::rc::Rc;

use anyhow::{Context as _, anyhow};
use engine_net::{NetConfig, NetLimits};
use engine_runtime::Env;
use engine_types::{ClusterId, Incarnation, NodeId, NodeRole, ParseIdError, StoreId};
use engine_wire::handshake::{ClusterSecret, Identity, Local, SecretError, Versions};

use crate::config::read_text;
use crate::config::reader::{ConfigError, Reader, Value};
use crate::exit::Failure;

#[cfg(test)]
mod tests;

const KEYS: &[&str] = &["id", "secret"];
/// Its owner reads and writes, nobody else does anything.
const MODE: u32 = 0o600;
/// The bits that let others read, write or run it.
const OTHERS: u32 = 0o077;

/// A cluster's id and secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ClusterFile {
    pub(crate) id: ClusterId,
    pub(crate) secret: ClusterSecret,
}

impl Value for ClusterId {
    const EXPECTED: &'static str = "a UUID in quotes";

    fn from_text(text: &str) -> Result<Self, String> {
        text.parse().map_err(|error: ParseIdError| error.to_string())
    }
}

impl Value for ClusterSecret {
    const EXPECTED: &'static str = "64 hexadecimal digits in quotes";
    const SECRET: bool = true;

    fn from_text(text: &str) -> Result<Self, String> {
        text.parse().map_err(|error: SecretError| error.to_string())
    }
}

impl ClusterFile {
    /// Reads a file that nobody else can read.
    pub(crate) fn read(path: &Path) -> Result<Self, Failure> {
        let shown = path.display();
        let data = fs::metadata(path).with_context(|| format!("cannot read cluster file {shown}"));
        let data = data.map_err(|error| {
            let missing = error
                .downcast_ref()
                .is_some_and(|error: &std::io::Error| error.kind() == ErrorKind::NotFound);
            let failure = Failure::environment(error);
            match missing {
                true => failure.hint(format!("make one: emberfs cluster create {shown}")),
                false => failure,
            }
        })?;
        let mode = data.permissions().mode() & 0o777;
        if data.is_file() && mode & OTHERS != 0 {
            let why = anyhow!(
                "others can use {shown}, which holds the secret: its mode is {mode:04o}, \
                 expected {MODE:04o}"
            );
            return Err(Failure::usage(why).hint(format!("chmod 600 {shown}")));
        }
        Self::parse(path, &read_text(path)?).map_err(Failure::usage)
    }

    /// How a member of the cluster, `identity`, talks to others.
    pub(crate) fn net(&self, identity: Identity) -> Rc<NetConfig> {
        let (cluster, secret) = (self.id, self.secret.clone());
        let local = Local { cluster, identity, secret, versions: Versions::BUILD };
        Rc::new(NetConfig { local, limits: NetLimits::default() })
    }

    /// How the operator's command line talks to the cluster.
    pub(crate) fn operator<E: Env>(&self, env: &E) -> Rc<NetConfig> {
        let (role, node) = (NodeRole::Operator, NodeId::default());
        let incarnation = Incarnation::new(1);
        self.net(Identity { role, node, process: random_process(env), incarnation })
    }

    /// Whether `text`, the content of `path`, is a cluster file.
    pub(crate) fn is_one(path: &Path, text: &str) -> bool {
        Self::parse(path, text).is_ok()
    }

    /// Reads `text`, the content of `path`.
    fn parse(path: &Path, text: &str) -> Result<Self, ConfigError> {
        let reader = Reader::new(path, text)?;
        let root = reader.root(KEYS);
        let (id, secret) = (root.need("id"), root.need("secret"));
        let both = reader.finish(id.zip(secret))?;
        let (id, secret) = both.expect("what is missing was complained about");
        Ok(Self { id, secret })
    }
}

/// Names a process that has no store.
pub(crate) fn random_process<E: Env>(env: &E) -> StoreId {
    let mut process = [0; 16];
    env.random_secret(&mut process);
    StoreId::new(u128::from_le_bytes(process))
}

/// Makes a file of a new cluster, durable before this returns; nothing is overwritten.
pub(super) fn create(path: &Path, id: ClusterId, secret: &[u8; 32]) -> Result<(), Failure> {
    let shown = path.display();
    let mut options = OpenOptions::new();
    let file = options.write(true).create_new(true).mode(MODE).open(path);
    let mut file = file.map_err(|error| {
        if error.kind() == ErrorKind::AlreadyExists {
            let why = anyhow!("{shown} is there already and is not overwritten");
            let hint = "a lost secret locks every process out; choose another name, or show it \
                        with `emberfs cluster show`";
            return Failure::usage(why).hint(hint);
        }
        let error = anyhow::Error::new(error).context(format!("cannot create {shown}"));
        Failure::environment(error)
    })?;
    let written = file.write_all(text(id, secret).as_bytes()).and_then(|()| file.sync_all());
    let written = written.and_then(|()| sync_directory(path));
    written.map_err(|error| {
        // Half a file would only be in the way; the failure says more than this one could.
        let _ = fs::remove_file(path);
        Failure::environment(anyhow::Error::new(error).context(format!("cannot write {shown}")))
    })
}

/// Makes the name `path` durable.
pub(crate) fn sync_directory(path: &Path) -> std::io::Result<()> {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    File::open(parent.unwrap_or(Path::new(".")))?.sync_all()
}

fn text(id: ClusterId, secret: &[u8; 32]) -> String {
    let mut digits = String::new();
    for byte in secret {
        write!(digits, "{byte:02x}").expect("a String takes everything");
    }
    format!(
        "# Makes a process a member of this EmberFS cluster. Whoever can read it has all rights\n\
         # in the cluster: keep its mode 0600, and copy it only to the cluster's machines.\n\
         id = \"{id}\"\n\
         secret = \"{digits}\"\n"
    )
}
