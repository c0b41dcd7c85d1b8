//! Alignment and uniformity on the unit sphere (Wang and Isola 2020).

use ndarray::{Array2, ArrayView2};
use rayon::prelude::*;

use super::check_cells;
use crate::error::{Error, Result};

/// Mean over pairs of |a - b|^alpha, of rows scaled to length 1 (section 4.1.1; `alpha` 2 there); 0 is best.
///
/// `a`, `b`: [n, d], rows paired, e.g. two views of a cell.
///
/// # Errors
/// [`Error::Data`] for unequal shapes or no rows, or a row of zeros; [`Error::Argument`] for `alpha` not above 0.
pub fn alignment(a: ArrayView2<'_, f32>, b: ArrayView2<'_, f32>, alpha: f64) -> Result<f64> {
    check_above_zero("alpha", alpha)?;
    check_cells(a.nrows(), &[("the second view", b.nrows())])?;
    if a.ncols() != b.ncols() || a.nrows() == 0 {
        let problem = format!("views of {} and {} dimensions, {} cells", a.ncols(), b.ncols(), a.nrows());
        return Err(Error::data(problem, "give two views of the same shape"));
    }
    let (a, b) = (unit_rows(a)?, unit_rows(b)?);
    let distance =
        |(a, b): (ndarray::ArrayView1<f64>, ndarray::ArrayView1<f64>)| (&a - &b).mapv(|v| v * v).sum().powf(alpha / 2.0);
    Ok(a.rows().into_iter().zip(b.rows()).map(distance).sum::<f64>() / a.nrows() as f64)
}

/// log of the mean over pairs of cells of exp(-t |a - b|²), of rows scaled to length 1 (section 4.1.2; `t` 2 there); 0 where all are
/// at one place, lower is more uniform. Time n² d.
///
/// # Errors
/// [`Error::Data`] for fewer than 2 cells or a row of zeros; [`Error::Argument`] for `t` not above 0.
pub fn uniformity(x: ArrayView2<'_, f32>, t: f64) -> Result<f64> {
    check_above_zero("t", t)?;
    let n = x.nrows();
    if n < 2 {
        return Err(Error::data(format!("{n} cells have no pairs"), "give at least 2"));
    }
    let x = unit_rows(x)?;
    let of_row = |i: usize| (0..i).map(|j| (-t * (2.0 - 2.0 * x.row(i).dot(&x.row(j))).max(0.0)).exp()).sum::<f64>();
    // Collected, then summed in order: the same bytes for any number of threads.
    let sums: Vec<f64> = (1..n).into_par_iter().map(of_row).collect();
    Ok((sums.iter().sum::<f64>() / (n * (n - 1) / 2) as f64).ln())
}

fn check_above_zero(name: &str, value: f64) -> Result<()> {
    if value > 0.0 { Ok(()) } else { Err(Error::argument(name, format!("must be above 0 (got {value})"), "use 2")) }
}

fn unit_rows(x: ArrayView2<'_, f32>) -> Result<Array2<f64>> {
    let mut x = x.mapv(f64::from);
    for (i, mut row) in x.rows_mut().into_iter().enumerate() {
        let length = row.dot(&row).sqrt();
        if !(length > 0.0) {
            return Err(Error::data(format!("cell number {} has no direction (length {length})", i + 1), "drop the cell"));
        }
        row.mapv_inplace(|v| v / length);
    }
    Ok(x)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_by_hand() {
        let a = ndarray::arr2(&[[2.0f32, 0.0], [0.0, 3.0]]);
        let b = ndarray::arr2(&[[0.0f32, 1.0], [0.0, 1.0]]);
        assert!((alignment(a.view(), b.view(), 2.0).unwrap() - 1.0).abs() < 1e-12);
        assert!((alignment(a.view(), b.view(), 1.0).unwrap() - 2f64.sqrt() / 2.0).abs() < 1e-12);
        // Three corners: squared distances 2, 4, 2.
        let x = ndarray::arr2(&[[2.0f32, 0.0], [0.0, 3.0], [-1.0, 0.0]]);
        let expected = ((2.0 * (-4f64).exp() + (-8f64).exp()) / 3.0).ln();
        assert!((uniformity(x.view(), 2.0).unwrap() - expected).abs() < 1e-12);
        assert!(uniformity(x.view(), 0.0).is_err() && uniformity(a.slice(ndarray::s![..1, ..]), 2.0).is_err());
        assert!(alignment(x.view(), a.view(), 2.0).is_err() && uniformity(Array2::zeros((3, 2)).view(), 2.0).is_err());
    }
}
