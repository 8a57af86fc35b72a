//! What the swarm counts. The node registers it with its own.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use crate::{Offence, PROTOCOLS};

/// The reason of a ban that the owner made.
pub(crate) const BY_HAND: &str = "by_hand";

/// One label.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct Reason {
    pub(crate) reason: &'static str,
}

/// What became of a message.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct Judged {
    pub(crate) verdict: &'static str,
}

/// Which way, by which protocol.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct Way {
    pub(crate) protocol: &'static str,
    pub(crate) direction: &'static str,
}

/// The swarm's metrics. Clones share their values.
#[derive(Debug, Clone, Default)]
pub struct Metrics {
    pub(crate) messages: Family<Judged, Counter>,
    pub(crate) offences: Family<Reason, Counter>,
    pub(crate) bans: Family<Reason, Counter>,
    pub(crate) peers: Gauge,
    pub(crate) refused_connections: Counter,
    pub(crate) dropped_announcements: Counter,
    pub(crate) dropped_questions: Counter,
    pub(crate) bytes: Family<Way, Counter>,
}

impl Metrics {
    /// Makes the metrics and registers them with the prefix `syn`.
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        metrics.begin();
        let registry = registry.sub_registry_with_prefix("syn");
        registry.register(
            "gossip_messages",
            "Announcements from peers, by verdict",
            metrics.messages.clone(),
        );
        registry.register("offences", "What peers should not have done, by reason", metrics.offences.clone());
        registry.register("bans", "Bans that were made, by reason", metrics.bans.clone());
        registry.register("peers", "Connected peers", metrics.peers.clone());
        let refused = metrics.refused_connections.clone();
        registry.register("refused_connections", "Connections refused at the gate", refused);
        let dropped = metrics.dropped_announcements.clone();
        registry.register(
            "dropped_announcements",
            "Announcements dropped because the node was busy",
            dropped,
        );
        let dropped = metrics.dropped_questions.clone();
        registry.register(
            "dropped_questions",
            "Questions of peers dropped because the node was busy",
            dropped,
        );
        registry.register("network_bytes", "Bytes by protocol and direction", metrics.bytes.clone());
        metrics
    }

    /// Has the series of the words that are known begin at nothing: one that begins at some number tells nobody that it grew.
    fn begin(&self) {
        for verdict in ["accepted", "ignored", "rejected"] {
            drop(self.messages.get_or_create(&Judged { verdict }));
        }
        for offence in Offence::ALL {
            let reason = offence.label();
            drop(self.offences.get_or_create(&Reason { reason }));
            if offence.penalty() > 0.0 {
                drop(self.bans.get_or_create(&Reason { reason }));
            }
        }
        drop(self.bans.get_or_create(&Reason { reason: BY_HAND }));
        for protocol in PROTOCOLS {
            for direction in ["sent", "received"] {
                drop(self.bytes.get_or_create(&Way { protocol, direction }));
            }
        }
    }
}
