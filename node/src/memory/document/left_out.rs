//! What of a document is not in its grains, and why? Named for whoever added it, so that nothing is lost without a word.

/// Things that are named; more are counted.
const MAX_NAMED: usize = 32;
/// The longest name of one.
const MAX_NAME_BYTES: usize = 120;

/// Something of a document that is in no grain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Omission {
    /// What it is.
    pub what: String,
    /// Why it is left out.
    pub reason: &'static str,
}

/// What was left out of a document.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct LeftOut {
    named: Vec<Omission>,
    /// Those for which there was no room.
    more: usize,
}

impl LeftOut {
    /// Names something, once.
    pub fn add(&mut self, what: impl Into<String>, reason: &'static str) {
        let what: String = what.into();
        let what = what.chars().map(|c| if c.is_control() { ' ' } else { c }).collect::<String>();
        let what = what[..what.floor_char_boundary(MAX_NAME_BYTES)].trim().to_owned();
        let omission = Omission { what, reason };
        if self.named.contains(&omission) {
            return;
        }
        match self.named.len() < MAX_NAMED {
            true => self.named.push(omission),
            false => self.more += 1,
        }
    }

    /// Names a picture that no words describe.
    pub fn add_picture(&mut self, address: &str) {
        let address = address.trim();
        let is_data = address.get(..5).is_some_and(|scheme| scheme.eq_ignore_ascii_case("data:"));
        let name = if is_data || address.is_empty() { "a picture" } else { address };
        self.add(name, "a picture without a description");
    }

    /// Takes over what was left out of a part.
    pub fn extend(&mut self, part: Self) {
        self.more += part.more;
        part.named.into_iter().for_each(|Omission { what, reason }| self.add(what, reason));
    }

    /// Each that is named, and one that counts the rest.
    pub fn into_list(self) -> Vec<Omission> {
        let Self { mut named, more } = self;
        if more > 0 {
            named.push(Omission { what: format!("{more} more"), reason: "of the same kinds" });
        }
        named
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_out_is_named_once_and_in_bounded_length() {
        let mut left_out = LeftOut::default();
        for n in 0..100 {
            left_out.add(format!("photo\n{n}"), "a picture");
            left_out.add("ä".repeat(1000), "too long");
        }
        let list = left_out.into_list();
        assert_eq!(list.len(), MAX_NAMED + 1);
        assert_eq!(list[0], Omission { what: "photo 0".into(), reason: "a picture" });
        assert!(list.iter().all(|omission| omission.what.len() <= MAX_NAME_BYTES));
        assert_eq!(list[MAX_NAMED].what, "69 more");
    }
}
