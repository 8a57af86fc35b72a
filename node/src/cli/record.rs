//! Grains as scripts read them: one JSON object a line.

use std::collections::BTreeMap;

use data_encoding::{BASE64, HEXLOWER};
use schemars::JsonSchema;
use serde::Serialize;
use synapsenet_proto::rpc;

use super::{authors, time};

/// A grain. The fields keep their order and their meaning.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct GrainRecord<'a> {
    /// 64 hexadecimal digits.
    id: &'a str,
    /// `note` or `retraction`.
    kind: &'static str,
    /// Public key of its author, 64 hexadecimal digits.
    author: &'a str,
    /// RFC 3339 in UTC; null when the author gave a time that no calendar has.
    created: Option<String>,
    /// By the author's clock: milliseconds since 1970-01-01 UTC.
    created_ms: u64,
    /// The stream that it belongs to.
    topic: &'a str,
    /// Empty for a retraction.
    text: &'a str,
    /// A heading or file name; may be empty.
    title: &'a str,
    /// In the order in which its author gave them.
    tags: &'a [String],
    /// BCP 47; empty when unknown.
    lang: &'a str,
    /// Media type; empty means text/plain.
    mime: &'a str,
    /// The document that it is a part of.
    source: Option<SourceRecord<'a>>,
    /// Where the file lies that it was taken from; the node tells it to its clients alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    file: Option<&'a str>,
    /// Other grains that it refers to.
    links: Vec<LinkRecord<'a>>,
    metadata: &'a BTreeMap<String, String>,
    /// Whether it may leave the node.
    shared: bool,
    /// Whether it is found by its meaning yet.
    #[serde(skip_serializing_if = "Option::is_none")]
    searchable: Option<bool>,
    /// Whether the owner wants it kept; of hits and in exports it is not told.
    #[serde(skip_serializing_if = "Option::is_none")]
    pinned: Option<bool>,
    /// "own", "followed" or "stranger", seen from the node.
    #[serde(skip_serializing_if = "Option::is_none")]
    whose: Option<&'static str>,
}

#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct SourceRecord<'a> {
    /// Names the document, without the path of a file.
    uri: &'a str,
    /// Its place in the document when it was added, from 0.
    ordinal: u32,
}

#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct LinkRecord<'a> {
    /// Id of the other grain.
    target: String,
    /// What that is to this one.
    relation: &'a str,
}

/// A grain that was found.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct HitRecord<'a> {
    /// By what it is ranked.
    score: f64,
    /// Of the meanings; none when it was found by its words alone.
    cosine: Option<f64>,
    /// BM25.
    words: f64,
    /// How many that say the same are folded into it.
    copies: u32,
    /// Where words of the question stand in the text: first byte, and the one behind the last.
    marks: Vec<[u32; 2]>,
    #[serde(flatten)]
    grain: GrainRecord<'a>,
    /// Who knew it; none when it is stored here.
    peer_id: Option<&'a str>,
    /// The space that the cosine is of.
    space_id: Option<&'a str>,
    /// Its vector in that space, when it was asked for and it is stored here.
    #[serde(skip_serializing_if = "Option::is_none")]
    vector: Option<&'a [f32]>,
}

/// A grain as `get` shows it.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct DetailRecord<'a> {
    #[serde(flatten)]
    grain: GrainRecord<'a>,
    /// What it adds to what is known; null while it was not compared.
    emergence: Option<EmergenceRecord>,
    /// Parts of its document, when they were asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    before: Option<Vec<GrainRecord<'a>>>,
    /// As above.
    #[serde(skip_serializing_if = "Option::is_none")]
    after: Option<Vec<GrainRecord<'a>>>,
    /// Notes of the same folder that it leads to.
    links_to: Vec<LinkedRecord<'a>>,
    /// Notes of the same folder that lead to its document.
    linked_from: Vec<LinkedRecord<'a>>,
    /// Where it lies by its meaning, when that was asked for and is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    vector: Option<VectorRecord<'a>>,
}

/// A vector.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct VectorRecord<'a> {
    /// Of the space that it lies in.
    space_id: &'a str,
    /// Of unit length.
    components: &'a [f32],
}

/// A note at the other end of a link.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct LinkedRecord<'a> {
    /// The part that is meant, or the first.
    id: &'a str,
    /// Its heading.
    title: &'a str,
    /// Where its file lies.
    file: Option<&'a str>,
    /// What the link shows.
    shown: &'a str,
}

