//! Names that people give to things.

use core::fmt;
use core::str::FromStr;

use mgmt_cluster::record::codec::NAME_BYTES_MAX;

use super::reader::Value;

/// What a person calls a cluster, or what fails together: 1 to [`NAME_BYTES_MAX`] bytes, all of
/// which can be printed. By default there is none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Label(String);

impl fmt::Display for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for Label {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = text.len();
        if !(1..=NAME_BYTES_MAX).contains(&found) {
            return Err(format!("it has {found} bytes, expected 1 to {NAME_BYTES_MAX}"));
        }
        match text.chars().find(|c| c.is_control()) {
            Some(found) => Err(format!("it contains {found:?}, which cannot be printed")),
            None => Ok(Self(text.to_owned())),
        }
    }
}

impl Value for Label {
    const EXPECTED: &'static str = "a name in quotes";

    fn from_text(text: &str) -> Result<Self, String> {
        text.parse()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_can_be_printed() {
        for good in ["emberfs", "Rechenzentrum 2", &"x".repeat(NAME_BYTES_MAX)] {
            assert_eq!(good.parse::<Label>().unwrap().to_string(), good);
        }
        for bad in ["", "a\nb", "\x1b[31m", &"x".repeat(NAME_BYTES_MAX + 1)] {
            assert!(bad.parse::<Label>().is_err(), "{bad:?}");
        }
    }
}
