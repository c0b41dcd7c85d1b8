//! Training as it goes: a bar, the loss and what is left, replaced in place; one line and the curve remain.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tutti::observe::{Observer, Progress};

use crate::display::{Content, Slot, Target, emit, warn};
use crate::html::{ACCENT, LINE, MUTED, block, duration, escape, thousands};

/// Shortest time between two pictures.
const EVERY: Duration = Duration::from_millis(250);

/// Points of the curve at most; of more, each two become one.
const POINTS: usize = 240;

/// The losses of all steps so far, at most [`POINTS`] means of as many steps each.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Curve {
    means: Vec<f64>,
    /// Steps of a whole mean.
    per_mean: usize,
    sum: f64,
    n: usize,
}

impl Curve {
    fn push(&mut self, loss: f64) {
        if !loss.is_finite() {
            return;
        }
        self.sum += loss;
        self.n += 1;
        if self.n >= self.per_mean.max(1) {
            self.means.push(self.sum / self.n as f64);
            (self.sum, self.n) = (0.0, 0);
        }
        if self.means.len() >= POINTS {
            self.means = self.means.chunks(2).map(|pair| pair.iter().sum::<f64>() / pair.len() as f64).collect();
            self.per_mean = self.per_mean.max(1) * 2;
        }
    }

    /// A small drawing; `share` of its width is filled.
    pub(crate) fn svg(&self, share: f64) -> String {
        const WIDTH: f64 = 200.0;
        const HEIGHT: f64 = 42.0;
        let (low, high) = self.means.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(a, b), v| (a.min(*v), b.max(*v)));
        let span = (high - low).max(1e-12);
        let steps = (self.means.len().max(2) - 1) as f64;
        let x = |i: usize| 2.0 + (WIDTH - 4.0) * share.clamp(0.0, 1.0) * i as f64 / steps;
        let y = |v: f64| 3.0 + (HEIGHT - 6.0) * (high - v) / span;
        let points: Vec<String> = self.means.iter().enumerate().map(|(i, v)| format!("{:.1},{:.1}", x(i), y(*v))).collect();
        format!(
            "<svg width=\"{WIDTH}\" height=\"{HEIGHT}\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"loss\" \
             style=\"vertical-align:middle;border-bottom:1px solid {LINE}\"><polyline points=\"{}\" fill=\"none\" \
             style=\"stroke:{ACCENT}\" stroke=\"#1976d2\" stroke-width=\"1.5\" stroke-linejoin=\"round\"/></svg>",
            points.join(" ")
        )
    }
}

/// Shows a training.
pub(crate) struct Reporter {
    slot: Slot,
    system: &'static str,
    curve: Curve,
    last: Progress,
    shown: Option<Instant>,
    finished: bool,
    quiet: bool,
    target: Target,
}

impl Reporter {
    /// Shows that something has begun; nothing at all where `quiet`.
    pub fn new(system: &'static str, quiet: bool) -> Self {
        let slot = Slot { id: fresh_id(), update: false };
        let target = Target::here();
        let mut reporter = Self {
            slot,
            system,
            curve: Curve::default(),
            last: Progress::default(),
            shown: None,
            finished: quiet,
            quiet,
            target,
        };
        reporter.say("preparing the cells");
        reporter
    }

    /// What is done before the first step.
    pub fn say(&mut self, stage: &str) {
        let text = format!("{}: {stage}", self.system);
        if self.target == Target::Kernel && !self.quiet {
            let html = block(&format!("{} <span style=\"{MUTED}\">{} …</span>", self.system, escape(stage)));
            self.place(&Content::text(text).with_html(html));
        }
    }

    /// What stays: one line and the curve.
    pub fn finish(&mut self, line: &str) -> Curve {
        self.finished = true;
        // All of the width, also where it ended before its time.
        let html = block(&format!("{} &ensp;{}", self.curve.svg(1.0), escape(line)));
        if self.quiet {
            return self.curve.clone();
        }
        match self.target {
            Target::Kernel => self.place(&Content::text(line).with_html(html)),
            // Stock evcxr shows one output of each kind per cell: that of the last expression.
            Target::Evcxr => println!("{line}"),
            Target::Console => eprintln!("{line}"),
        }
        self.curve.clone()
    }

    fn share(&self) -> f64 {
        let p = &self.last;
        let all = (p.n_steps * p.n_epochs) as f64;
        if all > 0.0 { (p.n_steps * (p.epoch - 1) + p.step) as f64 / all } else { 0.0 }
    }

    fn place(&mut self, content: &Content) {
        emit(content, Some(&self.slot));
        self.slot.update = true;
    }

