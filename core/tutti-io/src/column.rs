//! A column of obs or var between the file and polars.

use polars::prelude::*;
use tutti::data::Categorical;

/// One column as read.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Column {
    Text(Vec<Option<String>>),
    Category(Categorical),
    Integer(Vec<Option<i64>>),
    Float(Vec<Option<f64>>),
    Bool(Vec<Option<bool>>),
}

impl Column {
    pub fn len(&self) -> usize {
        match self {
            Self::Text(v) => v.len(),
            Self::Category(v) => v.len(),
            Self::Integer(v) => v.len(),
            Self::Float(v) => v.len(),
            Self::Bool(v) => v.len(),
        }
    }

    /// The polars column; categories as text, their levels are kept apart.
    pub fn to_polars(&self, name: &str) -> polars::prelude::Column {
        let name = PlSmallStr::from_str(name);
        let series = match self {
            Self::Text(v) => StringChunked::from_iter_options(name, v.iter().map(|v| v.as_deref())).into_series(),
            Self::Category(c) => StringChunked::from_iter_options(name, (0..c.len()).map(|i| c.value(i))).into_series(),
            Self::Integer(v) => Int64Chunked::from_iter_options(name, v.iter().copied()).into_series(),
            Self::Float(v) => Float64Chunked::from_iter_options(name, v.iter().copied()).into_series(),
            Self::Bool(v) => BooleanChunked::from_iter_options(name, v.iter().copied()).into_series(),
        };
        series.into()
    }
}

/// A polars column as categories: text, booleans and integers; `None` for numbers with fractions.
pub(crate) fn to_categorical(series: &Series) -> Option<Categorical> {
    match series.dtype() {
        DataType::String => series.str().ok().map(|s| Categorical::from_values(s.iter())),
        DataType::Boolean => {
            series.bool().ok().map(|b| Categorical::from_values(b.iter().map(|v| v.map(|v| if v { "True" } else { "False" }))))
        }
        dtype if dtype.is_integer() => integers(series),
        _ => None,
    }
}

/// Levels in numeric order, so that 10 follows 9.
fn integers(series: &Series) -> Option<Categorical> {
    let cast = series.cast(&DataType::Int64).ok()?;
    let values: Vec<Option<i64>> = cast.i64().ok()?.iter().collect();
    let mut levels: Vec<i64> = values.iter().flatten().copied().collect();
    levels.sort_unstable();
    levels.dedup();
    let code = |v: i64| levels.binary_search(&v).ok().map(|i| i as u32);
    let codes = values.iter().map(|v| v.and_then(code)).collect();
    Categorical::new(codes, levels.iter().map(i64::to_string).collect()).ok()
}
