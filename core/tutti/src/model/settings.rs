//! Settings by name, from a file, a command line or another language.

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::error::{Error, Result};

/// A configuration with some settings changed by name. A single value stands for a list of one where the setting is a list.
///
/// Ranges are not looked at: that is what the configuration's own `validate` does.
///
/// # Errors
/// [`Error::Argument`] for a name that is no setting, with the nearest of those there are, or a value of another type.
pub fn with_settings<C: Serialize + DeserializeOwned>(base: &C, changes: &Map<String, Value>) -> Result<C> {
    let unusable = |name: &str, e: serde_json::Error| {
        Error::argument(name, format!("has a value of the wrong type ({e})"), "see its documentation")
    };
    let Value::Object(mut values) = serde_json::to_value(base).map_err(|e| unusable("settings", e))? else {
        return Err(Error::argument("settings", "are no table of names and values", "report this"));
    };
    for (name, value) in changes {
        let Some(before) = values.get(name) else {
            return Err(unknown(name, values.keys().map(String::as_str).collect()));
        };
        let single = before.is_array() && !value.is_array() && !value.is_null();
        let value = if single { Value::Array(vec![value.clone()]) } else { value.clone() };
        let one: Map<String, Value> =
            values.iter().map(|(k, v)| (k.clone(), if k == name { value.clone() } else { v.clone() })).collect();
        // Alone, so that the message names the setting.
        serde_json::from_value::<C>(Value::Object(one)).map_err(|e| unusable(name, e))?;
        values.insert(name.clone(), value);
    }
    serde_json::from_value(Value::Object(values)).map_err(|e| unusable("settings", e))
}

/// Names to suggest at most.
const SUGGESTED: usize = 3;

fn unknown(name: &str, names: Vec<&str>) -> Error {
    let fix = match &nearest(name, &names)[..] {
        // A long list is of use only to those who have nothing else to go by.
        [] => format!("the settings are: {}", names.join(", ")),
        [only] => format!("did you mean `{only}`?"),
        [others @ .., last] => format!("did you mean `{}` or `{last}`?", others.join("`, `")),
    };
    Error::argument(name, "is no setting", fix)
}

/// Names that a wrong one may stand for, the nearest first: those that differ by up to a third of its letters, or, where there is none,
/// those that have a word in common with it.
fn nearest<'a>(name: &str, names: &[&'a str]) -> Vec<&'a str> {
    // As R and command lines write names.
    let name = name.to_lowercase().replace(['.', '-', ' '], "_");
    let allowed = (name.chars().count() / 3).max(1);
    let mut near: Vec<(usize, &str)> =
        names.iter().map(|known| (edits(&name, known), *known)).filter(|(n, _)| *n <= allowed).collect();
    if near.is_empty() {
        let words: Vec<&str> = name.split('_').filter(|word| word.len() > 2).collect();
        let shared = |known: &str| known.split('_').filter(|word| words.contains(word)).count();
        let by_words = names.iter().filter(|known| shared(known) > 0);
        near = by_words.map(|known| (known.split('_').count() + words.len() - 2 * shared(known), *known)).collect();
    }
    near.sort_unstable();
    near.into_iter().map(|(_, known)| known).take(SUGGESTED).collect()
}

/// Letters to insert, delete, replace or swap with their neighbour until the texts are equal (optimal string alignment).
fn edits(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut rows: Vec<Vec<usize>> = vec![(0..=b.len()).collect()];
    for i in 1..=a.len() {
        let mut row = vec![i];
        for j in 1..=b.len() {
            let replaced = rows[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let mut least = replaced.min(rows[i - 1][j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                least = least.min(rows[i - 2][j - 2] + 1);
            }
            row.push(least);
        }
        rows.push(row);
    }
    rows[a.len()][b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;

    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    struct Config {
        lr: f64,
        dims: Vec<usize>,
    }

    fn changed(json: &str) -> Result<Config> {
        let Value::Object(changes) = serde_json::from_str(json).unwrap() else { panic!() };
        with_settings(&Config { lr: 0.1, dims: vec![3, 4] }, &changes)
    }

    #[test]
    fn names_are_changed_and_others_stay() {
        assert_eq!(changed(r#"{"lr": 1}"#).unwrap(), Config { lr: 1.0, dims: vec![3, 4] });
        assert_eq!(changed(r#"{"dims": 7}"#).unwrap().dims, [7]);
        assert_eq!(changed(r#"{"dims": []}"#).unwrap().dims.len(), 0);
    }

    #[test]
    fn a_setting_without_a_value_can_be_given_one() {
        #[derive(Debug, Serialize, Deserialize)]
        struct Optional {
            clip_norm: Option<f64>,
        }
        let Value::Object(changes) = serde_json::json!({"clip_norm": 2.0}) else { panic!() };
        assert_eq!(with_settings(&Optional { clip_norm: None }, &changes).unwrap().clip_norm, Some(2.0));
    }

    #[test]
    fn the_nearest_names_come_first() {
        let names = ["batch_size", "decoder_dims", "encoder_dims", "latent_dim", "lr", "n_epochs", "seed"];
        let cases: [(&str, &[&str]); 9] = [
            ("latnt_dim", &["latent_dim"]),
            ("latent.dim", &["latent_dim"]),
            ("latent_dims", &["latent_dim"]),
            ("nEpochs", &["n_epochs"]),
            ("sede", &["seed"]),
            ("rl", &["lr"]),
            ("encoder", &["encoder_dims"]),
            ("ecoder_dims", &["decoder_dims", "encoder_dims"]),
            ("magic", &[]),
        ];
        for (wrong, expected) in cases {
            let found = nearest(wrong, &names);
            assert!(found.starts_with(expected) && found.is_empty() == (wrong == "magic"), "{wrong}: {found:?}");
        }
        assert_eq!(nearest("hidden_dims", &names), ["decoder_dims", "encoder_dims"]);
    }

    #[test]
    fn edits_are_the_fewest() {
        let cases = [("", "abc", 3), ("abc", "abc", 0), ("abc", "acb", 1), ("ab", "b", 1), ("kitten", "sitting", 3)];
        for (a, b, expected) in cases {
            assert_eq!((edits(a, b), edits(b, a)), (expected, expected), "{a} {b}");
        }
    }

    #[test]
    fn a_wrong_name_or_type_is_said() {
        let name = changed(r#"{"learning": 1}"#).unwrap_err().to_string();
        assert_eq!(name, "`learning` is no setting; the settings are: dims, lr");
        assert_eq!(changed(r#"{"dim": 1}"#).unwrap_err().to_string(), "`dim` is no setting; did you mean `dims`?");
        let kind = changed(r#"{"lr": 0.2, "dims": "wide"}"#).unwrap_err().to_string();
        assert!(kind.starts_with("`dims` has a value of the wrong type"), "{kind}");
    }
}