    fn draw(&mut self) {
        let content = picture(self.system, &self.last, self.share(), &self.curve);
        self.place(&content);
        self.shown = Some(Instant::now());
    }
}

impl Drop for Reporter {
    /// A call that failed leaves no bar behind.
    fn drop(&mut self) {
        if !self.finished && self.target == Target::Kernel {
            let text = format!("{}: not finished", self.system);
            self.place(&Content::text(&text).with_html(block(&format!("<span style=\"{MUTED}\">{text}</span>"))));
        }
    }
}

impl Observer for Reporter {
    fn on_step(&mut self, progress: &Progress) {
        self.curve.push(progress.loss);
        self.last = progress.clone();
        if self.target == Target::Kernel && !self.quiet && self.shown.is_none_or(|at| at.elapsed() >= EVERY) {
            self.draw();
        }
    }

    fn on_epoch(&mut self, p: &Progress) {
        let validation = p.validation_loss.map(|v| format!("  validation {v:.4}")).unwrap_or_default();
        let line = format!(
            "epoch {}/{}  loss {:.4}{validation}  {} cells/s  {} left",
            p.epoch.min(p.n_epochs),
            p.n_epochs,
            p.loss,
            thousands(p.cells_per_second as usize),
            duration(p.eta_seconds)
        );
        match self.target {
            Target::Kernel => {}
            _ if self.quiet => {}
            Target::Evcxr => println!("{line}"),
            Target::Console => eprintln!("{line}"),
        }
    }

    fn on_warning(&mut self, message: &str) {
        warn(message);
    }
}

fn picture(system: &str, p: &Progress, share: f64, curve: &Curve) -> Content {
    let percent = 100.0 * share;
    // Of the first step, the time is not known yet.
    let timed = p.epoch > 1 || p.step > 1;
    let speed = if timed {
        [format!("{} cells/s", thousands(p.cells_per_second as usize)), format!("{} left", duration(p.eta_seconds))]
    } else {
        Default::default()
    };
    let with = |before: &str| speed.iter().filter(|s| !s.is_empty()).map(|s| format!("{before}{s}")).collect::<String>();
    let (epoch, n_epochs, step, n_steps, loss) = (p.epoch, p.n_epochs, p.step, p.n_steps, p.loss);
    let text = format!("{system}: epoch {epoch}/{n_epochs}, step {step}/{n_steps}, loss {loss:.4}{}", with(", "));
    let bar = format!(
        "<div style=\"width:420px;max-width:100%;height:6px;border-radius:3px;background:{LINE};margin:4px 0\">\
         <div style=\"width:{percent:.1}%;height:6px;border-radius:3px;background:{ACCENT}\"></div></div>"
    );
    let line = format!(
        "{system} &ensp;epoch <b>{epoch}</b>/{n_epochs} &ensp;loss <b>{loss:.4}</b> &ensp;<span style=\"{MUTED}\">step {step}/{n_steps}{}</span>",
        with(" · ")
    );
    Content::text(text).with_html(block(&format!("{line}{bar}{}", curve.svg(share))))
}

/// A name that no other output of any session has: a page may still show those of a kernel that was restarted.
fn fresh_id() -> String {
    static NEXT: AtomicUsize = AtomicUsize::new(1);
    let started = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_micros());
    format!("progress-{started:x}-{}", NEXT.fetch_add(1, Ordering::Relaxed))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_curve_stays_short_and_keeps_the_mean() {
        let mut curve = Curve::default();
        (0..10_000).for_each(|i| curve.push(i as f64));
        curve.push(f64::NAN);
        assert!(curve.means.len() < POINTS && curve.means.len() >= POINTS / 2, "{}", curve.means.len());
        assert!(curve.means.windows(2).all(|w| w[0] < w[1]));
        assert!(Curve::default().svg(0.5).contains("points=\"\""));
    }

    #[test]
    fn the_picture_has_numbers_as_text_too() {
        let p = Progress {
            epoch: 2,
            n_epochs: 15,
            step: 3,
            n_steps: 10,
            loss: 1.25,
            cells_per_second: 8123.4,
            eta_seconds: 12.0,
            ..Default::default()
        };
        let content = picture("concord", &p, 0.13, &Curve::default());
        assert_eq!(content.as_text(), "concord: epoch 2/15, step 3/10, loss 1.2500, 8,123 cells/s, 12 s left");
        assert!(content.as_html().is_some_and(|h| h.contains("width:13.0%")));
        let first = picture("concord", &Progress { epoch: 1, step: 1, ..p }, 0.0, &Curve::default());
        assert_eq!(first.as_text(), "concord: epoch 1/15, step 1/10, loss 1.2500");
        assert_ne!(fresh_id(), fresh_id());
    }
}
