//! Named lists of R as tables of settings, and back.

use extendr_api::prelude::*;
use serde_json::{Map, Value};

use crate::guard::Failure;

/// A named list as a table: single values as values, longer vectors and lists without names as arrays, NULL and NA as null.
pub fn table(list: &Robj) -> std::result::Result<Map<String, Value>, Failure> {
    match value(list)? {
        Value::Object(map) => Ok(map),
        Value::Null => Ok(Map::new()),
        Value::Array(values) if values.is_empty() => Ok(Map::new()),
        _ => Err(Failure::new("argument", "settings must be a named list")),
    }
}

fn value(robj: &Robj) -> std::result::Result<Value, Failure> {
    if robj.is_null() {
        return Ok(Value::Null);
    }
    if let Some(list) = robj.as_list() {
        let names: Vec<String> = robj.names().map(|n| n.map(str::to_owned).collect()).unwrap_or_default();
        let values = list.values().map(|v| value(&v)).collect::<std::result::Result<Vec<_>, _>>()?;
        return Ok(if names.is_empty() { Value::Array(values) } else { Value::Object(names.into_iter().zip(values).collect()) });
    }
    let names: Vec<String> = robj.names().map(|n| n.map(str::to_owned).collect()).unwrap_or_default();
    let values = scalars(robj)?;
    Ok(match (names.is_empty(), values.len()) {
        (false, _) => Value::Object(names.into_iter().zip(values).collect()),
        (true, 1) => values.into_iter().next().unwrap_or(Value::Null),
        (true, _) => Value::Array(values),
    })
}

fn scalars(robj: &Robj) -> std::result::Result<Vec<Value>, Failure> {
    if let Some(values) = robj.as_logical_slice() {
        return Ok(values.iter().map(|v| if v.is_na() { Value::Null } else { Value::Bool(v.is_true()) }).collect());
    }
    if let Some(values) = robj.as_integer_slice() {
        return Ok(values.iter().map(|v| if *v == i32::MIN { Value::Null } else { Value::from(*v) }).collect());
    }
    if let Some(values) = robj.as_real_slice() {
        return Ok(values.iter().map(|v| number(*v)).collect());
    }
    if let Some(values) = robj.as_str_vector() {
        return Ok(values.into_iter().map(Value::from).collect());
    }
    Err(Failure::new("argument", "settings must be numbers, strings, logicals, or lists of them"))
}

/// Whole numbers as integers: R writes 30 for 30L.
fn number(v: f64) -> Value {
    if v.fract() == 0.0 && v.abs() < 9e15 { Value::from(v as i64) } else { Value::from(v) }
}

/// A value as R has it; arrays of one kind as vectors.
pub fn robj(value: &Value) -> Robj {
    match value {
        Value::Null => ().into(),
        Value::Bool(b) => (*b).into(),
        Value::Number(n) => n.as_f64().unwrap_or(f64::NAN).into(),
        Value::String(s) => s.as_str().into(),
        Value::Array(values) if !values.is_empty() && values.iter().all(Value::is_number) => {
            values.iter().map(|v| v.as_f64().unwrap_or(f64::NAN)).collect::<Vec<f64>>().into()
        }
        Value::Array(values) if !values.is_empty() && values.iter().all(Value::is_string) => {
            values.iter().filter_map(Value::as_str).map(str::to_owned).collect::<Vec<String>>().into()
        }
        Value::Array(values) => List::from_values(values.iter().map(robj)).into(),
        Value::Object(map) => List::from_pairs(map.iter().map(|(name, v)| (name.as_str(), robj(v)))).into(),
    }
}
