//! What the program says: lines for people or JSON for programs on stdout, troubles and progress on stderr.

use crate::failure::Failure;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::Value;
use std::io::{self, IsTerminal as _, Write as _};

/// Transfers from this many bytes on show a progress bar.
const LONG_TRANSFER: u64 = 8 << 20;

/// Where the program's words go. Nothing fails if nobody listens any more; but what cannot be written is a failure.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Output {
    json: bool,
}

impl Output {
    pub(crate) const fn new(json: bool) -> Self {
        Self { json }
    }

    /// Says one thing: `text` to people, the event with its fields to programs. What a peer chose of the text must have
    /// gone through [`printable`].
    pub(crate) fn say(
        &self,
        text: &str,
        event: &str,
        fields: &[(&str, Value)],
    ) -> Result<(), Failure> {
        let line = if self.json {
            object(event, fields)
        } else {
            text.to_owned()
        };
        let mut stdout = io::stdout().lock();
        written(writeln!(stdout, "{line}").and_then(|()| stdout.flush()))
    }

    /// Says something only to programs.
    pub(crate) fn report(&self, event: &str, fields: &[(&str, Value)]) -> Result<(), Failure> {
        if self.json {
            self.say("", event, fields)
        } else {
            Ok(())
        }
    }

    /// Says something that is not a result, in one line. It may contain what a peer chose.
    pub(crate) fn log(&self, line: &str) {
        let _ = writeln!(io::stderr(), "{}", printable(line));
    }

    pub(crate) fn failed(&self, failure: &Failure) {
        // If this cannot be written either, stderr and the exit status still tell.
        let _ = self.report("error", &[("message", failure.to_string().into())]);
        self.log(&format!("error: {failure}"));
        if !self.json && !failure.hints().is_empty() {
            let _ = writeln!(io::stderr(), "\n{}", failure.hints());
        }
    }

    /// A progress bar on stderr for `steps` steps of something long, hidden where nobody sees it.
    pub(crate) fn progress_steps(&self, steps: u64) -> Progress {
        let target = if io::stderr().is_terminal() {
            ProgressDrawTarget::stderr()
        } else {
            ProgressDrawTarget::hidden()
        };
        let bar = ProgressBar::with_draw_target(Some(steps), target);
        Progress(
            match ProgressStyle::with_template("{wide_bar} {msg}, {eta} left") {
                Ok(style) => bar.with_style(style),
                Err(_) => bar,
            },
        )
    }

    /// A progress bar on stderr, hidden for short transfers and where nobody sees it.
    pub(crate) fn progress(&self, what: &'static str, bytes: u64) -> Progress {
        let target = if bytes >= LONG_TRANSFER && io::stderr().is_terminal() {
            ProgressDrawTarget::stderr()
        } else {
            ProgressDrawTarget::hidden()
        };
        let bar = ProgressBar::with_draw_target(Some(bytes), target).with_message(what);
        let template = "{msg} {wide_bar} {bytes}/{total_bytes} {binary_bytes_per_sec} {eta}";
        Progress(match ProgressStyle::with_template(template) {
            Ok(style) => bar.with_style(style),
            Err(_) => bar,
        })
    }
}

/// A progress bar. However its transfer ends, its line is clean afterwards.
#[derive(Debug)]
pub(crate) struct Progress(ProgressBar);

impl Progress {
    pub(crate) fn add(&self, bytes: u64) {
        self.0.inc(bytes);
    }

    /// Says how far it is, in steps and in words.
    pub(crate) fn at(&self, step: u64, words: String) {
        self.0.set_position(step);
        self.0.set_message(words);
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}

/// What became of writing to stdout. That its reader has gone is no failure.
pub(crate) fn written(result: io::Result<()>) -> Result<(), Failure> {
    match result {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Failure::failed(format!("cannot write the output: {error}")))
        }
        _ => Ok(()),
    }
}

/// Text of strangers as it may be shown on a terminal: without line ends, escape sequences, invisible characters and such
/// as change the direction of what follows; they are shown by their numbers.
pub(crate) fn printable(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            // Rust escapes these, but they do no harm here.
            '"' | '\'' | '\\' => shown.push(c),
            _ => shown.extend(c.escape_debug()),
        }
    }
    shown
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

    /// Fails when `printable` returns its argument.
    #[test]
    fn nothing_a_peer_chose_moves_the_cursor_or_hides() {
        for plain in [
            "",
            "go-libp2p/0.40",
            r#"it's "1\2" & <3>"#,
            "Grüße, мир, 世界 🚀",
        ] {
            assert_eq!(printable(plain), plain);
        }
        assert_eq!(
            printable("a\x1b[2J\r\nb\tc\u{9b}31m\u{202e}d"),
            "a\\u{1b}[2J\\r\\nb\\tc\\u{9b}31m\\u{202e}d"
        );
        let controls = (0..0x20).chain(0x7f..0xa0).filter_map(char::from_u32);
        let others = [
            '\u{61c}',
            '\u{200b}',
            '\u{200e}',
            '\u{200f}',
            '\u{2028}',
            '\u{2029}',
            '\u{202a}',
            '\u{202b}',
            '\u{202c}',
            '\u{202d}',
            '\u{2066}',
            '\u{2067}',
            '\u{2068}',
            '\u{2069}',
            '\u{feff}',
            '\u{e0041}',
        ];
        for hostile in controls.chain(others) {
            let shown = printable(&hostile.to_string());
            assert!(
                shown.starts_with('\\') && shown.is_ascii(),
                "{:x}",
                u32::from(hostile)
            );
            assert!(shown.chars().all(|c| c.is_ascii_graphic()), "{shown}");
        }
    }

    /// Fails when `Progress` has no `drop`.
    #[test]
    fn a_progress_bar_is_cleared_however_its_transfer_ends() {
        let progress = Output::new(false).progress("echo", LONG_TRANSFER);
        progress.add(1);
        let bar = progress.0.clone();
        assert!(!bar.is_finished());
        drop(progress);
        assert!(bar.is_finished());
    }

    #[test]
    fn only_a_reader_that_has_gone_is_no_failure() {
        assert!(written(Ok(())).is_ok());
        assert!(written(Err(io::ErrorKind::BrokenPipe.into())).is_ok());
        let failure = written(Err(io::ErrorKind::StorageFull.into())).unwrap_err();
        assert_eq!(
            (failure.code(), failure.to_string()),
            (1, "cannot write the output: no storage space".to_owned())
        );
    }
}
