//! obs and var: names and columns, in every encoding.

use std::cell::RefCell;
use std::path::Path;

use hdf5::types::{CompoundField, CompoundType, FixedAscii, TypeDescriptor};
use hdf5::{Dataset, File, Group, H5Type};
use tutti::data::Categorical;

use super::element::{attribute, attribute_list, check_extent, descriptor, flags, numbers, texts};
use crate::column::Column;
use crate::error::{Error, InFile, Result};

/// A table: names of the rows, the columns, and the names of columns whose encoding holds no plain values.
#[derive(Debug, Default)]
pub(super) struct Frame {
    pub names: Vec<String>,
    pub columns: Vec<(String, Column)>,
    pub skipped: Vec<String>,
}

/// obs or var, in every encoding.
pub(super) fn read(file: &File, name: &str, path: &Path) -> Result<Frame> {
    if let Ok(group) = file.group(name) {
        return read_group(&group, name, path);
    }
    match file.dataset(name) {
        Ok(dataset) => read_compound(file, &dataset, name, path),
        Err(_) => Err(Error::format(path, format!("there is no `{name}`: this is no h5ad file"), "give an h5ad file")),
    }
}

fn read_group(group: &Group, name: &str, path: &Path) -> Result<Frame> {
    let index = attribute(group, "_index").unwrap_or_else(|| "_index".to_owned());
    let dataset = group
        .dataset(&index)
        .map_err(|_| Error::format(path, format!("`{name}` has no index `{index}`"), "write the file again"))?;
    let names = texts(&dataset, path)?;
    let members = group.member_names().in_file(path, name)?;
    let order = attribute_list(group, "column-order").unwrap_or_else(|| members.clone());
    let mut frame = Frame { names, ..Frame::default() };
    for column in order.into_iter().filter(|c| *c != index && c != "__categories" && members.contains(c)) {
        match read_column(group, &column, path)? {
            Some(values) => frame.columns.push((column, values)),
            None => frame.skipped.push(column),
        }
    }
    Ok(frame)
}

/// `None` for an encoding that holds no column of values.
fn read_column(group: &Group, name: &str, path: &Path) -> Result<Option<Column>> {
    if let Ok(dataset) = group.dataset(name) {
        let legacy = group.group("__categories").and_then(|g| g.dataset(name));
        return match legacy {
            Ok(levels) => Ok(Some(Column::Category(categories(numbers(&dataset, path)?, texts(&levels, path)?, name, path)?))),
            Err(_) => plain(&dataset, path),
        };
    }
    let Ok(column) = group.group(name) else { return Ok(None) };
    let part = |part: &str| column.dataset(part).in_file(path, &format!("column `{name}`"));
    match attribute(&column, "encoding-type").as_deref() {
        Some("categorical") => {
            let (codes, levels) = (numbers(&part("codes")?, path)?, texts(&part("categories")?, path)?);
            Ok(Some(Column::Category(categories(codes, levels, name, path)?)))
        }
        Some("nullable-integer") => {
            let (values, mask) = (numbers::<i64>(&part("values")?, path)?, flags(&part("mask")?, path)?);
            Ok(Some(Column::Integer(masked(values, &mask))))
        }
        Some("nullable-boolean") => {
            let (values, mask) = (flags(&part("values")?, path)?, flags(&part("mask")?, path)?);
            Ok(Some(Column::Bool(masked(values, &mask))))
        }
        Some("nullable-string-array") => {
            let (values, mask) = (texts(&part("values")?, path)?, flags(&part("mask")?, path)?);
            Ok(Some(Column::Text(masked(values, &mask))))
        }
        _ => Ok(None),
    }
}

fn masked<T>(values: Vec<T>, mask: &[bool]) -> Vec<Option<T>> {
    values.into_iter().enumerate().map(|(i, v)| (!mask.get(i).copied().unwrap_or(false)).then_some(v)).collect()
}

fn plain(dataset: &Dataset, path: &Path) -> Result<Option<Column>> {
    if dataset.ndim() != 1 {
        return Ok(None);
    }
    Ok(match descriptor(dataset) {
        Some(TypeDescriptor::Boolean) => Some(Column::Bool(flags(dataset, path)?.into_iter().map(Some).collect())),
        Some(TypeDescriptor::Integer(_) | TypeDescriptor::Unsigned(_)) => {
            Some(Column::Integer(numbers::<i64>(dataset, path)?.into_iter().map(Some).collect()))
        }
        Some(TypeDescriptor::Float(_)) => {
            Some(Column::Float(numbers::<f64>(dataset, path)?.into_iter().map(|v| (!v.is_nan()).then_some(v)).collect()))
        }
        Some(
            TypeDescriptor::VarLenUnicode
            | TypeDescriptor::VarLenAscii
            | TypeDescriptor::FixedAscii(_)
            | TypeDescriptor::FixedUnicode(_),
        ) => Some(Column::Text(texts(dataset, path)?.into_iter().map(Some).collect())),
        _ => None,
    })
}

