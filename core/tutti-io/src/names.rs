//! Names that must be unique.

use std::collections::{HashMap, HashSet};

/// Appends `-1`, `-2` and so on to repeats, skipping names that exist; returns how many were changed. The first of a name keeps it.
pub(crate) fn make_unique(names: &mut [String]) -> usize {
    let mut taken: HashSet<String> = names.iter().cloned().collect();
    let mut seen: HashMap<String, usize> = HashMap::new();
    let mut changed = 0;
    for name in names.iter_mut() {
        match seen.get_mut(name.as_str()) {
            None => {
                seen.insert(name.clone(), 0);
            }
            Some(count) => {
                let unique = loop {
                    *count += 1;
                    let candidate = format!("{name}-{count}");
                    if taken.insert(candidate.clone()) {
                        break candidate;
                    }
                };
                *name = unique;
                changed += 1;
            }
        }
    }
    changed
}

/// A note about repeats, where there were any.
pub(crate) fn unique_note(what: &str, changed: usize) -> Option<String> {
    (changed > 0).then(|| format!("{changed} repeated {what} names were made unique by a number at their end"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repeats_get_numbers_that_are_free() {
        let mut names: Vec<String> = ["A", "B", "A", "A-1", "A"].map(String::from).to_vec();
        assert_eq!(make_unique(&mut names), 2);
        assert_eq!(names, ["A", "B", "A-2", "A-1", "A-3"]);
    }
}
