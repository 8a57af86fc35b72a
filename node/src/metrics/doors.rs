//! What clients do: their calls, how these ended and how long they took, and the connections that they come over.

use std::time::Duration;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;

use super::Names;
use super::labels::{CallLabels, DoorLabels, MethodLabels, TurnedAwayLabels};

/// Upper bounds of the times of calls in seconds. Few, because each method has them; the searches inside have finer ones.
const CALL_BUCKETS: [f64; 6] = [0.001, 0.01, 0.1, 1.0, 10.0, 60.0];
/// The codes that each method has from the start: a series that begins at some number tells nobody that it grew.
const CODES_FROM_THE_START: [&str; 3] = ["ok", "unauthenticated", "resource_exhausted"];
/// The code of whoever is not let in. Such calls take no time that says anything.
const NOT_LET_IN: &str = "unauthenticated";
/// The method of calls that the schema does not have, under whatever name.
pub(super) const UNKNOWN_METHOD: &str = "unknown";

/// What clients do. Clones share their values.
#[derive(Debug, Clone)]
pub(crate) struct Doors {
    calls: Family<CallLabels, Counter>,
    times: Family<MethodLabels, Histogram, fn() -> Histogram>,
    connections: Family<DoorLabels, Gauge>,
    turned_away: Family<TurnedAwayLabels, Counter>,
}

impl Default for Doors {
    fn default() -> Self {
        Self {
            calls: Family::default(),
            times: Family::new_with_constructor(|| Histogram::new(CALL_BUCKETS)),
            connections: Family::default(),
            turned_away: Family::default(),
        }
    }
}

impl Doors {
    pub(super) fn register(&self, names: &mut Names<'_>) {
        names.plain(
            "api_calls",
            "Calls of the API, by method and by how they ended; also those that were refused, over HTTP too, but for what is turned away there for its Host or its Origin header",
            &self.calls,
        );
        names.seconds(
            "api_call",
            "Time of one call from its request to the end of its answer, streams included; of those who are not let in, none",
            &self.times,
        );
        names.plain("client_connections", "Connections of clients that are open", &self.connections);
        names.plain(
            "refused_client_connections",
            "Connections of clients that were closed: all seats were taken (full), a newcomer took the seat of one that had shown no right \
             to it (gave_way), or nothing was said (silent)",
            &self.turned_away,
        );
    }

    /// Has the series of these methods begin at nothing.
    pub fn expect(&self, methods: impl Iterator<Item = &'static str>) {
        drop(self.calls.get_or_create(&CallLabels { method: UNKNOWN_METHOD, code: "unimplemented" }));
        for method in methods.chain([UNKNOWN_METHOD]) {
            for code in CODES_FROM_THE_START {
                drop(self.calls.get_or_create(&CallLabels { method, code }));
            }
        }
    }

    /// Counts a call that has ended so, after this time.
    pub fn called(&self, method: &'static str, code: &'static str, time: Duration) {
        self.calls.get_or_create(&CallLabels { method, code }).inc();
        if code != NOT_LET_IN {
            self.times.get_or_create(&MethodLabels { method }).observe(time.as_secs_f64());
        }
    }

    /// What the connections of one door are counted with.
    pub fn of(&self, door: &'static str) -> Door {
        let turned_away = |reason| self.turned_away.get_or_create_owned(&TurnedAwayLabels { door, reason });
        Door {
            open: self.connections.get_or_create_owned(&DoorLabels { door }),
            full: turned_away("full"),
            gave_way: turned_away("gave_way"),
            silent: turned_away("silent"),
        }
    }
}

/// The connections of one door. Clones share their values.
#[derive(Debug, Clone, Default)]
pub(crate) struct Door {
    /// Those that are open.
    pub open: Gauge,
    /// Turned away, because all seats are taken by those who are known.
    pub full: Counter,
    /// Closed, because a newcomer has the seat now.
    pub gave_way: Counter,
    /// Closed, because nothing was said.
    pub silent: Counter,
}
