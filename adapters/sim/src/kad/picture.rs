//! A picture of a workload: lookups over time, and how many hops they took.

use super::workload::{Part, Report};
use crate::timeline::svg::{N, Pen, Svg};
use core::time::Duration;

const WIDTH: f64 = 1200.0;
const LEFT: f64 = 76.0;
const RIGHT: f64 = 1180.0;
const PANEL: f64 = 130.0;
const GAP: f64 = 56.0;
const TOP: f64 = 84.0;

const STYLE: &str = "\
.bg{fill:#fff}text{font:11px system-ui,-apple-system,'Segoe UI',Roboto,sans-serif;fill:#1f2328}\
.t{font-size:18px;font-weight:600}.m{fill:#656d76}.e{text-anchor:end}.c{text-anchor:middle}.h{font-weight:600}\
.g{stroke:#d0d7de;stroke-width:.5;fill:none}.l1,.l2,.l3{fill:none;stroke-width:1.8}\
.l1{stroke:#1a7f37}.l2{stroke:#0969da}.l3{stroke:#bc4c00}.b{fill:#0969da;fill-opacity:.7}\
.k1{fill:#1a7f37}.k2{fill:#0969da}.k3{fill:#bc4c00}\
@media (prefers-color-scheme:dark){.bg{fill:#0d1117}text{fill:#e6edf3}.m{fill:#9198a1}.g{stroke:#3d444d}\
.l1{stroke:#3fb950}.l2{stroke:#4493f8}.l3{stroke:#f0883e}.b{fill:#4493f8}.k1{fill:#3fb950}.k2{fill:#4493f8}.k3{fill:#f0883e}}";

