//! Colours: categories that stay distinct, also for the colour-blind, and maps in which equal steps look equal.

use std::sync::LazyLock;

/// A colour of the screen (sRGB), 0 to 255 each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Rgb(pub u8, pub u8, pub u8);

/// What has no category or value.
pub const MISSING: Rgb = Rgb(208, 208, 208);

/// Where the search for distinct colours starts: Okabe and Ito 2008, but for black and yellow, which text and white paper hide.
const OKABE_ITO: [Rgb; 6] =
    [Rgb(0, 114, 178), Rgb(213, 94, 0), Rgb(0, 158, 115), Rgb(204, 121, 167), Rgb(230, 159, 0), Rgb(86, 180, 233)];

/// Distinct colours there are; more categories start over.
const DISTINCT: usize = 40;

/// The colours of `n` categories; from the 41st on they come again. The first ones are those of Okabe and Ito; each next one is the colour furthest from all before it,
/// in the OKLab space, as the common and the two red-green deficient kinds of eyes see it.
pub fn categorical(n: usize) -> Vec<Rgb> {
    static COLORS: LazyLock<Vec<Rgb>> = LazyLock::new(distinct);
    (0..n).map(|i| COLORS[i % DISTINCT]).collect()
}

fn distinct() -> Vec<Rgb> {
    let steps = (0..16u8).map(|v| v * 17);
    let grid = steps.clone().flat_map(|r| steps.clone().flat_map(move |g| (0..16u8).map(move |b| Rgb(r, g, b * 17))));
    // Too light is lost on white paper, too dark looks like black, and grey is for what is missing.
    let candidates: Vec<(Rgb, Seen)> = grid
        .map(|color| (color, Seen::new(color)))
        .filter(|(_, seen)| (0.3..0.87).contains(&seen.0[0][0]) && chroma(seen.0[0]) > 0.06)
        .collect();
    let mut chosen: Vec<Rgb> = OKABE_ITO.to_vec();
    let missing = Seen::new(MISSING);
    let mut nearest: Vec<f32> = candidates.iter().map(|(_, seen)| seen.distance(&missing)).collect();
    let near = |nearest: &mut [f32], color: Rgb| {
        let seen = Seen::new(color);
        nearest.iter_mut().zip(&candidates).for_each(|(near, (_, other))| *near = near.min(other.distance(&seen)));
    };
    chosen.iter().for_each(|color| near(&mut nearest, *color));
    while chosen.len() < DISTINCT {
        let (best, _) = nearest.iter().enumerate().fold((0, -1.0), |best, (i, d)| if *d > best.1 { (i, *d) } else { best });
        chosen.push(candidates[best].0);
        near(&mut nearest, candidates[best].0);
    }
    chosen
}

fn chroma(lab: [f32; 3]) -> f32 {
    lab[1].hypot(lab[2])
}

/// How much smaller a difference may look to a colour-blind eye.
const DEFICIENT: f32 = 1.8;

/// A colour in OKLab, for the common eye, without red cones and without green cones.
struct Seen([[f32; 3]; 3]);

/// Machado, Oliveira and Fernandes 2009, severity 1: linear RGB as seen without red (protanopia) and without green cones (deuteranopia).
const PROTANOPIA: [[f32; 3]; 3] =
    [[0.152_286, 1.052_583, -0.204_868], [0.114_503, 0.786_281, 0.099_216], [-0.003_882, -0.048_116, 1.051_998]];
const DEUTERANOPIA: [[f32; 3]; 3] =
    [[0.367_322, 0.860_646, -0.227_968], [0.280_085, 0.672_501, 0.047_413], [-0.011_820, 0.042_940, 0.968_881]];

impl Seen {
    fn new(color: Rgb) -> Self {
        let rgb = linear(color);
        let through = |m: &[[f32; 3]; 3]| std::array::from_fn(|i| (0..3).map(|j| m[i][j] * rgb[j]).sum::<f32>().clamp(0.0, 1.0));
        Self([oklab(rgb), oklab(through(&PROTANOPIA)), oklab(through(&DEUTERANOPIA))])
    }

    /// The smallest of the differences that the eyes see.
    fn distance(&self, other: &Self) -> f32 {
        let apart = |i: usize| (0..3).map(|k| (self.0[i][k] - other.0[i][k]).powi(2)).sum::<f32>().sqrt();
        apart(0).min(DEFICIENT * apart(1)).min(DEFICIENT * apart(2))
    }
}

fn linear(Rgb(r, g, b): Rgb) -> [f32; 3] {
    [r, g, b].map(|v| {
        let v = f32::from(v) / 255.0;
        if v <= 0.04045 { v / 12.92 } else { ((v + 0.055) / 1.055).powf(2.4) }
    })
}

