//! The test vectors for other implementers, `vectors/*.json`: made here, and compared with what is recorded, so that no
//! change of what travels goes unseen. `PROTOCOL.md` says what they are of; `tests/protocol` reads them without this code.
//! To record them anew: `cargo test --workspace --lib record_the_test_vectors -- --ignored`.

use std::path::PathBuf;

use data_encoding::HEXLOWER;
use prost::Message;
use serde_json::{Value, json};

use crate::claim::signed_bytes;
use crate::identity::{CLAIM_CONTEXT, GRAIN_CONTEXT, NETWORK_CONTEXT};
use crate::{
    Announcement, Claim, Draft, Encoding, Grain, GrainId, Identity, Link, MAX_TEXT_BYTES, PASSAGE_RULE,
    Source, SpaceId, Topic, Vector, rpc,
};

const SEED: [u8; 32] = [42; 32];
const MODEL: SpaceId = SpaceId::from_bytes([9; 32]);
const VALUES: [f32; 5] = [0.25, -0.5, 0.125, 1.0, 0.0];
const NOW: u64 = 1_790_000_000_000;
/// Negentropy's fingerprint of no items: the first half of the SHA-256 of 32 bytes for the sum and one for the count.
const NO_ITEMS: &str = "7f9c9e31ac8256ca2f258583df262dbc";

fn hex(bytes: impl AsRef<[u8]>) -> String {
    HEXLOWER.encode(bytes.as_ref())
}

fn identity() -> Identity {
    Identity::from_seed(&SEED)
}

/// A note that says all that a note can say.
fn full() -> Grain {
    let link =
        |byte, relation: &str| Link { target: GrainId::from_bytes([byte; 32]), relation: relation.into() };
    let draft = Draft {
        topic: Topic::new("bees").unwrap(),
        text: "Bees dance to tell where the flowers are. 🐝".into(),
        title: "How bees talk".into(),
        tags: vec!["bees".into(), "langues étrangères".into()],
        lang: "en-GB".into(),
        mime: "text/markdown".into(),
        source: Some(Source { uri: "file:///home/you/bees.md".into(), ordinal: 3 }),
        links: vec![link(1, "replies-to"), link(2, "see-also")],
        metadata: [("rating", "5"), ("source.app", "notes 🐝")].map(|(k, v)| (k.into(), v.into())).into(),
    };
    Grain::seal(draft, &identity(), NOW).unwrap()
}

fn minimal() -> Grain {
    Grain::seal(Draft { text: "a".into(), ..Draft::default() }, &identity(), NOW + 1).unwrap()
}

fn retraction() -> Grain {
    Grain::retract(GrainId::from_bytes([3; 32]), Topic::default(), &identity(), NOW + 2).unwrap()
}

fn announcement() -> Announcement {
    let grain = full();
    let vector = Vector::new(MODEL, VALUES.to_vec()).unwrap();
    let claim = Some(Claim::seal(grain.id(), &vector, &identity()));
    Announcement { grain, claim }
}

fn pairs(pairs: &[(&str, &str)]) -> Vec<rpc::Metadatum> {
    pairs.iter().map(|(key, value)| rpc::Metadatum { key: (*key).into(), value: (*value).into() }).collect()
}

fn body_of(grain: &Grain) -> rpc::GrainBody {
    let signed = rpc::SignedGrain::decode(grain.as_bytes().clone()).unwrap();
    rpc::GrainBody::decode(signed.body.as_slice()).unwrap()
}

/// Signs a body that [`Grain::seal`] would refuse.
fn sign(body: &[u8]) -> rpc::SignedGrain {
    let signature = identity().sign(GRAIN_CONTEXT, body).to_vec();
    rpc::SignedGrain { body: body.to_vec(), signature }
}

