//! The settings of the mesh, its profiles, and how they become those of the swarm.

use std::path::Path;

use serde::{Deserialize, Serialize};
use synapsenet_net::{Caps, Multiaddr, PeerId};
use synapsenet_proto::Topic;
use toml::Value;

use crate::machine;

/// Topics that a node may take part in: peers listen to no more of one node.
pub(crate) const MAX_TOPICS: usize = 256;

/// Where a node listens for peers unless somebody says otherwise: the families that the machine has not are passed over.
const LISTEN: [&str; 4] = [
    "/ip4/0.0.0.0/tcp/7716",
    "/ip4/0.0.0.0/udp/7716/quic-v1",
    "/ip6/::/tcp/7716",
    "/ip6/::/udp/7716/quic-v1",
];

/// The mesh. Private grains never leave the node, whatever is set here.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct NetworkConfig {
    /// Whether the node takes part in a mesh at all.
    pub enabled: bool,
    /// "lan", "home" or "server": sets the keys that nobody else sets. "lan" stays in the local network; "home" is found
    /// from outside through the router or a relay, and spares the line; "server" has a public address and serves others.
    pub profile: String,
    /// Addresses to listen on, as multiaddresses.
    pub listen: Vec<String>,
    /// Addresses at which others reach this node, when it cannot find them out.
    pub external: Vec<String>,
    /// Peers to begin with.
    pub bootstrap: Vec<String>,
    /// Peers that always have a seat: addresses with /p2p/PEER.
    pub reserved: Vec<String>,
    /// Topics to take part in from the start.
    pub topics: Vec<String>,
    /// Peers connected at the same time.
    pub max_peers: usize,
    /// Peers connected from one public address.
    pub max_per_address: usize,
    /// When any are named, only these peers may connect.
    pub allow: Vec<String>,
    /// These peers may not connect.
    pub block: Vec<String>,
    /// File with the key of a private mesh: 64 hexadecimal digits; only nodes with the same key connect.
    pub pre_shared_key_file: String,
    /// Find peers on the local network by multicast DNS.
    pub mdns: bool,
    /// Ask the router to forward a port.
    pub upnp: bool,
    /// Have peers test whether this node can be reached, and test it for them.
    pub autonat: bool,
    /// Be reached through relays where it cannot be reached directly.
    pub relay_client: bool,
    /// Relay for others.
    pub relay_server: bool,
    /// Bytes a second sent to peers at most; 0 means without limit.
    pub max_upload: u64,
    /// Bytes a second received from peers at most; 0 means without limit.
    pub max_download: u64,
    /// Resident memory in bytes above which no peer is let in; 0 means without limit. Three quarters of what the machine, or
    /// the container, lets this process have, unless it is set.
    pub max_memory: usize,
    /// Seconds between two comparisons with a random peer of each topic.
    pub sync_seconds: u64,
}

impl Default for NetworkConfig {
    fn default() -> Self {
        Self {
            enabled: true,
            profile: "lan".into(),
            listen: LISTEN.map(str::to_owned).into(),
            external: Vec::new(),
            bootstrap: Vec::new(),
            reserved: Vec::new(),
            topics: vec![synapsenet_proto::DEFAULT_TOPIC.into()],
            max_peers: 50,
            max_per_address: 8,
            allow: Vec::new(),
            block: Vec::new(),
            pre_shared_key_file: String::new(),
            mdns: true,
            upnp: false,
            autonat: false,
            relay_client: false,
            relay_server: false,
            max_upload: 0,
            max_download: 0,
            max_memory: default_max_memory(),
            sync_seconds: 60,
        }
    }
}

/// Three quarters of what this process may have: the rest is for what an answer under way takes. 0 where that is not known.
fn default_max_memory() -> usize {
    machine::memory_limit().map_or(0, |limit| usize::try_from(limit / 4 * 3).unwrap_or(usize::MAX))
}

/// The keys of the section and the values that a profile gives them; none when there is no such profile.
pub(super) fn profile(name: &str) -> Option<Vec<(&'static str, Value)>> {
    let yes = Value::Boolean(true);
    Some(match name {
        "lan" => Vec::new(),
        "home" => vec![
            ("network.upnp", yes.clone()),
            ("network.autonat", yes.clone()),
            ("network.relay_client", yes),
            ("network.max_upload", Value::Integer(1 << 20)),
            ("network.max_download", Value::Integer(4 << 20)),
        ],
        "server" => vec![
            ("network.mdns", Value::Boolean(false)),
            ("network.autonat", yes.clone()),
            ("network.relay_server", yes),
            ("network.max_peers", Value::Integer(200)),
        ],
        _ => return None,
    })
}

