//! What can be set, where each value came from, and what a wrong one is told.
//!
//! Defaults < `config.toml` < environment (`SYNAPSENET_SECTION__KEY`) < flags. The defaults fix the type of every key,
//! so that `SYNAPSENET_AI__ONNXRUNTIME=123` is a path and `SYNAPSENET_STORAGE__HNSW_M=abc` an error. Unknown keys are
//! refused wherever they stand.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use synapsenet_index::Provider;
use toml::{Table, Value};

use crate::data_folder::CONFIG;
use crate::log;
use crate::traces;
use environment::Variable;
use origins::{MAX_ORIGINS, is_origin};

mod environment;
mod network;
mod origins;
mod sections;

#[cfg(test)]
pub(crate) use environment::OF_OPTIONS;
pub(crate) use network::MAX_TOPICS;
pub use network::NetworkConfig;
pub use sections::{
    AdmissionConfig, AiConfig, ApiConfig, Config, EmergenceConfig, LogConfig, MetricsConfig, StorageConfig,
};

/// Why a configuration is refused. Each message names the key, where it stands, and what is expected.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read the configuration {path}: {source}")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The file is not TOML.
    #[error("the configuration {path} is not valid TOML: {message}")]
    NotToml {
        /// The file.
        path: PathBuf,
        /// Line, column and what is wrong there.
        message: String,
    },
    /// A key that no version of this program knows by this name.
    #[error("unknown setting {key:?} ({origin}); `synapsenet config show` lists those there are")]
    UnknownKey {
        /// The key.
        key: String,
        /// Where it was set.
        origin: Origin,
    },
    /// A variable of this program in the environment that sets nothing, or is no text.
    #[error("the environment variable {name} {reason}")]
    BadVariable {
        /// Its name.
        name: String,
        /// What is wrong with it and what to set instead.
        reason: String,
    },
    /// A value of the wrong type.
    #[error("{key} is {value:?} ({origin}) and must be {expected}")]
    WrongType {
        /// The key.
        key: String,
        /// What was given.
        value: String,
        /// Where it was set.
        origin: Origin,
        /// The type that it must have.
        expected: &'static str,
    },
    /// A value that the node cannot run with.
    #[error("{key} is {value} ({origin}): {reason}")]
    BadValue {
        /// The key.
        key: &'static str,
        /// What was given.
        value: String,
        /// Where it was set.
        origin: Origin,
        /// What is wrong with it and what to set instead.
        reason: String,
    },
    /// No home folder is known.
    #[error("no data folder: neither XDG_DATA_HOME nor HOME is set; name one with --data-dir DIR")]
    NoDataDir,
}

/// Where a value came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// Built in.
    Default,
    /// A configuration file.
    File(PathBuf),
    /// The profile of this name (`network.profile`).
    Profile(String),
    /// The environment variable of this name.
    Environment(String),
    /// The command line.
    Flag,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File(path) => write!(f, "file {}", path.display()),
            Self::Profile(name) => write!(f, "profile {name}"),
            Self::Environment(name) => write!(f, "environment {name}"),
            Self::Flag => f.write_str("flag"),
        }
    }
}

/// A value given on the command line.
#[derive(Debug, Clone)]
pub struct Flag {
    /// Section and key, such as "api.listen".
    pub key: &'static str,
    /// The value.
    pub value: Value,
}

/// One effective value.
#[derive(Debug, Clone)]
pub struct Entry {
    /// Section and key, such as "api.listen".
    pub key: String,
    /// The value.
    pub value: Value,
    /// Where it came from.
    pub origin: Origin,
}

/// The effective configuration and where each value came from.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The values.
    pub config: Config,
    entries: BTreeMap<String, (Value, Origin)>,
}

