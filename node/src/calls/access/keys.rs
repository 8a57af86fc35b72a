//! The tokens that open, and their file. Of each only the hash is kept: a secret is 32 random bytes, which nobody guesses, so a
//! plain hash of it is enough. Hashes are compared in the same time wherever they differ, and with all that there are.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Duration;

use anyhow::Context;
use data_encoding::HEXLOWER;
use serde::{Deserialize, Serialize};
use synapsenet_proto::Topic;
use tokio_util::sync::CancellationToken;

use super::files::{load_or_create, read, secret, write};
use super::{Caller, End, Scope, Topics, Who};
use crate::blocking::blocking;
use crate::calls::error::invalid;
use crate::calls::{CallError, now_ms};
use crate::data_folder::{TOKEN, TOKENS};

/// Tokens that may open at the same time: each call is held against all of them.
pub(super) const MAX_TOKENS: usize = 256;
/// Those that open no more and are remembered, so that their holders are told why: the oldest go first.
pub(super) const MAX_RETIRED: usize = 256;
/// Bytes of a token's name.
const MAX_NAME_BYTES: usize = 64;
/// Topics that one token is limited to.
const MAX_TOPICS: usize = 64;
/// A hundred years: later than anybody waits, and far from where numbers end.
const MAX_LIFE: Duration = Duration::from_secs(100 * 365 * 24 * 3600);
/// A secret and the scheme before it have less; whatever is longer is not even hashed.
const MAX_AUTHORIZATION_BYTES: usize = 512;
/// How often it is written down when tokens were used last: what a crash forgets of it.
const WRITE_USES: Duration = Duration::from_secs(3600);

/// What is kept of a token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Key {
    pub name: String,
    /// BLAKE3 of the secret, 64 hexadecimal digits.
    hash: String,
    pub scope: Scope,
    /// The topics that it is limited to; none is all of them.
    #[serde(default)]
    pub topics: Vec<String>,
    pub created_ms: u64,
    #[serde(default)]
    pub expires_ms: Option<u64>,
    #[serde(default)]
    pub last_used_ms: Option<u64>,
    #[serde(default)]
    pub revoked_ms: Option<u64>,
}

/// What a new token is to be.
#[derive(Debug, Clone)]
pub(crate) struct Wanted {
    pub name: String,
    pub scope: Scope,
    pub topics: Vec<String>,
    /// None when it does not expire.
    pub expires: Option<Duration>,
}

impl Key {
    /// Whether it opens.
    pub fn opens(&self, now_ms: u64) -> bool {
        self.revoked_ms.is_none() && !self.has_expired(now_ms)
    }

    fn has_expired(&self, now_ms: u64) -> bool {
        self.expires_ms.is_some_and(|expires| expires <= now_ms)
    }

    /// When it opened no more; what opens comes last.
    fn retired_ms(&self, now_ms: u64) -> u64 {
        let expired = self.expires_ms.filter(|_| self.has_expired(now_ms));
        [self.revoked_ms, expired].into_iter().flatten().min().unwrap_or(u64::MAX)
    }

    fn read_topics(&self) -> anyhow::Result<Vec<Topic>> {
        let read = |name: &String| Topic::new(name.as_str()).with_context(|| format!("the topic {name:?}"));
        self.topics.iter().map(read).collect()
    }
}

/// A token in memory.
#[derive(Debug)]
struct Held {
    key: Key,
    hash: blake3::Hash,
    name: Arc<str>,
    topics: Topics,
    /// Milliseconds since 1970; 0 is never.
    last_used_ms: AtomicU64,
    /// Cancelled when it opens no more.
    revoked: CancellationToken,
}

impl Held {
    fn new(key: Key) -> anyhow::Result<Self> {
        check_name(&key.name).map_err(|error| anyhow::anyhow!("{error}"))?;
        let hash = HEXLOWER.decode(key.hash.as_bytes()).ok().and_then(|hash| <[u8; 32]>::try_from(hash).ok());
        let hash = hash.with_context(|| format!("the hash of {:?} is none", key.name))?;
        let revoked = CancellationToken::new();
        if key.revoked_ms.is_some() {
            revoked.cancel();
        }
        Ok(Self {
            hash: hash.into(),
            name: key.name.as_str().into(),
            topics: Topics::only(key.read_topics()?),
            last_used_ms: key.last_used_ms.unwrap_or(0).into(),
            revoked,
            key,
        })
    }

