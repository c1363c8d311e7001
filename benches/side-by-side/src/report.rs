//! Medians, ratios and how they are printed.

use crate::{
    subject::Subject,
    work::{Bar, Unit, Work},
    workload::Measured,
};

/// All runs of one piece of work.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) work: Work,
    /// In the order of the table's columns; the first is what the others are compared with.
    pub(crate) figures: Vec<(Subject, Vec<Measured>)>,
}

/// The median with its spread.
#[derive(Clone, Copy, Debug)]
struct Spread {
    median: f64,
    least: f64,
    most: f64,
}

impl Spread {
    fn of(mut values: Vec<f64>) -> Self {
        values.sort_by(f64::total_cmp);
        let (middle, count) = (values.len() / 2, values.len());
        let median = match count % 2 {
            0 if count > 0 => (values[middle - 1] + values[middle]) / 2.0,
            1 => values[middle],
            _ => f64::NAN,
        };
        Self {
            median,
            least: values.first().copied().unwrap_or(f64::NAN),
            most: values.last().copied().unwrap_or(f64::NAN),
        }
    }
}

impl Row {
    /// The figure of a run: both ends' processor time, or the server's memory.
    fn value(&self, measured: &Measured) -> f64 {
        match self.work.unit() {
            Unit::SecondsPerGib | Unit::Micros => measured.client + measured.server,
            Unit::Kilobytes | Unit::Bytes => measured.server,
        }
    }

    fn spread(&self, runs: &[Measured]) -> Spread {
        Spread::of(runs.iter().map(|run| self.value(run)).collect())
    }

    /// The median as a share of the first column's.
    fn ratio(&self, column: usize) -> f64 {
        self.spread(&self.figures[column].1).median / self.spread(&self.figures[0].1).median
    }

    fn bar(&self) -> String {
        match self.work.bar() {
            Bar::Share(share) => format!("{share:.2}"),
            Bar::Amount(amount) => format!("{amount} {}", self.work.unit().name()),
            Bar::None => "-".to_owned(),
        }
    }

    /// Whether the column keeps to the bar; nothing where there is none for it.
    fn within_bar(&self, column: usize) -> Option<bool> {
        if !self.figures[column].0.is_judged() {
            return None;
        }
        match self.work.bar() {
            Bar::Share(share) => Some(self.ratio(column) <= share),
            Bar::Amount(amount) => Some(self.spread(&self.figures[column].1).median <= amount),
            Bar::None => None,
        }
    }
}

/// The table's heading.
pub(crate) fn heading(subjects: &[Subject]) -> String {
    let mut line = format!("{:<44} {:<6}", "work", "unit");
    for (column, subject) in subjects.iter().enumerate() {
        line += &format!(" | {subject:<26}");
        if column > 0 {
            line += &format!(" {:<6}", "ratio");
        }
    }
    line + " | bar"
}

/// A line of the table.
pub(crate) fn line(row: &Row) -> String {
    let mut line = format!(
        "{:<44} {:<6}",
        row.work.describe().1,
        row.work.unit().name()
    );
    for (column, (_, runs)) in row.figures.iter().enumerate() {
        let spread = row.spread(runs);
        let figure = format!(
            "{} [{}-{}]",
            digits(spread.median),
            digits(spread.least),
            digits(spread.most)
        );
        line += &format!(" | {figure:<26}");
        if column > 0 {
            line += &format!(" {:<6.3}", row.ratio(column));
        }
    }
    line += &format!(" | {}", row.bar());
    for (column, (subject, _)) in row.figures.iter().enumerate() {
        line += match row.within_bar(column) {
            Some(true) => " kept",
            Some(false) => " MISSED",
            None => continue,
        };
        line += &format!(" by {subject}");
    }
    line
}

/// Three significant digits or more.
fn digits(value: f64) -> String {
    match value.abs() {
        size if size >= 100.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

/// A row as one JSON object.
pub(crate) fn json(row: &Row) -> String {
    let columns: Vec<String> = row
        .figures
        .iter()
        .enumerate()
        .map(|(column, (subject, runs))| {
            let spread = row.spread(runs);
            let list = |value: &dyn Fn(&Measured) -> f64| {
                let values: Vec<String> = runs.iter().map(|run| number(value(run))).collect();
                format!("[{}]", values.join(","))
            };
            format!(
                r#"{{"subject":"{subject}","median":{},"min":{},"max":{},"ratio":{},"within_bar":{},"client":{},"server":{},"wall_seconds":{}}}"#,
                number(spread.median),
                number(spread.least),
                number(spread.most),
                number(row.ratio(column)),
                row.within_bar(column).map_or("null".to_owned(), |kept| kept.to_string()),
                list(&|run| run.client),
                list(&|run| run.server),
                list(&|run| run.wall.as_secs_f64()),
            )
        })
        .collect();
    format!(
        r#"{{"work":"{}","description":"{}","unit":"{}","bar":"{}","subjects":[{}]}}"#,
        row.work.describe().0,
        row.work.describe().1,
        row.work.unit().name(),
        row.bar(),
        columns.join(","),
    )
}

/// JSON has no number for infinity and none for "not a number".
fn number(value: f64) -> String {
    if value.is_finite() {
        format!("{value:.6}")
    } else {
        "null".to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn median_is_the_middle_or_the_mean_of_the_middle_two() {
        assert_eq!(Spread::of(vec![3.0, 1.0, 2.0]).median, 2.0);
        assert_eq!(Spread::of(vec![4.0, 1.0, 2.0, 3.0]).median, 2.5);
        assert!(Spread::of(Vec::new()).median.is_nan());
    }
}