impl Settings {
    /// Reads the configuration: defaults, then `file` (or `config.toml` in `data_dir`, if it exists), then the
    /// environment, then `flags`.
    ///
    /// # Errors
    /// [`ConfigError`], naming the first thing that is wrong.
    pub fn load(file: Option<&Path>, data_dir: &Path, flags: Vec<Flag>) -> Result<Self, ConfigError> {
        let default_file = data_dir.join(CONFIG);
        let file = match file {
            Some(file) => Some(file.to_owned()),
            // One that is there and may not be looked at is an error, not the same as none.
            None => match default_file.try_exists() {
                Ok(true) => Some(default_file),
                Ok(false) => None,
                // There is no such folder: whoever opens it says so.
                Err(source) if source.kind() == io::ErrorKind::NotADirectory => None,
                Err(source) => return Err(ConfigError::Unreadable { path: default_file, source }),
            },
        };
        Self::layer(file.as_deref(), std::env::vars_os(), flags)
    }

    fn layer(
        file: Option<&Path>,
        environment: impl Iterator<Item = (OsString, OsString)>,
        flags: Vec<Flag>,
    ) -> Result<Self, ConfigError> {
        let mut settings = Self::defaults();
        if let Some(path) = file {
            settings.apply_file(path)?;
        }
        for variable in environment {
            if let Some(Variable { name, key, text }) = environment::read(variable, settings.entries.keys())?
            {
                settings.set_text(&key, &text, Origin::Environment(name))?;
            }
        }
        for flag in flags {
            settings.set(flag.key, flag.value, Origin::Flag)?;
        }
        settings.apply_profile()?;
        settings.config = settings.assemble();
        settings.check()?;
        Ok(settings)
    }

    fn defaults() -> Self {
        let config = Config::default();
        let table = Table::try_from(&config).expect("the defaults are plain TOML values");
        let mut entries = BTreeMap::new();
        for (section, values) in table {
            let Value::Table(values) = values else { continue };
            for (key, value) in values {
                entries.insert(format!("{section}.{key}"), (value, Origin::Default));
            }
        }
        Self { config, entries }
    }

    /// Gives the keys that nobody set the values of the profile.
    fn apply_profile(&mut self) -> Result<(), ConfigError> {
        let name = self.entries["network.profile"].0.as_str().unwrap_or_default().to_owned();
        let Some(values) = network::profile(&name) else {
            return Err(self.bad("network.profile", "must be \"lan\", \"home\" or \"server\"".into()));
        };
        for (key, value) in values {
            if self.origin(key) == Some(&Origin::Default) {
                self.set(key, value, Origin::Profile(name.clone()))?;
            }
        }
        Ok(())
    }

    fn apply_file(&mut self, path: &Path) -> Result<(), ConfigError> {
        let unreadable = |source| ConfigError::Unreadable { path: path.to_owned(), source };
        let text = String::from_utf8(std::fs::read(path).map_err(unreadable)?)
            .map_err(|_| unreadable(io::Error::other("it is not UTF-8; save it as UTF-8, not as UTF-16")))?;
        // The mark that editors on Windows put before the first letter says nothing in UTF-8.
        let table: Table = toml::from_str(text.strip_prefix('\u{feff}').unwrap_or(&text))
            .map_err(|error| ConfigError::NotToml { path: path.to_owned(), message: error.to_string() })?;
        for (section, values) in table {
            let Value::Table(values) = values else {
                return Err(ConfigError::UnknownKey { key: section, origin: Origin::File(path.to_owned()) });
            };
            for (key, value) in values {
                self.set(&format!("{section}.{key}"), value, Origin::File(path.to_owned()))?;
            }
        }
        Ok(())
    }

    /// Sets a key from text, read as the type that the key has.
    fn set_text(&mut self, key: &str, text: &str, origin: Origin) -> Result<(), ConfigError> {
        let value = match self.entries.get(key) {
            Some((Value::Integer(_), _)) => match text.trim().parse() {
                Ok(number) => Value::Integer(number),
                Err(_) => Value::String(text.to_owned()),
            },
            Some((Value::Float(_), _)) => match text.trim().parse() {
                Ok(number) => Value::Float(number),
                Err(_) => Value::String(text.to_owned()),
            },
            Some((Value::Boolean(_), _)) => match text.trim().parse() {
                Ok(flag) => Value::Boolean(flag),
                Err(_) => Value::String(text.to_owned()),
            },
            // Lists are written with commas in between; none of their values has one.
            Some((Value::Array(_), _)) => {
                let items = text.split(',').map(str::trim).filter(|item| !item.is_empty());
                Value::Array(items.map(|item| Value::String(item.to_owned())).collect())
            }
            _ => Value::String(text.to_owned()),
        };
        self.set(key, value, origin)
    }

