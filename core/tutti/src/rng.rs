//! Keyed random streams: every draw is named by seed, purpose, epoch and index.
//!
//! No generator is passed along, so adding a draw or a thread changes no other draw. The generator (xoshiro256++, Blackman and
//! Vigna 2019, seeded by SplitMix64) is written here, because the promise "same seed, same result" must outlive the versions
//! of a dependency.

/// Source of [`Stream`]s for one run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rng {
    seed: u64,
}

impl Rng {
    /// Streams of the run with this seed.
    pub fn new(seed: u64) -> Self {
        Self { seed }
    }

    /// The stream named by purpose, epoch and index; the same name gives the same numbers.
    pub fn stream(&self, purpose: &str, epoch: u64, index: u64) -> Stream {
        // FNV-1a over the name, then one SplitMix64 round per part: nearby keys give unrelated streams.
        let name = purpose.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |h, b| (h ^ u64::from(b)).wrapping_mul(0x0100_0000_01b3));
        let mut state = self.seed;
        for part in [name, epoch, index] {
            state = splitmix(&mut (state ^ part.wrapping_mul(0xd6e8_feb8_6659_fd93)));
        }
        Stream { s: std::array::from_fn(|_| splitmix(&mut state)) }
    }

    /// Streams that differ from this one's for every key, e.g. one per repeat.
    pub fn derive(&self, purpose: &str) -> Rng {
        Rng { seed: self.stream(purpose, 0, 0).next_u64() }
    }
}

fn splitmix(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// One sequence of random numbers.
#[derive(Debug, Clone)]
pub struct Stream {
    s: [u64; 4],
}

impl Stream {
    /// 64 random bits.
    #[inline]
    pub fn next_u64(&mut self) -> u64 {
        let s = &mut self.s;
        let out = s[0].wrapping_add(s[3]).rotate_left(23).wrapping_add(s[0]);
        let t = s[1] << 17;
        s[2] ^= s[0];
        s[3] ^= s[1];
        s[1] ^= s[2];
        s[0] ^= s[3];
        s[2] ^= t;
        s[3] = s[3].rotate_left(45);
        out
    }

    /// Uniform in [0, 1), 53 bits.
    #[inline]
    pub fn uniform(&mut self) -> f64 {
        (self.next_u64() >> 11) as f64 * (1.0 / (1u64 << 53) as f64)
    }

    /// True with probability `p`.
    #[inline]
    pub fn bernoulli(&mut self, p: f64) -> bool {
        self.uniform() < p
    }

    /// Uniform in 0..n without bias (Lemire 2019). `n` must be above 0.
    #[inline]
    pub fn below(&mut self, n: usize) -> usize {
        assert!(n > 0, "a draw from nothing");
        let n = n as u64;
        let threshold = n.wrapping_neg() % n;
        loop {
            let wide = u128::from(self.next_u64()) * u128::from(n);
            if wide as u64 >= threshold {
                return (wide >> 64) as usize;
            }
        }
    }

    /// Standard normal (Box-Muller; one of the pair is kept, so that a draw costs a fixed number of bits).
    pub fn normal(&mut self) -> f64 {
        let radius = (-2.0 * (1.0 - self.uniform()).ln()).sqrt();
        radius * (std::f64::consts::TAU * self.uniform()).cos()
    }

    /// Shuffles in place (Fisher-Yates).
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for i in (1..items.len()).rev() {
            items.swap(i, self.below(i + 1));
        }
    }

    /// `k` distinct elements of `items` in random order; all of them where `k` is not smaller.
    pub fn choose<T: Copy>(&mut self, items: &[T], k: usize) -> Vec<T> {
        let mut pool = items.to_vec();
        let k = k.min(pool.len());
        for i in 0..k {
            let j = i + self.below(pool.len() - i);
            pool.swap(i, j);
        }
        pool.truncate(k);
        pool
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn same_key_repeats_and_other_keys_differ() {
        let rng = Rng::new(7);
        let first: Vec<u64> = (0..4).map(|_| rng.stream("mask", 1, 2).next_u64()).collect();
        assert!(first.iter().all(|x| *x == first[0]));
        let others =
            [rng.stream("mask", 2, 1), rng.stream("mask", 1, 3), rng.stream("mosk", 1, 2), Rng::new(8).stream("mask", 1, 2)];
        for mut other in others {
            assert_ne!(other.next_u64(), first[0]);
        }
    }

    #[test]
    fn below_is_uniform_by_chi_square() {
        let mut stream = Rng::new(1).stream("test", 0, 0);
        let (n, draws) = (10, 100_000);
        let mut counts = vec![0.0; n];
        for _ in 0..draws {
            counts[stream.below(n)] += 1.0;
        }
        let expected = draws as f64 / n as f64;
        let chi2: f64 = counts.iter().map(|c: &f64| (c - expected).powi(2) / expected).sum();
        assert!(chi2 < 27.9, "chi-square {chi2}, 9 degrees of freedom, p = 0.001");
    }

    #[test]
    fn normal_has_mean_zero_and_unit_variance() {
        let mut stream = Rng::new(2).stream("test", 0, 0);
        let n = 200_000;
        let (mut sum, mut squares) = (0.0, 0.0);
        for _ in 0..n {
            let x = stream.normal();
            sum += x;
            squares += x * x;
        }
        assert!((sum / n as f64).abs() < 0.01 && (squares / n as f64 - 1.0).abs() < 0.015);
    }

    #[test]
    fn choose_takes_distinct_elements() {
        let mut stream = Rng::new(3).stream("test", 0, 0);
        let mut picked = stream.choose(&(0..100).collect::<Vec<_>>(), 60);
        assert_eq!(picked.len(), 60);
        picked.sort_unstable();
        picked.dedup();
        assert_eq!(picked.len(), 60);
    }
}
