use proptest::prelude::*;

use super::*;

const NOW: u64 = 1_790_000_000_000;

fn identity() -> Identity {
    Identity::from_seed(&[42; 32])
}

fn draft(text: &str) -> Draft {
    Draft { text: text.to_owned(), ..Draft::default() }
}

fn seal(text: &str) -> Grain {
    Grain::seal(draft(text), &identity(), NOW).unwrap()
}

/// Signs a body that [`Grain::seal`] would refuse, as a hostile author would.
fn sign_raw(body: &rpc::GrainBody) -> Vec<u8> {
    let body = body.encode_to_vec();
    let signature = identity().sign(crate::identity::GRAIN_CONTEXT, &body).to_vec();
    rpc::SignedGrain { body, signature }.encode_to_vec()
}

fn raw_body() -> rpc::GrainBody {
    let signed = rpc::SignedGrain::decode(seal("a text").as_bytes().clone()).unwrap();
    rpc::GrainBody::decode(signed.body.as_slice()).unwrap()
}

#[test]
fn a_sealed_grain_opens_to_itself() {
    let grain = seal("water boils at a lower temperature on a mountain");
    let opened = Grain::open(grain.as_bytes()).unwrap();
    assert_eq!(opened, grain);
    assert_eq!(opened.author(), identity().author());
    assert_eq!(opened.created_ms(), NOW);
    assert_eq!(Grain::reopen(grain.as_bytes()).unwrap(), grain);
}

#[test]
fn the_id_is_the_hash_of_the_body() {
    let grain = seal("a text");
    let signed = rpc::SignedGrain::decode(grain.as_bytes().clone()).unwrap();
    assert_eq!(grain.id().as_bytes(), blake3::hash(&signed.body).as_bytes());
}

/// The bytes of version 1 never change: stores and meshes are made of them.
#[test]
fn the_encoding_of_version_1_is_fixed() {
    let grain = seal("hello");
    assert_eq!(grain.id().to_string(), "787ed648556c20dd58890b655ed1cf40fc50d66d45b5125c9b6b1689f734cf41");
}

#[test]
fn every_flipped_bit_is_noticed() {
    let grain = seal("a text");
    for at in 0..grain.as_bytes().len() {
        for bit in 0..8 {
            let mut bytes = grain.as_bytes().to_vec();
            bytes[at] ^= 1 << bit;
            if let Ok(opened) = Grain::open(&bytes) {
                assert_eq!(opened, grain, "byte {at} bit {bit} changed the grain and it still opened");
            }
        }
    }
}

#[test]
fn a_foreign_signature_is_refused_by_open_and_by_open_only() {
    let mut body = raw_body();
    body.author = Identity::from_seed(&[9; 32]).author().as_bytes().to_vec();
    let forged = sign_raw(&body);
    assert_eq!(Grain::open(&forged), Err(Refusal::BadSignature));
    assert!(Grain::reopen(&forged).is_ok());
}

#[test]
fn a_grain_written_another_way_is_stored_in_our_way() {
    let grain = seal("a text");
    let mut bytes = grain.as_bytes().to_vec();
    bytes.extend([0x78, 0x01]); // an unknown field, number 15
    let opened = Grain::open(&bytes).unwrap();
    assert_eq!(opened.as_bytes(), grain.as_bytes());
}

#[test]
fn limits_hold_for_sealing_and_for_opening() {
    type Change = fn(&mut rpc::GrainBody);
    let cases: [(Change, Refusal); 14] = [
        (|b| b.version = 2, Refusal::UnknownVersion(2)),
        (|b| b.kind = 9, Refusal::UnknownKind(9)),
        (|b| b.author = vec![1; 31], Refusal::BadAuthor),
        (|b| b.topic = "Not A Topic".into(), Refusal::BadTopic("Not A Topic".into())),
        (|b| b.text = " \n".into(), Refusal::EmptyText),
        (|b| b.text = "x".repeat(MAX_TEXT_BYTES + 1), Refusal::TextTooLong(MAX_TEXT_BYTES + 1)),
        (|b| b.title = "x".repeat(257), Refusal::TitleTooLong(257)),
        (|b| b.tags = (0..17).map(|i| i.to_string()).collect(), Refusal::TooManyTags(17)),
        (|b| b.tags = vec!["a".into(), "a".into()], Refusal::BadTag("a".into())),
        (|b| b.lang = "en_GB".into(), Refusal::BadLang("en_GB".into())),
        (|b| b.mime = "text/\u{7f}".into(), Refusal::BadMime("text/\u{7f}".into())),
        (|b| b.source = Some(rpc::Source { uri: String::new(), ordinal: 0 }), Refusal::BadSource),
        (
            |b| b.links = vec![rpc::Link { target: vec![0; 32], relation: "r".into() }; 17],
            Refusal::TooManyLinks(17),
        ),
        (|b| b.links = vec![rpc::Link { target: vec![0; 31], relation: "r".into() }], Refusal::BadLink),
    ];
    for (change, refusal) in cases {
        let mut body = raw_body();
        change(&mut body);
        assert_eq!(Grain::open(&sign_raw(&body)), Err(refusal));
    }
}