#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct EmergenceRecord {
    /// The sum of the parts, by the settings of the node; or 0.
    score: f64,
    /// How much of novelty and coherence counts, by who stands behind it: 0 to 1.
    backing: f64,
    /// One minus the highest cosine to an older grain of its topic.
    novelty: f64,
    /// The mean cosine of its near neighbours, times how many there are of 20.
    coherence: f64,
    /// The logarithm of one plus its occasions.
    reuse: f64,
    /// How often it was of use.
    occasions: u64,
    /// `said-before`, `boilerplate`, `too-little` or `unbacked`; null when it earns something.
    nothing: Option<&'static str>,
}

impl EmergenceRecord {
    pub(crate) fn new(emergence: &rpc::Emergence) -> Self {
        let rpc::Emergence { score, backing, novelty, coherence, reuse, occasions, .. } = *emergence;
        let nothing = match emergence.nothing() {
            rpc::EmergenceNothing::Unspecified => None,
            rpc::EmergenceNothing::SaidBefore => Some("said-before"),
            rpc::EmergenceNothing::Boilerplate => Some("boilerplate"),
            rpc::EmergenceNothing::TooLittle => Some("too-little"),
            rpc::EmergenceNothing::Unbacked => Some("unbacked"),
        };
        Self { score, backing, novelty, coherence, reuse, occasions, nothing }
    }
}

/// A line of an export. Everything but `grain` and `shared` is there for people and other programs: an import believes
/// only what is signed.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct ExportRecord<'a> {
    #[serde(flatten)]
    grain: GrainRecord<'a>,
    /// The signed grain, base64.
    #[serde(rename = "grain")]
    signed: String,
}

impl<'a> GrainRecord<'a> {
    /// A grain as a node gave it.
    pub(crate) fn new(grain: &'a rpc::Grain) -> Self {
        let link = |link: &'a rpc::Link| LinkRecord {
            target: HEXLOWER.encode(&link.target),
            relation: &link.relation,
        };
        Self {
            id: &grain.id,
            kind: if grain.kind() == rpc::GrainKind::Retraction { "retraction" } else { "note" },
            author: &grain.author,
            created: time::rfc3339(grain.created_ms),
            created_ms: grain.created_ms,
            topic: &grain.topic,
            text: &grain.text,
            title: &grain.title,
            tags: &grain.tags,
            lang: &grain.lang,
            mime: &grain.mime,
            source: grain.source.as_ref().map(|s| SourceRecord { uri: &s.uri, ordinal: s.ordinal }),
            file: Some(grain.file_uri.as_str()).filter(|file| !file.is_empty()),
            links: grain.links.iter().map(link).collect(),
            metadata: &grain.metadata,
            shared: grain.shared,
            searchable: Some(grain.searchable),
            pinned: Some(grain.pinned),
            whose: Some(authors::whose(grain.whose())),
        }
    }
}

impl<'a> HitRecord<'a> {
    /// A grain with its cosine to the question; none when there is no grain in it.
    pub(crate) fn new(hit: &'a rpc::Hit) -> Option<Self> {
        let grain = GrainRecord::new(hit.grain.as_ref()?);
        let peer_id = Some(hit.peer_id.as_str()).filter(|peer| !peer.is_empty());
        // A grain that is not stored here has no state here.
        let searchable = grain.searchable.filter(|_| peer_id.is_none());
        let space_id = Some(hit.space_id.as_str()).filter(|model| !model.is_empty());
        Some(Self {
            score: hit.score,
            cosine: hit.cosine,
            words: hit.words,
            copies: hit.copies,
            marks: hit.marks.iter().map(|mark| [mark.start, mark.end]).collect(),
            grain: GrainRecord { searchable, pinned: None, ..grain },
            peer_id,
            space_id,
            vector: hit.vector.as_ref().map(|vector| vector.components.as_slice()),
        })
    }
}

impl<'a> DetailRecord<'a> {
    /// A grain with what it adds to what is known.
    pub(crate) fn new(grain: &'a rpc::Grain, emergence: Option<&rpc::Emergence>) -> Self {
        let emergence = emergence.map(EmergenceRecord::new);
        Self {
            grain: GrainRecord::new(grain),
            emergence,
            before: None,
            after: None,
            links_to: Vec::new(),
            linked_from: Vec::new(),
            vector: None,
        }
    }

    /// And with its vector.
    pub(crate) fn with_vector(self, vector: Option<&'a rpc::GrainVector>) -> Self {
        let record = |vector: &'a rpc::GrainVector| VectorRecord {
            space_id: &vector.space_id,
            components: &vector.components,
        };
        Self { vector: vector.map(record), ..self }
    }

    /// And with the notes that it leads to, and that lead to it.
    pub(crate) fn with_links(self, to: &'a [rpc::LinkedNote], from: &'a [rpc::LinkedNote]) -> Self {
        let record = |note: &'a rpc::LinkedNote| LinkedRecord {
            id: &note.id,
            title: &note.title,
            file: Some(note.file_uri.as_str()).filter(|uri| !uri.is_empty()),
            shown: &note.shown,
        };
        Self {
            links_to: to.iter().map(record).collect(),
            linked_from: from.iter().map(record).collect(),
            ..self
        }
    }

    /// And with the parts of its document that come before and after it.
    pub(crate) fn with_context(self, before: &'a [rpc::Grain], after: &'a [rpc::Grain]) -> Self {
        let records = |grains: &'a [rpc::Grain]| Some(grains.iter().map(GrainRecord::new).collect());
        Self { before: records(before), after: records(after), ..self }
    }
}

