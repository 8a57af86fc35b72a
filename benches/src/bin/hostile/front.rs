//! What the two sides know of each other.

use std::collections::HashSet;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};

use synapsenet_benches::member::Member;
use synapsenet_benches::texts::Random;
use synapsenet_proto::GrainId;

use crate::bait::Bait;

/// The latest honest grains that are aimed at.
const MAX_AIMED_AT: usize = 256;

/// Where an honest node can be attacked.
pub struct Victim {
    /// As a multiaddress.
    pub mesh: String,
    /// The same port, as the system names it.
    pub port: String,
    /// The door for clients.
    pub api: String,
}

impl Victim {
    /// Of a node that listens on TCP.
    pub fn of(member: &Member) -> Option<Self> {
        let mesh = member.addresses().first()?.clone();
        let port = format!("127.0.0.1:{}", mesh.split('/').nth(4)?);
        let api = member.node().api_addresses().iter().find(|address| address.contains("127.0.0.1"))?;
        let api = api.trim_start_matches("http://").to_owned();
        Some(Self { mesh, port, api })
    }
}

/// The honest nodes as hostile peers see them, and what these have done so far.
pub struct Front {
    victims: Vec<Victim>,
    reach: usize,
    /// How many times longer pauses are than they might be.
    pub slower: u32,
    pub bait: Bait,
    aimed_at: Mutex<Vec<GrainId>>,
    peers: Mutex<HashSet<String>>,
    /// Attacks made: messages said, questions begun, sockets opened.
    pub attacks: AtomicU64,
    /// Times that a hostile peer was cut off by all its victims, or let in by none.
    pub cut_off: AtomicU64,
    pub not_let_in: AtomicU64,
}

impl Front {
    /// `reach`: honest nodes that each hostile peer connects to.
    pub fn new(victims: Vec<Victim>, reach: usize, slower: u32, bait: Bait) -> Self {
        Self {
            victims,
            reach,
            slower,
            bait,
            aimed_at: Mutex::default(),
            peers: Mutex::default(),
            attacks: AtomicU64::new(0),
            cut_off: AtomicU64::new(0),
            not_let_in: AtomicU64::new(0),
        }
    }

    /// Some honest nodes to go for.
    pub fn choose(&self, random: &mut Random) -> Vec<&Victim> {
        let mut victims: Vec<_> = self.victims.iter().collect();
        let count = self.reach.min(victims.len());
        (0..count).map(|_| victims.swap_remove(random.below(victims.len()))).collect()
    }

    /// An honest grain that hostile peers may name.
    pub fn aim_at(&self, grain: GrainId) {
        let mut aimed_at = locked(&self.aimed_at);
        if aimed_at.len() == MAX_AIMED_AT {
            aimed_at.remove(0);
        }
        aimed_at.push(grain);
    }

    /// One of these.
    pub fn target(&self, random: &mut Random) -> Option<GrainId> {
        let aimed_at = locked(&self.aimed_at);
        (!aimed_at.is_empty()).then(|| aimed_at[random.below(aimed_at.len())])
    }

    /// A hostile peer was let in somewhere.
    pub fn came(&self, peer: String) {
        locked(&self.peers).insert(peer);
    }

    /// Whether this is a hostile peer.
    pub fn is_hostile(&self, peer: &str) -> bool {
        locked(&self.peers).contains(peer)
    }

    /// How many hostile peers were let in somewhere.
    pub fn hostile(&self) -> usize {
        locked(&self.peers).len()
    }

    /// Counts an attack.
    pub fn attacked(&self) {
        self.attacks.fetch_add(1, Relaxed);
    }
}

/// What is behind these locks is whole whoever panicked.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