impl NetworkConfig {
    /// Says which key has a value that cannot be used, and why.
    pub(super) fn check(&self) -> Result<(), (&'static str, String)> {
        let lists = [
            ("network.listen", &self.listen),
            ("network.external", &self.external),
            ("network.bootstrap", &self.bootstrap),
            ("network.reserved", &self.reserved),
        ];
        for (key, list) in lists {
            for address in list {
                let parsed: Result<Multiaddr, _> = address.parse();
                let parsed = parsed.map_err(|error| {
                    (key, format!("{address:?} is no multiaddress ({error}); write for example /ip4/192.168.1.20/tcp/7716"))
                })?;
                if key == "network.reserved" && !address.contains("/p2p/") {
                    return Err((key, format!("{parsed} names no peer: end it with /p2p/PEER")));
                }
            }
        }
        for (key, list) in [("network.allow", &self.allow), ("network.block", &self.block)] {
            if let Some(wrong) = list.iter().find(|peer| peer.parse::<PeerId>().is_err()) {
                return Err((key, format!("{wrong:?} is no peer id; `synapsenet id` shows a node's")));
            }
        }
        if self.topics.len() > MAX_TOPICS {
            let reason = format!("a node takes part in at most {MAX_TOPICS} topics");
            return Err(("network.topics", reason));
        }
        for topic in &self.topics {
            Topic::new(topic.as_str()).map_err(|refusal| ("network.topics", refusal.to_string()))?;
        }
        if !self.pre_shared_key_file.is_empty() && self.listen.iter().any(|address| address.contains("/quic"))
        {
            let reason = "a private mesh runs over TCP alone: take the QUIC addresses out of network.listen";
            return Err(("network.listen", reason.into()));
        }
        Ok(())
    }

    /// The settings of the swarm. The configuration was checked before.
    ///
    /// # Errors
    /// When the file with the key of a private mesh cannot be used.
    pub(crate) fn to_swarm(&self) -> anyhow::Result<synapsenet_net::Config> {
        let Caps { max_peers, max_per_address, max_upload, max_download, max_memory } = self.caps();
        let pre_shared_key = match self.pre_shared_key_file.as_str() {
            "" => None,
            path => Some(read_key(Path::new(path))?),
        };
        Ok(synapsenet_net::Config {
            listen: parse(&self.listen),
            listen_where_possible: false,
            external: parse(&self.external),
            bootstrap: parse(&self.bootstrap),
            reserved: parse(&self.reserved),
            max_peers,
            max_per_address,
            allow: parse(&self.allow),
            block: parse(&self.block),
            pre_shared_key,
            mdns: self.mdns,
            upnp: self.upnp,
            autonat: self.autonat,
            relay_client: self.relay_client,
            relay_server: self.relay_server,
            max_upload,
            max_download,
            max_memory,
            layer: None,
        })
    }

    /// What of the settings of the swarm can be changed while it runs.
    pub(crate) fn caps(&self) -> Caps {
        let cap = |bytes: u64| (bytes > 0).then_some(bytes);
        Caps {
            max_peers: self.max_peers,
            max_per_address: self.max_per_address,
            max_upload: cap(self.max_upload),
            max_download: cap(self.max_download),
            max_memory: (self.max_memory > 0).then_some(self.max_memory),
        }
    }
}

/// What was checked before parses.
fn parse<T: std::str::FromStr>(list: &[String]) -> Vec<T> {
    list.iter().filter_map(|text| text.parse().ok()).collect()
}

fn read_key(path: &Path) -> anyhow::Result<[u8; 32]> {
    use anyhow::Context;
    let shown = path.display();
    let text = std::fs::read_to_string(path).with_context(|| {
        format!("cannot read the key of the private mesh, {shown} (network.pre_shared_key_file)")
    })?;
    let key = data_encoding::HEXLOWER_PERMISSIVE.decode(text.trim().as_bytes()).ok();
    key.and_then(|key| key.try_into().ok()).with_context(|| {
        format!("{shown} holds no key: it must be 64 hexadecimal digits, the same on every node")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_address_peer_or_topic_is_refused_by_its_key() {
        let with = |change: fn(&mut NetworkConfig)| {
            let mut config = NetworkConfig::default();
            change(&mut config);
            config.check()
        };
        assert_eq!(with(|_| ()), Ok(()));
        let key = |change| with(change).unwrap_err().0;
        assert_eq!(key(|config| config.listen = vec!["0.0.0.0:1".into()]), "network.listen");
        assert_eq!(key(|config| config.reserved = vec!["/ip4/1.2.3.4/tcp/1".into()]), "network.reserved");
        assert_eq!(key(|config| config.block = vec!["me".into()]), "network.block");
        assert_eq!(key(|config| config.topics = vec!["A b".into()]), "network.topics");
        assert_eq!(key(|config| config.pre_shared_key_file = "key".into()), "network.listen");
    }

    #[test]
    fn memory_is_bounded_in_every_profile_unless_somebody_says_otherwise() {
        for name in ["lan", "home", "server"] {
            assert!(profile(name).unwrap().iter().all(|(key, _)| *key != "network.max_memory"));
        }
        let config = NetworkConfig::default();
        let limit = machine::memory_limit().map(|limit| limit as usize / 4 * 3);
        assert_eq!(config.to_swarm().unwrap().max_memory, limit);
        let without = NetworkConfig { max_memory: 0, ..config };
        assert_eq!(without.to_swarm().unwrap().max_memory, None);
    }

    #[test]
    fn a_key_of_a_private_mesh_is_read_or_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key");
        let config = NetworkConfig {
            pre_shared_key_file: path.display().to_string(),
            listen: vec![],
            ..NetworkConfig::default()
        };
        assert!(config.to_swarm().unwrap_err().to_string().contains("cannot read"));
        std::fs::write(&path, "ab".repeat(32) + "\n").unwrap();
        assert_eq!(config.to_swarm().unwrap().pre_shared_key, Some([0xab; 32]));
        std::fs::write(&path, "short").unwrap();
        assert!(config.to_swarm().unwrap_err().to_string().contains("64 hexadecimal digits"));
    }
}