    fn set(&mut self, key: &str, value: Value, origin: Origin) -> Result<(), ConfigError> {
        let Some(entry) = self.entries.get_mut(key) else {
            return Err(ConfigError::UnknownKey { key: key.to_owned(), origin });
        };
        let expected = match &entry.0 {
            Value::Integer(_) => "a whole number that is not negative",
            Value::Boolean(_) => "true or false",
            Value::Float(_) => "a number",
            Value::Array(_) => "a list of texts",
            _ => "a text",
        };
        let value = match (&entry.0, value) {
            // Whoever writes 1 means 1.0.
            (Value::Float(_), Value::Integer(number)) => Value::Float(number as f64),
            (_, value) => value,
        };
        let fits = match (&entry.0, &value) {
            (Value::Integer(_), Value::Integer(number)) => *number >= 0,
            (Value::Array(_), Value::Array(items)) => items.iter().all(Value::is_str),
            (known, given) => known.same_type(given),
        };
        if !fits {
            let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            return Err(ConfigError::WrongType { key: key.to_owned(), value, origin, expected });
        }
        *entry = (value, origin);
        Ok(())
    }

    fn assemble(&self) -> Config {
        let mut table = Table::new();
        for (key, (value, _)) in &self.entries {
            let (section, key) = key.split_once('.').expect("every key has a section");
            let section = table.entry(section).or_insert_with(|| Value::Table(Table::new()));
            section.as_table_mut().expect("sections are tables").insert(key.to_owned(), value.clone());
        }
        table.try_into().expect("every value has the type of its default")
    }

