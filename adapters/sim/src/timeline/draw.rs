//! From what happened to a picture.

use super::{
    Timeline,
    row::{Kind, Mark, Row, Scale, State},
    svg::{Escaped, N, Pen, Svg},
};
use crate::{chronicle::Moment, fault::Fault};
use core::time::Duration;
use drywire::time::Instant;
use std::collections::{BTreeMap, VecDeque};

const WIDTH: f64 = 1200.0;
const LEFT: f64 = 124.0;
const RIGHT: f64 = 1180.0;
/// Shades for numbers of connections.
const SHADES: u32 = 8;
/// The width of a bar of what happened how often.
const BAR: f64 = 4.0;
const LANE: f64 = 36.0;
/// More marks, or ticks of handshakes, are merged with their neighbours.
const MARKS: usize = 6_000;
const TICKS: usize = 40_000;

const STYLE: &str = "\
.bg{fill:#fff}text{font:11px system-ui,-apple-system,'Segoe UI',Roboto,sans-serif;fill:#1f2328}\
.t{font-size:18px;font-weight:600}.m{fill:#656d76}.e{text-anchor:end}.c{text-anchor:middle}.v{fill:#cf222e;font-weight:600}\
.g{stroke:#d0d7de;stroke-width:.5;fill:none}.p{fill:#8250df;fill-opacity:.16}.pt{fill:#8250df}\
.s0,.s1,.s2,.s3,.s4,.s5,.s6,.s7,.s8{fill:#0969da}.s0{fill-opacity:.1}.s1{fill-opacity:.19}.s2{fill-opacity:.28}\
.s3{fill-opacity:.37}.s4{fill-opacity:.46}.s5{fill-opacity:.55}.s6{fill-opacity:.64}.s7{fill-opacity:.73}.s8{fill-opacity:.82}\
.d,.q{stroke:#8c959f;stroke-width:1;fill:none}.q{stroke-dasharray:1 3}\
.h{stroke:#1a7f37;stroke-width:1;fill:none}.hb{fill:#1a7f37}.fb{fill:#cf222e}.n{fill:#0969da;fill-opacity:.5}\
.x{stroke:#bc4c00;stroke-width:1.6;fill:none}.o{fill:#bc4c00}.r{stroke:#cf222e;stroke-width:1.4;fill:none}.f{fill:#cf222e}\
.a{stroke:#8250df;stroke-width:1.4;fill:none}\
@media (prefers-color-scheme:dark){.bg{fill:#0d1117}text{fill:#e6edf3}.m{fill:#9198a1}.g{stroke:#3d444d}\
.s0,.s1,.s2,.s3,.s4,.s5,.s6,.s7,.s8{fill:#4493f8}.h{stroke:#3fb950}.hb{fill:#3fb950}.fb,.f{fill:#f85149}.r{stroke:#f85149}\
.v{fill:#f85149}.n{fill:#4493f8}.x{stroke:#f0883e}.o{fill:#f0883e}.a{stroke:#bc8cff}.p,.pt{fill:#bc8cff}}";

/// All that is to be drawn.
struct Gathered {
    scale: Scale,
    rows: Vec<Row>,
    /// Rows that are drawn.
    shown: usize,
    /// Ends of connections, and hosts up, at places.
    connections: Vec<(f64, u32)>,
    up: Vec<(f64, u32)>,
    ever_down: bool,
    /// How often in each bar.
    handshakes: Vec<u32>,
    failures: Vec<u32>,
    /// Of all hosts.
    counts: BTreeMap<Kind, u64>,
    /// What parted hosts, from when until when.
    partitions: Vec<(Fault, Instant, Instant)>,
    /// What concerns no single host.
    everywhere: Vec<Mark>,
    most_connections: u32,
    /// Marks so close together are one.
    merge: f64,
}

impl Gathered {
    fn new(timeline: &Timeline<'_>, merge: f64) -> Self {
        let bars = ((RIGHT - LEFT) / BAR) as usize;
        let shown = timeline.names.len().min(timeline.rows);
        Self {
            scale: Scale {
                begin: timeline.begin,
                end: timeline.end,
                left: LEFT,
                width: RIGHT - LEFT,
            },
            rows: timeline.names.iter().map(|_| Row::new(LEFT)).collect(),
            shown,
            connections: vec![(LEFT, 0)],
            up: vec![(LEFT, 0)],
            ever_down: false,
            handshakes: vec![0; bars],
            failures: vec![0; bars],
            counts: BTreeMap::new(),
            partitions: Vec::new(),
            everywhere: Vec::new(),
            most_connections: 1,
            merge,
        }
    }

