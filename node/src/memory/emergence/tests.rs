use std::collections::BTreeMap;
use std::time::Duration;

use proptest::prelude::*;
use synapsenet_proto::{Announcement, Claim, Draft, Encoding, Grain, GrainId, Link, Refusal, Topic, Vector};
use synapsenet_storage::{Change, LANE_OWN, Origin, Slot};

use super::uses::Asker;
use super::{Emergence, Millionths, Nothing, Scores, Wanted};
use crate::config::EmergenceConfig;
use crate::memory::VECTOR_ENCODING;
use crate::memory::ingest::{IngestError, now_ms};
use crate::memory::spaces::{Fill, Space, Spaces};
use crate::testing::{Fixture, author, peer};

/// A note as somebody else's node may have it.
#[derive(Debug, Clone)]
struct Known {
    grain: Grain,
    vector: Vec<f32>,
}

fn known(by: u8, topic: &str, created_ms: u64, text: &str, vector: &[f32]) -> Known {
    linking(by, topic, created_ms, text, vector, &[])
}

fn linking(by: u8, topic: &str, created_ms: u64, text: &str, vector: &[f32], to: &[GrainId]) -> Known {
    let links = to.iter().map(|&target| Link { target, relation: "cites".to_owned() }).collect();
    let topic = Topic::new(topic).unwrap();
    let draft = Draft { text: text.to_owned(), topic, links, ..Draft::default() };
    let mut whole = vec![0.0; 384];
    whole[..vector.len()].copy_from_slice(vector);
    Known { grain: Grain::seal(draft, &author(by), created_ms).unwrap(), vector: whole }
}

impl Fixture {
    fn encoded(&self, known: &Known, encoding: Encoding) -> synapsenet_proto::EncodedVector {
        Vector::new(self.model(), known.vector.clone()).unwrap().encode(encoding)
    }

    /// Stores notes with their vectors, as they are computed here, or as their authors claim them.
    async fn learn(&self, notes: &[Known], claimed: bool) {
        self.learn_from(notes, claimed, Origin::Known).await;
    }

    async fn learn_from(&self, notes: &[Known], claimed: bool, origin: Origin) {
        for known in notes {
            let Known { grain, .. } = known;
            let vector = Vector::new(self.model(), known.vector.clone()).unwrap();
            let author = (0..9).map(author).find(|author| author.author() == grain.author()).unwrap();
            let put = Change::Put {
                grain: grain.clone(),
                shared: true,
                received_ms: 1,
                claim: Some(Claim::seal(grain.id(), &vector, &author).to_bytes()),
                origin,
                lane: LANE_OWN,
            };
            self.ingest.apply(vec![put]).await.unwrap();
            let slot = self.slot_of(grain.id());
            let encoding = if claimed { Encoding::I8 } else { VECTOR_ENCODING };
            let vector = self.encoded(known, encoding);
            self.ingest.apply(vec![Change::AddVector { slot, vector }]).await.unwrap();
        }
        self.memory.current().apply_log(&self.view()).unwrap();
    }

    fn emergence(&self, known: &Known) -> Emergence {
        self.memory.emergence(self.slot_of(known.grain.id())).unwrap()
    }

    fn scores_of(&self, notes: &[Known], scores: &Scores) -> BTreeMap<GrainId, Option<Emergence>> {
        let of =
            |known: &Known| (known.grain.id(), scores.of(self.slot_of(known.grain.id()), &self.memory.uses));
        notes.iter().map(of).collect()
    }

    async fn forget(&self, known: &Known) {
        let slots = vec![self.slot_of(known.grain.id())];
        self.ingest.apply(vec![Change::Forget { slots, remember: false }]).await.unwrap();
        self.memory.current().apply_log(&self.view()).unwrap();
    }
}

#[tokio::test]
async fn what_is_new_and_what_has_company_counts_and_another_topic_does_not() {
    let node = Fixture::new();
    let first = known(1, "a", 10, "one", &[1.0, 0.0]);
    let near = known(1, "a", 20, "two", &[0.8, 0.6]);
    let elsewhere = known(1, "b", 15, "three", &[0.8, 0.6]);
    node.learn(&[near.clone(), first.clone(), elsewhere.clone()], false).await;
    node.score_all(9);
    let [of_first, of_near, of_elsewhere] = [&first, &near, &elsewhere].map(|known| node.emergence(known));
    assert_eq!(of_first.novelty.0, 1_000_000, "nothing is older, though it came later");
    let off = (of_near.novelty.0 as i64 - 200_000).abs();
    assert!(off < 3000, "a byte a component is off by little: {of_near:?}");
    assert_eq!(of_first.coherence, of_near.coherence);
    assert_eq!(of_near.coherence.0, (1_000_000 - of_near.novelty.0) / 20, "one neighbour of 20");
    assert_eq!((of_elsewhere.novelty.0, of_elsewhere.coherence.0), (1_000_000, 0));
    let sum = of_near.novelty.0 * 5 / 10 + of_near.coherence.0 * 3 / 10;
    assert!(of_near.score.0.abs_diff(sum) <= 1, "{of_near:?}");
    let slot = node.slot_of(near.grain.id());
    let neighbours: Vec<Slot> = node.memory.scores.neighbours(slot).iter().map(|(slot, _)| *slot).collect();
    assert_eq!(neighbours, [node.slot_of(first.grain.id())]);
}