impl Report {
    /// A picture, as an SVG document 1200 pixels wide: the share of lookups that succeeded, how long they took, how many hops
    /// they went, over time; and how many hops all of them went. The same report gives the same bytes.
    #[must_use]
    pub fn svg(&self, title: &str) -> String {
        let height = TOP + 4.0 * (PANEL + GAP);
        let mut svg = Svg::default();
        svg.raw(format_args!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{0}\" height=\"{1}\" viewBox=\"0 0 {0} {1}\">",
            N(WIDTH),
            N(height)
        ));
        svg.title(title);
        svg.raw(format_args!("<style>{STYLE}</style>"));
        svg.rect("bg", [0.0, 0.0, WIDTH, height]);
        svg.text("t", LEFT, 30.0, title);
        let below = format!(
            "{} lookups; seed {}; trace hash {}",
            self.lookups.ended, self.seed, self.hash
        );
        svg.text("m", LEFT, 50.0, &below);
        self.success_over_time(&mut svg, TOP);
        self.latency_over_time(&mut svg, TOP + PANEL + GAP);
        self.hops_over_time(&mut svg, TOP + 2.0 * (PANEL + GAP));
        self.hops(&mut svg, TOP + 3.0 * (PANEL + GAP));
        svg.raw(format_args!("</svg>"));
        svg.0
    }

    fn success_over_time(&self, svg: &mut Svg, top: f64) {
        let least = self
            .parts
            .iter()
            .filter(|part| part.lookups > 0)
            .map(|part| part.complete.min(part.succeeded) as f64 / part.lookups as f64)
            .fold(1.0, f64::min);
        // Downwards in steps, so that what is near to all can be told apart.
        let low = [0.99, 0.95, 0.9, 0.75, 0.5]
            .into_iter()
            .find(|low| *low <= least)
            .unwrap_or(0.0);
        let scale = |value: f64| {
            format!("{:.4}", value * 100.0)
                .trim_end_matches('0')
                .trim_end_matches('.')
                .to_owned()
                + " %"
        };
        self.panel(svg, top, "lookups that found", (low, 1.0), &scale);
        legend(
            svg,
            top,
            &[
                ("l1", "k1", "the closest node"),
                ("l2", "k2", "all 20 closest nodes"),
            ],
        );
        let of = |count: u64, part: &Part| {
            (part.lookups > 0).then(|| count as f64 / part.lookups as f64)
        };
        self.line(svg, top, "l2", (low, 1.0), |part| of(part.complete, part));
        self.line(svg, top, "l1", (low, 1.0), |part| of(part.succeeded, part));
    }

    fn latency_over_time(&self, svg: &mut Svg, top: f64) {
        let quantile = |part: &Part, share: f64| {
            (part.lookups > 0).then(|| part.latencies.quantile(share).as_secs_f64())
        };
        let most = self
            .parts
            .iter()
            .filter_map(|part| quantile(part, 0.99))
            .fold(0.1, f64::max);
        let range = (0.0, most);
        self.panel(svg, top, "how long they took", range, &|value| {
            format!("{value:.2} s")
        });
        legend(
            svg,
            top,
            &[
                ("l1", "k1", "half of them"),
                ("l2", "k2", "90 %"),
                ("l3", "k3", "99 %"),
            ],
        );
        self.line(svg, top, "l3", range, |part| quantile(part, 0.99));
        self.line(svg, top, "l2", range, |part| quantile(part, 0.9));
        self.line(svg, top, "l1", range, |part| quantile(part, 0.5));
    }

    fn hops_over_time(&self, svg: &mut Svg, top: f64) {
        let mean =
            |part: &Part| (part.succeeded > 0).then(|| part.hops as f64 / part.succeeded as f64);
        let most = self.parts.iter().filter_map(mean).fold(1.0, f64::max);
        let range = (0.0, most.ceil());
        self.panel(svg, top, "hops to the closest node", range, &|value| {
            format!("{value:.1}")
        });
        legend(svg, top, &[("l2", "k2", "on average")]);
        self.line(svg, top, "l2", range, mean);
    }

    fn hops(&self, svg: &mut Svg, top: f64) {
        let all: u64 = self.lookups.hops.iter().sum();
        let most = self.lookups.hops.iter().copied().max().unwrap_or(0).max(1);
        svg.text("h", LEFT, top - 10.0, "lookups by hops");
        let width = (RIGHT - LEFT) / self.lookups.hops.len() as f64;
        for (hops, count) in (0_u32..).zip(self.lookups.hops) {
            let x = LEFT + f64::from(hops) * width;
            let height = PANEL * count as f64 / most as f64;
            if count > 0 {
                svg.rect("b", [x + 4.0, top + PANEL - height, width - 8.0, height]);
                let share = format!("{:.1} %", count as f64 * 100.0 / all.max(1) as f64);
                svg.text("c m", x + width / 2.0, top + PANEL - height - 4.0, &share);
            }
            svg.text("c", x + width / 2.0, top + PANEL + 16.0, &hops.to_string());
        }
        let (left, right, bottom) = (N(LEFT), N(RIGHT), N(top + PANEL));
        svg.path("g", &format!("M{left} {bottom}H{right}"));
    }

    /// A frame with three numbers at its side, and the time below.
    fn panel(
        &self,
        svg: &mut Svg,
        top: f64,
        title: &str,
        (low, high): (f64, f64),
        number: &dyn Fn(f64) -> String,
    ) {
        svg.text("h", LEFT, top - 10.0, title);
        for step in [0.0, 0.5, 1.0] {
            let y = top + PANEL * (1.0 - step);
            svg.path("g", &format!("M{} {}H{}", N(LEFT), N(y), N(RIGHT)));
            let value = low + (high - low) * step;
            svg.text("e m", LEFT - 6.0, y + 4.0, &number(value));
        }
        for step in 0..=6_u32 {
            let x = LEFT + (RIGHT - LEFT) * f64::from(step) / 6.0;
            let at = self.length * step / 6;
            svg.text("c m", x, top + PANEL + 16.0, &clock(at));
        }
    }

    fn line(
        &self,
        svg: &mut Svg,
        top: f64,
        class: &str,
        (low, high): (f64, f64),
        value: impl Fn(&Part) -> Option<f64>,
    ) {
        let mut pen = Pen::default();
        let width = (RIGHT - LEFT) / self.parts.len().max(1) as f64;
        let mut command = 'M';
        for (at, part) in self.parts.iter().enumerate() {
            let Some(value) = value(part) else { continue };
            let x = LEFT + (at as f64 + 0.5) * width;
            let part = ((value - low) / (high - low)).clamp(0.0, 1.0);
            pen.add(format_args!(
                "{command}{} {}",
                N(x),
                N(top + PANEL * (1.0 - part))
            ));
            command = 'L';
        }
        svg.path(class, &pen.0);
    }
}

fn legend(svg: &mut Svg, top: f64, entries: &[(&str, &str, &str)]) {
    let mut x = LEFT + 190.0;
    for (_, key, text) in entries {
        svg.rect(key, [x, top - 18.0, 10.0, 10.0]);
        svg.text("m", x + 15.0, top - 9.0, text);
        x += 40.0 + 6.5 * text.len() as f64;
    }
}

fn clock(time: Duration) -> String {
    let seconds = time.as_secs();
    format!("{}:{:02}", seconds / 60, seconds % 60)
}
