//! Who may call, and what. Whoever can open the unix socket may do everything; whoever holds the token of the data folder may do
//! so from elsewhere, and there have nothing read from the files of this machine; whoever holds a token with a name may do what its
//! scope says, within the topics that it is limited to.

pub(crate) mod audit;
mod files;
mod keys;
mod scopes;
mod topics;

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

use crate::blocking::blocking;
use crate::calls::{Call, CallError};
use crate::connections::Right;
use crate::memory::emergence::uses::Asker;
use audit::{Deeds, Record};
pub(crate) use keys::{Key, Keys, Wanted};
#[cfg(test)]
pub(crate) use scopes::LEAST;
pub(crate) use scopes::recorded;
use scopes::{Within, need_of};
pub(crate) use topics::Topics;

/// What somebody may do: each scope has all that the ones before it have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Scope {
    /// Look.
    Read,
    /// Put, withdraw and share.
    Write,
    /// Everything that concerns grains, models, peers and tokens.
    Admin,
    /// Also what concerns the machine: have the node read its folders, and make tokens. Nobody has it over TCP.
    #[serde(skip)]
    Owner,
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::Admin => "admin",
            Self::Owner => "owner",
        })
    }
}

/// Who it is.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Who {
    /// Somebody on this machine, with the user id that the system says.
    Socket(Option<u32>),
    /// The holder of the token in the data folder.
    ApiToken,
    /// The holder of the token with this name.
    Token(Arc<str>),
}

impl fmt::Display for Who {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Socket(Some(uid)) => write!(f, "socket uid {uid}"),
            Self::Socket(None) => f.write_str("socket"),
            Self::ApiToken => f.write_str("api.token"),
            Self::Token(name) => write!(f, "token {name}"),
        }
    }
}

/// Somebody who asks for something, and what it may.
#[derive(Debug, Clone)]
pub(crate) struct Caller {
    who: Who,
    scope: Scope,
    topics: Topics,
    /// How it ends that it may; None when it does not.
    end: Option<End>,
    /// What the call does, where that is recorded.
    deeds: Option<Deeds>,
}

/// When a token is none any more.
#[derive(Debug, Clone)]
struct End {
    revoked: CancellationToken,
    left: Option<Duration>,
}

impl Caller {
    /// Somebody who opened the unix socket.
    pub fn on_socket(uid: Option<u32>) -> Self {
        Self { who: Who::Socket(uid), scope: Scope::Owner, topics: Topics::all(), end: None, deeds: None }
    }

    /// Who it is.
    pub fn who(&self) -> &Who {
        &self.who
    }

    /// Whether it is the owner of the node: whoever can open the socket.
    pub fn is_owner(&self) -> bool {
        self.scope == Scope::Owner
    }

    /// Whose use of a grain it is.
    pub fn asker(&self) -> Asker<Who> {
        let who = self.who.clone();
        if self.is_owner() { Asker::Owner(who) } else { Asker::Other(who) }
    }

    /// Whether it may make this call, named as the schema has it: SERVICE/METHOD. What no one knows is for those who may
    /// everything.
    ///
    /// # Errors
    /// With the scope that is needed, or why the call cannot be kept within the caller's topics.
    pub fn check(&self, method: &str) -> Result<(), CallError> {
        let need = need_of(method);
        if need.scope == Scope::Owner && self.scope < Scope::Owner {
            return Err(CallError::NotHere);
        }
        if self.scope < need.scope {
            return Err(CallError::ScopeNeeded { has: self.scope, needed: need.scope });
        }
        match need.within {
            Within::All => self.topics.check_all(),
            Within::Topics => Ok(()),
        }
    }

    /// Waits until the token with which somebody came is none any more, and says why. Never ends for those who need none.
    pub fn ended(&self) -> impl Future<Output = CallError> + Send + use<> {
        let end = self.end.clone();
        async move {
            let Some(End { revoked, left }) = end else { return std::future::pending().await };
            tokio::select! {
                biased;
                () = revoked.cancelled() => CallError::TokenRevoked,
                // The timer ends years later than anybody waits where no time is set.
                () = tokio::time::sleep(left.unwrap_or(Duration::MAX)) => CallError::TokenExpired,
            }
        }
    }