    /// What is known of it now.
    fn now(&self) -> Key {
        let used = Some(self.last_used_ms.load(Relaxed)).filter(|used| *used > 0);
        Key { last_used_ms: used, ..self.key.clone() }
    }

    fn caller(&self, now_ms: u64) -> Caller {
        let left = self.key.expires_ms.map(|at| Duration::from_millis(at.saturating_sub(now_ms)));
        Caller {
            who: Who::Token(self.name.clone()),
            scope: self.key.scope,
            topics: self.topics.clone(),
            end: Some(End { revoked: self.revoked.clone(), left }),
            deeds: None,
        }
    }
}

/// The token in `api.token`.
#[derive(Debug)]
struct Root {
    hash: blake3::Hash,
    replaced: CancellationToken,
}

#[derive(Debug, Default)]
struct State {
    /// None where nobody comes over TCP.
    root: Option<Root>,
    tokens: Vec<Held>,
}

/// Who opens. Clones share it.
#[derive(Debug, Clone)]
pub(crate) struct Keys(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    data_dir: PathBuf,
    has_root: bool,
    state: RwLock<State>,
    /// Held while the file is changed, so that no call waits for the disk.
    changing: Mutex<()>,
}

impl Keys {
    /// Reads the tokens in `data_dir`. `with_root` reads `api.token`, too, which is made at the first start: 64 hexadecimal digits,
    /// readable by its owner only.
    ///
    /// # Errors
    /// When a file can be read by others, is damaged, or cannot be read or written.
    pub fn load(data_dir: &Path, with_root: bool) -> anyhow::Result<Self> {
        let root = if with_root { Some(load_root(data_dir)?) } else { None };
        let tokens = read(data_dir)?.into_iter().map(Held::new).collect::<Result<_, _>>()?;
        let state = RwLock::new(State { root, tokens });
        let shared =
            Shared { data_dir: data_dir.to_owned(), has_root: with_root, state, changing: Mutex::new(()) };
        Ok(Self(Arc::new(shared)))
    }

    /// Who sends this `authorization`. The scheme's name is read in any case (RFC 9110, 11.1).
    ///
    /// # Errors
    /// When it opens nothing: with the reason.
    pub fn check(&self, authorization: Option<&str>) -> Result<Caller, CallError> {
        let given = authorization.ok_or(CallError::NoToken)?;
        if given.len() > MAX_AUTHORIZATION_BYTES {
            return Err(CallError::UnknownToken);
        }
        let token = match given.split_once(' ') {
            Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => token.trim(),
            _ => return Err(CallError::NoToken),
        };
        let hash = blake3::hash(token.as_bytes());
        let state = self.state();
        // All are looked at, whichever it is.
        let found = state.tokens.iter().filter(|held| held.hash == hash).fold(None, |_, held| Some(held));
        if let Some(root) = state.root.as_ref().filter(|root| root.hash == hash) {
            let end = Some(End { revoked: root.replaced.clone(), left: None });
            return Ok(Caller {
                who: Who::ApiToken,
                scope: Scope::Admin,
                topics: Topics::all(),
                end,
                deeds: None,
            });
        }
        let (held, now) = (found.ok_or(CallError::UnknownToken)?, now_ms());
        if held.key.revoked_ms.is_some() {
            return Err(CallError::TokenRevoked);
        }
        if held.key.has_expired(now) {
            return Err(CallError::TokenExpired);
        }
        held.last_used_ms.store(now, Relaxed);
        Ok(held.caller(now))
    }

    /// What is known of each token: those that open by their names, then the others.
    pub fn all(&self) -> Vec<Key> {
        let now = now_ms();
        let mut keys: Vec<Key> = self.state().tokens.iter().map(Held::now).collect();
        keys.sort_by(|a, b| (!a.opens(now), &a.name).cmp(&(!b.opens(now), &b.name)));
        keys
    }

