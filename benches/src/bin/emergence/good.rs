//! What a node keeps by scores that has room for a quarter of what comes: honest texts, copies of them and noise. How well what it
//! keeps answers questions that nobody asked before, beside other ways to choose; and whether scores help to rank.

use std::collections::{HashMap, HashSet};

use synapsenet::rehearsal::Rehearsal;
use synapsenet_proto::GrainId;

use super::Arguments;
use super::crowd::{self, HITS, Said, author, bring, first_ms, largest, likeness, seal, shuffle};
use super::material::{Material, Question, Text};

/// Honest texts of one author.
const HONEST_EACH: usize = 30;
/// Authors of copies, and of noise.
const OTHERS: usize = 100;
/// Of the copies, so many of ten have small edits; the others say the same words.
const EDITED_OF_TEN: usize = 2;
/// Milliseconds from one grain to the next.
const STEP_MS: u64 = 3_000;
/// The aim: of what a node finds that keeps all.
const AIM: f64 = 0.9;
/// Times that eviction at random is tried.
const RANDOM_ROUNDS: usize = 5;
/// By how much the highest score raises a hit, in the search for the best.
const WEIGHTS: [f32; 6] = [0.0, 0.01, 0.02, 0.05, 0.1, 0.2];

/// Who brings copies and noise, and when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mix {
    /// Copies come after what they copy. Those who copy bring no noise.
    Apart,
    /// Copies come after what they copy. The same authors bring them and the noise.
    After,
    /// The same, and half of the copies come before what they copy, so that their authors are the first who say it.
    Before,
}

/// Prints what each way to choose leaves of each mix, and whether scores help to rank. False when the aim is missed in any mix.
pub(super) async fn measure(material: &mut Material, arguments: &Arguments) -> anyhow::Result<bool> {
    let mut holds = true;
    let others = Others::make(material, arguments.stream.saturating_sub(material.documents.len()))?;
    for (mix, words) in [
        (Mix::Apart, "copies after what they copy, noise by others"),
        (Mix::After, "copies after what they copy, noise by the same authors"),
        (Mix::Before, "copies before and after what they copy, noise by the same authors"),
    ] {
        println!("\n{words}:\n");
        holds &= keep(mix, &others, material, arguments).await?;
    }
    rank(material).await?;
    Ok(holds)
}

async fn keep(
    mix: Mix,
    others: &Others,
    material: &mut Material,
    arguments: &Arguments,
) -> anyhow::Result<bool> {
    let all = stream(mix, others, material)?;
    let asked = Asked::of(material.questions.iter().step_by(2), &all);
    let held_out = Asked::of(material.questions.iter().skip(1).step_by(2), &all);
    let quality = |kept: &[bool]| ndcg(&held_out, &all, kept, |_| 0.0);
    let whole = quality(&vec![true; all.len()]);

    let by_score = kept_by("score", &all, &asked, arguments).await?;
    let oldest = kept_by("oldest", &all, &asked, arguments).await?;
    let quota = arguments.quota as usize;
    let mut at_random = 0.0;
    for _ in 0..RANDOM_ROUNDS {
        let mut places: Vec<usize> = (0..all.len()).collect();
        shuffle(&mut places, &mut material.random);
        at_random += quality(&marked(&places[..quota], all.len())) / RANDOM_ROUNDS as f64;
    }
    let oracle = oracle(&all, &held_out, quota);
    let noise = |kept: &[bool]| {
        let noise = all.iter().zip(kept).filter(|(said, kept)| **kept && said.says.is_none()).count();
        100.0 * noise as f64 / kept.iter().filter(|kept| **kept).count().max(1) as f64
    };
    let documents = |kept: &[bool]| -> usize {
        let says = all.iter().zip(kept).filter(|(_, kept)| **kept).filter_map(|(said, _)| said.says);
        says.collect::<HashSet<_>>().len()
    };
    println!("| kept | grains | documents | noise % | nDCG@10 | of all |\n|---|---|---|---|---|---|");
    let row = |name: &str, kept: &[bool]| {
        let (count, found) = (kept.iter().filter(|kept| **kept).count(), quality(kept));
        let (documents, noise) = (documents(kept), noise(kept));
        println!("| {name} | {count} | {documents} | {noise:.0} | {found:.4} | {:.3} |", found / whole);
    };
    row("all", &vec![true; all.len()]);
    row("by score", &by_score);
    row("the youngest", &oldest);
    println!("| at random | {quota} | | | {at_random:.4} | {:.3} |", at_random / whole);
    row("an oracle", &oracle);
    let (found, other) = (quality(&by_score), quality(&oldest).max(at_random));
    Ok(found >= AIM * whole && found > other)
}

