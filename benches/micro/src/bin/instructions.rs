//! What operations of a connection cost in instructions, both ends together: figures that repeat exactly.
//!
//! Without arguments the program runs itself under valgrind's callgrind, twice for each operation with different counts,
//! and prints the difference for one. With a word it does so for the operations whose names contain it. With a name and a
//! count it just does that: to look closer, run this under `valgrind --tool=callgrind` or `perf record`.

use bytes::Bytes;
use drywire::{connection::StreamId, crypto::Provider};
use drywire_micro_benches::{
    Ends, Nodes,
    kad::{Server, find_node, read},
};
use std::{env, hint::black_box, process::Command};

struct Operation {
    name: &'static str,
    /// How often it is done in the shorter run; three times as often in the longer one.
    count: u64,
    run: fn(Nodes, u64),
}

const OPERATIONS: &[Operation] = &[
    Operation {
        name: "idle-polls-at-1-stream",
        count: 1000,
        run: |nodes, count| idle(nodes, 1, count),
    },
    Operation {
        name: "idle-polls-at-100-streams",
        count: 1000,
        run: |nodes, count| idle(nodes, 100, count),
    },
    Operation {
        name: "idle-polls-at-10000-streams",
        count: 1000,
        run: |nodes, count| idle(nodes, 10_000, count),
    },
    Operation {
        name: "echo-32B-new-stream",
        count: 300,
        run: echo_new,
    },
    Operation {
        name: "echo-32B-lasting-stream",
        count: 300,
        run: |nodes, count| echo(nodes, 1, count),
    },
    Operation {
        name: "echo-32B-on-100-streams",
        count: 20,
        run: |nodes, count| echo(nodes, 100, count),
    },
    Operation {
        name: "bulk-1MiB-writes-of-65536",
        count: 10,
        run: |nodes, count| bulk(nodes, 65_536, count),
    },
    Operation {
        name: "bulk-1MiB-writes-of-1024",
        count: 10,
        run: |nodes, count| bulk(nodes, 1024, count),
    },
    Operation {
        name: "bulk-1MiB-writes-of-64",
        count: 5,
        run: |nodes, count| bulk(nodes, 64, count),
    },
    Operation {
        name: "bulk-1MiB-shared-65536",
        count: 10,
        run: bulk_shared,
    },
    Operation {
        name: "establish",
        count: 10,
        run: establish,
    },
];

/// A name, and what is done so many times.
type Machine = (&'static str, fn(u64));

/// What needs no connection.
const MACHINES: &[Machine] = &[
    ("kad/answer-find-node-with-20-of-200-peers", |count| {
        let (mut server, request) = (Server::knowing(200), find_node());
        (0..count).for_each(|_| drop(black_box(server.answer(&request))));
    }),
    ("kad/read-answer-with-20-peers", |count| {
        let answer = Server::knowing(200).answer(&find_node());
        let answer = answer.expect("answered");
        (0..count).for_each(|_| assert_eq!(read(black_box(&answer)), (20, 40)));
    }),
];

/// How often these are done in the shorter run.
const TIMES: u64 = 1000;

type Security = (&'static str, fn() -> Nodes);

const SECURITIES: [Security; 2] = [
    ("plaintext/", Nodes::plaintext),
    ("noise/", || Nodes::noise(Provider::default())),
];

fn idle(mut nodes: Nodes, streams: usize, count: u64) {
    let mut ends = nodes.connected();
    ends.lasting(streams);
    let [dialer, _] = &mut ends.connections;
    for _ in 0..count {
        black_box(dialer.poll_event());
        black_box(dialer.poll_message());
        black_box(dialer.wants_transmit());
        black_box(dialer.poll_timeout());
    }
}

fn echo_new(mut nodes: Nodes, count: u64) {
    let mut ends = nodes.connected();
    (0..count).for_each(|_| ends.echo_on_new_stream(&[7; 32]));
}

fn echo(mut nodes: Nodes, streams: usize, count: u64) {
    let mut ends = nodes.connected();
    let streams = ends.lasting(streams);
    (0..count).for_each(|_| ends.echo_on(&streams, &[7; 32]));
}

fn bulk(mut nodes: Nodes, piece: usize, count: u64) {
    let mut ends: Ends = nodes.connected();
    let stream: StreamId = ends.open();
    let data = vec![7; piece];
    // Long enough for buffers and windows to have grown.
    ends.bulk(stream, 8 << 20, &data);
    (0..count).for_each(|_| ends.bulk(stream, 1 << 20, &data));
}

fn bulk_shared(mut nodes: Nodes, count: u64) {
    let mut ends = nodes.connected();
    let stream = ends.open();
    let data = Bytes::from(vec![7; 65_536]);
    ends.bulk_shared(stream, 8 << 20, &data);
    (0..count).for_each(|_| ends.bulk_shared(stream, 1 << 20, &data));
}

fn establish(mut nodes: Nodes, count: u64) {
    (0..count).for_each(|_| drop(nodes.connected()));
}

fn main() {
    let words: Vec<String> = env::args().skip(1).collect();
    match &words[..] {
        [] => report(""),
        [word] => report(word),
        [name, count] => {
            let count = count.parse().expect("a count");
            if let Some((_, run)) = MACHINES.iter().find(|(machine, _)| machine == name) {
                return run(count);
            }
            for (security, nodes) in SECURITIES {
                let same =
                    |operation: &&Operation| format!("{security}{}", operation.name) == *name;
                if let Some(operation) = OPERATIONS.iter().find(same) {
                    return (operation.run)(nodes(), count);
                }
            }
            panic!("no such operation: {name}");
        }
        _ => panic!("at most a name and a count"),
    }
}

fn report(word: &str) {
    for (security, _) in SECURITIES {
        for operation in OPERATIONS {
            let name = format!("{security}{}", operation.name);
            if name.contains(word) {
                tell(&name, operation.count);
            }
        }
    }
    for (name, _) in MACHINES.iter().filter(|(name, _)| name.contains(word)) {
        tell(name, TIMES);
    }
}

fn tell(name: &str, count: u64) {
    let few = instructions(name, count);
    let many = instructions(name, 3 * count);
    println!("{name:<42} {:>12}", (many - few) / (2 * count));
}

/// Instructions of a whole run, as callgrind counts them.
fn instructions(name: &str, count: u64) -> u64 {
    let program = env::current_exe().expect("known");
    let output = Command::new("valgrind")
        // Long copies byte by byte (`rep movsb`) would count as so many instructions.
        .env(
            "GLIBC_TUNABLES",
            "glibc.cpu.x86_rep_movsb_threshold=1000000000",
        )
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(program)
        .args([name, &count.to_string()])
        .output()
        .expect("valgrind is installed");
    let text = String::from_utf8_lossy(&output.stderr);
    let total = text
        .lines()
        .find_map(|line| line.split("Collected :").nth(1));
    let total = total.unwrap_or_else(|| panic!("callgrind failed: {text}"));
    total.trim().parse().expect("a number")
}
