//! Cargo manifests as `tidy` sees them: name, layer and dependencies, each with its line.
//!
//! `cargo metadata` knows neither lines nor whether a version was inherited from the workspace, and
//! it skips packages outside the workspace; hence this reader of the TOML subset that manifests use
//! (tables, dotted keys, values over several lines inside brackets; no multi-line strings).

use crate::tree::Tree;

/// One `key = value`, with the table it stands in.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Entry {
    table: String,
    key: String,
    value: String,
    line: usize,
}

/// Which of the three dependency tables, for any platform.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DependencyKind {
    Normal,
    Build,
    Dev,
}

/// One dependency of one package.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Dependency {
    /// The package, also where the manifest gives it another name.
    pub(crate) package: String,
    pub(crate) kind: DependencyKind,
    /// Version and source come from `[workspace.dependencies]`.
    pub(crate) inherited: bool,
    pub(crate) line: usize,
}

/// One `Cargo.toml`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Manifest {
    /// Folder relative to the root; empty for the root itself.
    pub(crate) folder: String,
    /// `None` for a virtual manifest.
    pub(crate) name: Option<String>,
    pub(crate) layer: Option<u32>,
    /// It opens a workspace: the root, and what the root excludes.
    pub(crate) is_workspace: bool,
    pub(crate) dependencies: Vec<Dependency>,
    /// (name here, package) of `[workspace.dependencies]`, with the line.
    pub(crate) shared: Vec<(String, String, usize)>,
}

impl Manifest {
    /// Path of the file, for findings.
    pub(crate) fn path(&self) -> String {
        if self.folder.is_empty() {
            "Cargo.toml".to_owned()
        } else {
            format!("{}/Cargo.toml", self.folder)
        }
    }

    /// Part of the one workspace, thus bound by layers and shared versions.
    pub(crate) fn is_member(&self) -> bool {
        self.name.is_some() && !self.is_workspace
    }
}

/// Every manifest of the tree.
pub(crate) fn manifests(tree: &Tree) -> Vec<Manifest> {
    tree.0
        .iter()
        .filter_map(|file| {
            let folder = file.path.strip_suffix("Cargo.toml")?;
            let own = folder.is_empty() || folder.ends_with('/');
            own.then(|| parse(folder.trim_end_matches('/'), &file.text))
        })
        .collect()
}

/// Reads one manifest; unknown tables are skipped.
pub(crate) fn parse(folder: &str, text: &str) -> Manifest {
    // The table may be empty, so its header counts, not its entries.
    let is_workspace = text.lines().any(|line| line.trim().starts_with("[workspace"));
    let mut manifest = Manifest { folder: folder.to_owned(), is_workspace, ..Manifest::default() };
    for entry in entries(text) {
        let Entry { table, key, value, line } = &entry;
        match (table.as_str(), key.as_str()) {
            ("package", "name") => manifest.name = Some(unquoted(value)),
            ("package.metadata", "layer") | ("package", "metadata.layer") => {
                manifest.layer = value.parse().ok();
            }
            ("workspace.dependencies", _) => {
                let package = inline(value, "package").unwrap_or_else(|| key.clone());
                manifest.shared.push((key.clone(), package, *line));
            }
            _ => add_dependency(&mut manifest.dependencies, &entry),
        }
    }
    manifest
}

/// Accepts `foo = …`, `foo.workspace = true` and the keys of `[dependencies.foo]`.
fn add_dependency(dependencies: &mut Vec<Dependency>, entry: &Entry) {
    let (table, path) = match entry.table.rsplit_once('.') {
        Some((table, name)) if kind(table).is_some() => (table, format!("{name}.{}", entry.key)),
        _ => (entry.table.as_str(), entry.key.clone()),
    };
    let Some(kind) = kind(table) else { return };
    let (name, attribute) = match path.split_once('.') {
        Some((name, attribute)) => (name, Some(attribute)),
        None => (path.as_str(), None),
    };
    let name = unquoted(name);
    let known = dependencies.iter().position(|d| d.package == name && d.kind == kind);
    let at = known.unwrap_or_else(|| {
        let line = entry.line;
        dependencies.push(Dependency { package: name, kind, inherited: false, line });
        dependencies.len() - 1
    });
    let dependency = &mut dependencies[at];
    match attribute {
        Some("workspace") => dependency.inherited = entry.value == "true",
        Some("package") => dependency.package = unquoted(&entry.value),
        Some(_) => {}
        None => {
            dependency.inherited = inline(&entry.value, "workspace").as_deref() == Some("true");
            if let Some(package) = inline(&entry.value, "package") {
                dependency.package = package;
            }
        }
    }
}

/// Also for `[target.'cfg(…)'.dependencies]`, but not for `[workspace.dependencies]`.
fn kind(table: &str) -> Option<DependencyKind> {
    let last = table.rsplit('.').next().unwrap_or(table);
    match last {
        _ if table.starts_with("workspace.") => None,
        "dependencies" => Some(DependencyKind::Normal),
        "build-dependencies" => Some(DependencyKind::Build),
        "dev-dependencies" => Some(DependencyKind::Dev),
        _ => None,
    }
}

/// The value of `key` inside an inline table.
fn inline(value: &str, key: &str) -> Option<String> {
    let body = value.strip_prefix('{')?;
    body.split([',', '}']).find_map(|part| {
        let (name, value) = part.split_once('=')?;
        (name.trim() == key).then(|| unquoted(value))
    })
}

fn unquoted(value: &str) -> String {
    value.trim().trim_matches(['"', '\'']).to_owned()
}

fn entries(text: &str) -> Vec<Entry> {
    let mut found: Vec<Entry> = Vec::new();
    let mut table = String::new();
    let mut open = 0;
    for (index, line) in text.lines().enumerate() {
        let (code, depth) = code_and_depth(line);
        let code = code.trim();
        if open > 0 {
            if let Some(last) = found.last_mut() {
                last.value.push_str(code);
            }
            open += depth;
        } else if code.starts_with('[') {
            code.trim_matches(['[', ']']).trim().clone_into(&mut table);
        } else if let Some((key, value)) = code.split_once('=') {
            found.push(Entry {
                table: table.clone(),
                key: key.trim().to_owned(),
                value: value.trim().to_owned(),
                line: index + 1,
            });
            open = depth;
        }
    }
    found
}

/// The line without its comment, and how many brackets it leaves open.
fn code_and_depth(line: &str) -> (&str, i32) {
    let mut depth = 0;
    let mut quote = None;
    for (at, c) in line.char_indices() {
        match (quote, c) {
            (Some(open), _) if c == open => quote = None,
            (Some(_), _) => {}
            (None, '"' | '\'') => quote = Some(c),
            (None, '#') => return (&line[..at], depth),
            (None, '[' | '{') => depth += 1,
            (None, ']' | '}') => depth -= 1,
            _ => {}
        }
    }
    (line, depth)
}

#[cfg(test)]
mod tests;
