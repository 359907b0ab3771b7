//! Values of settings as shells pass them: without the quotes that a text of settings needs.

use engine_types::NodeRole;
use mgmt_cluster::config::Range;

use super::schema;

/// `value` as a text of settings writes it. People write `lease.storage=2s`; times, amounts with a
/// unit and words need quotes there.
pub(super) fn written(role: NodeRole, name: &str, value: &str) -> String {
    let settings = schema(role).map_or(&[][..], |schema| schema.settings());
    let range = settings.iter().find(|setting| setting.name == name).map(|setting| setting.range);
    let number = !value.is_empty() && value.bytes().all(|b| b.is_ascii_digit() || b == b'_');
    let plain = match range {
        Some(Range::Text { .. }) => false,
        Some(Range::Duration { .. } | Range::Bytes { .. }) => number,
        Some(_) => true,
        None => number || ["true", "false"].contains(&value),
    };
    let quoted = value.len() >= 2 && value.starts_with('"') && value.ends_with('"');
    if plain || quoted { value.to_owned() } else { quote(value) }
}

fn quote(value: &str) -> String {
    let mut text = "\"".to_owned();
    for letter in value.chars() {
        match letter {
            '"' => text.push_str("\\\""),
            '\\' => text.push_str("\\\\"),
            '\n' => text.push_str("\\n"),
            '\t' => text.push_str("\\t"),
            plain => text.push(plain),
        }
    }
    text.push('"');
    text
}

/// Parses `name=value`.
pub(super) fn pair(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("expected name=value")?;
    let (name, value) = (name.trim(), value.trim());
    match name.is_empty() {
        true => Err("expected name=value".to_owned()),
        false => Ok((name.to_owned(), value.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_get_the_quotes_that_they_need() {
        for (name, value, expected) in [
            ("lease.storage", "2s", "\"2s\""),
            ("lease.storage", "2 s", "\"2 s\""),
            ("lease.storage", "\"2 s\"", "\"2 s\""),
            // The manager tells that it has no unit.
            ("lease.storage", "2", "2"),
            ("lease.storage", "", "\"\""),
            ("syncing.node_max", "8", "8"),
            ("syncing.node_max", "many", "many"),
            ("chain.restore_order", "true", "true"),
            ("of.a.newer.manager", "true", "true"),
            ("of.a.newer.manager", "1_000", "1_000"),
            ("of.a.newer.manager", "64MiB", "\"64MiB\""),
            ("of.a.newer.manager", "a \"b\" \\", "\"a \\\"b\\\" \\\\\""),
        ] {
            assert_eq!(written(NodeRole::Manager, name, value), expected, "{name}={value}");
        }
    }

    /// What is written is read as it was meant.
    #[test]
    fn written_values_are_settings() {
        let schema = schema(NodeRole::Manager).unwrap();
        for (name, value) in [
            ("lease.storage", "3s"),
            ("session.timeout", "2 min"),
            ("syncing.node_max", "8"),
            ("chain.restore_order", "true"),
        ] {
            let text = format!("{name} = {}", written(NodeRole::Manager, name, value));
            assert!(schema.parse(&text).unwrap().is_set(name), "{text}");
        }
    }

    #[test]
    fn a_pair_has_a_name() {
        assert_eq!(pair("a.b = 2 s"), Ok(("a.b".to_owned(), "2 s".to_owned())));
        assert_eq!(pair("a.b="), Ok(("a.b".to_owned(), String::new())));
        assert!(pair("a.b").is_err() && pair("=2").is_err());
    }
}