#[test]
fn a_grain_over_32_kib_is_refused_before_it_is_read() {
    assert_eq!(Grain::open(&vec![0; MAX_GRAIN_BYTES + 1]), Err(Refusal::TooLarge(MAX_GRAIN_BYTES + 1)));
}

#[test]
fn a_retraction_names_one_grain_and_says_nothing() {
    let target = seal("a mistake").id();
    let retraction = Grain::retract(target, Topic::default(), &identity(), NOW).unwrap();
    assert_eq!(Grain::open(retraction.as_bytes()).unwrap().retracted(), Some(target));
    assert_eq!(seal("a text").retracted(), None);

    let mut body = raw_body();
    body.kind = rpc::GrainKind::Retraction.into();
    assert_eq!(Grain::open(&sign_raw(&body)), Err(Refusal::BadRetraction));
}

#[test]
fn a_fingerprint_tells_words_apart_and_not_times_or_places() {
    let fingerprint = |text: &str, now, ordinal| {
        let source = Some(Source { uri: "file".into(), ordinal });
        Grain::seal(Draft { source, ..draft(text) }, &identity(), now).unwrap().body().fingerprint()
    };
    assert_eq!(fingerprint("a text", NOW, 0), fingerprint("a text", NOW + 1, 7));
    assert_ne!(fingerprint("a text", NOW, 0), fingerprint("b text", NOW, 0));
    assert_ne!(fingerprint("a text", NOW, 0), seal("a text").body().fingerprint());
}

/// What rule 1 says never changes: claims are signed for vectors of these words.
#[test]
fn a_passage_is_the_title_and_the_text_unless_the_text_begins_with_the_title() {
    assert_eq!(PASSAGE_RULE, 1, "another rule has another number, and this test stays for the old one");
    let cases = [
        ("", "a text", "a text"),
        ("", "\na text ", "\na text "),
        ("Title", "a text", "Title\na text"),
        ("Title", "Title: a text", "Title: a text"),
        ("Title", "title: a text", "Title\ntitle: a text"),
        (" Title", "Title", " Title\nTitle"),
        ("a text", "a text", "a text"),
    ];
    for (title, text, passage) in cases {
        let draft = Draft { title: title.into(), ..draft(text) };
        assert_eq!(Grain::seal(draft, &identity(), NOW).unwrap().passage(), passage);
    }
}

#[test]
fn metadata_has_one_order_so_that_the_same_pairs_are_one_grain() {
    let pairs = |pairs: &[(&str, &str)]| -> BTreeMap<String, String> {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    };
    let sealed = |given: &[(&str, &str)]| {
        Grain::seal(Draft { metadata: pairs(given), ..draft("a text") }, &identity(), NOW).unwrap()
    };
    let grain = sealed(&[("b", "2"), ("a", "1")]);
    assert_eq!(grain, sealed(&[("a", "1"), ("b", "2")]));
    assert_ne!(grain.body().fingerprint(), sealed(&[("a", "1")]).body().fingerprint());
    assert_eq!(sealed(&[]), seal("a text"), "a note without any is the bytes that it always was");
    assert_eq!(
        Grain::open(grain.as_bytes()).unwrap().body().draft.metadata,
        pairs(&[("a", "1"), ("b", "2")])
    );
}