fn grain_case(name: &str, grain: &Grain) -> Value {
    let signed = rpc::SignedGrain::decode(grain.as_bytes().clone()).unwrap();
    let rpc::GrainBody {
        version,
        kind,
        author,
        created_ms,
        topic,
        text,
        title,
        tags,
        lang,
        mime,
        source,
        links,
        metadata,
    } = body_of(grain);
    let pair = |pair: &rpc::Metadatum| json!([pair.key, pair.value]);
    let link = |link: &rpc::Link| json!({ "target": hex(&link.target), "relation": link.relation });
    json!({
        "name": name,
        "fields": {
            "version": version, "kind": kind, "author": hex(author), "created_ms": created_ms, "topic": topic,
            "text": text, "title": title, "tags": tags, "lang": lang, "mime": mime,
            "source": source.map(|source| json!({ "uri": source.uri, "ordinal": source.ordinal })),
            "links": links.iter().map(link).collect::<Vec<_>>(),
            "metadata": metadata.iter().map(pair).collect::<Vec<_>>(),
        },
        "passage": grain.retracted().is_none().then(|| grain.passage()),
        "body": hex(&signed.body),
        "id": grain.id().to_string(),
        "signature": hex(&signed.signature),
        "grain": hex(grain.as_bytes()),
    })
}

/// Bytes that are read although no program of this version writes them, with the id that they have.
fn read_cases() -> Vec<Value> {
    let signed = rpc::SignedGrain::decode(minimal().as_bytes().clone()).unwrap();
    let after = [&minimal().as_bytes()[..], &[0x78, 1]].concat();
    let swapped =
        [&[0x12, 64][..], &signed.signature, &[0x0a, signed.body.len() as u8], &signed.body].concat();
    let in_body = sign(&[&signed.body[..], &[0x78, 1]].concat()).encode_to_vec();
    let cases = [
        ("an unknown field after the signature: dropped, the id is that of the body", after),
        ("signature before body: the same grain", swapped),
        ("an unknown field in the signed body: ignored, and a part of what the id is made of", in_body),
    ];
    let case = |(name, bytes): (&str, Vec<u8>)| {
        let grain = Grain::open(&bytes).unwrap();
        json!({ "name": name, "bytes": hex(bytes), "id": grain.id().to_string(), "grain": hex(grain.as_bytes()) })
    };
    cases.into_iter().map(case).collect()
}

/// Bytes that are refused, with the refusal's label.
fn refused_grains() -> Vec<Value> {
    let whole = minimal().as_bytes().to_vec();
    let mut forged = whole.clone();
    *forged.last_mut().unwrap() ^= 1;
    let mut cases = vec![
        ("a signature with one bit changed", forged),
        ("garbage after the message", [&whole[..], &[0xff]].concat()),
        ("the end is missing", whole[..whole.len() - 1].to_vec()),
        ("no bytes at all", Vec::new()),
        ("a signature of 63 bytes", {
            let mut signed = sign(&body_of(&minimal()).encode_to_vec());
            signed.signature.pop();
            signed.encode_to_vec()
        }),
        ("signed for another use", {
            let mut signed = sign(&body_of(&minimal()).encode_to_vec());
            signed.signature = identity().sign(CLAIM_CONTEXT, &signed.body).to_vec();
            signed.encode_to_vec()
        }),
    ];
    type Change = fn(&mut rpc::GrainBody);
    let changes: [(&str, Change); 18] = [
        ("version 2", |body| body.version = 2),
        ("kind 0", |body| body.kind = 0),
        ("an author of 31 bytes", |body| body.author.truncate(31)),
        ("the author is a point of small order", |body| body.author = [&[1][..], &[0; 31]].concat()),
        ("a topic with a capital", |body| body.topic = "Commons".into()),
        ("a text of white space", |body| body.text = " \n\u{3000}".into()),
        ("a text of 16385 bytes", |body| body.text = "x".repeat(MAX_TEXT_BYTES + 1)),
        ("a title of 257 bytes", |body| body.title = "x".repeat(257)),
        ("17 tags", |body| body.tags = (0..17).map(|n| n.to_string()).collect()),
        ("a tag twice", |body| body.tags = vec!["a".into(), "a".into()]),
        ("a language with an underscore", |body| body.lang = "en_GB".into()),
        ("a media type with a control character", |body| body.mime = "text/\u{7f}".into()),
        ("a source without a URI", |body| body.source = Some(rpc::Source { uri: String::new(), ordinal: 1 })),
        ("a link to 31 bytes", |body| {
            body.links = vec![rpc::Link { target: vec![0; 31], relation: "r".into() }];
        }),
        ("metadata out of order", |body| body.metadata = pairs(&[("b", "1"), ("a", "1")])),
        ("metadata whose key has a capital", |body| body.metadata = pairs(&[("A", "1")])),
        ("metadata whose value has a line feed", |body| body.metadata = pairs(&[("a", "1\n2")])),
        ("a retraction with a text", |body| {
            body.kind = rpc::GrainKind::Retraction.into();
            body.links = vec![rpc::Link { target: vec![0; 32], relation: "retracts".into() }];
        }),
    ];
    for (name, change) in changes {
        let mut body = body_of(&minimal());
        change(&mut body);
        cases.push((name, sign(&body.encode_to_vec()).encode_to_vec()));
    }
    let case = |(name, bytes): (&str, Vec<u8>)| {
        let refusal = Grain::open(&bytes).expect_err(name);
        json!({ "name": name, "bytes": hex(bytes), "refusal": refusal.label() })
    };
    cases.into_iter().map(case).collect()
}