#[tokio::test]
async fn whoever_says_the_same_later_earns_nothing_whether_in_other_words_or_in_another_topic() {
    let node = Fixture::new();
    let first = known(1, "a", 10, "The café is open.", &[1.0]);
    let words = known(2, "b", 20, "the CAFE is... open", &[0.0, 1.0]);
    let edited = known(2, "a", 20, "The cafe is open today.", &[1.0, 0.1]);
    let other = known(2, "a", 30, "Taxes are due.", &[0.0, 0.0, 1.0]);
    let all = [first, words, edited, other];
    node.learn(&all, false).await;
    node.score_all(9);
    let [first, words, edited, other] = all.each_ref().map(|known| node.emergence(known));
    assert_eq!((first.nothing, other.nothing), (None, None));
    assert_eq!((words.nothing, words.score.0), (Some(Nothing::SaidBefore), 0));
    assert_eq!((edited.nothing, edited.score.0), (Some(Nothing::SaidBefore), 0));
    assert_eq!(first.coherence.0, 0, "a copy vouches for nothing");
    // Once the first goes, the next is the first that says it.
    node.forget(&all[0]).await;
    node.score_all(9);
    assert_eq!(node.emergence(&all[1]).nothing, None);
    assert_eq!((node.emergence(&all[2]).nothing, node.emergence(&all[2]).novelty.0), (None, 1_000_000));
}

#[tokio::test]
async fn a_step_that_has_no_time_gets_on_and_ends() {
    let node = Fixture::new();
    let notes: Vec<Known> =
        (0..9).map(|n| known(1, "a", n, &format!("note {n}"), &[1.0, 0.2 * n as f32])).collect();
    node.learn(&notes, false).await;
    let memory = &node.memory;
    let step = || {
        let observed = (&memory.metrics, &memory.uses);
        memory.scores.step_within(&node.view(), &memory.current(), observed, (100, Duration::ZERO)).unwrap()
    };
    let scored = || node.scores_of(&notes, &memory.scores).values().flatten().count();
    for done in 1..=9 {
        assert!(step());
        assert_eq!(scored(), done);
    }
    while step() {}
    assert_eq!(scored(), 9);
}

#[tokio::test]
async fn a_crowd_of_later_copies_does_not_hide_what_is_older() {
    let node = Fixture::new();
    let older = known(1, "a", 1, "said first", &[1.0, 0.7]);
    let middle = known(2, "a", 2, "said next", &[1.0, 0.0]);
    let mut notes = vec![older, middle.clone()];
    notes
        .extend((0..70).map(|n| known(2, "a", 10 + n, &format!("said again {n}"), &[1.0, 0.001 * n as f32])));
    node.learn(&notes, false).await;
    node.score_all(99);
    let off = node.emergence(&middle).novelty.0.abs_diff(1_000_000 - 819_232);
    assert!(off < 3000, "{:?}", node.emergence(&middle));
}

#[tokio::test]
async fn what_an_author_says_in_a_hundred_places_is_boilerplate_and_copies_of_others_make_none() {
    let node = Fixture::new();
    let mut notes: Vec<Known> =
        (0..100).map(|n| known(1, &format!("t{n}"), n, "All rights reserved.", &[1.0])).collect();
    notes.push(known(2, "a", 1, "A thought.", &[0.0, 1.0]));
    notes.extend((0..100).map(|n| known(3, &format!("t{n}"), 500 + n, "A thought!", &[0.0, 1.0])));
    node.learn(&notes, false).await;
    node.score_all(64);
    let [repeated, copied] = [&notes[0], &notes[100]].map(|known| node.emergence(known).nothing);
    assert_eq!((repeated, copied), (Some(Nothing::Boilerplate), None));
    node.forget(&notes[50]).await;
    node.score_all(64);
    assert_eq!(node.emergence(&notes[0]).nothing, None);
}