    fn gather(timeline: &Timeline<'_>, merge: f64) -> Self {
        let mut all = Self::new(timeline, merge);
        let entries = timeline.chronicle.map(|chronicle| chronicle.entries());
        let (mut connections, mut up) = (0u32, 0u32);
        let mut parted: VecDeque<(Fault, Instant)> = VecDeque::new();
        for (at, host, moment) in entries.unwrap_or_default() {
            let (at, x) = (*at, all.scale.x(*at));
            let Some(host) = host else {
                match moment {
                    Moment::Fault(fault) => parted.push_back((*fault, at)),
                    Moment::Healed(fault) => {
                        // The oldest of this kind.
                        let place = parted.iter().position(|(open, _)| open == fault);
                        let ended = place.and_then(|place| parted.remove(place));
                        if let Some((fault, since)) = ended {
                            all.partitions.push((fault, since, at));
                        }
                    }
                    _ => all.everywhere_mark(x, at, moment),
                }
                continue;
            };
            let shown = host.number() < all.shown;
            let Some(row) = all.rows.get_mut(host.number()) else {
                continue;
            };
            let before = (row.connections(), row.is_up());
            // Of rows that are not drawn all marks are one.
            row.note(x, at, moment, if shown { merge } else { 1e9 });
            all.most_connections = all.most_connections.max(row.connections());
            let after = (row.connections(), row.is_up());
            connections = connections - before.0 + after.0;
            up = up - u32::from(before.1) + u32::from(after.1);
            all.ever_down |= matches!(moment, Moment::Down { .. });
            step(&mut all.connections, x, connections);
            step(&mut all.up, x, up);
            all.count(x, moment);
        }
        let rest = parted
            .into_iter()
            .map(|(fault, since)| (fault, since, timeline.end));
        all.partitions.extend(rest);
        all
    }

    fn everywhere_mark(&mut self, x: f64, at: Instant, moment: &Moment) {
        if let Some((kind, words)) = Kind::of(moment) {
            *self.counts.entry(kind).or_default() += 1;
            self.everywhere.push(Mark {
                x,
                at,
                count: 1,
                words,
            });
        }
    }

    fn count(&mut self, x: f64, moment: &Moment) {
        let Some((kind, _)) = Kind::of(moment) else {
            return;
        };
        *self.counts.entry(kind).or_default() += 1;
        let bars = match kind {
            Kind::Handshake => &mut self.handshakes,
            kind if kind.is_failure() => &mut self.failures,
            _ => return,
        };
        let last = bars.len().saturating_sub(1);
        if let Some(bar) = bars.get_mut((((x - LEFT) / BAR) as usize).min(last)) {
            *bar += 1;
        }
    }

    fn drawn(&self) -> impl Iterator<Item = &Row> {
        self.rows.iter().take(self.shown)
    }

    /// Marks and ticks to be drawn.
    fn sizes(&self) -> (usize, usize) {
        let ticks = |row: &Row| {
            let of = row
                .marks
                .keys()
                .filter(|(kind, _)| *kind == Kind::Handshake);
            of.count()
        };
        let all: usize = self.drawn().map(|row| row.marks.len()).sum();
        let ticks = self.drawn().map(ticks).sum();
        (all - ticks, ticks)
    }

    /// Things that happened in rows that are drawn, and are part of another's mark.
    fn merged(&self) -> u64 {
        let marks = self.drawn().flat_map(|row| row.marks.values());
        marks.map(|mark| mark.count - 1).sum()
    }
}

/// Adds to a line that goes in steps, each at least a pixel wide.
fn step(line: &mut Vec<(f64, u32)>, x: f64, value: u32) {
    match line.last_mut() {
        Some((last, old)) if x - *last < 1.0 => *old = value,
        Some((_, old)) if *old == value => {}
        _ => line.push((x, value)),
    }
}

