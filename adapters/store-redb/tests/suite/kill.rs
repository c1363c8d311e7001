//! What was acknowledged outlives the process: a child stores records until it is killed, again and again.
//!
//! `DRYWIRE_KILL_ROUNDS` says how often; 20 if it is not set.

use crate::{
    common::{NOW, Numbers, TempFile, next, open, waker},
    ledger::{Ask, Ledger, acknowledges},
};
use core::time::Duration;
use drywire::protocol::kad::store::{RecordStore, StoreRequestId};
use std::{
    env,
    io::{BufRead, BufReader, Write},
    path::PathBuf,
    process::{Command, Stdio},
    sync::mpsc::{self, RecvTimeoutError},
    thread,
    time::Instant,
};

const CHILD: &str = "DRYWIRE_KILL_CHILD";
const FIRST: &str = "DRYWIRE_KILL_FIRST";
const NAME: &str = "kill::what_was_acknowledged_is_there_after_a_kill";

/// Stores records for ever, and says on its standard output what it asks, and what is acknowledged.
fn child(path: PathBuf) {
    let first: u64 = env::var(FIRST).unwrap().parse().unwrap();
    let (mut store, mut numbers, mut waiting) = (open(&path), Numbers(first), 0);
    let mut output = std::io::stdout().lock();
    for number in first.. {
        let ask = Ask::random(number, &mut numbers);
        writeln!(
            output,
            "\nask {number} {} {} {}",
            ask.key, ask.provides, ask.removes
        )
        .unwrap();
        assert_eq!(
            store.submit(StoreRequestId(number), ask.request(), NOW, Some(&waker())),
            None
        );
        waiting += 1;
        while waiting > 40 || store.has_reply() {
            let (id, reply) = next(&mut store);
            assert!(acknowledges(&reply), "{reply:?}");
            writeln!(output, "done {}", id.0).unwrap();
            waiting -= 1;
        }
    }
}

fn hear(ledger: &mut Ledger, line: &str) -> Option<()> {
    let mut words = line.split(' ');
    match words.next()? {
        "ask" => {
            let (number, key) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
            let (provides, removes) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
            ledger.ask(Ask {
                number,
                key,
                provides,
                removes,
            });
        }
        "done" => ledger.acknowledge(words.next()?.parse().ok()?),
        _ => {}
    }
    Some(())
}

/// One child, killed after `life` from its first acknowledgement, or from its start. How many requests it made.
fn round(
    file: &TempFile,
    first: u64,
    ledger: &mut Ledger,
    life: Duration,
    from_start: bool,
) -> u64 {
    let mut child = Command::new(env::current_exe().unwrap())
        .args([NAME, "--exact", "--nocapture", "--test-threads=1"])
        .env(CHILD, &file.0)
        .env(FIRST, first.to_string())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let output = BufReader::new(child.stdout.take().unwrap());
    let (said, lines) = mpsc::channel();
    let reader = thread::spawn(move || {
        // A last line that was cut off counts no less: what was begun to be said had happened.
        output
            .lines()
            .map_while(Result::ok)
            .for_each(|line| drop(said.send(line)));
    });
    let mut asked = 0;
    let mut end = from_start.then(|| Instant::now() + life);
    loop {
        let wait = end.map_or(Duration::from_secs(60), |end| {
            end.saturating_duration_since(Instant::now())
        });
        match lines.recv_timeout(wait) {
            Ok(line) => {
                asked += u64::from(line.starts_with("ask"));
                if line.starts_with("done") {
                    end.get_or_insert_with(|| Instant::now() + life);
                }
                hear(ledger, &line);
            }
            Err(RecvTimeoutError::Disconnected) => panic!("the child ended by itself"),
            Err(RecvTimeoutError::Timeout) => {}
        }
        if end.is_some_and(|end| end <= Instant::now()) {
            break;
        }
        assert!(asked > 0 || end.is_some() || child.try_wait().unwrap().is_none());
    }
    child.kill().unwrap();
    child.wait().unwrap();
    reader.join().unwrap();
    for line in lines.try_iter() {
        asked += u64::from(line.starts_with("ask"));
        hear(ledger, &line);
    }
    asked
}

#[test]
fn what_was_acknowledged_is_there_after_a_kill() {
    if let Some(path) = env::var_os(CHILD) {
        return child(path.into());
    }
    let rounds: u64 = env::var("DRYWIRE_KILL_ROUNDS").map_or(20, |rounds| rounds.parse().unwrap());
    let (file, start) = (TempFile::new("kill"), Instant::now());
    let seed = u64::from(std::process::id());
    let (mut ledger, mut numbers, mut first, mut slowest) =
        (Ledger::default(), Numbers(seed), 1, Duration::ZERO);
    for _ in 0..rounds {
        let (life, from_start) = (
            Duration::from_micros(numbers.below(60_000)),
            numbers.below(4) == 0,
        );
        first += round(&file, first, &mut ledger, life, from_start) + 1;
        let opening = Instant::now();
        let mut store = open(&file.0);
        slowest = slowest.max(opening.elapsed());
        ledger.check(&mut store);
    }
    println!(
        "{rounds} kills (seed {seed}), {} requests, {} acknowledged, none lost; opening took {slowest:?} at most; {:?} in all",
        first - 1 - rounds,
        ledger.acknowledged,
        start.elapsed()
    );
    assert!(ledger.acknowledged > rounds);
}