#[tokio::test]
async fn each_other_author_that_links_to_a_grain_counts_once_whichever_came_first() {
    let node = Fixture::new();
    let target = known(1, "a", 1, "a fact", &[1.0]);
    let id = [target.grain.id()];
    let early = linking(2, "a", 2, "as was said", &[0.0, 1.0], &id);
    node.learn(&[early.clone(), target.clone()], false).await;
    node.score_all(9);
    assert_eq!(node.emergence(&target).occasions, 1);
    let later = [
        linking(2, "a", 3, "once more", &[0.0, 0.0, 1.0], &id),
        linking(1, "a", 4, "as I said", &[0.0, 0.0, 0.0, 1.0], &id),
        linking(3, "a", 5, "indeed", &[0.0, 0.0, 0.0, 0.0, 1.0], &id),
    ];
    node.learn(&later, false).await;
    node.score_all(9);
    let emergence = node.emergence(&target);
    assert_eq!((emergence.occasions, emergence.reuse.0), (2, 1_098_612));
    node.forget(&later[2]).await;
    node.score_all(9);
    assert_eq!(node.emergence(&target).occasions, 1);
}

#[tokio::test]
async fn of_strangers_that_link_to_a_grain_no_more_than_three_count_beside_whom_the_owner_knows() {
    let node = Fixture::new();
    let target = known(1, "a", 1, "a fact", &[1.0]);
    let id = [target.grain.id()];
    node.learn(std::slice::from_ref(&target), false).await;
    let links = |by: u8, n: u64| {
        let mut vector = vec![0.0; 20];
        vector[n as usize] = 1.0;
        linking(by, "a", n, &format!("as was said {n}"), &vector, &id)
    };
    for n in 2..8 {
        node.learn_from(&[links(n as u8, n)], false, Origin::Stranger).await;
    }
    // One of them says it twice, and one that is known comes after all of them.
    node.learn_from(&[links(2, 9)], false, Origin::Stranger).await;
    node.score_all(9);
    assert_eq!(node.emergence(&target).occasions, 3);
    node.learn(&[links(8, 10)], false).await;
    node.score_all(9);
    assert_eq!(node.emergence(&target).occasions, 4);
}

#[tokio::test]
async fn what_is_neither_new_nor_near_to_others_earns_nothing() {
    let node = Fixture::new();
    let first = known(1, "a", 1, "one", &[1.0]);
    let same = known(1, "a", 2, "nearly one", &[1.0, 0.3]);
    node.learn(&[first, same.clone()], false).await;
    node.score_all(9);
    assert_eq!(node.emergence(&same).nothing, Some(Nothing::TooLittle));
}

#[tokio::test]
async fn a_note_that_is_shared_later_is_compared_by_what_its_author_vouches_for() {
    let (here, there) = (Fixture::new(), Fixture::new());
    let notes = [
        known(1, "a", 1, "one", &[1.0, 0.37, 0.11, 0.053]),
        known(2, "a", 2, "two", &[0.71, 0.6, 0.007, 0.013]),
    ];
    there.learn(&notes, true).await;
    // Here they were computed, and nobody vouched for them yet.
    here.learn(&notes, false).await;
    for known in &notes {
        let slot = here.slot_of(known.grain.id());
        let claim = here.view().claim(slot).unwrap().unwrap();
        here.ingest.apply(vec![Change::DropClaim { slot }]).await.unwrap();
        here.score_all(9);
        here.ingest.apply(vec![Change::AddClaim { slot, claim }]).await.unwrap();
        here.memory.current().apply_log(&here.view()).unwrap();
    }
    here.score_all(9);
    there.score_all(9);
    assert_eq!(here.scores_of(&notes, &here.memory.scores), there.scores_of(&notes, &there.memory.scores));
}

