//! Why a call has no answer: a reason for programs, words for people, and what to do next.

use std::time::Duration;

use synapsenet_index::IndexError;
use synapsenet_net::{DialError, NetError};
use synapsenet_proto::Refusal;
use synapsenet_storage::StorageError;

use crate::calls::access::Scope;
use crate::filter::FilterError;
use crate::memory::document::DocumentError;
use crate::memory::ingest::IngestError;
use crate::memory::search::SearchError;
use crate::memory::switch::SwitchError;
use crate::mesh::MeshError;
use crate::models::ModelsError;
use crate::models::embedder::EmbedError;
use crate::sources::SourceError;

/// How long somebody waits whom the node is too busy for: longer than most calls take, so that places are free again.
const A_MOMENT: Duration = Duration::from_secs(1);

/// Why a call has no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CallError {
    /// The request can never succeed.
    #[error("{0}")]
    Invalid(String),
    /// A part of it is refused: the error of that part, and its field in the whole.
    #[error("{error}")]
    Within {
        /// As above.
        field: String,
        error: Box<Self>,
    },
    /// It can never succeed because of one of its fields.
    #[error("{reason}")]
    InvalidField {
        /// Where it stands in the request, such as `filter.any[1].tags`.
        field: String,
        reason: String,
    },
    /// As many calls are being served as may be.
    #[error("as many calls as api.max_calls allows are being served: try again in a moment")]
    TooManyCalls,
    /// Nobody said who is asking.
    #[error(
        "send the token from api.token in the node's data folder, or one with a name, as `authorization: Bearer TOKEN`"
    )]
    NoToken,
    /// No token is like the one that was sent.
    #[error(
        "no token of this node is like that: send the one from api.token in its data folder, or one with a name"
    )]
    UnknownToken,
    /// The time of the token is over.
    #[error("the token has expired")]
    TokenExpired,
    /// The owner took the token back.
    #[error("the token was revoked")]
    TokenRevoked,
    /// The token does not allow it.
    #[error("the token has the scope {has}, and this needs {needed}")]
    ScopeNeeded {
        /// What it has.
        has: Scope,
        /// What it would need.
        needed: Scope,
    },
    /// The token is limited to topics.
    #[error("{0}")]
    TopicForbidden(String),
    /// No token has the name.
    #[error("no token that opens has the name {0}")]
    NoSuchToken(String),
    /// There are as many tokens as may be.
    #[error("there are {0} tokens, and no more may be")]
    TooManyTokens(usize),
    /// It was asked from elsewhere, with a token.
    #[error(
        "the node reads folders of its machine, also models, and makes tokens and backups only for those who are on it: ask over the \
         unix socket in its data folder"
    )]
    NotHere,
    /// The disk has too little room for the copy that a backup is made of.
    #[error(
        "a backup takes {needed} bytes on the disk of the data folder while it is made, and there are {free}"
    )]
    NoRoomForBackup {
        /// What it takes.
        needed: u64,
        /// What there is.
        free: u64,
    },
    /// A backup is being made.
    #[error("another backup is being made: try again when it is done")]
    BackupRuns,
    /// No grain has this id.
    #[error("no grain has the id {0} (retracted ones are gone)")]
    NoGrain(String),
    /// Nothing of this node's own author was taken from the document.
    #[error("nothing here was taken from the document {0:?}")]
    NoDocument(String),
    /// The cursor of a watch says nothing here.
    #[error("{0}")]
    NoCursor(&'static str),
    /// Somebody else sealed the grain.
    #[error("only its author can withdraw a grain, and this node is not that")]
    NotTheAuthor,
    /// A retraction was named where a note is meant.
    #[error("{0}")]
    NotANote(&'static str),
    /// As many authors are followed or blocked as may be.
    #[error("{0} authors are followed or blocked, and no more may be: take back what is said of some")]
    TooManyRules(usize),
    /// As many notes are pinned as may be, by this caller.
    #[error(
        "{most} notes are pinned, and no more may be{}; there is room for as many as strangers may have here ({room})",
        if .most < .room { " by a token that is limited to topics" } else { "" }
    )]
    TooManyPins {
        /// As many as this caller may make it.
        most: u64,
        /// As many as the owner may.
        room: u64,
    },
    /// The node takes no part in a mesh.
    #[error("this node takes no part in a mesh")]
    NoMesh,
    /// No such peer is known, or banned.
    #[error("{0}")]
    NoPeer(String),
    /// The folder is not remembered.
    #[error("{0}")]
    NoSource(String),
    /// It takes no part in the topic.
    #[error("this node takes no part in the topic {0}")]
    NotJoined(String),
    /// A peer is not reached.
    #[error(transparent)]
    Dial(#[from] DialError),
    #[error(transparent)]
    Mesh(#[from] MeshError),
    #[error(transparent)]
    Models(#[from] ModelsError),
    /// The client's time for the call is over, or that of the node.
    #[error("the call had no answer when its time was over")]
    DeadlinePassed,
    /// The node is stopping.
    #[error("the node is stopping")]
    Stopping,
    /// Something is wrong with the node, its disk above all.
    #[error("{0:#}")]
    Broken(anyhow::Error),
    #[error(transparent)]
    Ingest(#[from] IngestError),
    #[error(transparent)]
    Embed(#[from] EmbedError),
    #[error(transparent)]
    Storage(#[from] StorageError),
    #[error(transparent)]
    Index(#[from] IndexError),
}

/// What went wrong, for programs. The names are part of the API and stay (see `ErrorReason` in the schema).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reason {
    InvalidRequest,
    TokenNeeded,
    TooManyCalls,
    GrainNotFound,
    GrainRefused,
    GrainRetracted,
    NotTheAuthor,
    NotANote,
    TooManyRules,
    SourceNotFound,
    SocketNeeded,
    TokenUnknown,
    TokenExpired,
    TokenRevoked,
    ScopeNeeded,
    TopicForbidden,
    TokenNotFound,
    TooManyTokens,
    TooManyPins,
    NodeFull,
    DiskFull,
    NoMesh,
    PeerNotFound,
    PeerForbidden,
    PeerUnreachable,
    TooManyPeers,
    TopicNotJoined,
    TooManyTopics,
    ModelNotFound,
    ModelRefused,
    ModelUnusable,
    ModelNotFetched,
    ModelNotLoaded,
    ModelBusy,
    ModelFailed,
    GivenUp,
    DeadlinePassed,
    Stopping,
    Fault,
    DocumentNotFound,
    CursorUnknown,
}

impl Reason {
    /// Each of them.
    #[cfg(test)]
    pub const ALL: [Self; 41] = [
        Self::InvalidRequest,
        Self::TokenNeeded,
        Self::TooManyCalls,
        Self::GrainNotFound,
        Self::GrainRefused,
        Self::GrainRetracted,
        Self::NotTheAuthor,
        Self::NotANote,
        Self::TooManyRules,
        Self::NodeFull,
        Self::DiskFull,
        Self::NoMesh,
        Self::PeerNotFound,
        Self::SourceNotFound,
        Self::SocketNeeded,
        Self::TokenUnknown,
        Self::TokenExpired,
        Self::TokenRevoked,
        Self::ScopeNeeded,
        Self::TopicForbidden,
        Self::TokenNotFound,
        Self::TooManyTokens,
        Self::TooManyPins,
        Self::PeerForbidden,
        Self::PeerUnreachable,
        Self::TooManyPeers,
        Self::TopicNotJoined,
        Self::TooManyTopics,
        Self::ModelNotFound,
        Self::ModelRefused,
        Self::ModelUnusable,
        Self::ModelNotFetched,
        Self::ModelNotLoaded,
        Self::ModelBusy,
        Self::ModelFailed,
        Self::GivenUp,
        Self::DeadlinePassed,
        Self::Stopping,
        Self::Fault,
        Self::DocumentNotFound,
        Self::CursorUnknown,
    ];

    /// Its name for programs.
    pub fn name(self) -> &'static str {
        self.words().0
    }

    /// After what time the same request may succeed; none where something else has to be done first.
    pub fn retry_after(self) -> Option<Duration> {
        match self {
            Self::TooManyCalls | Self::ModelBusy | Self::TooManyPeers | Self::Stopping => Some(A_MOMENT),
            _ => None,
        }
    }

    /// What to do next.
    pub fn hint(self) -> &'static str {
        self.words().1
    }

    fn words(self) -> (&'static str, &'static str) {
        match self {
            Self::InvalidRequest => {
                ("INVALID_REQUEST", "change what was asked; --help says what each argument takes")
            }
            Self::TokenNeeded => {
                ("TOKEN_NEEDED", "name the file with this node's token: --api-token-file DIR/api.token")
            }
            Self::TokenUnknown => (
                "TOKEN_UNKNOWN",
                "name the file with a token of this node (--api-token-file); its owner makes one with `synapsenet token create`",
            ),
            Self::TokenExpired => {
                ("TOKEN_EXPIRED", "ask the node's owner for another: `synapsenet token create NAME`")
            }
            Self::TokenRevoked => {
                ("TOKEN_REVOKED", "ask the node's owner for another: `synapsenet token create NAME`")
            }
            Self::ScopeNeeded => (
                "SCOPE_NEEDED",
                "ask the node's owner for a token with that scope: `synapsenet token create NAME --scope SCOPE`",
            ),
            Self::TopicForbidden => {
                ("TOPIC_FORBIDDEN", "name a topic of the token with --topic, or use one without limits")
            }
            Self::TokenNotFound => ("TOKEN_NOT_FOUND", "`synapsenet token list` shows those that there are"),
            Self::TooManyTokens => ("TOO_MANY_TOKENS", "revoke one: `synapsenet token revoke NAME`"),
            Self::TooManyPins => (
                "TOO_MANY_PINS",
                "unpin some, which `synapsenet list --all` marks, or raise storage.hnsw_max_elements",
            ),
            Self::TooManyCalls => {
                ("TOO_MANY_CALLS", "try again in a moment; `synapsenet status` shows what the node is doing")
            }
            Self::GrainNotFound => ("GRAIN_NOT_FOUND", "`synapsenet list` shows the grains that there are"),
            Self::GrainRefused => {
                ("GRAIN_REFUSED", "change what was asked; --help says what each argument takes")
            }
            Self::GrainRetracted => ("GRAIN_RETRACTED", "to say it again, change its text"),
            Self::NotTheAuthor => ("NOT_THE_AUTHOR", "`synapsenet id` shows who this node's author is"),
            Self::NotANote => ("NOT_A_NOTE", "name the grain itself: `synapsenet list` shows them"),
            Self::TooManyRules => {
                ("TOO_MANY_RULES", "`synapsenet authors clear KEY` takes back what is said of an author")
            }
            Self::NodeFull => {
                ("NODE_FULL", "raise storage.hnsw_max_elements and start the node again, or forget grains")
            }
            Self::DiskFull => {
                ("DISK_FULL", "make room on the disk of the data folder; the node then goes on by itself")
            }
            Self::NoMesh => ("NO_MESH", "start the node without --offline and with network.enabled = true"),
            Self::SocketNeeded => (
                "SOCKET_NEEDED",
                "run the command on the node's machine, without --api; files are added from elsewhere by `synapsenet add`",
            ),
            Self::SourceNotFound => {
                ("SOURCE_NOT_FOUND", "`synapsenet sources list` shows which folders are remembered")
            }
            Self::PeerNotFound => {
                ("PEER_NOT_FOUND", "`synapsenet peers --known --banned` shows those that there are")
            }
            Self::PeerForbidden => (
                "PEER_FORBIDDEN",
                "`synapsenet peers --banned` shows who is banned; see network.allow and network.block",
            ),
            Self::PeerUnreachable => (
                "PEER_UNREACHABLE",
                "check that the node there runs, and its address with `synapsenet id` there; a firewall may drop it",
            ),
            Self::TooManyPeers => {
                ("TOO_MANY_PEERS", "try again in a moment; `synapsenet status` shows what the node is doing")
            }
            Self::TopicNotJoined => ("TOPIC_NOT_JOINED", "join it first: `synapsenet topics join TOPIC`"),
            Self::TooManyTopics => ("TOO_MANY_TOPICS", "leave one with `synapsenet topics leave TOPIC`"),
            Self::ModelNotFound => {
                ("MODEL_NOT_FOUND", "`synapsenet models` shows which there are, and their states")
            }
            Self::ModelRefused => {
                ("MODEL_REFUSED", "`synapsenet models` shows which there are, and their states")
            }
            Self::ModelUnusable => {
                ("MODEL_UNUSABLE", "see index/models in the project for what a model's folder holds")
            }
            Self::ModelNotFetched => (
                "MODEL_NOT_FETCHED",
                "check the connection to the hub (ai.hub) and fetch it again: it goes on where it was; or copy the files from \
                 elsewhere and use `synapsenet models add DIR`",
            ),
            Self::ModelNotLoaded => (
                "MODEL_NOT_LOADED",
                "the log of the node says why; `synapsenet models use NAME` takes another",
            ),
            Self::ModelBusy => {
                ("MODEL_BUSY", "try again in a moment; `synapsenet status` shows what the node is doing")
            }
            Self::ModelFailed => {
                ("MODEL_FAILED", "the log of the node says more; `synapsenet verify` checks what is stored")
            }
            Self::GivenUp => ("GIVEN_UP", "ask again, and wait for the answer"),
            Self::DeadlinePassed => (
                "DEADLINE_PASSED",
                "try again with more time; `synapsenet status` shows what the node is doing",
            ),
            Self::DocumentNotFound => {
                ("DOCUMENT_NOT_FOUND", "`synapsenet list --documents` shows those that there are")
            }
            Self::CursorUnknown => {
                ("CURSOR_UNKNOWN", "watch without a cursor; `synapsenet list` shows what came in meanwhile")
            }
            Self::Stopping => {
                ("STOPPING", "start the node again with `synapsenet run`, then repeat the command")
            }
            Self::Fault => {
                ("FAULT", "the log of the node says more; `synapsenet verify` checks what is stored")
            }
        }
    }
}

impl CallError {
    /// What went wrong, for programs.
    pub fn reason(&self) -> Reason {
        match self {
            Self::Invalid(_) | Self::InvalidField { .. } => Reason::InvalidRequest,
            Self::Within { error, .. } => error.reason(),
            Self::TooManyCalls => Reason::TooManyCalls,
            Self::NoToken => Reason::TokenNeeded,
            Self::NoGrain(_) => Reason::GrainNotFound,
            Self::NoDocument(_) => Reason::DocumentNotFound,
            Self::NoCursor(_) => Reason::CursorUnknown,
            Self::NotTheAuthor => Reason::NotTheAuthor,
            Self::NotANote(_) => Reason::NotANote,
            Self::TooManyRules(_) => Reason::TooManyRules,
            Self::TooManyPins { .. } => Reason::TooManyPins,
            Self::NoMesh => Reason::NoMesh,
            Self::NoPeer(_) => Reason::PeerNotFound,
            Self::NoSource(_) => Reason::SourceNotFound,
            Self::NotHere => Reason::SocketNeeded,
            Self::BackupRuns => Reason::TooManyCalls,
            Self::NoRoomForBackup { .. } => Reason::DiskFull,
            Self::UnknownToken => Reason::TokenUnknown,
            Self::TokenExpired => Reason::TokenExpired,
            Self::TokenRevoked => Reason::TokenRevoked,
            Self::ScopeNeeded { .. } => Reason::ScopeNeeded,
            Self::TopicForbidden(_) => Reason::TopicForbidden,
            Self::NoSuchToken(_) => Reason::TokenNotFound,
            Self::TooManyTokens(_) => Reason::TooManyTokens,
            Self::NotJoined(_) => Reason::TopicNotJoined,
            Self::Dial(error) => match error {
                DialError::BadAddress(_) | DialError::Myself => Reason::InvalidRequest,
                DialError::Forbidden(_) => Reason::PeerForbidden,
                DialError::Failed(_) => Reason::PeerUnreachable,
                DialError::Full => Reason::TooManyPeers,
                DialError::Stopped => Reason::Stopping,
            },
            Self::Mesh(error) => match error {
                MeshError::TooManyTopics => Reason::TooManyTopics,
                MeshError::Net(_) => Reason::Stopping,
                MeshError::Unkept(_) => Reason::Fault,
            },
            Self::Models(error) => match error {
                ModelsError::NotFound(_) => Reason::ModelNotFound,
                ModelsError::Refused(_) => Reason::ModelRefused,
                ModelsError::Unusable(_) => Reason::ModelUnusable,
                ModelsError::Failed(_) => Reason::ModelNotFetched,
                ModelsError::GivenUp => Reason::GivenUp,
            },
            Self::DeadlinePassed => Reason::DeadlinePassed,
            Self::Stopping => Reason::Stopping,
            Self::Ingest(IngestError::Refused(refusal)) => match refusal {
                Refusal::NodeFull(_) => Reason::NodeFull,
                Refusal::Retracted => Reason::GrainRetracted,
                _ => Reason::GrainRefused,
            },
            Self::Ingest(IngestError::Storage(error)) => of_storage(error),
            Self::Storage(error) => of_storage(error),
            Self::Ingest(IngestError::Stopped) | Self::Embed(EmbedError::Stopped) => Reason::Stopping,
            Self::Embed(EmbedError::Busy) => Reason::ModelBusy,
            Self::Embed(EmbedError::NotLoaded(_)) => Reason::ModelNotLoaded,
            Self::Embed(EmbedError::Failed(_)) => Reason::ModelFailed,
            Self::Broken(_) | Self::Index(_) => Reason::Fault,
        }
    }

    /// The field of the request that is wrong; of a draft, the field in it.
    pub fn field(&self) -> Option<&str> {
        match self {
            Self::InvalidField { field, .. } | Self::Within { field, .. } => Some(field),
            Self::Ingest(IngestError::Refused(refusal)) => field_of(refusal),
            _ => None,
        }
    }

    /// As the error of a part of a request that stands there in it: `searches[2]`, `draft`.
    pub fn within(self, part: &str) -> Self {
        match self {
            Self::InvalidField { field, reason } => invalid_in(join(part, &field), reason),
            error => match error.field() {
                Some(field) => Self::Within { field: join(part, field), error: Box::new(error) },
                None => error,
            },
        }
    }

    /// Whether nothing of the kind can succeed before the node has changed: what is left of a batch need not be tried.
    pub fn ends_a_batch(&self) -> bool {
        matches!(self.reason(), Reason::DiskFull | Reason::Stopping | Reason::Fault)
    }
}

fn of_storage(error: &StorageError) -> Reason {
    match error {
        StorageError::Full { .. } => Reason::DiskFull,
        _ => Reason::Fault,
    }
}

impl From<FilterError> for CallError {
    fn from(error: FilterError) -> Self {
        invalid_in(join("filter", &error.field()), error.to_string())
    }
}

impl From<Refusal> for CallError {
    fn from(refusal: Refusal) -> Self {
        Self::Ingest(refusal.into())
    }
}

impl From<NetError> for CallError {
    fn from(error: NetError) -> Self {
        Self::Mesh(error.into())
    }
}

impl From<SearchError> for CallError {
    fn from(error: SearchError) -> Self {
        match error {
            SearchError::Embed(error) => error.into(),
            SearchError::Index(error) => error.into(),
            SearchError::Storage(error) => error.into(),
            SearchError::NotHere(id) => Self::NoGrain(id.to_string()),
            error @ SearchError::NotRead(_) => Self::Invalid(error.to_string()),
            SearchError::NoVector { field, reason } => invalid_in(field, reason),
        }
    }
}

impl From<SwitchError> for CallError {
    fn from(error: SwitchError) -> Self {
        match error {
            SwitchError::Models(error) => error.into(),
            SwitchError::Embed(error) => error.into(),
            SwitchError::Ingest(error) => error.into(),
            SwitchError::Space(error) => Self::Broken(error),
        }
    }
}

impl From<SourceError> for CallError {
    fn from(error: SourceError) -> Self {
        match error {
            SourceError::NotRemembered(_) => Self::NoSource(error.to_string()),
            SourceError::Refused(reason) => Self::Invalid(reason),
            SourceError::NotKept(error) => Self::Broken(error),
            SourceError::Document(error) => error.into(),
        }
    }
}

impl From<DocumentError> for CallError {
    fn from(error: DocumentError) -> Self {
        match error {
            DocumentError::Refused(reason) => Self::Invalid(reason),
            DocumentError::Unreadable(error) => Self::Invalid(error.to_string()),
            DocumentError::Ingest(error) => error.into(),
            DocumentError::Embed(error) => error.into(),
            DocumentError::Storage(error) => error.into(),
        }
    }
}

/// The field of a draft that is refused.
fn field_of(refusal: &Refusal) -> Option<&'static str> {
    match refusal {
        Refusal::BadTopic(_) => Some("topic"),
        Refusal::EmptyText | Refusal::TextTooLong(_) => Some("text"),
        Refusal::TitleTooLong(_) => Some("title"),
        Refusal::TooManyTags(_) | Refusal::BadTag(_) => Some("tags"),
        Refusal::BadLang(_) => Some("lang"),
        Refusal::BadMime(_) => Some("mime"),
        Refusal::BadSource => Some("source"),
        Refusal::TooManyLinks(_) | Refusal::BadLink => Some("links"),
        _ => None,
    }
}

fn join(part: &str, field: &str) -> String {
    if field.is_empty() { part.to_owned() } else { format!("{part}.{field}") }
}

/// A request that can never succeed because of this field, and why.
pub(crate) fn invalid_in(field: impl Into<String>, reason: impl Into<String>) -> CallError {
    CallError::InvalidField { field: field.into(), reason: reason.into() }
}

/// A request that can never succeed, and why.
pub(crate) fn invalid(reason: impl Into<String>) -> CallError {
    CallError::Invalid(reason.into())
}
