use super::*;
use crate::neighbors::{NeighborConfig, nearest_self};

/// Domains of 1000, 600 and 100 cells, interleaved.
fn domains() -> Vec<u32> {
    (0..1700)
        .map(|i| {
            if i % 17 < 10 {
                0
            } else if i % 17 < 16 {
                1
            } else {
                2
            }
        })
        .collect()
}

fn sampler(config: DomainSamplerConfig) -> DomainSampler {
    let rows: Vec<usize> = (0..1700).collect();
    DomainSampler::new(&rows, &domains(), 3, config).unwrap()
}

#[test]
fn without_leak_every_mini_batch_is_of_one_domain_and_no_cell_comes_twice() {
    let config = DomainSamplerConfig { batch_size: 128, drop_last: true, ..Default::default() };
    let batches = sampler(config).epoch(&Rng::new(1), 3).unwrap();
    assert_eq!(batches.len(), 7 + 4 + 1);
    let codes = domains();
    let mut seen = vec![0; 1700];
    for batch in &batches {
        assert!(batch.rows.iter().all(|i| Some(codes[*i]) == batch.domain));
        assert!(batch.rows.windows(2).all(|w| w[0] < w[1]));
        batch.rows.iter().for_each(|i| seen[*i] += 1);
    }
    assert!(seen.iter().all(|n| *n <= 1));
    let small = batches.iter().find(|b| b.domain == Some(2)).unwrap();
    assert_eq!(small.rows.len(), 100, "a domain smaller than a mini-batch is used whole");
}

#[test]
fn without_leak_every_cell_comes_once_per_epoch() {
    let batches = sampler(DomainSamplerConfig { batch_size: 128, ..Default::default() }).epoch(&Rng::new(1), 3).unwrap();
    let mut sizes: Vec<usize> = batches.iter().map(|b| b.rows.len()).collect();
    sizes.sort_unstable();
    assert_eq!(sizes, [vec![100], vec![120; 5], vec![125; 8]].concat());
    let mut cells: Vec<usize> = batches.into_iter().flat_map(|b| b.rows).collect();
    cells.sort_unstable();
    assert!(cells.into_iter().eq(0..1700));
}

#[test]
fn the_leak_is_drawn_from_the_others_in_proportion_by_chi_square() {
    let codes = domains();
    let sampler = sampler(DomainSamplerConfig { batch_size: 100, p_intra_domain: 0.6, ..Default::default() });
    let (mut counts, mut total) = ([0f64; 3], 0f64);
    for epoch in 0..40 {
        for batch in sampler.epoch(&Rng::new(2), epoch).unwrap().iter().filter(|b| b.domain == Some(0)) {
            assert_eq!(batch.rows.len(), 100);
            batch.rows.iter().for_each(|i| counts[codes[*i] as usize] += 1.0);
            total += 100.0;
        }
    }
    assert_eq!(counts[0], 0.6 * total);
    let leak = 0.4 * total;
    let expected = [leak * 600.0 / 700.0, leak * 100.0 / 700.0];
    let chi2: f64 = expected.iter().zip(&counts[1..]).map(|(e, c)| (e - c).powi(2) / e).sum();
    assert!(chi2 < 10.8, "chi-square {chi2}, 1 degree of freedom, p = 0.001: {counts:?}");
}

#[test]
fn every_cell_of_a_domain_is_equally_likely_by_chi_square() {
    let sampler = sampler(DomainSamplerConfig { batch_size: 300, drop_last: true, ..Default::default() });
    let epochs = 400;
    let mut seen = vec![0f64; 1700];
    for epoch in 0..epochs {
        for batch in sampler.epoch(&Rng::new(3), epoch).unwrap().iter().filter(|b| b.domain == Some(0)) {
            batch.rows.iter().for_each(|i| seen[*i] += 1.0);
        }
    }
    // 900 of 1000 cells per epoch: binomial variance n p (1 - p).
    let codes = domains();
    let (mean, variance) = (f64::from(epochs as u32) * 0.9, f64::from(epochs as u32) * 0.9 * 0.1);
    let chi2: f64 = (0..1700).filter(|i| codes[*i] == 0).map(|i| (seen[i] - mean).powi(2) / variance).sum();
    assert!((850.0..1160.0).contains(&chi2), "chi-square {chi2} for 1000 cells");
}