/// A question, and how near each grain of a stream is to it.
struct Asked<'a> {
    question: &'a Question,
    like: Vec<f32>,
}

impl<'a> Asked<'a> {
    fn of(questions: impl Iterator<Item = &'a Question>, all: &[Said]) -> Vec<Self> {
        questions.map(|question| Self { question, like: likeness(question, all) }).collect()
    }
}

/// Copies of documents, and noise.
struct Others {
    /// Each with the document that it says.
    copies: Vec<(Text, usize)>,
    noise: Vec<Text>,
}

impl Others {
    fn make(material: &mut Material, count: usize) -> anyhow::Result<Self> {
        let documents = material.documents.clone();
        let (mut copies, mut edits) = (Vec::new(), Vec::new());
        for n in 0..count / 2 {
            let place = material.random.below(documents.len());
            match n % 10 < EDITED_OF_TEN {
                true => edits.push((material.edited(&documents[place].text), place)),
                // Other tags or spaces make another grain of the same words.
                false => copies.push((
                    Text { text: format!("{} ", documents[place].text), ..documents[place].clone() },
                    place,
                )),
            }
        }
        let (edited, places): (Vec<_>, Vec<_>) = edits.into_iter().unzip();
        copies.extend(material.vectors_of(edited)?.into_iter().zip(places));
        let noise = (0..count - count / 2).map(|_| material.noise()).collect();
        Ok(Self { copies, noise: material.vectors_of(noise)? })
    }
}

/// Honest texts, a third of all; copies of them by others; and noise, in any order but for copies that come after what they copy.
fn stream(mix: Mix, others: &Others, material: &mut Material) -> anyhow::Result<Vec<Said>> {
    let documents = material.documents.clone();
    let (mut copiers, mut makers) = ((0..OTHERS / 2).cycle(), (OTHERS / 2..OTHERS).cycle());
    let mut anybody = (0..OTHERS).cycle();
    let mut by = |apart: &mut dyn Iterator<Item = usize>| {
        let number = if mix == Mix::Apart { apart.next() } else { anybody.next() };
        HONEST_AUTHORS + number.unwrap_or_default()
    };
    let mut texts: Vec<(Text, Option<usize>, usize)> = Vec::new();
    texts.extend(others.copies.iter().map(|(text, says)| (text.clone(), Some(*says), by(&mut copiers))));
    texts.extend(others.noise.iter().map(|text| (text.clone(), None, by(&mut makers))));
    let mut places: Vec<usize> = (0..documents.len()).collect();
    shuffle(&mut places, &mut material.random);
    texts.extend(
        places.iter().enumerate().map(|(n, &place)| (documents[place].clone(), Some(place), n / HONEST_EACH)),
    );
    shuffle(&mut texts, &mut material.random);
    if mix != Mix::Before {
        originals_first(&mut texts);
    }
    let first = first_ms();
    let said = |(turn, (text, says, by)): (usize, (Text, Option<usize>, usize))| {
        let grain = seal(&text, &author(by), first + turn as u64 * STEP_MS, |_| ())?;
        Ok(Said { grain, vector: text.vector, says, hostile: false })
    };
    texts.into_iter().enumerate().map(said).collect()
}

/// Has each document change places with the first of its copies where that came before it.
fn originals_first(texts: &mut [(Text, Option<usize>, usize)]) {
    let mut original: HashMap<usize, usize> = HashMap::new();
    for (at, (_, says, by)) in texts.iter().enumerate() {
        if let Some(document) = says.filter(|_| *by < HONEST_AUTHORS) {
            original.insert(document, at);
        }
    }
    let mut seen = HashSet::new();
    for at in 0..texts.len() {
        let Some(document) = texts[at].1 else { continue };
        if seen.insert(document)
            && texts[at].2 >= HONEST_AUTHORS
            && let Some(&there) = original.get(&document)
        {
            texts.swap(at, there);
        }
    }
}

/// Where the numbers of authors of copies and noise begin.
const HONEST_AUTHORS: usize = 100_000;