    /// Refuses values that the node could not run with.
    fn check(&self) -> Result<(), ConfigError> {
        let Config { storage, ai, api, metrics, log, network, admission, emergence } = &self.config;
        let range = |key, value: usize, least: usize, most: usize| {
            if (least..=most).contains(&value) {
                return Ok(());
            }
            Err(self.bad(key, format!("must be from {least} to {most}")))
        };
        range("storage.hnsw_m", storage.hnsw_m, 2, 128)?;
        range("storage.hnsw_ef_construction", storage.hnsw_ef_construction, 8, 4096)?;
        range("storage.hnsw_ef_search", storage.hnsw_ef_search, 8, 4096)?;
        range("storage.hnsw_max_elements", storage.hnsw_max_elements, 1, 100_000_000)?;
        range("storage.cache_bytes", storage.cache_bytes, 1 << 20, 1 << 40)?;
        range("admission.reserved_percent", admission.reserved_percent as usize, 0, 100)?;
        let budgets = [
            ("admission.author_grains", admission.author_grains),
            ("admission.author_bytes", admission.author_bytes),
            ("admission.peer_grains", admission.peer_grains),
            ("admission.peer_bytes", admission.peer_bytes),
        ];
        for (key, budget) in budgets {
            range(key, budget as usize, 1, 1 << 40)?;
        }
        range("metrics.cors_origins", metrics.cors_origins.len(), 0, MAX_ORIGINS).map_err(|_| {
            self.bad("metrics.cors_origins", format!("names more than {MAX_ORIGINS} origins"))
        })?;
        if let Some(other) = metrics.cors_origins.iter().find(|origin| !is_origin(origin)) {
            let words = format!(
                "has {other:?}, and an origin is as \"https://notes.example\" or \"http://localhost:3000\": \
                                 in small letters, with no path and no star"
            );
            return Err(self.bad("metrics.cors_origins", words));
        }
        if !matches!(emergence.retention.as_str(), "score" | "oldest") {
            return Err(self.bad("emergence.retention", "must be \"score\" or \"oldest\"".into()));
        }
        let numbers = [
            ("emergence.novelty", emergence.novelty),
            ("emergence.coherence", emergence.coherence),
            ("emergence.reuse", emergence.reuse),
            ("emergence.ranking_weight", emergence.ranking_weight),
            ("emergence.least_novelty", emergence.least_novelty),
            ("emergence.least_coherence", emergence.least_coherence),
        ];
        for (key, number) in numbers {
            if !(0.0..=1.0).contains(&number) {
                return Err(self.bad(key, "must be from 0.0 to 1.0".to_owned()));
            }
        }
        range("ai.device", ai.device, 0, 255)?;
        range("ai.threads", ai.threads, 0, 256)?;
        range("ai.sessions", ai.sessions, 0, 64)?;
        range("ai.batch_tokens", ai.batch_tokens, 0, 65_536)?;
        range("ai.cache_entries", ai.cache_entries, 0, 1_000_000)?;
        range("api.max_calls", api.max_calls, 1, 65_536)?;
        range("network.max_peers", network.max_peers, 1, 10_000)?;
        range("network.max_per_address", network.max_per_address, 1, 10_000)?;
        range("network.sync_seconds", network.sync_seconds as usize, 1, 86_400)?;
        network.check().map_err(|(key, reason)| self.bad(key, reason))?;
        if let Err(error) = ai.provider.parse::<Provider>() {
            return Err(self.bad("ai.provider", error.to_string()));
        }
        if !ai.hub.starts_with("https://") && !ai.hub.starts_with("http://") {
            return Err(self.bad("ai.hub", "must be https://HOST".into()));
        }
        if !matches!(log.format.as_str(), "text" | "json") {
            return Err(self.bad("log.format", "must be \"text\" or \"json\"".into()));
        }
        log::check(&log.level)
            .map_err(|reason| self.bad("log.level", format!("{reason}: {}", log::LEVELS)))?;
        traces::check(&log.otlp).map_err(|reason| self.bad("log.otlp", reason))?;
        if !matches!(api.tls.as_str(), "auto" | "always") {
            return Err(self.bad("api.tls", "must be \"auto\" or \"always\"".into()));
        }
        if api.tls_cert.is_empty() != api.tls_key.is_empty() {
            return Err(self.bad("api.tls_cert", "TLS needs both api.tls_cert and api.tls_key".into()));
        }
        for (key, listen) in [("api.listen", &api.listen), ("metrics.listen", &metrics.listen)] {
            if listen.is_empty() {
                continue;
            }
            if listen.parse::<std::net::SocketAddr>().is_err() {
                return Err(self.bad(key, "must be ADDRESS:PORT, such as 127.0.0.1:7717, or empty".into()));
            }
        }
        Ok(())
    }

    fn bad(&self, key: &'static str, reason: String) -> ConfigError {
        let (value, origin) = &self.entries[key];
        ConfigError::BadValue { key, value: value.to_string(), origin: origin.clone(), reason }
    }

    /// These settings with the values of others, but for the keys that are `live`.
    #[must_use]
    pub(crate) fn keeping(mut self, others: &Self, live: impl Fn(&str) -> bool) -> Self {
        for (key, entry) in &mut self.entries {
            if let Some(other) = others.entries.get(key).filter(|_| !live(key)) {
                entry.clone_from(other);
            }
        }
        self.config = self.assemble();
        self
    }

    /// Every effective value with its origin, sorted by key.
    #[must_use]
    pub fn entries(&self) -> Vec<Entry> {
        let entry = |(key, (value, origin)): (&String, &(Value, Origin))| Entry {
            key: key.clone(),
            value: value.clone(),
            origin: origin.clone(),
        };
        self.entries.iter().map(entry).collect()
    }

    /// Where the value of `key` came from.
    #[must_use]
    pub fn origin(&self, key: &str) -> Option<&Origin> {
        self.entries.get(key).map(|(_, origin)| origin)
    }
}

