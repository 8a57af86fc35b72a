//! What attackers gain beside honest authors that bring as many grains: standing, and a share of the room of strangers once that is
//! half of what came.

use std::collections::HashSet;

use synapsenet_proto::{AuthorId, GrainId};

use super::Arguments;
use super::crowd::{self, HOSTILE, Said, author, bring, by, first_ms, likeness, links, seal, shuffle};
use super::material::{Material, Question, Text};

/// Honest grains of an author.
const HONEST_EACH: usize = 40;
/// Honest grains beside an attacker's, as a multiple of these.
const HONEST_TIMES: usize = 12;
/// Grains that each one of a ring links to.
const RING_LINKS: usize = 12;
/// Keys of an attacker that has many.
const KEYS: usize = 10;
/// Milliseconds from one grain to the next.
const STEP_MS: u64 = 10_000;
/// Between the title and the text of what is stuffed.
const STUFFED: &str = "\n";
/// Peers that ask each day for what an attacker brings, and days.
const ASKERS: (usize, u32) = (50, 30);

/// When an attacker's grains come, and what they are dated.
#[derive(Clone, Copy, PartialEq, Eq)]
enum When {
    /// Before all others.
    First,
    /// Among the others.
    Between,
    /// After all others.
    Last,
    /// After all others, and dated before them.
    DatedBack,
}

struct Attack {
    name: &'static str,
    keys: usize,
    when: When,
    /// Whether the keys link to each other's grains.
    rings: bool,
    /// Whether peers of the attacker ask for its grains.
    asks: bool,
    texts: fn(&mut Material, &[usize]) -> Vec<String>,
}

const PLAIN: Attack = Attack {
    name: "",
    keys: 1,
    when: When::Between,
    rings: false,
    asks: false,
    texts: |material, victims| victims.iter().map(|_| material.noise()).collect(),
};

fn edited(material: &mut Material, victims: &[usize]) -> Vec<String> {
    let texts: Vec<String> = victims.iter().map(|&at| material.documents[at].text.clone()).collect();
    texts.iter().map(|text| material.edited(text)).collect()
}

fn paraphrased(material: &mut Material, victims: &[usize]) -> Vec<String> {
    victims.iter().map(|&at| material.paraphrased(&material.documents[at].text.clone())).collect()
}

/// The first words of what others said.
fn titles(material: &mut Material, victims: &[usize]) -> Vec<String> {
    victims.iter().map(|&at| Material::title(&material.documents[at].text)).collect()
}

fn themed(material: &mut Material, victims: &[usize]) -> Vec<String> {
    material.themed(victims.len())
}

fn advertisements(material: &mut Material, victims: &[usize]) -> Vec<String> {
    victims.iter().map(|_| material.advertisement()).collect()
}

/// Titles of others, and what is said beneath them: nothing.
fn stuffed(material: &mut Material, victims: &[usize]) -> Vec<String> {
    let titles = titles(material, victims);
    titles.into_iter().map(|title| format!("{title}{STUFFED}{}", material.noise())).collect()
}

const ATTACKS: [Attack; 13] = [
    Attack { name: "flood of random text", ..PLAIN },
    Attack { name: "flood of random text, many keys", keys: KEYS, ..PLAIN },
    Attack { name: "self-citation ring, one theme", keys: KEYS, rings: true, texts: themed, ..PLAIN },
    Attack {
        name: "self-citation ring, advertisements",
        keys: KEYS,
        rings: true,
        texts: advertisements,
        ..PLAIN
    },
    Attack { name: "Sybil askers, random text", keys: KEYS, asks: true, ..PLAIN },
    Attack {
        name: "Sybil askers and ring, one theme",
        keys: KEYS,
        rings: true,
        asks: true,
        texts: themed,
        ..PLAIN
    },
    Attack { name: "copies with small edits", when: When::Last, texts: edited, ..PLAIN },
    Attack { name: "paraphrases", when: When::Last, texts: paraphrased, ..PLAIN },
    Attack { name: "paraphrases, many keys", keys: KEYS, texts: paraphrased, ..PLAIN },
    Attack { name: "tags and titles stuffed", texts: stuffed, ..PLAIN },
    Attack { name: "copies dated back", when: When::DatedBack, texts: edited, ..PLAIN },
    Attack {
        name: "squatting: titles before all others",
        keys: KEYS,
        when: When::First,
        texts: titles,
        ..PLAIN
    },
    Attack {
        name: "squatting: paraphrases before all others",
        keys: KEYS,
        when: When::First,
        texts: paraphrased,
        ..PLAIN
    },
];

/// Prints a row for each attack. False when one gains more than honest authors.
pub(super) async fn measure(material: &mut Material, arguments: &Arguments) -> anyhow::Result<bool> {
    println!(
        "| attack | standing: attacker | honest | kept %: attacker | honest | holds |\n|---|---|---|---|---|---|"
    );
    let mut holds = true;
    for attack in ATTACKS.iter().filter(|attack| attack.name.starts_with(&arguments.attack)) {
        let gain = rehearse(attack, material, arguments).await?;
        let less = gain.standing[0] < gain.standing[1] && gain.kept[0] < gain.kept[1];
        holds &= less;
        let Gain { standing: [theirs, ours], kept: [kept, honest] } = gain;
        let verdict = if less { "yes" } else { "NO" };
        println!("| {} | {theirs:.2} | {ours:.2} | {kept:.0} | {honest:.0} | {verdict} |", attack.name);
    }
    Ok(holds)
}