#[tokio::test]
async fn what_emerged_is_grouped_by_what_it_is_about_and_told_by_time_topic_and_author() {
    let node = Fixture::new();
    let cats = [
        known(1, "a", 10, "cats sleep", &[1.0, 0.5]),
        known(2, "a", 20, "cats purr", &[1.0, 0.0, 0.5]),
        known(1, "a", 30, "cats eat", &[1.0, 0.0, 0.0, 0.5]),
    ];
    let alone = known(3, "a", 25, "taxes", &[0.0, 0.0, 0.0, 0.0, 1.0]);
    let copy = known(3, "b", 40, "Taxes!", &[0.0, 0.0, 0.0, 0.0, 1.0]);
    let old = known(3, "a", 1, "boats", &[0.0, 0.0, 0.0, 0.0, 0.0, 1.0]);
    node.learn(&cats, false).await;
    node.learn(&[alone.clone(), copy.clone(), old.clone()], false).await;
    node.score_all(9);
    let (scores, uses) = (&node.memory.scores, &node.memory.uses);
    uses.note_told(1, &[node.slot_of(old.grain.id())], 7);
    let slots =
        |notes: &[&Known]| notes.iter().map(|known| node.slot_of(known.grain.id())).collect::<Vec<_>>();
    let since = Wanted { since_ms: 10, ..Wanted::default() };
    let emerged = scores.emerged(uses, &since, 9);
    assert_eq!(emerged.grains, 5);
    assert_eq!(emerged.groups.len(), 1, "{emerged:?}");
    assert_eq!(emerged.groups[0].slots, slots(&[&cats[0], &cats[1], &cats[2]]));
    let told = |scored: Vec<(Slot, Emergence)>| scored.into_iter().map(|(slot, _)| slot).collect::<Vec<_>>();
    assert_eq!(told(emerged.novel)[..2], slots(&[&cats[0], &alone]), "the copy is not new");
    assert_eq!(told(emerged.reused), slots(&[&old]), "it need not be new");
    assert_eq!(told(scores.top(uses, &since, true, 2)), slots(&[&copy, &cats[2]]));
    assert_eq!(told(scores.top(uses, &Wanted::default(), false, 1)), slots(&[&old]));
    let topic = Topic::new("b").unwrap();
    let of_topic = Wanted { topic: Some(topic.clone()), since_ms: 0 };
    assert!(scores.top(uses, &of_topic, false, 9).is_empty(), "a copy is worth nothing");
    let standings = scores.standings(uses, None);
    let of = |by: u8| standings[&author(by).author()];
    let sum: u64 = [&cats[0], &cats[2]].iter().map(|known| node.emergence(known).score.0).sum();
    assert_eq!((of(1).sum.0, of(1).grains, of(1).worthless), (sum, 2, 0));
    assert_eq!((of(3).grains, of(3).worthless), (3, 1));
    let there = scores.standings(uses, Some(&topic));
    assert_eq!((there.len(), there[&author(3).author()].sum.0), (1, 0));
}

#[tokio::test]
async fn what_an_author_does_wrong_takes_from_its_standing_and_its_voice() {
    let node = Fixture::new();
    let notes = [
        known(1, "a", 10, "cats", &[1.0]),
        known(2, "a", 20, "taxes", &[0.0, 1.0]),
        known(2, "a", 30, "boats", &[0.0, 0.0, 1.0]),
    ];
    node.learn(&notes, false).await;
    node.score_all(9);
    let (scores, uses, wrongdoer) = (&node.memory.scores, &node.memory.uses, author(2));
    for known in &notes[1..] {
        let slot = node.slot_of(known.grain.id());
        uses.note_hits(Asker::Owner("somebody"), [slot].into_iter(), 7);
        uses.note_opened(Asker::Owner("somebody"), slot, 7);
    }
    let before = scores.standings(uses, None)[&wrongdoer.author()];
    assert_eq!((before.refused, scores.uses_of_author(uses, &wrongdoer.author())), (0, 2));
    let topic = Topic::new("a").unwrap();
    let withdrawn = Grain::retract(notes[0].grain.id(), topic, &wrongdoer, now_ms()).unwrap();
    // Whoever brings it again adds nothing to it.
    for _ in 0..3 {
        let refused =
            node.ingest.receive(Announcement { grain: withdrawn.clone(), claim: None }, peer(7)).await;
        assert!(matches!(refused, Err(IngestError::Refused(Refusal::ForeignRetraction))), "{refused:?}");
    }
    let after = scores.standings(uses, None)[&wrongdoer.author()];
    assert_eq!((after.refused, after.sum), (1, before.sum.less(Millionths(500_000))));
    assert_eq!(scores.uses_of_author(uses, &wrongdoer.author()), 1);
    assert_eq!(scores.standings(uses, None)[&author(1).author()].refused, 0, "whose note it was did nothing");
}

#[test]
fn who_scores_nothing_has_no_scores_and_keeps_no_log_for_them() {
    let node = Fixture::new();
    let config = EmergenceConfig { enabled: false, ..EmergenceConfig::default() };
    let scores = Scores::open(&node.memory.store, &node.memory.index_dir, &config).unwrap();
    assert!(!scores.is_on() && scores.saved() == u64::MAX && !scores.save(&node.memory.store).unwrap());
    let memory = &node.memory;
    assert!(!scores.step(&node.view(), &memory.current(), (&memory.metrics, &memory.uses), 9).unwrap());
}