    /// The same with the record of the call, whose deeds are noted there.
    pub fn recorded(self, record: &Record) -> Self {
        Self { deeds: Some(record.deeds()), ..self }
    }

    /// For how long it may ask.
    pub fn right(&self) -> Right {
        match &self.end {
            None => Right::Lasting,
            Some(End { revoked, left }) => {
                let end = left.and_then(|left| Instant::now().checked_add(left));
                Right::Until { revoked: revoked.clone(), end }
            }
        }
    }

    /// Whether something can end it.
    pub fn can_end(&self) -> bool {
        self.end.is_some()
    }
}

impl Call {
    /// Makes a token. Answers what is known of it, and the secret, which is nowhere else.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn create_token(&self, wanted: Wanted) -> Result<(Key, String), CallError> {
        self.note_about(&wanted.name);
        let keys = self.parts.keys.clone();
        blocking(move || keys.create(wanted)).await
    }

    /// The tokens that there are.
    pub fn tokens(&self) -> Vec<Key> {
        self.parts.keys.all()
    }

    /// Ends a token, and the calls that were begun with it.
    ///
    /// # Errors
    /// When there is none of this name, or the file cannot be written.
    pub async fn revoke_token(&self, name: String) -> Result<(), CallError> {
        self.note_about(&name);
        let keys = self.parts.keys.clone();
        blocking(move || keys.revoke(&name)).await
    }

    /// SHA-256 of the certificate that the API shows, in hexadecimal digits; empty without TLS.
    pub fn api_fingerprint(&self) -> &str {
        &self.parts.api_fingerprint
    }
}

#[cfg(test)]
mod tests {
    use synapsenet_proto::Topic;

    use super::*;

    fn holder(scope: Scope, topics: &[&str]) -> Caller {
        let topics = Topics::only(topics.iter().map(|name| Topic::new(*name).unwrap()).collect());
        Caller { who: Who::Token("x".into()), scope, topics, end: None, deeds: None }
    }

    #[test]
    fn each_scope_may_what_the_ones_before_it_may() {
        let owner = Caller::on_socket(None);
        for (method, need) in LEAST {
            for scope in [Scope::Read, Scope::Write, Scope::Admin] {
                assert_eq!(holder(scope, &[]).check(method).is_ok(), scope >= need.scope, "{method} {scope}");
            }
            assert!(owner.check(method).is_ok(), "{method}");
        }
        let refused = holder(Scope::Read, &[]).check("NodeService/Put").unwrap_err();
        assert!(refused.to_string().contains("write"), "{refused}");
        assert!(matches!(
            holder(Scope::Admin, &[]).check("SourceService/AddSource"),
            Err(CallError::NotHere)
        ));
    }

    #[test]
    fn what_no_one_knows_is_for_those_who_may_everything() {
        assert!(holder(Scope::Write, &[]).check("NodeService/Destroy").is_err());
        assert!(holder(Scope::Admin, &[]).check("NodeService/Destroy").is_ok());
    }

    #[test]
    fn what_cannot_be_kept_within_topics_is_refused_to_who_is_limited_to_some() {
        let limited = holder(Scope::Read, &["a"]);
        assert!(limited.check("NodeService/Search").is_ok());
        let refused = limited.check("NodeService/ListAuthors").unwrap_err();
        assert!(matches!(refused, CallError::TopicForbidden(_)), "{refused}");
        assert!(holder(Scope::Read, &[]).check("NodeService/ListAuthors").is_ok());
    }

    #[tokio::test]
    async fn a_token_ends_when_it_is_revoked_or_its_time_is_over() {
        let revoked = CancellationToken::new();
        let mut caller = holder(Scope::Read, &[]);
        caller.end = Some(End { revoked: revoked.clone(), left: Some(Duration::ZERO) });
        assert!(matches!(caller.ended().await, CallError::TokenExpired));
        caller.end = Some(End { revoked: revoked.clone(), left: None });
        let ended = caller.ended();
        revoked.cancel();
        assert!(matches!(ended.await, CallError::TokenRevoked));
    }
}