#[test]
fn strategies_give_the_numbers_of_mini_batches_asked_for() {
    let config = DomainSamplerConfig { batch_size: 100, ..Default::default() };
    assert_eq!(sampler(config.clone()).batches_per_domain(), [10, 6, 1]);
    let equal = DomainSamplerConfig { strategy: MinibatchStrategy::Equal, ..config.clone() };
    assert_eq!(sampler(equal).batches_per_domain(), [6, 6, 6]);
    let coverage = DomainSamplerConfig {
        strategy: MinibatchStrategy::Coverage,
        domain_coverage: Some(vec![1.0, 1.0, 2.0]),
        ..config.clone()
    };
    assert_eq!(sampler(coverage).batches_per_domain(), [4, 4, 8]);
    let without = DomainSamplerConfig { strategy: MinibatchStrategy::Coverage, ..config.clone() };
    assert!(DomainSampler::new(&[0, 1, 2, 3], &domains(), 3, without).is_err());
    let no_effect = DomainSamplerConfig { domain_coverage: Some(vec![1.0; 3]), ..config };
    assert!(DomainSampler::new(&[0, 1, 2, 3], &domains(), 3, no_effect).unwrap_err().to_string().contains("no effect"));
}

#[test]
fn a_neighbourhood_fills_its_share_of_the_mini_batch() {
    // Cells on a line: the neighbours of a core are the cells around it.
    let x = ndarray::Array2::from_shape_fn((1700, 1), |(i, _)| i as f32);
    let config = NeighborConfig { n_neighbors: 200, ..Default::default() };
    let neighbors = Arc::new(nearest_self(x.view(), &config).unwrap());
    let sampler = sampler(DomainSamplerConfig { batch_size: 100, p_intra_domain: 0.95, ..Default::default() })
        .with_neighborhood(Neighborhood { neighbors, p_intra_knn: 0.3 })
        .unwrap();
    let codes = domains();
    for batch in sampler.epoch(&Rng::new(4), 0).unwrap().iter().filter(|b| b.domain == Some(0)) {
        let core = batch.core.unwrap() as f64;
        assert_eq!(codes[batch.core.unwrap()], 0);
        let near = batch.rows.iter().filter(|i| (**i as f64 - core).abs() <= 200.0).count();
        // 30 of the neighbourhood, and of 70 drawn anywhere about 70 * 200 / 1700 = 8 more by chance.
        assert!((24..60).contains(&near), "{near} near the core");
        let same = batch.rows.iter().filter(|i| codes[**i] == 0).count();
        assert!(batch.rows.len() >= 88 && same as f64 >= 0.92 * batch.rows.len() as f64);
    }
}

#[test]
fn tiny_batches_alone_are_refused_with_the_way_out() {
    let rows: Vec<usize> = (0..9).collect();
    let codes: Vec<u32> = (0..9).map(|i| i / 3).collect();
    let sampler = DomainSampler::new(&rows, &codes, 3, DomainSamplerConfig::default()).unwrap();
    let message = sampler.epoch(&Rng::new(1), 0).unwrap_err().to_string();
    assert!(message.contains("fewer than 4 cells") && message.contains("p_intra_domain"), "{message}");
}

#[test]
fn a_single_domain_works_whatever_the_leak() {
    let rows: Vec<usize> = (0..50).collect();
    let config = DomainSamplerConfig { batch_size: 20, p_intra_domain: 0.5, ..Default::default() };
    let batches = DomainSampler::new(&rows, &[0; 50], 1, config).unwrap().epoch(&Rng::new(1), 0).unwrap();
    assert_eq!(batches.iter().map(|b| b.rows.len()).sum::<usize>(), 50);
    assert!(batches.iter().all(|b| b.rows.len() <= 20));
}
