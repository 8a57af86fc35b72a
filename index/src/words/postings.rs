//! Where each term stands: for each a list of documents and how often it stands there, in little memory.
//!
//! A posting is the distance to the document before it as a variable-length number, with a bit that says whether the
//! term stands there once, and the count if it does not. Most take one or two bytes. Lists grow in slices of a common
//! pool, each larger than the one before and linked to it, as in Busch et al., "Earlybird" (ICDE 2012): nothing is
//! moved, and little is left empty. A list of one posting, as half of all are, lies in its head alone.

/// Bytes of the slices of a list, the first one first; all that follow are as the last. Four of them are the link.
const SLICE_BYTES: [u16; 12] = [12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 512, 1024];
const LINK_BYTES: usize = 4;
/// Bytes of the blocks that the pool grows by. No slice reaches over a block's end.
const BLOCK_BYTES: usize = 1 << 16;
/// The most bytes of a posting: two numbers of 32 bits and a bit.
const MAX_POSTING_BYTES: usize = 10;
/// No slice. It would end beyond its block.
const NONE: u32 = u32::MAX;

/// A document and how often the term stands in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Posting {
    pub(crate) doc: u32,
    /// At least 1.
    pub(crate) count: u32,
}

/// The head of a term's list.
#[derive(Debug, Clone, Copy)]
struct List {
    /// Postings in it.
    len: u32,
    /// The document of the last one.
    last: u32,
    /// Where the first slice lies; of a list of one posting, its count.
    head: u32,
    /// Where the slice lies that is being filled.
    tail: u32,
    /// Bytes of that slice that are filled.
    fill: u16,
    /// Its place in [`SLICE_BYTES`].
    level: u8,
}

/// The lists of all terms.
#[derive(Debug, Default)]
pub(crate) struct Lists {
    lists: Vec<List>,
    blocks: Vec<Box<[u8]>>,
    /// Bytes of the last block that are given out.
    filled: usize,
}

impl Lists {
    /// How many lists there are.
    pub(crate) fn len(&self) -> usize {
        self.lists.len()
    }

    /// Appends an empty list, whose number is one more than that of the last.
    pub(crate) fn push_list(&mut self) {
        push_tight(&mut self.lists, List { len: 0, last: 0, head: NONE, tail: NONE, fill: 0, level: 0 });
    }

    /// How many postings a list has, those of removed documents included.
    pub(crate) fn count(&self, list: u32) -> u32 {
        self.lists[list as usize].len
    }

    pub(crate) fn memory_bytes(&self) -> usize {
        self.lists.capacity() * size_of::<List>() + self.blocks.len() * BLOCK_BYTES
    }

    /// Appends a posting; its document is larger than any in the list. Says whether there was room: the pool ends at
    /// 4 GiB.
    #[must_use]
    pub(crate) fn push(&mut self, list: u32, posting: Posting) -> bool {
        let mut head = self.lists[list as usize];
        debug_assert!(posting.count > 0 && (head.len == 0 || posting.doc > head.last));
        if head.len == 0 {
            head.head = posting.count;
        } else {
            if head.len == 1 {
                let Some(first) = self.slice(0) else { return false };
                let only = Posting { doc: head.last, count: head.head };
                (head.head, head.tail, head.fill, head.level) = (first, first, LINK_BYTES as u16, 0);
                if !self.write(&mut head, encode(only.doc, only.count)) {
                    return false;
                }
            }
            let gap = posting.doc - head.last - 1;
            if !self.write(&mut head, encode(gap, posting.count)) {
                return false;
            }
        }
        head.last = posting.doc;
        head.len += 1;
        self.lists[list as usize] = head;
        true
    }

    /// Writes an encoded posting where the list ends, in a new slice if need be; says whether there was room.
    fn write(&mut self, head: &mut List, (bytes, length): ([u8; MAX_POSTING_BYTES], usize)) -> bool {
        if usize::from(head.fill) + length > usize::from(SLICE_BYTES[usize::from(head.level)]) {
            let level = (head.level + 1).min(SLICE_BYTES.len() as u8 - 1);
            let Some(next) = self.slice(level) else { return false };
            let link = next.to_le_bytes();
            self.at_mut(head.tail)[..LINK_BYTES].copy_from_slice(&link);
            (head.tail, head.fill, head.level) = (next, LINK_BYTES as u16, level);
        }
        let fill = usize::from(head.fill);
        self.at_mut(head.tail)[fill..fill + length].copy_from_slice(&bytes[..length]);
        head.fill += length as u16;
        true
    }