    /// Makes a token. Answers its secret, too.
    ///
    /// # Errors
    /// When it cannot be as it is wanted, when there are too many, or the file cannot be written.
    pub fn create(&self, wanted: Wanted) -> Result<(Key, String), CallError> {
        let Wanted { name, scope, topics, expires } = wanted;
        check_name(&name)?;
        check_topics(scope, &topics)?;
        if expires.is_some_and(|life| life > MAX_LIFE) {
            return Err(invalid("a token expires within a hundred years, or not at all"));
        }
        let _one_at_a_time = self.0.changing.lock().unwrap_or_else(PoisonError::into_inner);
        if self.is_changed_by_hand().map_err(CallError::Broken)? {
            return Err(invalid(format!("{TOKENS} was changed by hand: send the node `kill -HUP` first")));
        }
        let (now, mut keys) = (now_ms(), self.all());
        if keys.iter().any(|key| key.name == name && key.opens(now)) {
            return Err(invalid(format!(
                "there is a token {name} already: revoke it, or choose another name"
            )));
        }
        if keys.iter().filter(|key| key.opens(now)).count() >= MAX_TOKENS {
            return Err(CallError::TooManyTokens(MAX_TOKENS));
        }
        // One name is one token: who had it before is told no more than that its token is unknown.
        keys.retain(|key| key.name != name);
        forget_retired(&mut keys, now);
        let secret = secret().map_err(CallError::Broken)?;
        let key = Key {
            name,
            hash: blake3::hash(secret.as_bytes()).to_string(),
            scope,
            topics,
            created_ms: now,
            expires_ms: expires.map(|life| now.saturating_add(life.as_millis() as u64)),
            last_used_ms: None,
            revoked_ms: None,
        };
        keys.push(key.clone());
        self.write(keys)?;
        Ok((key, secret))
    }

    /// Ends a token, at once and whatever becomes of the file.
    ///
    /// # Errors
    /// When there is none of this name that opens, or the file cannot be written; then it ends until the next start.
    pub fn revoke(&self, name: &str) -> Result<(), CallError> {
        check_name(name)?;
        let _one_at_a_time = self.0.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let (now, mut keys) = (now_ms(), self.all());
        let key = keys.iter_mut().find(|key| key.name == name && key.opens(now));
        key.ok_or_else(|| CallError::NoSuchToken(name.to_owned()))?.revoked_ms = Some(now);
        let by_hand = self.is_changed_by_hand();
        let ended = self.take(keys.clone()).and_then(|()| {
            // What somebody changed in the file stays, and waits for who changed it.
            let mut written = if by_hand? { read(&self.0.data_dir)? } else { keys };
            for key in written.iter_mut().filter(|key| key.name == name) {
                key.revoked_ms.get_or_insert(now);
            }
            write(&self.0.data_dir, &written)
        });
        ended
            .with_context(|| {
                format!(
                    "{name} opens nothing any more until the node starts again: it could not be written down"
                )
            })
            .map_err(CallError::Broken)
    }

    /// Whether the file says otherwise than what was written or read last, but for when tokens were used.
    fn is_changed_by_hand(&self) -> anyhow::Result<bool> {
        let without_uses = |keys: Vec<Key>| {
            let mut keys: Vec<Key> = keys.into_iter().map(|key| Key { last_used_ms: None, ..key }).collect();
            keys.sort_by(|a, b| (&a.name, &a.hash).cmp(&(&b.name, &b.hash)));
            keys
        };
        Ok(without_uses(read(&self.0.data_dir)?) != without_uses(self.all()))
    }

    /// Reads the files anew. Answers how many tokens open that did not, and how many do no more.
    ///
    /// # Errors
    /// When one cannot be read; then all is as it was.
    pub fn reload(&self) -> anyhow::Result<(usize, usize)> {
        let _one_at_a_time = self.0.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let root = if self.0.has_root { Some(load_root(&self.0.data_dir)?) } else { None };
        let keys = read(&self.0.data_dir)?;
        let now = now_ms();
        let hashes = |keys: &[Key]| -> Vec<String> {
            keys.iter().filter(|key| key.opens(now)).map(|key| key.hash.clone()).collect()
        };
        let (mut before, mut after) = (hashes(&self.all()), hashes(&keys));
        before.extend(self.state().root.as_ref().map(|root| root.hash.to_string()));
        after.extend(root.as_ref().map(|root| root.hash.to_string()));
        self.take(keys)?;
        let mut state = self.state_mut();
        if let (Some(old), Some(new)) = (&state.root, root)
            && old.hash != new.hash
        {
            old.replaced.cancel();
            state.root = Some(new);
        }
        let missing =
            |from: &[String], in_: &[String]| from.iter().filter(|hash| !in_.contains(hash)).count();
        Ok((missing(&after, &before), missing(&before, &after)))
    }

