//! What the program says: lines for people or JSON for programs on stdout, troubles and progress on stderr.

use crate::failure::Failure;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::Value;
use std::io::{IsTerminal as _, Write as _};

/// Transfers from this many bytes on show a progress bar.
const LONG_TRANSFER: u64 = 8 << 20;

/// Where the program's words go. Nothing fails if nobody listens any more.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Output {
    json: bool,
}

impl Output {
    pub(crate) const fn new(json: bool) -> Self {
        Self { json }
    }

    /// Says one thing: `text` to people, the event with its fields to programs.
    pub(crate) fn say(&self, text: &str, event: &str, fields: &[(&str, Value)]) {
        let line = if self.json {
            object(event, fields)
        } else {
            text.to_owned()
        };
        let mut stdout = std::io::stdout().lock();
        let _ = writeln!(stdout, "{line}").and_then(|()| stdout.flush());
    }

    /// Says something only to programs.
    pub(crate) fn report(&self, event: &str, fields: &[(&str, Value)]) {
        if self.json {
            self.say("", event, fields);
        }
    }

    /// Says something that is not a result.
    pub(crate) fn log(&self, text: &str) {
        let _ = writeln!(std::io::stderr(), "{text}");
    }

    pub(crate) fn failed(&self, failure: &Failure) {
        self.report("error", &[("message", failure.to_string().into())]);
        self.log(&format!("error: {failure}"));
    }

    /// A progress bar on stderr, hidden for short transfers and where nobody sees it.
    pub(crate) fn progress(&self, what: &'static str, bytes: u64) -> ProgressBar {
        let target = if bytes >= LONG_TRANSFER && std::io::stderr().is_terminal() {
            ProgressDrawTarget::stderr()
        } else {
            ProgressDrawTarget::hidden()
        };
        let bar = ProgressBar::with_draw_target(Some(bytes), target).with_message(what);
        let template = "{msg} {wide_bar} {bytes}/{total_bytes} {binary_bytes_per_sec} {eta}";
        match ProgressStyle::with_template(template) {
            Ok(style) => bar.with_style(style),
            Err(_) => bar,
        }
    }
}

/// One JSON object, the event first, the fields in their order.
fn object(event: &str, fields: &[(&str, Value)]) -> String {
    let mut text = format!("{{\"event\":{}", Value::from(event));
    for (name, value) in fields {
        text.push_str(&format!(",{}:{value}", Value::from(*name)));
    }
    text.push('}');
    text
}

/// Bytes per second, for people.
pub(crate) fn rate(bytes: u64, seconds: f64) -> String {
    let mib = bytes as f64 / f64::from(1u32 << 20);
    format!("{:.1} MiB/s", mib / seconds.max(1e-9))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects_are_json_in_their_order() {
        let text = object(
            "listen",
            &[("address", "/ip4/1.2.3.4\"".into()), ("n", 5.into())],
        );
        assert_eq!(
            text,
            r#"{"event":"listen","address":"/ip4/1.2.3.4\"","n":5}"#
        );
        let value: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(value["n"], 5);
    }
}
