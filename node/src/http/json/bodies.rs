//! How many bodies are in memory at the same time: so many of all callers and so many of one, from before the first byte until the
//! message that they say is on its way. Others wait, those of a busy caller behind its own.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use futures::Stream;
use prost_reflect::DynamicMessage;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::calls::access::Who;

/// Bodies of all callers.
const MAX_BODIES: usize = 16;
/// Bodies of one caller, so that none keeps the others out.
const MAX_OF_ONE: usize = 4;

/// The places for bodies.
#[derive(Debug)]
pub(super) struct Bodies {
    all: Arc<Semaphore>,
    /// Of the callers that have a body here, or wait for a place.
    of_one: Mutex<HashMap<Who, Arc<Semaphore>>>,
}

/// A place, given back when it is dropped.
#[derive(Debug)]
pub(super) struct Place {
    _own: Option<OwnedSemaphorePermit>,
    _common: Option<OwnedSemaphorePermit>,
}

impl Default for Bodies {
    fn default() -> Self {
        Self { all: Arc::new(Semaphore::new(MAX_BODIES)), of_one: Mutex::default() }
    }
}

impl Bodies {
    /// Waits for a place.
    pub async fn place(&self, who: &Who) -> Place {
        let own = {
            let mut of_one = self.of_one.lock().unwrap_or_else(PoisonError::into_inner);
            // Whoever has a place, or waits for one, shares what gives it.
            of_one.retain(|_, places| Arc::strong_count(places) > 1);
            of_one.entry(who.clone()).or_insert_with(|| Arc::new(Semaphore::new(MAX_OF_ONE))).clone()
        };
        // Neither is ever closed.
        let _own = own.acquire_owned().await.ok();
        let _common = self.all.clone().acquire_owned().await.ok();
        Place { _own, _common }
    }
}

/// A message as the only one of a call. Its body has its place until more is asked for: then the message was written to the wire.
pub(super) fn only(
    message: DynamicMessage,
    place: Option<Place>,
) -> impl Stream<Item = DynamicMessage> + Send + 'static {
    futures::stream::unfold((Some(message), place), async |(message, place)| {
        message.map(|message| (message, (None, place)))
    })
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use futures::{FutureExt, StreamExt};

    use super::super::messages;
    use super::*;

    fn who(name: &str) -> Who {
        Who::Token(name.into())
    }

    #[test]
    fn one_caller_has_so_many_places_and_leaves_the_others_theirs() {
        let bodies = Bodies::default();
        let take = |name: &str| bodies.place(&who(name)).now_or_never();
        let mut held: Vec<Place> = (0..MAX_OF_ONE).map(|_| take("a").unwrap()).collect();
        assert!(take("a").is_none(), "the next one of the same caller waits");
        held.extend((MAX_OF_ONE..MAX_BODIES).map(|n| take(&format!("other-{n}")).unwrap()));
        assert!(take("b").is_none(), "there are no more places");
        held.clear();
        assert!(take("a").is_some() && take("b").is_some());
        assert_eq!(bodies.of_one.lock().unwrap().len(), 1, "who has none is forgotten");
    }

    #[test]
    fn a_place_is_kept_until_the_message_was_written() {
        let bodies = Bodies::default();
        let message =
            messages::read(messages::method("NodeService/Status").unwrap().input(), serde_json::json!({}));
        let place = bodies.place(&who("a")).now_or_never();
        assert!(place.is_some());
        let mut only = pin!(only(message.unwrap(), place));
        assert!(only.next().now_or_never().flatten().is_some());
        assert_eq!(bodies.all.available_permits(), MAX_BODIES - 1, "it is being written");
        assert!(only.next().now_or_never().unwrap().is_none());
        assert_eq!(bodies.all.available_permits(), MAX_BODIES);
    }
}