    /// Writes down now and then, and when the node stops, when tokens were used last.
    pub async fn keep_uses(self, stop: CancellationToken) {
        let mut is_over = false;
        while !is_over {
            tokio::select! {
                () = stop.cancelled() => is_over = true,
                () = tokio::time::sleep(WRITE_USES) => {}
            }
            let keys = self.clone();
            if let Err(error) = blocking(move || keys.write_uses()).await {
                tracing::warn!(
                    error = format!("{error:#}"),
                    "it is not written down when tokens were used last"
                );
            }
        }
    }

    fn write_uses(&self) -> anyhow::Result<()> {
        let _one_at_a_time = self.0.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let is_new = self.state().tokens.iter().any(|held| held.now() != held.key);
        // What somebody changed in the file is not written over, above all where a token was taken out of it.
        if is_new && !self.is_changed_by_hand()? { Ok(self.write(self.all())?) } else { Ok(()) }
    }

    /// Writes these to disk, then lets them open.
    fn write(&self, keys: Vec<Key>) -> Result<(), CallError> {
        write(&self.0.data_dir, &keys).and_then(|()| self.take(keys)).map_err(CallError::Broken)
    }

    /// Lets these open and no others. What was begun with one that is no more is ended.
    fn take(&self, keys: Vec<Key>) -> anyhow::Result<()> {
        let mut tokens = keys.into_iter().map(Held::new).collect::<Result<Vec<_>, _>>()?;
        let mut state = self.state_mut();
        for old in state.tokens.drain(..) {
            let same = |new: &&mut Held| new.hash == old.hash && new.key.revoked_ms.is_none();
            match tokens.iter_mut().find(same) {
                Some(new) if new.key.scope == old.key.scope && new.topics == old.topics => {
                    new.last_used_ms.fetch_max(old.last_used_ms.load(Relaxed), Relaxed);
                    new.revoked = old.revoked;
                }
                _ => old.revoked.cancel(),
            }
        }
        state.tokens = tokens;
        Ok(())
    }

    fn state(&self) -> RwLockReadGuard<'_, State> {
        self.0.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn state_mut(&self) -> RwLockWriteGuard<'_, State> {
        self.0.state.write().unwrap_or_else(PoisonError::into_inner)
    }
}

fn check_name(name: &str) -> Result<(), CallError> {
    let is_plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let is_name = name.len() <= MAX_NAME_BYTES
        && name.bytes().next().is_some_and(is_plain)
        && name.bytes().all(|byte| is_plain(byte) || b"._-".contains(&byte));
    if is_name {
        return Ok(());
    }
    Err(invalid(format!(
        "a token's name is 1 to {MAX_NAME_BYTES} of a-z, 0-9, '.', '_' and '-', the first one a letter or digit"
    )))
}

fn check_topics(scope: Scope, topics: &[String]) -> Result<(), CallError> {
    if topics.len() > MAX_TOPICS {
        return Err(invalid(format!("{} topics are named; at most {MAX_TOPICS} are allowed", topics.len())));
    }
    if scope >= Scope::Admin && !topics.is_empty() {
        return Err(invalid(
            "a token with the scope admin cannot be limited to topics: give it read or write",
        ));
    }
    topics.iter().try_for_each(|topic| Topic::new(topic.as_str()).map(drop).map_err(CallError::from))
}

/// Lets those go that retired first, where too many are remembered.
fn forget_retired(keys: &mut Vec<Key>, now: u64) {
    keys.sort_by_key(|key| key.retired_ms(now));
    let retired = keys.iter().filter(|key| !key.opens(now)).count();
    keys.drain(..retired.saturating_sub(MAX_RETIRED));
}

fn load_root(data_dir: &Path) -> anyhow::Result<Root> {
    let token = load_or_create(&data_dir.join(TOKEN))?;
    Ok(Root { hash: blake3::hash(token.as_bytes()), replaced: CancellationToken::new() })
}

#[cfg(test)]
mod tests;
