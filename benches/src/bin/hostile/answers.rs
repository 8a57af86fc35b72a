//! What hostile peers say when an honest node asks them something.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use prost::Message;
use synapsenet_proto::{Claim, Identity, rpc};

use crate::attacker::{Answers, Bytes, Line};
use crate::attacks::{Kind, lie, note};
use crate::front::Front;

/// Ids in a list of grains that there are not.
const LISTED: u8 = 200;
/// More than were asked for.
const TOO_MANY: u64 = 70;
/// Lies in an answer to a question, which is no more than is asked for.
const LIES: u64 = 5;

/// A message as the question protocols frame it.
pub fn framed(message: &impl Message) -> Vec<u8> {
    message.encode_length_delimited_to_vec()
}

/// The answers of a hostile peer of some kind.
pub fn of(kind: Kind, front: &Arc<Front>, author: u64) -> Answers {
    let (front, asked) = (front.clone(), AtomicU64::new(0));
    match kind {
        Kind::NoAnswers => {
            Arc::new(move |line, _| Some(Bytes::Whole(none(line, asked.fetch_add(1, Relaxed)))))
        }
        Kind::Lists => Arc::new(move |line, _| {
            Some(Bytes::Whole(lying(&front, line, author, asked.fetch_add(1, Relaxed))))
        }),
        // The others do not answer at all, which holds whoever asks them up.
        _ => Arc::new(|_, _| None),
    }
}

/// Bytes that are no answer, messages that say nonsense, and more than was asked for.
fn none(line: Line, n: u64) -> Vec<u8> {
    if n.is_multiple_of(3) {
        return vec![0x7f; 127];
    }
    match line {
        Line::Sync => {
            let pages = vec![1, 2, 3];
            framed(&rpc::SyncResponse { message: vec![0x21; 40], grains: 7, pages, ..Default::default() })
        }
        Line::Fetch => {
            let grain = rpc::Announcement { grain: vec![7; 70], claim: None };
            framed(&rpc::FetchResponse { grains: vec![grain], ..Default::default() })
        }
        Line::Search => {
            let author = Identity::from_seed(&[9; 32]);
            let grains =
                (0..TOO_MANY).filter_map(|at| note(&author, format!("Too many of these, {n}, {at}.")));
            let grains =
                grains.map(|grain| rpc::Announcement { grain: grain.as_bytes().to_vec(), claim: None });
            framed(&rpc::Answer { grains: grains.collect(), ..Default::default() })
        }
    }
}

/// Answers of the right form: lists of grains that there are not, grains that nobody asked for, lies about vectors.
fn lying(front: &Front, line: Line, author: u64, n: u64) -> Vec<u8> {
    match line {
        Line::Sync => {
            // Negentropy: version 1, one range without end, as a list of ids, whose number has its high bits first.
            let mut message = vec![0x61, 0, 0, 2, 0x80 | (LISTED >> 7), LISTED & 0x7f];
            for at in 0..LISTED {
                let seed = [&author.to_le_bytes()[..], &n.to_le_bytes(), &[at]].concat();
                message.extend(blake3::hash(&seed).as_bytes());
            }
            framed(&rpc::SyncResponse { message, grains: LISTED.into(), ..Default::default() })
        }
        Line::Fetch if n.is_multiple_of(4) => {
            let unasked = note(&identity(author, n), format!("Nobody asked for number {n}."));
            let grains =
                unasked.map(|grain| rpc::Announcement { grain: grain.as_bytes().to_vec(), claim: None });
            framed(&rpc::FetchResponse { grains: grains.into_iter().collect(), ..Default::default() })
        }
        // Listed, and not given.
        Line::Fetch => framed(&rpc::FetchResponse::default()),
        Line::Search => {
            let author = identity(author, n);
            let grains = (0..LIES).filter_map(|at| {
                let fact = &front.bait.facts[(n + at) as usize % front.bait.facts.len()];
                let grain = note(&author, lie(n * LIES + at))?;
                let claim = Claim::seal(grain.id(), &fact.vector, &author).to_message();
                Some(rpc::Announcement { grain: grain.as_bytes().to_vec(), claim: Some(claim) })
            });
            framed(&rpc::Answer { grains: grains.collect(), ..Default::default() })
        }
    }
}

/// An author of whom nobody has heard.
pub fn identity(author: u64, n: u64) -> Identity {
    let seed = [&author.to_le_bytes()[..], &n.to_le_bytes()].concat();
    Identity::from_seed(blake3::hash(&seed).as_bytes())
}
