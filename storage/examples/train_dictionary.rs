//! Makes the zstd dictionary that grains are packed with, and says what it gains.
//!
//! ```text
//! cargo run --release -p synapsenet-storage --example train_dictionary -- OUT.zdict BYTES TEXTS... -- OTHERS...
//! ```
//!
//! Each file has one text a line. Every text becomes a grain by another author, so that the dictionary learns the words
//! and the layout and no one's key. One in ten of TEXTS is kept out of the training and used to measure; OTHERS are only
//! measured, to see what the dictionary does for subjects that it does not know.

use std::error::Error;
use std::time::Instant;

use synapsenet_proto::{Draft, Grain, Identity, Source, Topic};

/// More samples than this make training slow and the dictionary no better.
const MAX_SAMPLES_A_FILE: usize = 8_000;

const TOPICS: [&str; 6] = ["commons", "home", "recipes", "network", "garden", "library"];
const TAGS: [&str; 8] = ["howto", "idea", "todo", "science", "health", "linux", "electricity", "book"];
const SOURCES: [&str; 6] = [
    "/home/anna/notes/network.md",
    "/srv/documents/manual.html",
    "/home/ben/Documents/recipes.txt",
    "file:///home/user/notes/garden.md",
    "https://en.wikipedia.org/wiki/Heat_pump",
    "https://www.example.org/docs/index.html",
];

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let out = arguments.next().ok_or("the first argument is the file to write")?;
    let size: usize = arguments.next().ok_or("the second argument is the size in bytes")?.parse()?;
    let mut training = Vec::new();
    let mut held_out = Vec::new();
    let mut is_learnt = true;
    for path in arguments {
        if path == "--" {
            is_learnt = false;
            continue;
        }
        let texts = std::fs::read_to_string(&path)?;
        let texts: Vec<&str> = texts.lines().filter(|line| !line.trim().is_empty()).collect();
        let step = texts.len().div_ceil(MAX_SAMPLES_A_FILE).max(1);
        let mut kept_out = Vec::new();
        for (i, text) in texts.iter().step_by(step).enumerate() {
            let grain = seal(text, training.len() + held_out.len())?.as_bytes().to_vec();
            if i % 10 == 9 || !is_learnt { kept_out.push(grain) } else { training.push(grain) }
        }
        held_out.push((path, kept_out));
    }
    let dictionary = zstd::dict::from_samples(&training, size)?;
    for (path, grains) in &held_out {
        measure(path, grains, &dictionary)?;
    }
    println!("{} grains to learn from, {} bytes of dictionary", training.len(), dictionary.len());
    Ok(std::fs::write(out, dictionary)?)
}

/// Makes a grain as the node would, by an author of its own; the fields besides the text vary with `n`.
fn seal(text: &str, n: usize) -> Result<Grain, Box<dyn Error>> {
    let identity = Identity::from_seed(blake3::hash(&n.to_le_bytes()).as_bytes());
    let pick = |of: &[&str], salt: usize| of[(n * 7 + salt * 3) % of.len()].to_owned();
    let source = (!n.is_multiple_of(3))
        .then(|| Source { uri: pick(&SOURCES, 1), ordinal: u32::try_from(n % 40).unwrap_or_default() });
    let mut cut = text.len().min(4_000);
    while !text.is_char_boundary(cut) {
        cut -= 1;
    }
    let draft = Draft {
        topic: if n.is_multiple_of(2) { Topic::default() } else { Topic::new(pick(&TOPICS, 2))? },
        text: text[..cut].to_owned(),
        title: if n % 4 == 1 {
            text.split([':', '.']).next().unwrap_or_default().chars().take(60).collect()
        } else {
            String::new()
        },
        tags: if n % 4 == 2 { vec![pick(&TAGS, 3)] } else { Vec::new() },
        lang: if n % 2 == 1 { "en".to_owned() } else { String::new() },
        mime: if source.is_some() {
            ["text/markdown", "text/html", "text/plain"][n % 5 % 3].to_owned()
        } else {
            String::new()
        },
        source,
        ..Draft::default()
    };
    // Seconds of one year, so that the upper bytes of a time are learnt and the lower ones are not.
    let now_ms = 1_790_000_000_000 + (n as u64 * 7_919_117) % 31_536_000_000;
    Ok(Grain::seal(draft, &identity, now_ms)?)
}

/// Prints what packing makes of grains that were not learnt from.
fn measure(path: &str, grains: &[Vec<u8>], dictionary: &[u8]) -> Result<(), Box<dyn Error>> {
    let count = grains.len().max(1) as f64;
    let plain: usize = grains.iter().map(Vec::len).sum();
    println!("{path}: {} grains of {:.0} bytes", grains.len(), plain as f64 / count);
    for level in [1, 3, 6, 9, 12, 19] {
        let mut line = format!("  level {level:2}:");
        for dictionary in [&[], dictionary] {
            let encoder = zstd::dict::EncoderDictionary::copy(dictionary, level);
            let decoder = zstd::dict::DecoderDictionary::copy(dictionary);
            let mut compressor = zstd::bulk::Compressor::with_prepared_dictionary(&encoder)?;
            compressor.include_dictid(false)?;
            compressor.include_checksum(false)?;
            let started = Instant::now();
            let packed: Vec<_> =
                grains.iter().map(|grain| compressor.compress(grain)).collect::<Result<_, _>>()?;
            let pack_us = started.elapsed().as_secs_f64() * 1e6 / count;
            let mut decompressor = zstd::bulk::Decompressor::with_prepared_dictionary(&decoder)?;
            let started = Instant::now();
            for packed in &packed {
                decompressor.decompress(packed, 1 << 16)?;
            }
            let unpack_us = started.elapsed().as_secs_f64() * 1e6 / count;
            let bytes = packed.iter().map(Vec::len).sum::<usize>() as f64 / count;
            let with = if dictionary.is_empty() { "without" } else { "with" };
            line += &format!(
                "  {with} {bytes:6.1} bytes, packed in {pack_us:5.1} us, unpacked in {unpack_us:4.1} us;"
            );
        }
        println!("{line}");
    }
    Ok(())
}
