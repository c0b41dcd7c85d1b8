//! What the mini-batches of an epoch are made of: the table a user looks at.

use serde::Serialize;

use super::MiniBatch;

/// Mini-batches of one domain.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct DomainShare {
    /// Name of the domain.
    pub domain: String,
    /// Its cells.
    pub n_cells: usize,
    /// Mini-batches enriched for it.
    pub n_batches: usize,
    /// Cells per mini-batch, in the mean.
    pub mean_size: f64,
    /// Share of these cells that are of the domain.
    pub intra_domain: f64,
    /// Cells of the domain that occur in any mini-batch of the epoch.
    pub n_used: usize,
}

/// Composition of the mini-batches of one epoch.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Composition {
    /// One row per domain, in the order of its levels.
    pub domains: Vec<DomainShare>,
}

impl Composition {
    /// `domains`: code of every cell; `levels`: their names.
    pub fn of(batches: &[MiniBatch], domains: &[u32], levels: &[String]) -> Self {
        let mut used = vec![false; domains.len()];
        batches.iter().flat_map(|b| &b.rows).for_each(|i| used[*i] = true);
        let row = |(code, level): (usize, &String)| {
            let own = |i: &usize| domains[*i] as usize == code;
            let mine: Vec<&MiniBatch> = batches.iter().filter(|b| b.domain == Some(code as u32)).collect();
            let n_rows: usize = mine.iter().map(|b| b.rows.len()).sum();
            let n_own = mine.iter().flat_map(|b| &b.rows).filter(|i| own(i)).count();
            DomainShare {
                domain: level.clone(),
                n_cells: (0..domains.len()).filter(own).count(),
                n_batches: mine.len(),
                mean_size: n_rows as f64 / mine.len().max(1) as f64,
                intra_domain: n_own as f64 / n_rows.max(1) as f64,
                n_used: (0..domains.len()).filter(|i| own(i) && used[*i]).count(),
            }
        };
        Self { domains: levels.iter().enumerate().map(row).collect() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_by_hand() {
        let batches = [
            MiniBatch { rows: vec![0, 1, 4], domain: Some(0), ..Default::default() },
            MiniBatch { rows: vec![0, 3], domain: Some(1), ..Default::default() },
        ];
        let table = Composition::of(&batches, &[0, 0, 0, 1, 1], &["a".into(), "b".into()]);
        let a = &table.domains[0];
        assert_eq!((a.n_cells, a.n_batches, a.n_used), (3, 1, 2));
        assert!((a.intra_domain - 2.0 / 3.0).abs() < 1e-12 && a.mean_size == 3.0);
        assert_eq!(table.domains[1].n_used, 2);
        assert_eq!(table.domains[1].intra_domain, 0.5);
    }
}