pub(super) fn draw(timeline: &Timeline<'_>) -> String {
    let mut merge = 2.0;
    let mut all = Gathered::gather(timeline, merge);
    loop {
        let (marks, ticks) = all.sizes();
        // At some point each row has one of a kind.
        if (marks <= MARKS && ticks <= TICKS) || merge > WIDTH {
            break;
        }
        merge *= 2.0;
        all = Gathered::gather(timeline, merge);
    }
    Picture {
        timeline,
        all,
        svg: Svg::default(),
    }
    .draw()
}

struct Picture<'a> {
    timeline: &'a Timeline<'a>,
    all: Gathered,
    svg: Svg,
}

impl Picture<'_> {
    fn draw(mut self) -> String {
        let row_height = match self.all.shown {
            0..=20 => 22.0,
            21..=60 => 14.0,
            61..=120 => 10.0,
            _ => 7.0,
        };
        let mut y = 28.0;
        self.svg.text("t", 16.0, y, &self.timeline.title);
        y += 20.0;
        self.svg.text("m", 16.0, y, &self.timeline.subtitle);
        let text = "Each row is a node, blue while it is up: the more connections, the stronger. Below and above, minutes and seconds.";
        self.svg.text("", 16.0, y + 22.0, text);
        y = self.legend(y + 46.0) + 30.0;
        let lanes = y;
        // Under everything else.
        let ground = core::mem::take(&mut self.svg);
        if self.all.ever_down {
            let line = core::mem::take(&mut self.all.up);
            y = self.area(y, "nodes up", &line, 1);
        }
        let line = core::mem::take(&mut self.all.connections);
        y = self.area(y, "connections", &line, 2);
        let bars = core::mem::take(&mut self.all.handshakes);
        y = self.bars(y, "handshakes", "hb", &bars);
        let bars = core::mem::take(&mut self.all.failures);
        if bars.iter().any(|count| *count > 0) {
            y = self.bars(y, "failures", "fb", &bars);
        }
        let top = y + 6.0;
        let bottom = top + row_height * self.all.shown as f64;
        self.rows(top, row_height);
        let content = core::mem::replace(&mut self.svg, ground);
        self.axis(lanes, bottom);
        self.partitions(lanes, bottom);
        self.svg.0.push_str(&content.0);
        self.everywhere(lanes, bottom);
        let height = self.notes(bottom + 40.0);
        self.document(height)
    }

    fn document(self, height: f64) -> String {
        let mut whole = Svg::default();
        let label = Escaped(&self.timeline.title);
        let (width, height) = (N(WIDTH), N(height));
        whole.raw(format_args!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" viewBox=\"0 0 {width} {height}\" \
             role=\"img\" aria-label=\"{label}\">\n<style>{STYLE}</style>\n\
             <rect class=\"bg\" width=\"{width}\" height=\"{height}\"/>\n"
        ));
        whole.0.push_str(&self.svg.0);
        whole.0.push_str("\n</svg>\n");
        whole.0
    }

    /// What marks mean, of those that are there. Returns where it ends.
    fn legend(&mut self, mut y: f64) -> f64 {
        let mut x = 16.0;
        self.svg.text("m", x, y + 4.0, "connections of a node: 0");
        x += 134.0;
        for shade in 0..=SHADES {
            self.svg
                .rect(&format!("s{shade}"), [x, y - 5.0, 10.0, 10.0]);
            x += 10.0;
        }
        let most = self.all.most_connections.to_string();
        self.svg.text("m", x + 4.0, y + 4.0, &most);
        x += 20.0 + 7.0 * most.len() as f64;
        let mut entries: Vec<(Option<Kind>, String)> = Vec::new();
        for kind in Kind::ALL {
            let count = self.all.counts.get(&kind).copied().unwrap_or(0);
            if count > 0 {
                entries.push((Some(kind), format!("{} ({count})", kind.name())));
            }
        }
        if !self.all.partitions.is_empty() {
            entries.push((
                None,
                format!("hosts parted ({})", self.all.partitions.len()),
            ));
        }
        for (kind, text) in entries {
            let width = 28.0 + 6.0 * text.len() as f64;
            if x + width > RIGHT {
                x = 16.0;
                y += 20.0;
            }
            match kind {
                Some(kind) => self.symbol(kind, x + 5.0, y, 4.0, 10.0, None),
                None => self.svg.rect("p", [x, y - 5.0, 10.0, 10.0]),
            }
            self.svg.text("", x + 14.0, y + 4.0, &text);
            x += width;
        }
        y
    }

    /// A mark in the middle of a row of this height.
    fn symbol(&mut self, kind: Kind, x: f64, y: f64, r: f64, height: f64, title: Option<&str>) {
        let (left, top, low) = (N(x - r), N(y - r), N(y + r));
        let (x, y, two, r, half, height) =
            (N(x), N(y), N(2.0 * r), N(r), N(height / 2.0), N(height));
        let (class, d) = match kind {
            Kind::Handshake => ("h", format!("M{x} {top}v{two}")),
            Kind::Crash => (
                "x",
                format!("M{left} {top}l{two} {two}m0-{two}l-{two} {two}"),
            ),
            Kind::PowerLoss => ("o", format!("M{left} {top}h{two}v{two}h-{two}z")),
            Kind::Anew => ("a", circle(left, y, r, two)),
            Kind::Fault => ("o", format!("M{x} {top}l{r} {r}l-{r} {r}l-{r}-{r}z")),
            Kind::DialFailed => ("r", format!("M{left} {top}h{two}l-{r} {two}z")),
            Kind::Lost => ("r", format!("M{x} {y}m0-{half}v{height}")),
            Kind::Failed => ("f", circle(left, y, r, two)),
            Kind::Violation => ("f", format!("M{x} {low}l-{r}-{two}h{two}z")),
        };
        match title {
            None => self.svg.path(class, &d),
            Some(title) => {
                let title = Escaped(title);
                self.svg.raw(format_args!(
                    "<path class=\"{class}\" d=\"{d}\"><title>{title}</title></path>"
                ));
            }
        }
    }

    fn lane_name(&mut self, y: f64, name: &str, most: &str) {
        self.svg.text("e", LEFT - 8.0, y + 14.0, name);
        self.svg.text("m e", LEFT - 8.0, y + 28.0, most);
        let (left, low, right) = (N(LEFT), N(y + LANE), N(RIGHT));
        self.svg.path("g", &format!("M{left} {low}H{right}"));
    }

    /// How many there were, over time. Values are divided by `divide`.
    fn area(&mut self, y: f64, name: &str, line: &[(f64, u32)], divide: u32) -> f64 {
        let most = line
            .iter()
            .map(|(_, value)| *value)
            .max()
            .unwrap_or(0)
            .max(1);
        self.lane_name(y, name, &format!("up to {}", most.div_ceil(divide)));
        let height = |value: u32| N(y + LANE - (LANE - 3.0) * f64::from(value) / f64::from(most));
        let mut pen = Pen::default();
        pen.add(format_args!("M{} {}", N(LEFT), N(y + LANE)));
        for (x, value) in line {
            pen.add(format_args!("H{}V{}", N(*x), height(*value)));
        }
        pen.add(format_args!("H{}V{}z", N(RIGHT), N(y + LANE)));
        self.svg.path("n", &pen.0);
        y + LANE + 6.0
    }

    /// How often something happened, over time.
    fn bars(&mut self, y: f64, name: &str, class: &str, bars: &[u32]) -> f64 {
        let most = bars.iter().copied().max().unwrap_or(0).max(1);
        let per = duration(self.all.scale.time(BAR));
        self.lane_name(y, name, &format!("up to {most} in {per}"));
        let mut pen = Pen::default();
        for (index, count) in bars.iter().enumerate().filter(|(_, count)| **count > 0) {
            // Roots, so that a rush does not hide everything else.
            let share = (f64::from(*count) / f64::from(most)).sqrt();
            let height = ((LANE - 3.0) * share).max(1.0);
            let (x, low, height) = (N(LEFT + BAR * index as f64), N(y + LANE), N(height));
            pen.add(format_args!(
                "M{x} {low}v-{height}h{}v{height}z",
                N(BAR - 0.5)
            ));
        }
        self.svg.path(class, &pen.0);
        y + LANE + 6.0
    }

    fn rows(&mut self, top: f64, height: f64) {
        let rows: Vec<Row> = self.all.drawn().cloned().collect();
        // So that names do not overlap.
        let named = (10.0 / height).ceil() as usize;
        for (index, row) in rows.iter().enumerate() {
            let y = top + height * index as f64;
            let name = self.timeline.names.get(index).copied().unwrap_or_default();
            if index.is_multiple_of(named) {
                self.svg
                    .text("m e", LEFT - 8.0, y + height / 2.0 + 4.0, &short(name));
            }
            self.row(row, name, y, height);
        }
        // Marks lie over all bars.
        for (index, row) in rows.iter().enumerate() {
            let y = top + height * (index as f64 + 0.5);
            let radius = (height * 0.4).clamp(2.2, 4.0);
            let name = self.timeline.names.get(index).copied().unwrap_or_default();
            for ((kind, _), mark) in &row.marks {
                if *kind != Kind::Handshake {
                    let title = words(name, mark);
                    self.symbol(*kind, mark.x, y, radius, height - 1.0, Some(&title));
                }
            }
        }
        self.svg.0.push('\n');
    }

    fn row(&mut self, row: &Row, name: &str, y: f64, height: f64) {
        self.svg
            .raw(format_args!("\n<g transform=\"translate(0,{})\">", N(y)));
        let mut title = name.to_owned();
        for (kind, count) in &row.counts {
            title.push_str(&format!("; {}: {count}", kind.name()));
        }
        self.svg.title(&title);
        let mut bars = vec![Pen::default(); SHADES as usize + 1];
        let (mut down, mut silent) = (Pen::default(), Pen::default());
        let tall = N(height - 1.0);
        for (from, to, state) in self.merged_spans(row) {
            let (x, width, middle) = (N(from), N(to - from), N(height / 2.0));
            match state {
                State::Absent => {}
                State::Up(shade) => {
                    if let Some(pen) = bars.get_mut(shade as usize) {
                        pen.add(format_args!("M{x} 0h{width}v{tall}h-{width}z"));
                    }
                }
                State::Down { silently: false } => {
                    down.add(format_args!("M{x} {middle}h{width}"));
                }
                State::Down { silently: true } => {
                    silent.add(format_args!("M{x} {middle}h{width}"));
                }
            }
        }
        for (shade, pen) in bars.iter().enumerate() {
            self.svg.path(&format!("s{shade}"), &pen.0);
        }
        self.svg.path("d", &down.0);
        self.svg.path("q", &silent.0);
        let mut ticks = Pen::default();
        let tick = N((height * 0.4).max(2.0));
        for ((kind, _), mark) in &row.marks {
            if *kind == Kind::Handshake {
                ticks.add(format_args!("M{} 0v{tick}", N(mark.x)));
            }
        }
        self.svg.path("h", &ticks.0);
        self.svg.0.push_str("</g>");
    }

    /// From where to where a host was what, with shades instead of numbers of connections.
    fn merged_spans(&self, row: &Row) -> Vec<(f64, f64, State)> {
        let most = self.all.most_connections;
        let shade = |state: State| match state {
            // Any connection is to be seen.
            State::Up(count) => State::Up((count * SHADES).div_ceil(most).min(SHADES)),
            other => other,
        };
        let ends = row.spans.iter().skip(1).map(|(x, _)| *x).chain([RIGHT]);
        let mut spans: Vec<(f64, f64, State)> = Vec::new();
        for ((from, state), to) in row.spans.iter().zip(ends) {
            match spans.last_mut() {
                Some((_, end, last)) if *last == shade(*state) => *end = to,
                _ => spans.push((*from, to, shade(*state))),
            }
        }
        spans
    }

    fn axis(&mut self, lanes: f64, bottom: f64) {
        let scale = self.all.scale;
        let step = tick(scale.end - scale.begin);
        let mut pen = Pen::default();
        let mut at = Instant::ZERO;
        // Steps are chosen so that there are few.
        while at <= scale.end {
            if at >= scale.begin {
                let x = scale.x(at);
                pen.add(format_args!("M{} {}V{}", N(x), N(lanes), N(bottom + 4.0)));
                self.svg.text("m c", x, bottom + 17.0, &label(at, step));
                self.svg.text("m c", x, lanes - 4.0, &label(at, step));
            }
            at = at + step;
        }
        self.svg.path("g", &pen.0);
    }

    fn partitions(&mut self, lanes: f64, bottom: f64) {
        let scale = self.all.scale;
        for (fault, from, to) in self.all.partitions.clone() {
            let (left, right) = (scale.x(from), scale.x(to));
            let width = N((right - left).max(1.0));
            let (x, y, height) = (N(left), N(lanes), N(bottom - lanes));
            let words = format!("{fault}, from {} for {}", clock(from), duration(to - from));
            let title = Escaped(&words);
            self.svg.raw(format_args!(
                "<rect class=\"p\" x=\"{x}\" y=\"{y}\" width=\"{width}\" height=\"{height}\"><title>{title}</title></rect>"
            ));
        }
    }

    /// What concerns all hosts goes through all rows.
    fn everywhere(&mut self, lanes: f64, bottom: f64) {
        for mark in self.all.everywhere.clone() {
            let (x, top, low) = (N(mark.x), N(lanes), N(bottom));
            let words = words("everywhere", &mark);
            let title = Escaped(&words);
            self.svg.raw(format_args!(
                "<path class=\"r\" d=\"M{x} {top}V{low}\"><title>{title}</title></path>"
            ));
        }
    }

    /// What is not drawn. Returns where the picture ends.
    fn notes(&mut self, mut y: f64) -> f64 {
        let mut notes = vec!["Point at anything to read what it is.".to_owned()];
        let (all, shown) = (self.all.rows.len(), self.all.shown);
        if shown < all {
            notes.push(format!(
                "Of {all} nodes the first {shown} are drawn; the lanes above them count all."
            ));
        }
        let merged = self.all.merged();
        if merged > 0 {
            let within = duration(self.all.scale.time(self.all.merge));
            notes.push(format!(
                "Marks of one kind within {within} of a row are one: {merged} are left out so."
            ));
        }
        let dropped = self
            .timeline
            .chronicle
            .map_or(0, |chronicle| chronicle.dropped());
        if dropped > 0 {
            notes.push(format!(
                "The last {dropped} entries were too many to be kept."
            ));
        }
        for note in notes {
            self.svg.text("m", LEFT, y, &note);
            y += 16.0;
        }
        y
    }
}