impl<'a> ExportRecord<'a> {
    /// A grain that was asked for with its signed bytes.
    pub(crate) fn new(grain: &'a rpc::Grain) -> Self {
        let signed = BASE64.encode(&grain.signed);
        // An export may be handed on: where files lie here is nobody's business there.
        Self {
            grain: GrainRecord {
                searchable: None,
                pinned: None,
                whose: None,
                file: None,
                ..GrainRecord::new(grain)
            },
            signed,
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn grain() -> rpc::Grain {
        rpc::Grain {
            id: "ab".repeat(32),
            kind: rpc::GrainKind::Note.into(),
            author: "cd".repeat(32),
            created_ms: 1_795_392_000_123,
            topic: "commons".into(),
            text: "text".into(),
            title: "title".into(),
            tags: vec!["one".into()],
            lang: "en".into(),
            mime: String::new(),
            source: Some(rpc::Source { uri: "file:a".into(), ordinal: 2 }),
            links: vec![rpc::Link { target: vec![1; 32], relation: "replies-to".into() }],
            shared: true,
            searchable: false,
            signed: b"signed".to_vec(),
            whose: rpc::Whose::Own.into(),
            file_uri: "file:///a".into(),
            metadata: [("app".into(), "notes".into())].into(),
            pinned: true,
        }
    }

    fn json(record: &impl Serialize) -> serde_json::Value {
        serde_json::to_value(record).unwrap()
    }

    #[test]
    fn a_hit_has_the_documented_fields() {
        let hit = rpc::Hit { grain: Some(grain()), score: 0.5, space_id: "ab".into(), ..rpc::Hit::default() };
        let value = json(&HitRecord::new(&hit).unwrap());
        assert_eq!(value["id"], "ab".repeat(32));
        assert_eq!(value["score"], 0.5);
        assert_eq!(value["text"], "text");
        assert_eq!(value["title"], "title");
        assert_eq!(value["topic"], "commons");
        assert_eq!(value["author"], "cd".repeat(32));
        assert_eq!(value["source"], serde_json::json!({"uri": "file:a", "ordinal": 2}));
        assert_eq!(value["file"], "file:///a");
        assert_eq!(value["created"], "2026-11-23T00:00:00.123Z");
        assert_eq!(value["tags"], serde_json::json!(["one"]));
        assert_eq!(value["metadata"], serde_json::json!({"app": "notes"}));
        assert_eq!(value["searchable"], false);
        assert_eq!(value["whose"], "own");
        assert_eq!(value["peer_id"], serde_json::Value::Null);
        let remote = rpc::Hit { peer_id: "12D3".into(), ..hit };
        assert_eq!(json(&HitRecord::new(&remote).unwrap())["peer_id"], "12D3");
    }

    #[test]
    fn an_exported_line_has_the_documented_fields() {
        let grain = grain();
        let value = json(&ExportRecord::new(&grain));
        assert_eq!(value["grain"], "c2lnbmVk");
        assert_eq!(value["shared"], true);
        assert_eq!(value["kind"], "note");
        assert_eq!(value["created_ms"], 1_795_392_000_123_u64);
        assert_eq!(
            value["links"],
            serde_json::json!([{"target": "01".repeat(32), "relation": "replies-to"}])
        );
        assert!(
            value.get("pinned").is_none() && value.get("searchable").is_none(),
            "that is true of a node, not of a grain"
        );
        assert!(value.get("file").is_none() && !value.to_string().contains("file:///"), "no path leaves");
    }

    #[test]
    fn what_is_not_known_is_null() {
        let bare = rpc::Grain { created_ms: u64::MAX, source: None, ..grain() };
        let value = json(&DetailRecord::new(&bare, None));
        assert!(value["created"].is_null() && value["source"].is_null() && value["emergence"].is_null());
        assert!(value.get("before").is_none(), "nobody asked for it");
        let parts = [grain(), grain()];
        let value = json(&DetailRecord::new(&bare, None).with_context(&parts, &[]));
        assert_eq!((value["before"].as_array().unwrap().len(), &value["after"]), (2, &serde_json::json!([])));
    }
}