#[tokio::test]
async fn scores_are_begun_anew_when_another_space_is_used() {
    let node = Fixture::new();
    let note = known(1, "a", 1, "one", &[1.0]);
    node.learn(std::slice::from_ref(&note), false).await;
    node.score_all(9);
    let slot = node.slot_of(note.grain.id());
    assert!(node.memory.emergence(slot).is_some());
    let memory = &node.memory;
    let other = synapsenet_index::Model::known().unwrap().remove(0);
    assert_ne!(other.id(), node.model());
    let other = Space::open(&memory.store, other, &memory.index_dir, memory.hnsw, Fill::Later).unwrap();
    let spaces = Spaces::one(std::sync::Arc::new(other));
    memory.change_spaces(|_| Some(spaces.clone()));
    node.score_all(9);
    assert!(memory.emergence(slot).is_none(), "it has no vector of that one");
}

/// Notes in some topics and clusters, whose vectors have many numbers that no rounding leaves alone.
fn some_notes(seed: u64, count: usize) -> Vec<Known> {
    let mut state = seed | 1;
    let mut random = move |below: u64| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state % below
    };
    let mut notes: Vec<Known> = Vec::new();
    for n in 0..count {
        let cluster = random(3) as usize;
        let mut vector: Vec<f32> = (0..40).map(|_| random(1000) as f32 / 2500.0 - 0.2).collect();
        vector[cluster] += 1.4;
        let text = if random(9) == 0 { "again".to_owned() } else { format!("note {n} of {seed}") };
        let to: Vec<GrainId> = match notes.len() as u64 {
            0 => Vec::new(),
            len => (0..random(2)).map(|_| notes[random(len) as usize].grain.id()).collect(),
        };
        let (by, topic) = (1 + random(4) as u8, if random(4) == 0 { "b" } else { "a" });
        let note = linking(by, topic, 1 + random(50), &text, &vector, &to);
        if notes.iter().all(|other| other.grain.id() != note.grain.id()) {
            notes.push(note);
        }
    }
    notes
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(6))]

    /// More notes than count as neighbours, in any order, in steps of any size, with others between that went again, claimed or
    /// computed, saved and opened in the middle, or made anew at the end.
    #[test]
    fn nodes_that_hold_the_same_agree_to_the_last_digit(seed in any::<u64>(), most in 1usize..40, cut in 5usize..60) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let all = some_notes(seed, 80);
            let (extra, notes) = all.split_at(12);
            let plain = Fixture::new();
            plain.learn(notes, false).await;
            plain.score_all(1000);
            let expected = plain.scores_of(notes, &plain.memory.scores);
            assert!(expected.values().all(Option::is_some));
            let busy = expected.values().flatten().any(|emergence| emergence.coherence.0 > 500_000);
            assert!(busy, "some have all the neighbours that count");

            let other = Fixture::new();
            let mut shuffled: Vec<Known> = notes.to_vec();
            shuffled.reverse();
            shuffled.rotate_left(cut);
            let (first, second) = shuffled.split_at(cut.min(shuffled.len()));
            other.learn(extra, true).await;
            other.learn(first, true).await;
            other.score_all(most);
            for known in &extra[..6] {
                other.forget(known).await;
            }
            other.score_all(most);
            for part in second.chunks(most) {
                other.learn(part, true).await;
                let memory = &other.memory;
                memory.scores.step(&other.view(), &memory.current(), (&memory.metrics, &memory.uses), most).unwrap();
            }
            for known in &extra[6..] {
                other.forget(known).await;
            }
            let memory = &other.memory;
            memory.scores.save(&memory.store).unwrap();
            let config = EmergenceConfig::default();
            let again = Scores::open(&memory.store, &memory.index_dir, &config).unwrap();
            assert_eq!(again.saved(), other.view().last_index_seq().unwrap().min(again.saved()));
            while again.step(&other.view(), &memory.current(), (&memory.metrics, &memory.uses), most).unwrap() {}
            other.score_all(most);
            assert_eq!(other.scores_of(notes, &memory.scores), expected, "seed {seed}");
            assert_eq!(other.scores_of(notes, &again), expected, "opened in the middle, seed {seed}");

            std::fs::remove_dir_all(memory.index_dir.join("emergence")).unwrap();
            let anew = Scores::open(&memory.store, &memory.index_dir, &config).unwrap();
            while anew.step(&other.view(), &memory.current(), (&memory.metrics, &memory.uses), most).unwrap() {}
            assert_eq!(other.scores_of(notes, &anew), expected, "made anew, seed {seed}");
        });
    }
}
