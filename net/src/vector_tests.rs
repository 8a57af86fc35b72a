//! The test vectors for other implementers, as far as they are of what travels between peers.

use futures::executor::block_on;
use futures::io::Cursor;
use prost::Message;
use serde_json::Value;
use synapsenet_proto::{Identity, Topic, rpc};

use crate::{behaviour, codec, peer_of};

const GRAINS: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../proto/vectors/grains.json"));
const CLAIMS: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../proto/vectors/claims.json"));
const QUESTIONS: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../proto/vectors/questions.json"));

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_else(|| panic!("no text {key} in {value}"))
}

fn bytes(value: &Value, key: &str) -> Vec<u8> {
    let digits = text(value, key);
    (0..digits.len()).step_by(2).map(|at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap()).collect()
}

#[test]
fn names_on_the_wire_are_those_of_the_test_vectors() {
    let (grains, claims) = (json(GRAINS), json(CLAIMS));
    let seed: [u8; 32] = bytes(&grains, "seed").try_into().unwrap();
    let peer = peer_of(&Identity::from_seed(&seed));
    assert_eq!(peer.to_bytes(), bytes(&grains, "peer_id_bytes"));
    let announcement = bytes(&claims, "announcement");
    let topic = Topic::new(text(&claims, "gossip_topic")).unwrap();
    let name = behaviour::message_id(topic.as_str(), &announcement).0;
    assert_eq!(name, bytes(&claims, "gossip_message_id"));
    assert_eq!(behaviour::gossip_topic(&topic).hash().as_str(), topic.as_str());
    assert_eq!(behaviour::topic_key(&topic).to_vec(), bytes(&claims, "provider_key"));
}

/// Reads a frame as the swarm does, and writes the message again.
fn round<M: Message + Default>(frame: Vec<u8>) -> std::io::Result<Vec<u8>> {
    let message: M = block_on(codec::read(&mut Cursor::new(frame), behaviour::MAX_QUESTION_BYTES))?;
    let mut written = Cursor::new(Vec::new());
    block_on(codec::write(&mut written, message))?;
    Ok(written.into_inner())
}

#[test]
fn questions_and_answers_are_framed_as_in_the_test_vectors() {
    let vectors = json(QUESTIONS);
    let exchanges = vectors["exchanges"].as_array().unwrap();
    assert_eq!(exchanges.len(), 7);
    for exchange in exchanges {
        let (question, answer) = (bytes(exchange, "question"), bytes(exchange, "answer"));
        let read = match text(exchange, "protocol") {
            behaviour::SYNC_PROTOCOL => {
                (round::<rpc::SyncRequest>(question.clone()), round::<rpc::SyncResponse>(answer.clone()))
            }
            behaviour::FETCH_PROTOCOL => {
                (round::<rpc::FetchRequest>(question.clone()), round::<rpc::FetchResponse>(answer.clone()))
            }
            behaviour::SEARCH_PROTOCOL => {
                (round::<rpc::Question>(question.clone()), round::<rpc::Answer>(answer.clone()))
            }
            other => panic!("nobody speaks {other}"),
        };
        assert_eq!((read.0.unwrap(), read.1.unwrap()), (question, answer), "{}", text(exchange, "name"));
    }
    for unreadable in vectors["unreadable"].as_array().unwrap() {
        let error =
            round::<rpc::FetchRequest>(bytes(unreadable, "bytes")).expect_err(text(unreadable, "name"));
        // When the end is missing, it may be the line that broke.
        let is_cut = text(unreadable, "name") == "more is announced than comes";
        let kind = if is_cut { std::io::ErrorKind::UnexpectedEof } else { std::io::ErrorKind::InvalidData };
        assert_eq!(error.kind(), kind, "{}", text(unreadable, "name"));
    }
}
