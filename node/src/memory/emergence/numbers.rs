//! Names with numbers: an entry of the column keeps four bytes for its topic and for its author, and not their names.

use std::collections::HashMap;
use std::hash::Hash;

/// Names with numbers, which are given again when nobody has them any more.
#[derive(Debug, Clone)]
pub(super) struct Numbers<T> {
    numbers: HashMap<T, u32>,
    names: Vec<(Option<T>, u32)>,
    free: Vec<u32>,
}

impl<T> Default for Numbers<T> {
    fn default() -> Self {
        Self { numbers: HashMap::new(), names: Vec::new(), free: Vec::new() }
    }
}

impl<T: Hash + Eq + Clone> Numbers<T> {
    pub fn take(&mut self, name: &T) -> u32 {
        if let Some(&number) = self.numbers.get(name) {
            self.names[number as usize].1 += 1;
            return number;
        }
        let number = self.free.pop().unwrap_or_else(|| {
            self.names.push((None, 0));
            (self.names.len() - 1) as u32
        });
        self.names[number as usize] = (Some(name.clone()), 1);
        self.numbers.insert(name.clone(), number);
        number
    }

    pub fn give_back(&mut self, number: u32) {
        let entry = &mut self.names[number as usize];
        entry.1 = entry.1.saturating_sub(1);
        if entry.1 == 0
            && let Some(name) = entry.0.take()
        {
            self.numbers.remove(&name);
            self.free.push(number);
        }
    }

    pub fn number(&self, name: &T) -> Option<u32> {
        self.numbers.get(name).copied()
    }

    pub fn name(&self, number: u32) -> Option<&T> {
        self.names.get(number as usize)?.0.as_ref()
    }
}
