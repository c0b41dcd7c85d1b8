//! Local quadratic regression (Cleveland and Devlin 1988), fitted at the vertices of a tree and interpolated between them as its authors'
//! program does (Cleveland and Grosse 1991): scanpy, Seurat and R take that program, so that their numbers are ours.

/// Points in a cell of the tree, as a share of those of a neighbourhood.
const CELL: f64 = 0.2;

/// Fitted values at `x` of a local quadratic through (x, y), tricube weights over the nearest `span` share of the points.
///
/// Where the points of a neighbourhood do not determine a quadratic (equal x), a line and then the weighted mean are taken: no
/// input makes it fail. Returns the fit and how many vertices needed that.
pub(super) fn loess(x: &[f64], y: &[f64], span: f64) -> (Vec<f64>, usize) {
    let n = x.len();
    if n == 0 {
        return (Vec::new(), 0);
    }
    let mut order: Vec<usize> = (0..n).collect();
    order.sort_unstable_by(|a, b| x[*a].total_cmp(&x[*b]).then(a.cmp(b)));
    let sorted: Vec<f64> = order.iter().map(|i| x[*i]).collect();
    let q = ((span * n as f64 + 1e-5) as usize).clamp(1, n);
    let vertices = vertices(&sorted, (span * CELL * n as f64) as usize);
    let (mut fits, mut first) = (Vec::with_capacity(vertices.len()), 0);
    for vertex in &vertices {
        // The window of the q nearest points slides upwards with the vertex.
        while first + q < n && sorted[first + q] - vertex < vertex - sorted[first] {
            first += 1;
        }
        fits.push(local_fit(x, y, &order[first..first + q], *vertex));
    }
    let value = |at: f64| {
        let k = vertices.partition_point(|v| *v < at).clamp(1, vertices.len() - 1);
        hermite(at, (vertices[k - 1], &fits[k - 1]), (vertices[k], &fits[k]))
    };
    (x.iter().map(|x| value(*x)).collect(), fits.iter().filter(|fit| fit.degree < 2).count())
}

/// Ends of the cells, ascending: cells are halved at their median while they hold more than `most` points.
fn vertices(sorted: &[f64], most: usize) -> Vec<f64> {
    let (low, high) = (sorted[0], sorted[sorted.len() - 1]);
    let margin = 0.005 * (high - low).max(1e-10 * low.abs().max(high.abs()) + 1e-30);
    let mut out = vec![low - margin, high + margin];
    let mut cells = vec![(0, sorted.len(), out[0], out[1])];
    while let Some((from, to, low, high)) = cells.pop() {
        if to - from <= most.max(1) {
            continue;
        }
        let last_of_lower = cut(sorted, from, to);
        let at = sorted[last_of_lower];
        if at > low && at < high {
            out.push(at);
            cells.push((from, last_of_lower + 1, low, at));
            cells.push((last_of_lower + 1, to, at, high));
        }
    }
    out.sort_unstable_by(f64::total_cmp);
    out.dedup();
    out
}

/// The last point of the lower half of `from..to`; the nearest to it that differs from its successor, the upper one first.
fn cut(sorted: &[f64], from: usize, to: usize) -> usize {
    let middle = (from + to - 1) / 2;
    for distance in 0..to - from {
        for at in [Some(middle + distance), middle.checked_sub(distance)].into_iter().flatten() {
            if at + 1 >= to || at < from {
                return middle;
            }
            if sorted[at] != sorted[at + 1] {
                return at;
            }
        }
    }
    middle
}

/// A fit at a vertex.
#[derive(Debug, Clone, Copy)]
struct Fit {
    value: f64,
    slope: f64,
    degree: usize,
}

/// The cubic with the values and slopes of both ends.
fn hermite(at: f64, (low, a): (f64, &Fit), (high, b): (f64, &Fit)) -> f64 {
    let width = high - low;
    let h = (at - low) / width;
    let values = (1.0 - h).powi(2) * (1.0 + 2.0 * h) * a.value + h * h * (3.0 - 2.0 * h) * b.value;
    values + width * (h * (1.0 - h).powi(2) * a.slope - h * h * (1.0 - h) * b.slope)
}

/// Value and slope at `at`, of the highest degree up to 2 that the points determine.
fn local_fit(x: &[f64], y: &[f64], window: &[usize], at: f64) -> Fit {
    let radius = window.iter().map(|i| (x[*i] - at).abs()).fold(0.0, f64::max);
    if radius <= 0.0 {
        return Fit { value: window.iter().map(|i| y[*i]).sum::<f64>() / window.len() as f64, slope: 0.0, degree: 0 };
    }
    // Sums of weight * u^p and weight * u^p * y, with u in units of the radius.
    let (mut s, mut t) = ([0.0f64; 5], [0.0f64; 3]);
    for i in window {
        let u = (x[*i] - at) / radius;
        let weight = (1.0 - u.abs().powi(3)).powi(3).max(0.0);
        let mut power = weight;
        for p in 0..5 {
            s[p] += power;
            if p < 3 {
                t[p] += power * y[*i];
            }
            power *= u;
        }
    }
    let quadratic = determinant(&[[s[0], s[1], s[2]], [s[1], s[2], s[3]], [s[2], s[3], s[4]]]);
    if quadratic.abs() > 1e-10 * s[0] * s[2] * s[4] {
        let first = determinant(&[[t[0], s[1], s[2]], [t[1], s[2], s[3]], [t[2], s[3], s[4]]]);
        let second = determinant(&[[s[0], t[0], s[2]], [s[1], t[1], s[3]], [s[2], t[2], s[4]]]);
        return Fit { value: first / quadratic, slope: second / quadratic / radius, degree: 2 };
    }
    let line = s[0] * s[2] - s[1] * s[1];
    if line > 1e-10 * s[0] * s[2] {
        let slope = (s[0] * t[1] - s[1] * t[0]) / line / radius;
        return Fit { value: (t[0] * s[2] - t[1] * s[1]) / line, slope, degree: 1 };
    }
    Fit { value: t[0] / s[0].max(f64::MIN_POSITIVE), slope: 0.0, degree: 0 }
}

fn determinant(m: &[[f64; 3]; 3]) -> f64 {
    m[0][0] * (m[1][1] * m[2][2] - m[1][2] * m[2][1]) - m[0][1] * (m[1][0] * m[2][2] - m[1][2] * m[2][0])
        + m[0][2] * (m[1][0] * m[2][1] - m[1][1] * m[2][0])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quadratic_is_reproduced_and_equal_points_do_not_fail() {
        let x: Vec<f64> = (0..50).map(|i| f64::from(i * i) / 100.0).collect();
        let y: Vec<f64> = x.iter().map(|x| 3.0 - 2.0 * x + 0.5 * x * x).collect();
        let (fit, simpler) = loess(&x, &y, 0.3);
        assert_eq!(simpler, 0);
        assert!(fit.iter().zip(&y).all(|(a, b)| (a - b).abs() < 1e-8));
        let (fit, simpler) = loess(&[1.0; 9], &[1.0, 2.0, 3.0, 1.0, 2.0, 3.0, 1.0, 2.0, 3.0], 1.0);
        assert!(fit.iter().all(|v| (v - 2.0).abs() < 1e-12) && simpler > 0);
    }
}
