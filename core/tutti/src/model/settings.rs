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
/// [`Error::Argument`] for a name that is no setting, listing those there are, or a value of another type.
pub fn with_settings<C: Serialize + DeserializeOwned>(base: &C, changes: &Map<String, Value>) -> Result<C> {
    let unusable = |name: &str, e: serde_json::Error| {
        Error::argument(name, format!("has a value of the wrong type ({e})"), "see its documentation")
    };
    let Value::Object(mut values) = serde_json::to_value(base).map_err(|e| unusable("settings", e))? else {
        return Err(Error::argument("settings", "are no table of names and values", "report this"));
    };
    for (name, value) in changes {
        let Some(before) = values.get(name) else {
            let names: Vec<&str> = values.keys().map(String::as_str).collect();
            return Err(Error::argument(name, "is no setting", format!("the settings are: {}", names.join(", "))));
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
    fn a_wrong_name_or_type_is_said() {
        let name = changed(r#"{"learning": 1}"#).unwrap_err().to_string();
        assert_eq!(name, "`learning` is no setting; the settings are: dims, lr");
        let kind = changed(r#"{"lr": 0.2, "dims": "wide"}"#).unwrap_err().to_string();
        assert!(kind.starts_with("`dims` has a value of the wrong type"), "{kind}");
    }
}