    /// Takes a slice of zeros from the pool.
    fn slice(&mut self, level: u8) -> Option<u32> {
        let length = usize::from(SLICE_BYTES[usize::from(level)]);
        if self.blocks.is_empty() || self.filled + length > BLOCK_BYTES {
            // The last block is not given out, so that no slice begins at `NONE`.
            if self.blocks.len() + 1 >= (1 << 32) / BLOCK_BYTES {
                return None;
            }
            self.blocks.push(vec![0; BLOCK_BYTES].into_boxed_slice());
            self.filled = 0;
        }
        let at = (self.blocks.len() - 1) * BLOCK_BYTES + self.filled;
        self.filled += length;
        Some(at as u32)
    }

    fn at(&self, place: u32) -> &[u8] {
        let place = place as usize;
        &self.blocks[place / BLOCK_BYTES][place % BLOCK_BYTES..]
    }

    fn at_mut(&mut self, place: u32) -> &mut [u8] {
        let place = place as usize;
        &mut self.blocks[place / BLOCK_BYTES][place % BLOCK_BYTES..]
    }

    /// Gives each posting of a list to `take`, in the order of documents.
    pub(crate) fn for_each(&self, list: u32, mut take: impl FnMut(Posting)) {
        let head = self.lists[list as usize];
        if head.len <= 1 {
            if head.len == 1 {
                take(Posting { doc: head.last, count: head.head });
            }
            return;
        }
        let (mut place, mut level, mut doc) = (head.head, 0, None);
        loop {
            let is_last = place == head.tail;
            let end = if is_last { head.fill } else { SLICE_BYTES[level] };
            let slice = &self.at(place)[..usize::from(end)];
            let mut at = LINK_BYTES;
            while at < slice.len() {
                let Some((gap, count)) = decode(slice, &mut at) else { break };
                let next = doc.map_or(gap, |doc: u32| doc + 1 + gap);
                doc = Some(next);
                take(Posting { doc: next, count });
            }
            if is_last {
                return;
            }
            place = u32::from_le_bytes([slice[0], slice[1], slice[2], slice[3]]);
            level = (level + 1).min(SLICE_BYTES.len() - 1);
        }
    }
}

/// A posting as bytes, and how many. The first byte is never 0, which so ends a slice that is not full.
pub(crate) fn encode(gap: u32, count: u32) -> ([u8; MAX_POSTING_BYTES], usize) {
    let mut bytes = [0; MAX_POSTING_BYTES];
    // One more, so that no posting begins with 0.
    let coded = (u64::from(gap) + 1) << 1 | u64::from(count > 1);
    let mut length = write_number(&mut bytes, 0, coded);
    if count > 1 {
        length = write_number(&mut bytes, length, u64::from(count));
    }
    (bytes, length)
}

fn write_number(bytes: &mut [u8], mut at: usize, mut number: u64) -> usize {
    while number >= 0x80 {
        bytes[at] = number as u8 | 0x80;
        number >>= 7;
        at += 1;
    }
    bytes[at] = number as u8;
    at + 1
}

/// The gap and the count at `at`, which moves on; `None` at a 0 or where the bytes make no posting.
pub(crate) fn decode(bytes: &[u8], at: &mut usize) -> Option<(u32, u32)> {
    let coded = read_number(bytes, at)?;
    let gap = u32::try_from((coded >> 1).checked_sub(1)?).ok()?;
    let count = if coded & 1 == 0 { 1 } else { u32::try_from(read_number(bytes, at)?).ok()? };
    (count > 0).then_some((gap, count))
}

fn read_number(bytes: &[u8], at: &mut usize) -> Option<u64> {
    let first = *bytes.get(*at)?;
    *at += 1;
    if first < 0x80 {
        return Some(u64::from(first));
    }
    let mut number = u64::from(first & 0x7F);
    for shift in [7, 14, 21, 28] {
        let byte = *bytes.get(*at)?;
        *at += 1;
        number |= u64::from(byte & 0x7F) << shift;
        if byte < 0x80 {
            return Some(number);
        }
    }
    None
}

/// Appends to a vector that grows by an eighth rather than to twice its length.
pub(crate) fn push_tight<T>(vector: &mut Vec<T>, value: T) {
    if vector.len() == vector.capacity() {
        vector.reserve_exact((vector.len() / 8).max(64));
    }
    vector.push(value);
}