fn grains() -> Value {
    let author = identity().author();
    let network = Identity::from_seed(&identity().network_seed()).author();
    json!({
        "seed": hex(SEED),
        "author": author.to_string(),
        // The identity multihash of the protobuf of the public key, as libp2p's specification of peer ids has it.
        "network_context": NETWORK_CONTEXT,
        "network_seed": hex(*identity().network_seed()),
        "peer_id_bytes": hex([&[0x00, 0x24, 0x08, 0x01, 0x12, 0x20][..], network.as_bytes()].concat()),
        "signature_context": GRAIN_CONTEXT,
        "grains": [
            grain_case("a note with every field", &full()),
            grain_case("the shortest note", &minimal()),
            grain_case("a retraction", &retraction()),
        ],
        "read": read_cases(),
        "refused": refused_grains(),
    })
}

/// The first 20 bytes of what names a gossipsub message.
fn message_name(topic: &str, data: &[u8]) -> Vec<u8> {
    let length = (topic.len() as u64).to_le_bytes();
    let named = [&length[..], topic.as_bytes(), data].concat();
    blake3::derive_key("synapsenet v1 gossip message", &named)[..20].to_vec()
}

/// What becomes of an announcement whose parts are as they should be and whose encoding is not.
fn wrapping_cases() -> Vec<Value> {
    let message = announcement().to_message();
    let bytes = message.encode_to_vec();
    let unknown = [0xa2, 0x06, 1, 7];
    let mut in_grain = message.clone();
    in_grain.grain.extend(unknown);
    let only_grain = rpc::Announcement { claim: None, ..message.clone() }.encode_to_vec();
    let only_claim = bytes[only_grain.len()..].to_vec();
    let cases = [
        ("a field that nobody knows", [&bytes[..], &unknown].concat()),
        ("a field that nobody knows around the grain", in_grain.encode_to_vec()),
        ("the claim before the grain", [&only_claim[..], &only_grain].concat()),
        ("the grain twice", [&only_grain[..], &bytes].concat()),
    ];
    let case = |(name, bytes): (&str, Vec<u8>)| {
        let refusal = Announcement::open(&bytes).expect_err(name);
        json!({ "name": name, "bytes": hex(bytes), "outcome": refusal.label() })
    };
    cases.into_iter().map(case).collect()
}