fn categories(codes: Vec<i64>, mut levels: Vec<String>, name: &str, path: &Path) -> Result<Categorical> {
    // Numbers as categories may become the same text; codes must still point to the right one.
    crate::names::make_unique(&mut levels);
    let codes = codes.into_iter().map(|c| u32::try_from(c).ok()).collect();
    Categorical::new(codes, levels).in_file(path, name)
}

thread_local! {
    /// Field that [`Field`] reads.
    static FIELD: RefCell<String> = const { RefCell::new(String::new()) };
}

/// One field of a compound record: HDF5 picks it by name, so that the others need no type here.
#[repr(transparent)]
#[derive(Clone, Copy)]
struct Field<T>(T);

// SAFETY: the descriptor is a compound of one field at offset 0 with the size of `T`, which is the layout of this transparent type.
unsafe impl<T: H5Type> H5Type for Field<T> {
    fn type_descriptor() -> TypeDescriptor {
        let name = FIELD.with(|f| f.borrow().clone());
        let fields = vec![CompoundField::new(&name, T::type_descriptor(), 0, 0)];
        TypeDescriptor::Compound(CompoundType { fields, size: size_of::<T>() })
    }
}

fn field<T: H5Type + Copy>(dataset: &Dataset, name: &str, path: &Path) -> Result<Vec<T>> {
    FIELD.with(|f| name.clone_into(&mut f.borrow_mut()));
    let values = dataset.read_raw::<Field<T>>().in_file(path, &format!("field `{name}`"))?;
    Ok(values.into_iter().map(|v| v.0).collect())
}

/// Tables of anndata before 0.7: one compound dataset, levels of categories in uns.
fn read_compound(file: &File, dataset: &Dataset, name: &str, path: &Path) -> Result<Frame> {
    check_extent(dataset, path)?;
    let Some(TypeDescriptor::Compound(compound)) = descriptor(dataset) else {
        return Err(Error::format(path, format!("`{name}` is no table"), "write the file again with a newer anndata"));
    };
    let Frame { mut names, mut columns, mut skipped } = Frame::default();
    for f in &compound.fields {
        let Some(values) = compound_column(dataset, f, path)? else {
            skipped.push(f.name.clone());
            continue;
        };
        let levels = file.dataset(&format!("uns/{}_categories", f.name));
        match (f.name.as_str(), values, levels) {
            ("index" | "_index", Column::Text(values), _) => names = values.into_iter().flatten().collect(),
            (_, Column::Integer(codes), Ok(levels)) => {
                let codes = codes.into_iter().map(|c| c.unwrap_or(-1)).collect();
                columns.push((f.name.clone(), Column::Category(categories(codes, texts(&levels, path)?, &f.name, path)?)));
            }
            (_, values, _) => columns.push((f.name.clone(), values)),
        }
    }
    if names.len() != dataset.size() {
        return Err(Error::format(path, format!("`{name}` has no names"), "write the file again with a newer anndata"));
    }
    Ok(Frame { names, columns, skipped })
}

fn compound_column(dataset: &Dataset, f: &CompoundField, path: &Path) -> Result<Option<Column>> {
    macro_rules! ascii {
        ($n:expr) => {
            field::<FixedAscii<$n>>(dataset, &f.name, path)?.iter().map(|s| Some(s.as_str().to_owned())).collect()
        };
    }
    Ok(match &f.ty {
        TypeDescriptor::Integer(_) | TypeDescriptor::Unsigned(_) => {
            Some(Column::Integer(field::<i64>(dataset, &f.name, path)?.into_iter().map(Some).collect()))
        }
        TypeDescriptor::Float(_) => Some(Column::Float(field::<f64>(dataset, &f.name, path)?.into_iter().map(Some).collect())),
        TypeDescriptor::Boolean => {
            Some(Column::Bool(field::<u8>(dataset, &f.name, path)?.into_iter().map(|v| Some(v != 0)).collect()))
        }
        TypeDescriptor::FixedAscii(n) => Some(Column::Text(match n {
            0..=64 => ascii!(64),
            65..=1024 => ascii!(1024),
            _ => return Ok(None),
        })),
        _ => None,
    })
}