impl From<Config> for Settings {
    /// Takes a configuration made by a program, for tests and benches.
    fn from(config: Config) -> Self {
        let mut settings = Self::defaults();
        let table = Table::try_from(&config).expect("a configuration is plain TOML values");
        for (key, (value, origin)) in &mut settings.entries {
            let (section, name) = key.split_once('.').expect("every key has a section");
            let given = &table[section][name];
            if given != value {
                (*value, *origin) = (given.clone(), Origin::Flag);
            }
        }
        settings.config = config;
        settings
    }
}

/// The data folder when none is named: `synapsenet` in the user's data folder (XDG).
///
/// # Errors
/// [`ConfigError::NoDataDir`] when there is no home folder.
pub fn default_data_dir() -> Result<PathBuf, ConfigError> {
    dirs::data_dir().map(|dir| dir.join("synapsenet")).ok_or(ConfigError::NoDataDir)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layer(
        file: Option<&str>,
        environment: &[(&str, &str)],
        flags: Vec<Flag>,
    ) -> Result<Settings, ConfigError> {
        let dir = tempfile::tempdir().unwrap();
        let path = file.map(|text| {
            let path = dir.path().join("config.toml");
            std::fs::write(&path, text).unwrap();
            path
        });
        let environment = environment.iter().map(|(name, value)| (name.into(), value.into()));
        Settings::layer(path.as_deref(), environment, flags)
    }

    fn refusal(file: Option<&str>, environment: &[(&str, &str)]) -> String {
        layer(file, environment, vec![]).unwrap_err().to_string()
    }

    #[test]
    fn each_layer_wins_over_the_one_before() {
        let file = "[storage]\nhnsw_m = 20\nhnsw_ef_construction = 100\nhnsw_ef_search = 99\n";
        let environment =
            [("SYNAPSENET_STORAGE__HNSW_M", "24"), ("SYNAPSENET_STORAGE__HNSW_EF_SEARCH", "50")];
        let flags = vec![Flag { key: "storage.hnsw_m", value: Value::Integer(32) }];
        let settings = layer(Some(file), &environment, flags).unwrap();
        let storage = &settings.config.storage;
        assert_eq!((storage.hnsw_m, storage.hnsw_ef_search, storage.hnsw_ef_construction), (32, 50, 100));
        assert_eq!(settings.origin("storage.hnsw_m"), Some(&Origin::Flag));
        let name = "SYNAPSENET_STORAGE__HNSW_EF_SEARCH".to_owned();
        assert_eq!(settings.origin("storage.hnsw_ef_search"), Some(&Origin::Environment(name)));
        assert!(matches!(settings.origin("storage.hnsw_ef_construction"), Some(Origin::File(_))));
        assert_eq!(settings.origin("storage.cache_bytes"), Some(&Origin::Default));
    }

    #[test]
    fn text_from_the_environment_takes_the_type_of_the_key() {
        let settings = layer(None, &[("SYNAPSENET_AI__ONNXRUNTIME", "123")], vec![]).unwrap();
        assert_eq!(settings.config.ai.onnxruntime, "123");
        let settings = layer(
            Some("[emergence]\nnovelty = 1\n"),
            &[("SYNAPSENET_EMERGENCE__REUSE", " 0.25"), ("SYNAPSENET_EMERGENCE__ENABLED", "false")],
            vec![],
        );
        let emergence = settings.unwrap().config.emergence;
        assert_eq!((emergence.novelty, emergence.reuse, emergence.enabled), (1.0, 0.25, false));
        let message = refusal(None, &[("SYNAPSENET_STORAGE__HNSW_M", "many")]);
        assert!(
            message.contains("storage.hnsw_m") && message.contains("SYNAPSENET_STORAGE__HNSW_M"),
            "{message}"
        );
    }

    #[test]
    fn unknown_keys_are_refused_wherever_they_stand() {
        assert!(refusal(Some("[storage]\nhnsw = 1\n"), &[]).contains("storage.hnsw"));
        assert!(refusal(Some("[stroage]\nhnsw_m = 1\n"), &[]).contains("stroage"));
        assert!(refusal(Some("hnsw_m = 1\n"), &[]).contains("hnsw_m"));
        assert!(refusal(None, &[("SYNAPSENET_STORAGE__HNSW", "1")]).contains("SYNAPSENET_STORAGE__HNSW"));
        assert!(refusal(None, &[("SYNAPSENET_NETWORK_MDNS", "1")]).contains("SYNAPSENET_NETWORK__MDNS"));
    }

    #[test]
    fn a_file_is_read_as_editors_on_windows_write_it() {
        let settings = layer(Some("\u{feff}[log]\r\nlevel = \"warn\"\r\n"), &[], vec![]).unwrap();
        assert_eq!(settings.config.log.level, "warn");
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("config.toml");
        let utf_16 = "\u{feff}[log]\n".encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<_>>();
        std::fs::write(&path, utf_16).unwrap();
        let error = Settings::layer(Some(&path), std::iter::empty(), vec![]).unwrap_err().to_string();
        assert!(error.contains("config.toml") && error.contains("UTF-8"), "{error}");
    }

    #[test]
    fn variables_of_flags_and_of_others_are_left_alone() {
        assert!(layer(None, &[("SYNAPSENET_DATA_DIR", "/x"), ("OTHER__KEY", "1")], vec![]).is_ok());
    }

    #[test]
    fn values_that_cannot_work_are_refused_with_the_reason() {
        assert!(refusal(Some("[storage]\nhnsw_m = 1\n"), &[]).contains("from 2 to 128"));
        assert!(refusal(Some("[storage]\nhnsw_m = -1\n"), &[]).contains("not negative"));
        assert!(refusal(Some("[api]\nlisten = \"somewhere\"\n"), &[]).contains("ADDRESS:PORT"));
        assert!(refusal(Some("[api]\ntls = \"off\"\n"), &[]).contains("always"));
        assert!(refusal(Some("[api]\ntls_cert = \"a\"\n"), &[]).contains("both"));
        assert!(refusal(Some("[ai]\nprovider = \"abacus\"\n"), &[]).contains("cpu, cuda"));
        assert!(refusal(Some("[ai]\nhub = \"somewhere\"\n"), &[]).contains("https://"));
        assert!(refusal(Some("[emergence]\nretention = \"luck\"\n"), &[]).contains("oldest"));
        assert!(refusal(Some("[emergence]\nreuse = 1.5\n"), &[]).contains("from 0.0 to 1.0"));
        assert!(refusal(Some("[emergence]\nreuse = \"much\"\n"), &[]).contains("a number"));
        assert!(refusal(Some("[storage"), &[]).contains("not valid TOML"));
    }

    #[test]
    fn a_profile_sets_what_nobody_else_sets() {
        let file = "[network]\nprofile = \"server\"\nmax_peers = 9\n";
        let settings = layer(Some(file), &[], vec![]).unwrap();
        let network = &settings.config.network;
        assert_eq!((network.max_peers, network.relay_server, network.mdns), (9, true, false));
        assert_eq!(settings.origin("network.mdns"), Some(&Origin::Profile("server".into())));
        assert!(refusal(None, &[("SYNAPSENET_NETWORK__PROFILE", "office")]).contains("\"home\""));
    }

    #[test]
    fn a_list_is_taken_from_a_file_and_from_the_environment() {
        let settings = layer(Some("[network]\ntopics = [\"a\", \"b\"]\n"), &[], vec![]).unwrap();
        assert_eq!(settings.config.network.topics, ["a", "b"]);
        let settings = layer(None, &[("SYNAPSENET_NETWORK__TOPICS", "a, b,")], vec![]).unwrap();
        assert_eq!(settings.config.network.topics, ["a", "b"]);
        assert!(refusal(Some("[network]\ntopics = [1]\n"), &[]).contains("list of texts"));
        assert!(refusal(Some("[network]\ntopics = [\"A\"]\n"), &[]).contains("network.topics"));
    }

    #[test]
    fn every_key_is_listed_with_its_origin() {
        let entries = layer(None, &[], vec![]).unwrap().entries();
        assert!(
            entries.iter().any(|entry| entry.key == "network.max_peers" && entry.value == Value::Integer(50))
        );
        assert!(entries.iter().all(|entry| entry.origin == Origin::Default));
    }
}