/// OKLab (Ottosson 2020): lightness, and two axes of colour.
fn oklab([r, g, b]: [f32; 3]) -> [f32; 3] {
    let l = (0.412_221_46 * r + 0.536_332_55 * g + 0.051_445_995 * b).cbrt();
    let m = (0.211_903_5 * r + 0.680_699_5 * g + 0.107_396_96 * b).cbrt();
    let s = (0.088_302_46 * r + 0.281_718_85 * g + 0.629_978_7 * b).cbrt();
    [
        0.210_454_26 * l + 0.793_617_8 * m - 0.004_072_047 * s,
        1.977_998_5 * l - 2.428_592_2 * m + 0.450_593_7 * s,
        0.025_904_037 * l + 0.782_771_77 * m - 0.808_675_77 * s,
    ]
}

/// Colours of numbers. The diverging map and the blues include color specifications and designs developed by Cynthia Brewer
/// (<https://colorbrewer.org>).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ColorMap {
    /// From dark blue over green to yellow; equal steps look equal, also without colour.
    #[default]
    Viridis,
    /// From blue over white to red, for values around a middle.
    Diverging,
    /// From nearly white to dark blue, for shares and counts.
    Blues,
}

impl ColorMap {
    fn anchors(self) -> &'static [Rgb] {
        match self {
            // Nine points of the map of that name by Smith and van der Walt (CC0).
            Self::Viridis => &[
                Rgb(68, 1, 84),
                Rgb(71, 45, 123),
                Rgb(59, 82, 139),
                Rgb(44, 114, 142),
                Rgb(33, 145, 140),
                Rgb(40, 174, 128),
                Rgb(94, 201, 98),
                Rgb(173, 220, 48),
                Rgb(253, 231, 37),
            ],
            Self::Diverging => &[
                Rgb(33, 102, 172),
                Rgb(103, 169, 207),
                Rgb(209, 229, 240),
                Rgb(247, 247, 247),
                Rgb(253, 219, 199),
                Rgb(239, 138, 98),
                Rgb(178, 24, 43),
            ],
            Self::Blues => &[Rgb(247, 251, 255), Rgb(198, 219, 239), Rgb(107, 174, 214), Rgb(33, 113, 181), Rgb(8, 48, 107)],
        }
    }

    /// The colour at `t`, 0 to 1; outside that of the nearest end.
    pub fn at(self, t: f64) -> Rgb {
        let anchors = self.anchors();
        let place = t.clamp(0.0, 1.0) * (anchors.len() - 1) as f64;
        let low = (place as usize).min(anchors.len() - 2);
        let rest = place - low as f64;
        let mix = |a: u8, b: u8| (f64::from(a) + rest * (f64::from(b) - f64::from(a))).round() as u8;
        let (a, b) = (anchors[low], anchors[low + 1]);
        Rgb(mix(a.0, b.0), mix(a.1, b.1), mix(a.2, b.2))
    }
}

/// Whether text on this colour is to be white.
pub(crate) fn is_dark(color: Rgb) -> bool {
    oklab(linear(color))[0] < 0.62
}

#[cfg(test)]
mod tests {
    use super::*;

    fn least(n: usize, of: impl Fn(&Seen, &Seen) -> f32) -> f32 {
        let seen: Vec<Seen> = categorical(n).into_iter().chain([MISSING]).map(Seen::new).collect();
        let pairs = (0..=n).flat_map(|i| (0..i).map(move |j| (i, j)));
        pairs.map(|(i, j)| of(&seen[i], &seen[j])).fold(f32::INFINITY, f32::min)
    }

    fn apart(eye: usize) -> impl Fn(&Seen, &Seen) -> f32 {
        move |a, b| (0..3).map(|k| (a.0[eye][k] - b.0[eye][k]).powi(2)).sum::<f32>().sqrt()
    }

    #[test]
    fn forty_colours_are_distinct_and_ten_also_for_the_colour_blind() {
        // A difference of 0.02 in OKLab is just seen side by side.
        assert!(least(40, apart(0)) > 0.06, "{}", least(40, apart(0)));
        for eye in [1, 2] {
            assert!(least(10, apart(eye)) > 0.05, "{}", least(10, apart(eye)));
            assert!(least(40, apart(eye)) > 0.025, "{}", least(40, apart(eye)));
        }
        assert_eq!(categorical(41)[40], categorical(1)[0]);
    }

    #[test]
    fn oklab_of_white_and_black() {
        assert!((oklab(linear(Rgb(255, 255, 255)))[0] - 1.0).abs() < 1e-3 && oklab(linear(Rgb(0, 0, 0)))[0] == 0.0);
    }

    #[test]
    fn viridis_gets_lighter_evenly_and_ends_where_it_should() {
        let light: Vec<f32> = (0..=20).map(|i| oklab(linear(ColorMap::Viridis.at(f64::from(i) / 20.0)))[0]).collect();
        assert!(light.windows(2).all(|w| (0.01..0.06).contains(&(w[1] - w[0]))), "{light:?}");
        assert_eq!(ColorMap::Diverging.at(0.5), Rgb(247, 247, 247));
        assert_eq!(ColorMap::Viridis.at(7.0), Rgb(253, 231, 37));
    }
}
