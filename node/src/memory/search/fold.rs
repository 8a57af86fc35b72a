//! Repeats: of hits that say the same, the best one is shown, with how many there are like it.

use std::collections::BTreeSet;

use synapsenet_proto::Vector;
use synapsenet_storage::{StorageError, View};

use super::Hit;

/// Hits nearer to each other than this say the same, if they name the same.
const MIN_COSINE: f32 = 0.95;

/// Folds each hit into the first of those before it that says the same.
///
/// # Errors
/// When the store cannot be read.
pub(super) fn fold(view: &View, hits: Vec<Hit>) -> Result<Vec<Hit>, StorageError> {
    let mut kept: Vec<(Hit, Content)> = Vec::with_capacity(hits.len());
    for hit in hits {
        let content = Content::of(view, &hit)?;
        match kept.iter_mut().find(|(_, other)| other.says_what(&content)) {
            Some((better, _)) => better.copies += 1,
            None => kept.push((hit, content)),
        }
    }
    Ok(kept.into_iter().map(|(hit, _)| hit).collect())
}

/// What a hit says.
struct Content {
    fingerprint: [u8; 32],
    vector: Option<Vector>,
    /// Words with a digit in them. Notes that differ in these speak of different things, however alike they are: serial
    /// numbers, addresses, dates.
    names: BTreeSet<String>,
}

impl Content {
    fn of(view: &View, hit: &Hit) -> Result<Self, StorageError> {
        let grain = &hit.record.grain;
        let vector = match hit.model {
            Some(model) => view.vector(hit.record.slot, model)?.and_then(|vector| vector.decode().ok()),
            None => None,
        };
        let words = grain.text().split(|c: char| c.is_whitespace() || ",;()[]\"'".contains(c));
        let named = words.filter(|word| word.contains(|c: char| c.is_ascii_digit()));
        let names = named.map(|word| word.trim_end_matches(['.', ':', '?', '!']).to_lowercase()).collect();
        Ok(Self { fingerprint: grain.body().fingerprint(), vector, names })
    }

    fn says_what(&self, other: &Self) -> bool {
        let is_near = match (&self.vector, &other.vector) {
            (Some(this), Some(other)) => this.cosine(other).is_ok_and(|cosine| cosine >= MIN_COSINE),
            _ => false,
        };
        self.fingerprint == other.fingerprint || (is_near && self.names == other.names)
    }
}
