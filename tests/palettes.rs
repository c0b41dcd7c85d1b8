//! The R package has the colours of the figures: both draw the same data alike.

use std::fs;
use std::path::Path;

use tutti_figures::{ColorMap, MISSING, Rgb, categorical};

/// The colours of the constant `name` of the R package.
fn constant(name: &str) -> Vec<Rgb> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../r-package/R/palettes.R");
    let text = fs::read_to_string(&path).unwrap();
    let start = text.find(&format!("\n{name} <- c(")).unwrap_or_else(|| panic!("no {name} in {}", path.display()));
    let body = &text[start..start + text[start..].find(')').unwrap()];
    let part = |hex: &str, at: usize| u8::from_str_radix(&hex[at..at + 2], 16).unwrap();
    body.split('"').filter_map(|word| word.strip_prefix('#')).map(|hex| Rgb(part(hex, 0), part(hex, 2), part(hex, 4))).collect()
}

#[test]
fn categories_have_the_same_colours_in_r() {
    let r = constant("categorical_colors");
    assert_eq!(r, categorical(r.len()));
    // R recycles where Rust does.
    assert_eq!(categorical(r.len() + 1)[r.len()], r[0]);
    assert_eq!(constant("missing_color"), [MISSING]);
}

#[test]
fn continuous_maps_are_the_same_in_r() {
    for (name, map) in
        [("viridis_map", ColorMap::Viridis), ("diverging_map", ColorMap::Diverging), ("blues_map", ColorMap::Blues)]
    {
        let anchors = constant(name);
        let last = anchors.len() - 1;
        for step in 0..=1000 {
            let t = f64::from(step) / 1000.0;
            // As `grDevices::colorRamp` goes from anchor to anchor.
            let (low, rest) = (((t * last as f64) as usize).min(last - 1), t * last as f64);
            let mix = |a: u8, b: u8| f64::from(a) + (rest - low as f64) * (f64::from(b) - f64::from(a));
            let (a, b, drawn) = (anchors[low], anchors[low + 1], map.at(t));
            for (r, rust) in [(mix(a.0, b.0), drawn.0), (mix(a.1, b.1), drawn.1), (mix(a.2, b.2), drawn.2)] {
                assert!((r - f64::from(rust)).abs() <= 0.501, "{name} at {t}: {r} and {rust}");
            }
        }
    }
}
