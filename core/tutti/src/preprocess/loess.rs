//! Local quadratic regression (Cleveland and Devlin 1988), direct at every point.

/// Fitted values at `x` of a local quadratic through (x, y), tricube weights over the nearest `span` share of the points.
///
/// Where the points of a neighbourhood do not determine a quadratic (equal x), a line and then the weighted mean are taken: no
/// input makes it fail. Returns the fit and how many points needed that.
pub(super) fn loess(x: &[f64], y: &[f64], span: f64) -> (Vec<f64>, usize) {
    let n = x.len();
    let mut order: Vec<usize> = (0..n).collect();
    order.sort_unstable_by(|a, b| x[*a].total_cmp(&x[*b]).then(a.cmp(b)));
    let q = ((span * n as f64) as usize).clamp(1, n.max(1));
    let (mut fit, mut simpler, mut first) = (vec![0.0; n], 0, 0);
    for (rank, at) in order.iter().enumerate() {
        // The window of the q nearest points slides upwards with x.
        let below = |first: usize| x[*at] - x[order[first]];
        while first + q < n && (first + q <= rank || x[order[first + q]] - x[*at] < below(first)) {
            first += 1;
        }
        let window = &order[first..(first + q).min(n)];
        let (value, degree) = local_fit(x, y, window, x[*at]);
        fit[*at] = value;
        simpler += usize::from(degree < 2);
    }
    (fit, simpler)
}

/// Value at `at` and the degree that could be fitted.
fn local_fit(x: &[f64], y: &[f64], window: &[usize], at: f64) -> (f64, usize) {
    let radius = window.iter().map(|i| (x[*i] - at).abs()).fold(0.0, f64::max);
    if radius <= 0.0 {
        return (window.iter().map(|i| y[*i]).sum::<f64>() / window.len() as f64, 0);
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
        return (first / quadratic, 2);
    }
    let line = s[0] * s[2] - s[1] * s[1];
    if line > 1e-10 * s[0] * s[2] {
        return ((t[0] * s[2] - t[1] * s[1]) / line, 1);
    }
    (t[0] / s[0].max(f64::MIN_POSITIVE), 0)
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
        assert!(fit.iter().all(|v| (v - 2.0).abs() < 1e-12) && simpler == 9);
    }
}
