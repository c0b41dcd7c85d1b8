//! Datasets and attributes as vectors.

use std::path::Path;

use hdf5::types::{FixedAscii, FixedUnicode, TypeDescriptor, VarLenAscii, VarLenUnicode};
use hdf5::{Dataset, Location};

use crate::error::{Error, InFile, Result};

/// Smallest file that may claim a given number of values: compression reaches about 1000 to 1.
const VALUES_PER_BYTE: u64 = 4096;

/// Refuses a dataset that claims more values than its file can hold, before memory is taken for it.
pub(crate) fn check_extent(dataset: &Dataset, path: &Path) -> Result<()> {
    let bytes = std::fs::metadata(path).in_file(path, "")?.len();
    let n: u64 = dataset.shape().iter().fold(1u64, |n, d| n.saturating_mul(*d as u64));
    if n > bytes.saturating_mul(VALUES_PER_BYTE) {
        let problem = format!("`{}` claims {n} values in a file of {bytes} bytes", dataset.name());
        return Err(Error::format(path, problem, "the file is damaged; copy it again"));
    }
    Ok(())
}

pub(crate) fn descriptor(dataset: &Dataset) -> Option<TypeDescriptor> {
    dataset.dtype().and_then(|t| t.to_descriptor()).ok()
}

pub(crate) fn is_number(dataset: &Dataset) -> bool {
    matches!(
        descriptor(dataset),
        Some(TypeDescriptor::Integer(_) | TypeDescriptor::Unsigned(_) | TypeDescriptor::Float(_) | TypeDescriptor::Boolean)
    )
}

/// A one-dimensional dataset of numbers.
pub(crate) fn numbers<T: hdf5::H5Type>(dataset: &Dataset, path: &Path) -> Result<Vec<T>> {
    check_extent(dataset, path)?;
    let context = format!("`{}`", dataset.name());
    dataset.read_raw::<T>().in_file(path, &context)
}

/// A one-dimensional dataset of truth values. They are read as numbers: a damaged file may hold others than 0 and 1, which Rust's `bool`
/// must not.
pub(crate) fn flags(dataset: &Dataset, path: &Path) -> Result<Vec<bool>> {
    Ok(numbers::<u8>(dataset, path)?.into_iter().map(|v| v != 0).collect())
}

/// A one-dimensional dataset of text, of fixed or variable length.
pub(crate) fn texts(dataset: &Dataset, path: &Path) -> Result<Vec<String>> {
    check_extent(dataset, path)?;
    let context = format!("`{}`", dataset.name());
    macro_rules! read {
        ($type:ty) => {
            Ok(dataset.read_raw::<$type>().in_file(path, &context)?.iter().map(|s| s.as_str().to_owned()).collect())
        };
    }
    macro_rules! fixed {
        ($type:ident, $n:expr) => {
            match $n {
                0..=16 => read!($type<16>),
                17..=64 => read!($type<64>),
                65..=256 => read!($type<256>),
                257..=4096 => read!($type<4096>),
                n => Err(Error::format(path, format!("{context} has text of {n} bytes each"), "shorten the names")),
            }
        };
    }
    match descriptor(dataset) {
        Some(TypeDescriptor::VarLenUnicode) => read!(VarLenUnicode),
        Some(TypeDescriptor::VarLenAscii) => read!(VarLenAscii),
        Some(TypeDescriptor::FixedAscii(n)) => fixed!(FixedAscii, n),
        Some(TypeDescriptor::FixedUnicode(n)) => fixed!(FixedUnicode, n),
        Some(TypeDescriptor::Integer(_) | TypeDescriptor::Unsigned(_)) => {
            Ok(numbers::<i64>(dataset, path)?.iter().map(i64::to_string).collect())
        }
        Some(TypeDescriptor::Float(_)) => Ok(numbers::<f64>(dataset, path)?.iter().map(f64::to_string).collect()),
        Some(TypeDescriptor::Boolean) => {
            Ok(flags(dataset, path)?.iter().map(|b| if *b { "True" } else { "False" }.to_owned()).collect())
        }
        other => Err(Error::format(path, format!("{context} holds {other:?}, not text"), "write the file again")),
    }
}

/// A text attribute.
pub(crate) fn attribute(location: &Location, name: &str) -> Option<String> {
    let attribute = location.attr(name).ok()?;
    match attribute.dtype().and_then(|t| t.to_descriptor()).ok()? {
        TypeDescriptor::VarLenUnicode => attribute.read_scalar::<VarLenUnicode>().ok().map(|s| s.as_str().to_owned()),
        TypeDescriptor::VarLenAscii => attribute.read_scalar::<VarLenAscii>().ok().map(|s| s.as_str().to_owned()),
        TypeDescriptor::FixedAscii(_) => attribute.read_scalar::<FixedAscii<256>>().ok().map(|s| s.as_str().to_owned()),
        TypeDescriptor::FixedUnicode(_) => attribute.read_scalar::<FixedUnicode<256>>().ok().map(|s| s.as_str().to_owned()),
        _ => None,
    }
}

/// An attribute of several texts, e.g. the order of columns.
pub(crate) fn attribute_list(location: &Location, name: &str) -> Option<Vec<String>> {
    let attribute = location.attr(name).ok()?;
    if attribute.size() == 0 {
        return Some(Vec::new());
    }
    match attribute.dtype().and_then(|t| t.to_descriptor()).ok()? {
        TypeDescriptor::VarLenUnicode => {
            attribute.read_raw::<VarLenUnicode>().ok().map(|v| v.iter().map(|s| s.as_str().to_owned()).collect())
        }
        TypeDescriptor::VarLenAscii => {
            attribute.read_raw::<VarLenAscii>().ok().map(|v| v.iter().map(|s| s.as_str().to_owned()).collect())
        }
        _ => None,
    }
}
