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

impl List {
    /// Whether its last slice has room for as many bytes.
    fn has_room(&self, bytes: usize) -> bool {
        usize::from(self.fill) + bytes <= usize::from(SLICE_BYTES[usize::from(self.level)])
    }
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
                let (bytes, length) = encode(only.doc, only.count);
                if !self.write(&mut head, &bytes[..length]) {
                    return false;
                }
            }
            let gap = posting.doc - head.last - 1;
            let (bytes, length) = encode(gap, posting.count);
            if !self.write(&mut head, &bytes[..length]) {
                return false;
            }
        }
        head.last = posting.doc;
        head.len += 1;
        self.lists[list as usize] = head;
        true
    }

    /// Fills an empty list with encoded postings of documents less than `docs`; `None` if the bytes are none, and at
    /// least one, or there is no room.
    pub(crate) fn fill(&mut self, list: u32, bytes: &[u8], docs: u32) -> Option<()> {
        let (mut at, mut start, mut head) = (0, 0, self.lists[list as usize]);
        debug_assert_eq!(head.len, 0);
        while at < bytes.len() {
            let before = at;
            let (gap, count) = decode(bytes, &mut at)?;
            let next = if head.len == 0 { 0 } else { head.last + 1 };
            head.last = next.checked_add(gap).filter(|&doc| doc < docs)?;
            head.len += 1;
            if head.len == 1 {
                head.head = count;
            }
            if head.len == 2 {
                let first = self.slice(0)?;
                (head.head, head.tail, head.fill, head.level) = (first, first, LINK_BYTES as u16, 0);
            }
            // What is read is written slice by slice.
            if head.len >= 2 && !head.has_room(at - start) {
                self.write(&mut head, &bytes[start..before]).then_some(())?;
                start = before;
                if !head.has_room(at - start) {
                    self.next_slice(&mut head).then_some(())?;
                }
            }
        }
        if head.len >= 2 {
            self.write(&mut head, &bytes[start..]).then_some(())?;
        }
        self.lists[list as usize] = head;
        (head.len > 0).then_some(())
    }

    /// Writes encoded postings where the list ends, in a new slice if need be; says whether there was room.
    fn write(&mut self, head: &mut List, bytes: &[u8]) -> bool {
        if !head.has_room(bytes.len()) && !self.next_slice(head) {
            return false;
        }
        let fill = usize::from(head.fill);
        self.at_mut(head.tail)[fill..fill + bytes.len()].copy_from_slice(bytes);
        head.fill += bytes.len() as u16;
        true
    }

    /// Goes on in a new slice; says whether there was room for one.
    fn next_slice(&mut self, head: &mut List) -> bool {
        let level = (head.level + 1).min(SLICE_BYTES.len() as u8 - 1);
        let Some(next) = self.slice(level) else { return false };
        self.at_mut(head.tail)[..LINK_BYTES].copy_from_slice(&next.to_le_bytes());
        (head.tail, head.fill, head.level) = (next, LINK_BYTES as u16, level);
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
        self.any(list, |posting| {
            take(posting);
            false
        });
    }

    /// Whether `is_wanted` is true of a posting of a list; those after the first such one are not looked at.
    pub(crate) fn any(&self, list: u32, mut is_wanted: impl FnMut(Posting) -> bool) -> bool {
        let head = self.lists[list as usize];
        if head.len <= 1 {
            return head.len == 1 && is_wanted(Posting { doc: head.last, count: head.head });
        }
        let (mut place, mut level, mut next) = (head.head, 0, 0);
        loop {
            let is_last = place == head.tail;
            let end = if is_last { head.fill } else { SLICE_BYTES[level] };
            let slice = &self.at(place)[..usize::from(end)];
            let mut at = LINK_BYTES;
            while let Some((gap, count)) = decode(slice, &mut at) {
                let doc = next + gap;
                if is_wanted(Posting { doc, count }) {
                    return true;
                }
                next = doc + 1;
            }
            if is_last {
                return false;
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

#[cfg(test)]
mod tests;
