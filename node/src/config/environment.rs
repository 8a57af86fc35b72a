//! Settings in environment variables: `SYNAPSENET_SECTION__KEY`.

use std::ffi::{OsStr, OsString};

use super::ConfigError;

/// Variables with this beginning are this program's, and each of them sets something or is refused.
const PREFIX: &str = "SYNAPSENET_";
/// Variables that stand for options of the command line, which reads them itself.
pub(crate) const OF_OPTIONS: [&str; 6] = [
    "SYNAPSENET_DATA_DIR",
    "SYNAPSENET_CONFIG",
    "SYNAPSENET_API",
    "SYNAPSENET_API_TOKEN_FILE",
    "SYNAPSENET_API_CA",
    "SYNAPSENET_API_FINGERPRINT",
];

/// A setting as the environment has it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Variable {
    /// Its name, such as "SYNAPSENET_STORAGE__HNSW_M".
    pub name: String,
    /// The setting, such as "storage.hnsw_m".
    pub key: String,
    /// Its value, not read yet.
    pub text: String,
}

/// The setting that a variable stands for; none when it is somebody else's, whose name and value may be any bytes.
/// `keys` are those that there are.
///
/// # Errors
/// When the variable is this program's and sets nothing, or is no text.
pub(super) fn read<'a>(
    (name, value): (OsString, OsString),
    keys: impl IntoIterator<Item = &'a String>,
) -> Result<Option<Variable>, ConfigError> {
    if !name.as_encoded_bytes().starts_with(PREFIX.as_bytes())
        || OF_OPTIONS.iter().any(|known| name == *known)
    {
        return Ok(None);
    }
    let refused = |reason: &str| ConfigError::BadVariable {
        name: name.to_string_lossy().into_owned(),
        reason: reason.to_owned(),
    };
    let name = name.to_str().ok_or_else(|| refused("has a name that is not UTF-8"))?;
    let words = &name[PREFIX.len()..];
    let wanted = plain(words);
    let known = keys.into_iter().find(|key| plain(key) == wanted);
    match known.map(|key| (key, variable_of(key))) {
        Some((key, right)) if right.eq_ignore_ascii_case(name) => {
            let text = OsStr::to_str(&value).ok_or_else(|| refused("has a value that is not UTF-8"))?;
            Ok(Some(Variable { name: name.to_owned(), key: key.clone(), text: text.to_owned() }))
        }
        Some((key, right)) => Err(refused(&format!("sets nothing: {key} is set by {right}"))),
        None => Err(refused(
            "sets nothing: settings are SYNAPSENET_SECTION__KEY, with two underscores in between; `synapsenet config show` \
             lists them",
        )),
    }
}

/// The variable that sets `key`.
fn variable_of(key: &str) -> String {
    format!("{PREFIX}{}", key.replacen('.', "__", 1).to_uppercase())
}

/// A name without what is easily got wrong in it.
fn plain(name: &str) -> String {
    name.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect()
}

#[cfg(test)]
mod tests {
    use std::os::unix::ffi::OsStringExt;

    use super::*;

    fn read_one(name: impl Into<OsString>, value: impl Into<OsString>) -> Result<Option<Variable>, String> {
        let keys = ["network.mdns".to_owned(), "storage.hnsw_m".to_owned()];
        read((name.into(), value.into()), &keys).map_err(|error| error.to_string())
    }

    #[test]
    fn a_variable_is_the_setting_that_its_name_says() {
        let variable = read_one("SYNAPSENET_STORAGE__HNSW_M", "24").unwrap().unwrap();
        assert_eq!((variable.key.as_str(), variable.text.as_str()), ("storage.hnsw_m", "24"));
        assert_eq!(read_one("OTHER__KEY", "1"), Ok(None));
        assert_eq!(read_one("SYNAPSENET_DATA_DIR", "/x"), Ok(None));
    }

    #[test]
    fn a_variable_that_sets_nothing_is_refused_with_the_one_that_does() {
        for wrong in ["SYNAPSENET_NETWORK_MDNS", "SYNAPSENET__NETWORK__MDNS", "SYNAPSENET_NETWORKMDNS"] {
            let message = read_one(wrong, "false").unwrap_err();
            assert!(message.contains(wrong) && message.ends_with("SYNAPSENET_NETWORK__MDNS"), "{message}");
        }
        let message = read_one("SYNAPSENET_NOISE", "1").unwrap_err();
        assert!(message.contains("SYNAPSENET_NOISE") && message.contains("config show"), "{message}");
    }

    #[test]
    fn bytes_that_are_no_text_are_an_error_in_our_variables_and_nobodys_business_in_others() {
        let bytes = OsString::from_vec(vec![b'a', 0xff]);
        assert_eq!(read_one("OTHER", bytes.clone()), Ok(None));
        assert_eq!(read_one(bytes.clone(), "1"), Ok(None));
        assert_eq!(read_one("SYNAPSENET_CONFIG", bytes.clone()), Ok(None), "a path may be any bytes");
        let message = read_one("SYNAPSENET_NETWORK__MDNS", bytes).unwrap_err();
        assert!(message.contains("SYNAPSENET_NETWORK__MDNS") && message.contains("UTF-8"), "{message}");
        let name = OsString::from_vec(b"SYNAPSENET_\xff".to_vec());
        assert!(read_one(name, "1").unwrap_err().contains("UTF-8"));
    }
}
