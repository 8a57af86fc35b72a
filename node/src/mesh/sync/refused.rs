//! What was fetched and refused, so that it is not fetched again in vain.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use synapsenet_proto::{AuthorId, GrainId};
use synapsenet_storage::{StorageError, View};

use crate::memory::admission::Rules;

/// Grains remembered: 7 MiB at most. Of more, the oldest are fetched and refused again.
const MAX_REFUSED: usize = 65_536;
/// How long a grain is left alone for which there is no room or no budget today.
const PUT_OFF_FOR: Duration = Duration::from_secs(24 * 3600);

/// Grains that were fetched and refused, so that they are not fetched again in vain. Bounded: the oldest are forgotten.
#[derive(Debug, Default)]
pub(super) struct RefusedIds {
    ids: Mutex<Remembered>,
}

/// Until when a grain is not fetched again.
#[derive(Debug)]
pub(super) enum Until {
    Ever,
    Time(Instant),
    /// Something of this author is here.
    Author(AuthorId),
}

#[derive(Debug, Default)]
struct Remembered {
    grains: HashMap<GrainId, Until>,
    /// The oldest comes first.
    order: VecDeque<GrainId>,
    /// The rules by which they were refused: by others, they are fetched again.
    rules: Arc<Rules>,
}

impl RefusedIds {
    pub fn insert(&self, id: GrainId) {
        self.insert_until(id, Until::Ever);
    }

    /// Does not fetch a grain again today.
    pub fn put_off(&self, id: GrainId) {
        self.insert_for(id, PUT_OFF_FOR);
    }

    pub fn insert_for(&self, id: GrainId, time: Duration) {
        self.insert_until(id, Instant::now().checked_add(time).map_or(Until::Ever, Until::Time));
    }

    pub fn insert_until(&self, id: GrainId, until: Until) {
        let mut ids = self.lock();
        let Remembered { grains, order, .. } = &mut *ids;
        if grains.insert(id, until).is_none() {
            order.push_back(id);
        }
        if order.len() > MAX_REFUSED
            && let Some(oldest) = order.pop_front()
        {
            grains.remove(&oldest);
        }
    }

    /// Those of the ids that are not to be left alone, by the rules that hold now.
    pub fn wanted(
        &self,
        ids: Vec<GrainId>,
        rules: &Arc<Rules>,
        view: &View,
    ) -> Result<Vec<GrainId>, StorageError> {
        let mut refused = self.lock();
        if !Arc::ptr_eq(&refused.rules, rules) {
            *refused = Remembered { rules: rules.clone(), ..Remembered::default() };
        }
        let now = Instant::now();
        let mut wanted = Vec::with_capacity(ids.len());
        for id in ids {
            let is_wanted = match refused.grains.get(&id) {
                None => true,
                Some(Until::Ever) => false,
                Some(Until::Time(time)) => now >= *time,
                Some(Until::Author(author)) => view.grains_by(author)? > 0,
            };
            if is_wanted {
                wanted.push(id);
            }
        }
        Ok(wanted)
    }

    fn lock(&self) -> MutexGuard<'_, Remembered> {
        self.ids.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Fixture, author, note};

    fn id(n: usize) -> GrainId {
        GrainId::from_bytes(blake3::hash(&n.to_le_bytes()).into())
    }

    #[test]
    fn of_too_many_refused_the_oldest_are_forgotten() {
        let (refused, view) = (RefusedIds::default(), Fixture::new().view());
        for n in 0..=MAX_REFUSED {
            refused.insert(id(n));
        }
        let rules = refused.lock().rules.clone();
        let wanted = refused.wanted(vec![id(0), id(1), id(MAX_REFUSED)], &rules, &view).unwrap();
        assert_eq!(wanted, [id(0)]);
        refused.put_off(id(0));
        assert!(refused.wanted(vec![id(0)], &rules, &view).unwrap().is_empty());
        let others = Arc::new(Rules::default());
        let wanted = refused.wanted(vec![id(0), id(1)], &others, &view).unwrap();
        assert_eq!(wanted.len(), 2, "other rules, another try");
    }

    #[tokio::test]
    async fn a_retraction_by_somebody_unknown_is_wanted_again_once_something_of_its_author_is_here() {
        let (refused, node) = (RefusedIds::default(), Fixture::new());
        refused.insert_until(id(1), Until::Author(author(1).author()));
        let rules = refused.lock().rules.clone();
        let wanted = || refused.wanted(vec![id(1)], &rules, &node.view()).unwrap();
        node.ingest.put(note(&author(2), "another's"), true).await.unwrap();
        assert!(wanted().is_empty());
        node.ingest.put(note(&author(1), "its author's"), true).await.unwrap();
        assert_eq!(wanted(), [id(1)]);
    }
}
