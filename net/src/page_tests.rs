//! What `proto/PROTOCOL.md` says of this crate is held against it.

use synapsenet_proto::{MAX_CLOCK_ERROR_MS, MAX_CLOCK_SKEW_MS, MAX_PASSED_SKEW_MS};

use crate::score::Offence;
use crate::{behaviour, codec, entrance, gate, providers, score, task, transport, verdict, window};

const PAGE: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../proto/PROTOCOL.md"));

/// Looks for a fenced block of names and values in the page, whole.
fn assert_page_says(block: &str, rows: &[(&str, String)]) {
    let rows: String = rows.iter().map(|(name, value)| format!("{name} | {value}\n")).collect();
    let block = format!("```limits {block}\n{rows}```\n");
    assert!(PAGE.contains(&block), "PROTOCOL.md is to say:\n{block}");
}

#[test]
fn the_page_for_implementers_says_which_protocols_are_spoken() {
    let names = [
        ("identify, protocol version", behaviour::PROTOCOL),
        ("Kademlia", behaviour::KADEMLIA_PROTOCOL),
        ("sync", behaviour::SYNC_PROTOCOL),
        ("fetch", behaviour::FETCH_PROTOCOL),
        ("search", behaviour::SEARCH_PROTOCOL),
        ("context of provider keys", behaviour::PROVIDER_CONTEXT),
        ("context of message names", behaviour::MESSAGE_NAME_CONTEXT),
    ];
    assert_page_says("names", &names.map(|(name, value)| (name, value.to_owned())));
}

#[test]
fn the_page_for_implementers_says_the_limits_of_connections() {
    assert_page_says(
        "connections",
        &[
            ("direct connections of one peer, for a moment", gate::MAX_DIRECT_CONNECTIONS.to_string()),
            ("connections of one peer through relays", gate::MAX_RELAYED_CONNECTIONS.to_string()),
            ("dials under way", behaviour::MAX_PENDING.to_string()),
            ("handshakes under way with newcomers", entrance::MAX_HALF_OPEN.to_string()),
            ("handshakes under way from one group", entrance::MAX_HALF_OPEN_PER_GROUP.to_string()),
            ("substreams of a connection", transport::MAX_STREAMS.to_string()),
            ("seconds for encryption and multiplexing", transport::MAX_UPGRADE.as_secs().to_string()),
            ("seconds for a ping", behaviour::MAX_PING_TIME.as_secs().to_string()),
            ("seconds that an unused connection stays", task::IDLE.as_secs().to_string()),
            ("seats only for peers that a node dialled, at most", gate::MAX_OUTBOUND_SEATS.to_string()),
            ("seats of one group of public addresses, one of", gate::GROUP_SEAT_OF.to_string()),
            ("seconds of a visit", gate::MAX_VISIT.as_secs().to_string()),
            ("seconds from one visit of a peer to the next", gate::VISIT_EVERY.as_secs().to_string()),
            ("bytes that a connection may hold unread", window::MAX_UNREAD.to_string()),
            ("bytes that a peer may hold unread", window::MAX_UNREAD_OF_PEER.to_string()),
            ("providers kept of one topic", providers::MAX_PROVIDERS.to_string()),
            ("provider records kept", providers::MAX_RECORDS.to_string()),
            ("provider records kept of one peer", providers::MAX_RECORDS_PER_PEER.to_string()),
        ],
    );
}

#[test]
fn the_page_for_implementers_says_the_limits_of_gossip() {
    let (peer, author) = (verdict::PEER_RATE, verdict::AUTHOR_RATE);
    assert_page_says(
        "gossip",
        &[
            ("bytes of a message name", behaviour::MESSAGE_ID_BYTES.to_string()),
            ("bytes of a gossipsub message", behaviour::MAX_GOSSIP_BYTES.to_string()),
            ("topics that a peer may subscribe to", behaviour::MAX_TOPICS.to_string()),
            ("announcements a second of one peer", peer.0.to_string()),
            ("announcements at once of one peer", peer.1.to_string()),
            ("announcements a second of one author", author.0.to_string()),
            ("announcements at once of one author", author.1.to_string()),
            ("grains remembered as announced", verdict::MAX_SEEN.to_string()),
            ("milliseconds that a grain may be dated ahead to be taken", MAX_CLOCK_SKEW_MS.to_string()),
            ("milliseconds that it may be dated ahead to be passed on", MAX_PASSED_SKEW_MS.to_string()),
            ("milliseconds that a clock may be off unnoticed", MAX_CLOCK_ERROR_MS.to_string()),
        ],
    );
}

#[test]
fn the_page_for_implementers_says_the_limits_of_questions() {
    assert_page_says(
        "questions",
        &[
            ("bytes of a sync question or answer", behaviour::MAX_SYNC_BYTES.to_string()),
            ("bytes of a fetch or search question", behaviour::MAX_QUESTION_BYTES.to_string()),
            ("bytes of a fetch answer", behaviour::MAX_FETCH_BYTES.to_string()),
            ("bytes of a search answer", behaviour::MAX_SEARCH_BYTES.to_string()),
            ("sync substreams of a connection", behaviour::MAX_SYNC_STREAMS.to_string()),
            (
                "fetch substreams, and search substreams, of a connection",
                behaviour::MAX_QUESTION_STREAMS.to_string(),
            ),
            ("seconds for a question to arrive", codec::MAX_QUESTION_TIME.as_secs().to_string()),
            ("seconds for a question and its answer", behaviour::MAX_ANSWER_TIME.as_secs().to_string()),
        ],
    );
}

#[test]
fn the_page_for_implementers_says_what_misbehaving_costs() {
    use Offence::*;
    let all = [
        Malformed,
        Oversize,
        Forged,
        ForeignTopic,
        Replayed,
        FromTheFuture,
        Flood,
        BadAnswer,
        BadRequest,
        Stalled,
        EndlessSync,
    ];
    let costs: Vec<_> = all.map(|offence| (offence.label(), offence.penalty().to_string())).into();
    assert_page_says("offences", &costs);
    assert_page_says(
        "bans",
        &[
            ("points for a ban", score::BAN_AT.to_string()),
            ("seconds in which points halve", score::HALF_LIFE.as_secs().to_string()),
            ("seconds of a first ban", score::FIRST_BAN.as_secs().to_string()),
            ("seconds of the longest ban", score::LONGEST_BAN.as_secs().to_string()),
        ],
    );
}