fn circle(left: N, y: N, r: N, two: N) -> String {
    format!("M{left} {y}a{r} {r} 0 1 0 {two} 0a{r} {r} 0 1 0-{two} 0z")
}

fn words(name: &str, mark: &Mark) -> String {
    let more = match mark.count {
        1 => String::new(),
        count => format!(" (and {} more of this kind)", count - 1),
    };
    format!("{} {name}: {}{more}", clock(mark.at), mark.words)
}

/// Names are cut where they would not fit.
fn short(name: &str) -> String {
    if name.chars().count() <= 14 {
        return name.to_owned();
    }
    name.chars().take(13).chain(['…']).collect()
}

/// The time between ticks so that there are about ten.
fn tick(all: Duration) -> Duration {
    const SECONDS: [f64; 22] = [
        0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 15.0, 30.0, 60.0, 120.0, 300.0,
        600.0, 900.0, 1800.0, 3600.0, 7200.0, 21_600.0, 86_400.0,
    ];
    let wanted = all.as_secs_f64() / 12.0;
    let found = SECONDS.into_iter().find(|step| *step >= wanted);
    // Beyond days, so many days as it takes.
    let step = found.unwrap_or_else(|| (wanted / 86_400.0).ceil() * 86_400.0);
    Duration::try_from_secs_f64(step).unwrap_or(all)
}

fn label(at: Instant, step: Duration) -> String {
    let since = at - Instant::ZERO;
    if step < Duration::from_secs(1) {
        return format!("{:.2} s", since.as_secs_f64());
    }
    let seconds = since.as_secs();
    let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    match hours {
        0 => format!("{minutes}:{seconds:02}"),
        _ => format!("{hours}:{minutes:02}:{seconds:02}"),
    }
}

/// A time with its thousandths.
fn clock(at: Instant) -> String {
    let millis = (at - Instant::ZERO).subsec_millis();
    format!("{}.{millis:03}", label(at, Duration::from_secs(1)))
}

fn duration(time: Duration) -> String {
    let seconds = time.as_secs_f64();
    if seconds < 10.0 {
        format!("{seconds:.1} s")
    } else if seconds < 600.0 {
        format!("{seconds:.0} s")
    } else {
        format!("{:.0} min", seconds / 60.0)
    }
}