/// What a node holds at the end whose owner asks meanwhile.
async fn kept_by(
    retention: &str,
    all: &[Said],
    asked: &[Asked<'_>],
    arguments: &Arguments,
) -> anyhow::Result<Vec<bool>> {
    let (memory, _dir) = crowd::memory(arguments.quota, retention)?;
    let mut next = 0;
    bring(&memory, all, |came| {
        while next < asked.len() && next * all.len() < came * asked.len() {
            crowd::ask(&memory, asked[next].question, all, &asked[next].like[..came])?;
            next += 1;
        }
        Ok(())
    })
    .await?;
    memory.held(&ids(all))
}

fn ids(all: &[Said]) -> Vec<GrainId> {
    all.iter().map(|said| said.grain.id()).collect()
}

fn marked(places: &[usize], count: usize) -> Vec<bool> {
    let mut marked = vec![false; count];
    places.iter().for_each(|&at| marked[at] = true);
    marked
}

/// Who knows the questions that are held out keeps what answers them, then other documents, each once.
fn oracle(all: &[Said], held_out: &[Asked<'_>], quota: usize) -> Vec<bool> {
    let answers: HashSet<usize> =
        held_out.iter().flat_map(|asked| asked.question.grades.keys().copied()).collect();
    let (mut kept, mut seen) = (Vec::new(), HashSet::new());
    for wants in [true, false] {
        for (at, said) in all.iter().enumerate() {
            let Some(says) = said.says.filter(|says| answers.contains(says) == wants) else { continue };
            if kept.len() < quota && seen.insert(says) {
                kept.push(at);
            }
        }
    }
    marked(&kept, all.len())
}

/// nDCG@10 of questions among what is kept, each document counted once, by its best grain; `raise` is added to the cosines.
fn ndcg(questions: &[Asked<'_>], all: &[Said], kept: &[bool], raise: impl Fn(usize) -> f32) -> f64 {
    /// Copies of a document and noise take places, so more are looked at.
    const LOOKED_AT: usize = 200;
    let mut sum = 0.0;
    for Asked { question, like } in questions {
        let like: Vec<f32> = (0..like.len())
            .map(|at| if kept[at] { like[at] + raise(at) } else { f32::NEG_INFINITY })
            .collect();
        let near = largest(&like, LOOKED_AT).into_iter().filter(|&at| kept[at]);
        let mut seen = HashSet::new();
        let grades = near.filter(|&at| all[at].says.is_none_or(|says| seen.insert(says)));
        let grades: Vec<f64> = grades
            .map(|at| all[at].says.and_then(|says| question.grades.get(&says)).copied().unwrap_or(0.0))
            .take(HITS)
            .collect();
        let mut best: Vec<f64> = question.grades.values().copied().collect();
        best.sort_by(|a, b| b.total_cmp(a));
        best.truncate(HITS);
        sum += gain(&grades) / gain(&best);
    }
    sum / questions.len() as f64
}

fn gain(grades: &[f64]) -> f64 {
    grades.iter().enumerate().map(|(rank, grade)| grade / (rank as f64 + 2.0).log2()).sum()
}

/// What raising hits by their scores does to questions that are held out, on a node that keeps all documents.
async fn rank(material: &mut Material) -> anyhow::Result<()> {
    let mut places: Vec<usize> = (0..material.documents.len()).collect();
    shuffle(&mut places, &mut material.random);
    let (mut all, first) = (Vec::new(), first_ms());
    for (n, &place) in places.iter().enumerate() {
        let text = &material.documents[place];
        let grain = seal(text, &author(n / HONEST_EACH), first + n as u64 * STEP_MS, |_| ())?;
        all.push(Said { grain, vector: text.vector.clone(), says: Some(place), hostile: false });
    }
    let (memory, _dir): (Rehearsal, _) = crowd::memory(all.len() as u64, "score")?;
    bring(&memory, &all, |_| Ok(())).await?;
    for asked in Asked::of(material.questions.iter().step_by(2), &all) {
        crowd::ask(&memory, asked.question, &all, &asked.like)?;
    }
    let mut scores = HashMap::new();
    for (at, said) in all.iter().enumerate() {
        scores.extend(memory.score_of(&said.grain.id())?.map(|score| (at, score.score.min(1.0) as f32)));
    }
    let held_out = Asked::of(material.questions.iter().skip(1).step_by(2), &all);
    println!("\n| ranking weight | nDCG@10 |\n|---|---|");
    let kept = vec![true; all.len()];
    for weight in WEIGHTS {
        let raise = |at: usize| weight * scores.get(&at).copied().unwrap_or(0.0);
        println!("| {weight} | {:.4} |", ndcg(&held_out, &all, &kept, raise));
    }
    Ok(())
}