/// What becomes of an announcement, by its claim: kept, taken for absent, or the whole refused.
fn claim_cases() -> Vec<Value> {
    let sent = announcement().to_message();
    type Change = fn(&mut rpc::Claim);
    let changes: [(&str, Change); 9] = [
        ("as it was made", |_| {}),
        ("of a rule that is not known", |claim| claim.passage_rule = 2),
        ("without a rule", |claim| claim.passage_rule = 0),
        ("of a rule that is not known, and otherwise garbage", |claim| {
            *claim = rpc::Claim { passage_rule: 7, vector: vec![200; 3], ..Default::default() };
        }),
        ("of a rule that is not known, and with a field that is too long", |claim| {
            *claim = rpc::Claim { passage_rule: 7, signature: vec![0; 8257], ..Default::default() };
        }),
        ("a vector with one bit changed", |claim| claim.vector[6] ^= 1),
        ("a model with one bit changed", |claim| claim.space_id[0] ^= 1),
        ("a vector of two bytes a component", |claim| claim.vector = vec![1, 0, 60]),
        ("a vector without a direction", |claim| claim.vector = vec![2, 0, 0, 0, 63, 0, 0]),
    ];
    let case = |(name, change): (&str, Change)| {
        let mut message = sent.clone();
        change(message.claim.as_mut().unwrap());
        let bytes = message.encode_to_vec();
        let outcome = match Announcement::open(&bytes) {
            Ok(opened) if opened.claim.is_some() => "kept",
            Ok(_) => "absent",
            Err(refusal) => refusal.label(),
        };
        json!({ "name": name, "bytes": hex(bytes), "outcome": outcome })
    };
    changes.into_iter().map(case).collect()
}

fn claims() -> Value {
    let Announcement { grain, claim } = announcement();
    let vector = Vector::new(MODEL, VALUES.to_vec()).unwrap();
    let encoded = vector.encode(Encoding::I8);
    let bytes = announcement().to_message().encode_to_vec();
    let topic = grain.topic().to_string();
    json!({
        "signature_context": CLAIM_CONTEXT,
        "passage_rule": PASSAGE_RULE,
        "model": MODEL.to_string(),
        "values": VALUES,
        "vector": hex(encoded.as_bytes()),
        "vector_f16": hex(vector.encode(Encoding::F16).as_bytes()),
        "grain_id": grain.id().to_string(),
        "signed": hex(signed_bytes(grain.id(), &encoded)),
        "signature": hex(claim.unwrap().to_message().signature),
        "announcement": hex(&bytes),
        "gossip_topic": topic,
        "gossip_message_id": hex(message_name(&topic, &bytes)),
        "provider_key": hex(blake3::derive_key("synapsenet v1 topic providers", topic.as_bytes())),
        "announcements": claim_cases(),
        "wrapped_otherwise": wrapping_cases(),
    })
}

fn framed(message: &impl Message) -> String {
    hex(message.encode_length_delimited_to_vec())
}

fn exchange(name: &str, protocol: &str, question: &impl Message, answer: &impl Message) -> Value {
    json!({ "name": name, "protocol": protocol, "question": framed(question), "answer": framed(answer) })
}

