//! The paths of an SVG in fewer letters: text as outlines is most of a figure that has few points.

/// Parts of a unit of the drawing, which is a tenth of a pixel: what is left out is a two-hundredth of a pixel.
const PARTS: f64 = 10.0;

/// The SVG with each path written by steps from point to point instead of places, as `usvg` writes them.
pub(crate) fn shorter(svg: &str) -> String {
    const PATH: &str = " d=\"";
    let mut out = String::with_capacity(svg.len() / 2);
    let mut rest = svg;
    while let Some((before, after)) = rest.split_once(PATH) {
        let Some((path, after)) = after.split_once('"') else { break };
        out += before;
        out += PATH;
        out += steps(path).as_deref().unwrap_or(path);
        out.push('"');
        rest = after;
    }
    out + rest
}

/// A path of `M`, `L`, `Q`, `C` and `Z` by steps; `None` for another.
fn steps(path: &str) -> Option<String> {
    let mut out = String::with_capacity(path.len() / 2);
    let mut words = path.split_ascii_whitespace();
    // Where the pen is as written, so that what is rounded does not add up, and where the part of the path began.
    let (mut pen, mut start) = ((0, 0), (0, 0));
    while let Some(command) = words.next() {
        let n_points = match command {
            "M" | "L" => 1,
            "Q" => 2,
            "C" => 3,
            "Z" => {
                out.push('z');
                pen = start;
                continue;
            }
            _ => return None,
        };
        out.push_str(&command.to_ascii_lowercase());
        let from = pen;
        for i in 0..n_points {
            let mut place = || Some((words.next()?.parse::<f64>().ok()? * PARTS).round() as i64);
            pen = (place()?, place()?);
            write(&mut out, pen.0 - from.0, i == 0);
            write(&mut out, pen.1 - from.1, false);
        }
        if command == "M" {
            start = pen;
        }
    }
    Some(out)
}

/// A number of parts as units: no zero before the point, no space before a minus.
fn write(out: &mut String, parts: i64, is_first: bool) {
    if parts < 0 {
        out.push('-');
    } else if !is_first {
        out.push(' ');
    }
    let (whole, part) = (parts.unsigned_abs() / PARTS as u64, parts.unsigned_abs() % PARTS as u64);
    if whole > 0 || part == 0 {
        out.push_str(&whole.to_string());
    }
    if part > 0 {
        out.push('.');
        out.push_str(&part.to_string());
    }
}

#[cfg(test)]
mod tests {
    use resvg::usvg;

    use super::*;

    #[test]
    fn a_path_by_steps_is_the_same_path() {
        let path = "M 10 20 L 15.04 19.96 L 15.5 30 Q 1 2 3.3 4 C 1 1 2 2 0.3 -0.7 Z M 11 21 L 12 22 Z";
        assert_eq!(steps(path).unwrap(), "m10 20l5 0l.5 10q-14.5-28-12.2-26c-2.3-3-1.3-2-3-4.7zm1 1l1 1z");
        assert_eq!(steps("M 1 2 A 3"), None, "what is not known stays as it is");
        assert_eq!(shorter("<g><path fill=\"x\" d=\"M 0 0 H 3\"/></g>"), "<g><path fill=\"x\" d=\"M 0 0 H 3\"/></g>");
        assert_eq!(shorter("<path d=\"M 1 1 L 2 2\" x=\"1\"/>"), "<path d=\"m1 1l1 1\" x=\"1\"/>");
    }

    #[test]
    fn outlines_of_text_stay_where_they_are_and_take_half_the_bytes() {
        let long = crate::training_history(&history()).unwrap().outlined().unwrap();
        let short = shorter(&long);
        let points = |body: &str| {
            let svg = format!("<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"9999\" height=\"9999\">{body}</svg>");
            let mut all = Vec::new();
            collect(usvg::Tree::from_str(&svg, &usvg::Options::default()).unwrap().root(), &mut all);
            all
        };
        let (a, b) = (points(&short), points(&long));
        assert!(a.len() == b.len() && a.len() > 1000, "{} and {} numbers", a.len(), b.len());
        let largest = a.iter().zip(&b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(largest < 0.052, "{largest} units");
        assert!(short.len() * 10 < long.len() * 6, "{} of {} bytes", short.len(), long.len());
    }

    fn history() -> tutti::train::History {
        let epoch = |epoch: usize| tutti::train::EpochRecord { epoch, loss: 5.0 / epoch as f64, ..Default::default() };
        tutti::train::History { epochs: (1..9).map(epoch).collect(), ..Default::default() }
    }

    fn collect(group: &usvg::Group, out: &mut Vec<f32>) {
        for node in group.children() {
            match node {
                usvg::Node::Group(group) => collect(group, out),
                usvg::Node::Path(path) => out.extend(path.data().points().iter().flat_map(|p| [p.x, p.y])),
                _ => {}
            }
        }
    }
}