#[test]
fn metadata_that_breaks_a_rule_is_refused() {
    let pair = |key: &str, value: &str| rpc::Metadatum { key: key.into(), value: value.into() };
    let numbered = |count: usize| (0..count).map(|n| pair(&format!("{n:02}"), "")).collect::<Vec<_>>();
    let open =
        |metadata: Vec<rpc::Metadatum>| Grain::open(&sign_raw(&rpc::GrainBody { metadata, ..raw_body() }));
    let bad = |key: &str| Err(Refusal::BadMetadata(key.into()));
    assert!(open(numbered(MAX_METADATA)).is_ok());
    assert_eq!(open(numbered(MAX_METADATA + 1)), Err(Refusal::TooMuchMetadata(MAX_METADATA + 1)));
    assert_eq!(open(vec![pair("b", ""), pair("a", "")]), bad("a"), "out of order");
    assert_eq!(open(vec![pair("a", "1"), pair("a", "1")]), bad("a"), "twice");
    for key in ["", "A", "a b", "ä", "a=b", &"k".repeat(MAX_METADATA_KEY_BYTES + 1)] {
        assert_eq!(open(vec![pair(key, "")]), bad(&key[..key.len().min(MAX_METADATA_KEY_BYTES)]), "{key:?}");
    }
    for value in ["a\nb", "\u{7f}", &"v".repeat(MAX_METADATA_VALUE_BYTES + 1)] {
        assert_eq!(open(vec![pair("a", value)]), bad("a"), "{value:?}");
    }
    assert!(open(vec![pair("a.b_c-9", &"v".repeat(MAX_METADATA_VALUE_BYTES))]).is_ok());
    let draft = Draft { metadata: [("A".to_owned(), String::new())].into(), ..draft("a text") };
    assert_eq!(Grain::seal(draft, &identity(), NOW), bad("A"), "no one seals such");
}

#[test]
fn topics_are_checked() {
    for good in ["commons", "a", "0.x_y-z", &"a".repeat(64)] {
        assert!(Topic::new(good).is_ok(), "{good}");
    }
    for bad in ["", "A", "-a", ".a", "a b", "ä", "a/b", &"a".repeat(65)] {
        assert!(Topic::new(bad).is_err(), "{bad}");
    }
}

prop_compose! {
    fn any_draft()(
        topic in "[a-z0-9][a-z0-9._-]{0,63}",
        text in "\\PC{1,300}[a-z]",
        title in "\\PC{0,50}",
        tags in proptest::collection::hash_set("[a-zäöü ]{1,20}", 0..8),
        lang in "(|en|de-AT)",
        uri in proptest::option::of("[a-z/.:]{1,80}"),
        ordinal: u32,
        links in proptest::collection::vec((any::<[u8; 32]>(), "[a-z-]{1,20}"), 0..4),
        metadata in proptest::collection::btree_map("[a-z0-9_.-]{1,64}", "[^\\p{Cc}]{0,60}", 0..=MAX_METADATA),
    ) -> Draft {
        Draft {
            topic: Topic::new(topic).unwrap(),
            text,
            title,
            tags: tags.into_iter().collect(),
            lang,
            mime: "text/markdown".into(),
            source: uri.map(|uri| Source { uri, ordinal }),
            links: links.into_iter()
                .map(|(target, relation)| Link { target: GrainId::from_bytes(target), relation }).collect(),
            metadata,
        }
    }
}

proptest! {
    #[test]
    fn whatever_is_sealed_opens_to_the_same_draft(draft in any_draft(), now: u64) {
        let grain = Grain::seal(draft.clone(), &identity(), now).unwrap();
        let opened = Grain::open(grain.as_bytes()).unwrap();
        prop_assert_eq!(&opened.body().draft, &draft);
        prop_assert_eq!(opened.created_ms(), now);
        prop_assert_eq!(opened.id(), grain.id());
    }

    #[test]
    fn whatever_pairs_a_body_has_are_read_as_they_stand_or_refused(
        pairs in proptest::collection::vec(("[ab=]{0,2}", "[x\\x01]{0,3}"), 0..20),
    ) {
        let metadata: Vec<_> =
            pairs.iter().map(|(key, value)| rpc::Metadatum { key: key.clone(), value: value.clone() }).collect();
        let mut ordered: Vec<_> = pairs.iter().map(|(key, _)| key).collect();
        ordered.sort();
        ordered.dedup();
        let is_ordered = ordered == pairs.iter().map(|(key, _)| key).collect::<Vec<_>>();
        let is_good = is_ordered
            && pairs.len() <= MAX_METADATA
            && pairs.iter().all(|(key, value)| is_metadata(key, value));
        let opened = Grain::open(&sign_raw(&rpc::GrainBody { metadata, ..raw_body() }));
        prop_assert_eq!(opened.is_ok(), is_good);
        if let Ok(grain) = opened {
            prop_assert!(grain.body().draft.metadata.iter().map(|(k, v)| (k.clone(), v.clone())).eq(pairs));
        }
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..2000)) {
        prop_assert!(Grain::open(&bytes).is_err());
    }

    #[test]
    fn a_damaged_grain_is_refused_or_the_same(at in 0usize..300, byte: u8, cut in 0usize..300) {
        let grain = seal("a text to damage");
        let mut bytes = grain.as_bytes().to_vec();
        let at = at % bytes.len();
        bytes[at] = byte;
        bytes.truncate(bytes.len() - cut % bytes.len());
        if let Ok(opened) = Grain::open(&bytes) {
            prop_assert_eq!(opened, grain);
        }
    }
}
