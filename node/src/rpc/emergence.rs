//! Translates what is told of emergence.

use synapsenet_proto::{Topic, rpc};

use super::convert::{emergence_message, grain_message, whose_message};
use crate::calls::emergence::{Cluster, Digest, Explained, ScoredRecord, StandingOf, Wanted};
use crate::calls::{Call, CallError};

/// Which grains are meant.
pub(super) fn read_wanted(topic: String, since_ms: u64) -> Result<Wanted, CallError> {
    Ok(Wanted { topic: read_topic(topic)?, since_ms })
}

/// A topic; an empty name is any.
pub(super) fn read_topic(topic: String) -> Result<Option<Topic>, CallError> {
    Ok(if topic.is_empty() { None } else { Some(Topic::new(topic)?) })
}

pub(super) fn explained_message(call: &Call, explained: &Explained) -> rpc::ExplainEmergenceResponse {
    let weights = explained.weights.map(|weights| rpc::EmergenceWeights {
        novelty: weights.novelty.as_f64(),
        coherence: weights.coherence.as_f64(),
        reuse: weights.reuse.as_f64(),
        least_novelty: weights.least_novelty.as_f64(),
        least_coherence: weights.least_coherence.as_f64(),
    });
    let neighbours = explained.neighbours.iter().map(|neighbour| rpc::EmergenceNeighbour {
        grain: Some(grain_message(call, &neighbour.record, false)),
        cosine: neighbour.cosine.as_f64(),
        older: neighbour.is_older,
    });
    rpc::ExplainEmergenceResponse {
        grain: Some(grain_message(call, &explained.record, false)),
        emergence: explained.emergence.map(emergence_message),
        weights,
        neighbours: neighbours.collect(),
    }
}

pub(super) fn scored_messages(call: &Call, scored: &[ScoredRecord]) -> Vec<rpc::ScoredGrain> {
    scored.iter().map(|scored| scored_message(call, scored)).collect()
}

fn scored_message(call: &Call, (record, emergence): &ScoredRecord) -> rpc::ScoredGrain {
    let grain = Some(grain_message(call, record, false));
    rpc::ScoredGrain { grain, emergence: Some(emergence_message(*emergence)) }
}

pub(super) fn author_message(of: &StandingOf) -> rpc::EmergenceAuthor {
    rpc::EmergenceAuthor {
        author: of.author.to_string(),
        whose: whose_message(of.whose).into(),
        standing: of.standing.sum.as_f64(),
        grains: of.standing.grains,
        worthless: of.standing.worthless,
        refused: of.standing.refused,
        distrusted: of.distrusted,
    }
}

pub(super) fn digest_message(call: &Call, digest: Digest) -> rpc::DigestResponse {
    let cluster = |Cluster { central, ids, size }: Cluster| rpc::DigestCluster {
        central: Some(scored_message(call, &central)),
        ids,
        size: size as u64,
    };
    rpc::DigestResponse {
        grains: digest.grains,
        novel: scored_messages(call, &digest.novel),
        reused: scored_messages(call, &digest.reused),
        clusters: digest.clusters.into_iter().map(cluster).collect(),
    }
}
