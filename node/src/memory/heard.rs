//! What peers told of and is not stored here: the vectors that the model here gave it, so that the same answer to another
//! question costs nothing.

use std::num::NonZeroUsize;
use std::sync::{Mutex, PoisonError};

use lru::LruCache;
use synapsenet_proto::{GrainId, SpaceId, Vector};

/// Vectors kept, the latest used ones: at 1.5 kB each no more than 2 MB.
const MAX_HEARD: NonZeroUsize = NonZeroUsize::new(1024).expect("it is not zero");

/// Vectors by grain and model.
pub(crate) struct Heard(Mutex<LruCache<(GrainId, SpaceId), Vector>>);

impl Default for Heard {
    fn default() -> Self {
        Self(Mutex::new(LruCache::new(MAX_HEARD)))
    }
}

impl Heard {
    /// The vector of a grain, when it was computed lately.
    pub fn get(&self, id: GrainId, model: SpaceId) -> Option<Vector> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(&(id, model)).cloned()
    }

    /// Keeps the vector of a grain.
    pub fn keep(&self, id: GrainId, vector: &Vector) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.put((id, vector.model()), vector.clone());
    }
}
