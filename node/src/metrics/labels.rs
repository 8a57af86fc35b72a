//! What tells the series of a family apart. Each value is one of a fixed set of words, or a topic that the owner joined: what strangers
//! send never becomes a series.

use prometheus_client::encoding::EncodeLabelSet;

/// Why something was refused.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct RefusalLabels {
    /// [`synapsenet_proto::Refusal::label`].
    pub reason: &'static str,
}

/// What became of a grain that a peer brought.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct ReceivedLabels {
    /// "gossip" or "sync".
    pub via: &'static str,
    /// "added", "duplicate", "refused" or "dropped".
    pub outcome: &'static str,
}

/// How something turned out.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct OutcomeLabels {
    /// One of a fixed set of words.
    pub outcome: &'static str,
}

/// What was looked up, and how it turned out.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct CacheLabels {
    /// "question" or "document".
    pub kind: &'static str,
    /// "hit" or "miss".
    pub outcome: &'static str,
}

/// Which way something went.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct DirectionLabels {
    /// "sent" or "received".
    pub direction: &'static str,
}

/// A call, and how it ended.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct CallLabels {
    /// SERVICE/METHOD as the schema has it, or "unknown".
    pub method: &'static str,
    /// The status of gRPC.
    pub code: &'static str,
}

/// A call.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct MethodLabels {
    /// As in [`CallLabels`].
    pub method: &'static str,
}

/// Where a client comes in.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct DoorLabels {
    /// "socket", "tcp" or "metrics".
    pub door: &'static str,
}

/// Where a client came in, and why it lost its connection.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct TurnedAwayLabels {
    /// As in [`DoorLabels`].
    pub door: &'static str,
    /// "full", "gave_way" or "silent".
    pub reason: &'static str,
}

/// How a search was made, and how it turned out.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct SearchLabels {
    /// "hybrid", "meaning" or "words".
    pub mode: &'static str,
    /// "found", "nothing", "refused" or "failed".
    pub outcome: &'static str,
}

/// What was measured for the page, and whether it was in time.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct MeasuredLabels {
    /// "store" or "mesh".
    pub part: &'static str,
    /// "done" or "late".
    pub outcome: &'static str,
}

/// Whose grains.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct WhoseLabels {
    /// "own", "followed" or "stranger".
    pub whose: &'static str,
}

/// Why these grains of strangers gave way, and no others.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct LetGoLabels {
    /// "score" or "age".
    pub reason: &'static str,
}

/// What grains add.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct ScoreLabels {
    /// "nothing", "low", "middle" or "high".
    pub score: &'static str,
}

/// What waits for a model.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct KindLabels {
    /// "question" or "document".
    pub kind: &'static str,
}

/// How a folder stands.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct StateLabels {
    /// "sound", "paused" or "problem".
    pub state: &'static str,
}

/// How a peer is connected.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct PeerLabels {
    /// "inbound" or "outbound".
    pub direction: &'static str,
    /// "tcp", "quic", "relayed" or "other".
    pub transport: &'static str,
}

/// A topic that this node takes part in.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, EncodeLabelSet)]
pub(crate) struct TopicLabels {
    /// Its name, or "(others)".
    pub topic: String,
}