fn questions() -> Value {
    const SYNC: &str = "/synapsenet/sync/1";
    let news =
        rpc::SyncRequest { item: Some(rpc::sync_request::Item::News(rpc::News { topic: "commons".into() })) };
    // Version 1 of negentropy, one range without end, in it a fingerprint; and the list of two ids that answers it.
    let opening = [&[0x61, 0, 0, 1][..], &HEXLOWER.decode(NO_ITEMS.as_bytes()).unwrap()].concat();
    let ids = [minimal().id(), retraction().id()];
    let listed = [&[0x61, 0, 0, 2, 2][..], ids[0].as_bytes(), ids[1].as_bytes()].concat();
    let reconcile = rpc::Reconcile { topic: "commons".into(), message: opening, ..Default::default() };
    let reconcile = rpc::SyncRequest { item: Some(rpc::sync_request::Item::Reconcile(reconcile)) };
    let sync_answer = rpc::SyncResponse { message: listed, grains: 2, ..Default::default() };
    let paged = rpc::SyncResponse {
        message: vec![0x61],
        grains: 20_001,
        pages: vec![NOW, NOW - 5, 0],
        ..Default::default()
    };
    let fetch = rpc::FetchRequest {
        ids: [full().id(), minimal().id()].iter().flat_map(|id| *id.as_bytes()).collect(),
        space_id: MODEL.as_bytes().to_vec(),
    };
    let plain = Announcement { grain: minimal(), claim: None }.to_message();
    let found = vec![announcement().to_message(), plain];
    let fetch_answer = rpc::FetchResponse { grains: found.clone(), refused: String::new() };
    let filter = rpc::QuestionFilter {
        topic: "bees".into(),
        tags: vec!["bees".into()],
        author: identity().author().as_bytes().to_vec(),
        created_from_ms: Some(NOW),
        created_before_ms: Some(NOW + 1),
        lang: "en".into(),
        any: Vec::new(),
        none: Vec::new(),
    };
    let either = rpc::QuestionFilter {
        any: ["bees", "house"]
            .map(|topic| rpc::QuestionFilter { topic: topic.into(), ..Default::default() })
            .to_vec(),
        none: vec![rpc::QuestionFilter { tags: vec!["draft".into()], ..Default::default() }],
        author: identity().author().as_bytes().to_vec(),
        ..Default::default()
    };
    let vector = Vector::new(MODEL, VALUES.to_vec()).unwrap().encode(Encoding::I8);
    let question = rpc::Question {
        space_id: MODEL.as_bytes().to_vec(),
        vector: vector.as_bytes().to_vec(),
        k: 10,
        filter: Some(filter),
    };
    let about_either = rpc::Question { filter: Some(either), ..question.clone() };
    let answer = rpc::Answer { grains: found[..1].to_vec(), refused: String::new() };
    let busy = rpc::Answer { grains: Vec::new(), refused: "busy".into() };
    json!({
        "exchanges": [
            exchange("news", SYNC, &news, &rpc::SyncResponse::default()),
            exchange("the opening of one that has nothing", SYNC, &reconcile, &sync_answer),
            exchange("the answer of one that has pages", SYNC, &reconcile, &paged),
            exchange("two grains", "/synapsenet/fetch/1", &fetch, &fetch_answer),
            exchange("a question with every condition", "/synapsenet/search/2", &question, &answer),
            exchange("a question about one topic or another", "/synapsenet/search/2", &about_either, &answer),
            exchange("a question that is put off", "/synapsenet/search/2", &question, &busy),
        ],
        "unreadable": [
            { "name": "something follows the message", "bytes": hex([&fetch.encode_length_delimited_to_vec()[..], &[0]].concat()) },
            { "name": "more is announced than comes", "bytes": hex([7, 0x0a, 1, 1]) },
            { "name": "no protobuf", "bytes": hex([2, 0xff, 0xff]) },
        ],
    })
}

fn files() -> [(PathBuf, Value); 3] {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("vectors");
    [("grains.json", grains()), ("claims.json", claims()), ("questions.json", questions())]
        .map(|(name, vectors)| (folder.join(name), vectors))
}

#[test]
fn the_recorded_test_vectors_are_what_this_program_makes() {
    for (path, vectors) in files() {
        let recorded: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        assert_eq!(recorded, vectors, "{}", path.display());
    }
}

#[test]
#[ignore = "it writes the test vectors; they are recorded anew only when what travels is meant to change"]
fn record_the_test_vectors() {
    for (path, vectors) in files() {
        std::fs::write(path, serde_json::to_string_pretty(&vectors).unwrap() + "\n").unwrap();
    }
}