/// Of the attacker, and of honest authors with as many grains.
struct Gain {
    /// Sums of what grains are worth, before the room shrinks.
    standing: [f64; 2],
    /// Percent of what they brought that is held afterwards.
    kept: [f64; 2],
}

async fn rehearse(attack: &Attack, material: &mut Material, arguments: &Arguments) -> anyhow::Result<Gain> {
    let count = arguments.grains;
    let mut places: Vec<usize> = (0..material.documents.len()).collect();
    shuffle(&mut places, &mut material.random);
    places.truncate(count * HONEST_TIMES);
    let victims: Vec<usize> = places.iter().copied().take(count).collect();
    let texts = (attack.texts)(material, &victims);
    let hostile = material.vectors_of(texts)?;
    shuffle(&mut places, &mut material.random);
    let all = order(attack, &hostile, &places, material)?;
    let (memory, _dir) = crowd::memory(all.len() as u64, "score")?;
    bring(&memory, &all, |_| Ok(())).await?;
    let ids: Vec<GrainId> = all.iter().filter(|said| said.hostile).map(|said| said.grain.id()).collect();
    if attack.asks {
        memory.tell(ASKERS.0, ASKERS.1, &ids)?;
    }
    for question in asked(&material.questions, &places) {
        crowd::ask(&memory, question, &all, &likeness(question, &all))?;
    }
    let standings = memory.standings();
    let authors = |hostile: bool| -> HashSet<AuthorId> {
        all.iter().filter(|said| said.hostile == hostile).map(by).collect()
    };
    let sum = |hostile| authors(hostile).iter().filter_map(|author| standings.get(author)).sum::<f64>();
    let standing = [sum(true), sum(false) * count as f64 / places.len() as f64];
    memory.shrink(all.len() as u64 / 2).await?;
    let held = memory.held(&all.iter().map(|said| said.grain.id()).collect::<Vec<_>>())?;
    let kept = |hostile: bool| {
        let of: Vec<bool> = all
            .iter()
            .zip(&held)
            .filter(|(said, _)| said.hostile == hostile)
            .map(|(_, held)| *held)
            .collect();
        100.0 * of.iter().filter(|held| **held).count() as f64 / of.len() as f64
    };
    Ok(Gain { standing, kept: [kept(true), kept(false)] })
}

/// Every second question that some of these documents answer.
fn asked<'a>(questions: &'a [Question], places: &[usize]) -> impl Iterator<Item = &'a Question> {
    let there: HashSet<usize> = places.iter().copied().collect();
    let answered = move |question: &&Question| question.grades.keys().any(|at| there.contains(at));
    questions.iter().step_by(2).filter(answered)
}

/// All grains in the order in which they come.
fn order(
    attack: &Attack,
    hostile: &[Text],
    places: &[usize],
    material: &mut Material,
) -> anyhow::Result<Vec<Said>> {
    // A place in time for each, those of the attacker marked by none.
    let honest = places.iter().map(|&place| Some(place));
    let theirs = hostile.iter().map(|_| None);
    let mut turns: Vec<Option<usize>> = match attack.when {
        When::First => theirs.chain(honest).collect(),
        _ => honest.chain(theirs).collect(),
    };
    if attack.when == When::Between {
        shuffle(&mut turns, &mut material.random);
    }
    let keys: Vec<_> = (0..attack.keys).map(|key| author(HOSTILE + key)).collect();
    let (mut all, mut ring, mut next, mut number) = (Vec::new(), Vec::<GrainId>::new(), hostile.iter(), 0);
    let first = first_ms();
    for (turn, place) in turns.into_iter().enumerate() {
        let now = first + turn as u64 * STEP_MS;
        let said = match place {
            Some(place) => {
                let text = &material.documents[place];
                number += 1;
                let grain = seal(text, &author(number / HONEST_EACH), now, |_| ())?;
                Said { grain, vector: text.vector.clone(), says: Some(place), hostile: false }
            }
            None => {
                let Some(text) = next.next() else { continue };
                let dated = if attack.when == When::DatedBack { first - STEP_MS * turn as u64 } else { now };
                let to: Vec<GrainId> = ring.iter().rev().take(RING_LINKS).copied().collect();
                let grain = seal(text, &keys[ring.len() % keys.len()], dated, |draft| {
                    if attack.rings {
                        draft.links = links(&to);
                    }
                    if let Some((title, rest)) = text.text.split_once(STUFFED) {
                        (draft.title, draft.text) = (title.to_owned(), rest.to_owned());
                        let tags = title.split_whitespace().map(super::material::plain_word);
                        draft.tags = tags.filter(|tag| !tag.is_empty()).collect();
                        draft.tags.sort();
                        draft.tags.dedup();
                    }
                })?;
                ring.push(grain.id());
                Said { grain, vector: text.vector.clone(), says: None, hostile: true }
            }
        };
        all.push(said);
    }
    Ok(all)
}
