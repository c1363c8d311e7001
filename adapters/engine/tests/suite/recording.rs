//! Recordings in files: whole they run again, and whatever is wrong with one is told before anything is run.

use drywire::{
    connection::ConnectionId,
    identity::Keypair,
    multistream::ProtocolName,
    protocol::Standard,
    recording::{
        ConnectionsOnly, Entry, Machine, Recorder, ReplayError, Script, SharedRecorder, VERSION,
    },
    seed::Seed,
    swarm::{Config, DialOptions},
};
use drywire_engine::{
    Host,
    recording::{FileRecorder, RecordingError, RecordingFile, ReplayFileError},
};
use drywire_sim::World;
use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU32, Ordering},
};

const HELLO: ProtocolName = ProtocolName::from_static("/hello/1");

/// A directory of one's own, gone in the end.
struct Directory(PathBuf);

impl Directory {
    fn new() -> Self {
        static MADE: AtomicU32 = AtomicU32::new(0);
        let number = MADE.fetch_add(1, Ordering::Relaxed);
        let name = format!("drywire-recording-{}-{number}", std::process::id());
        let path = std::env::temp_dir().join(name);
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

struct Standards;

impl Script for Standards {
    type Protocols = Standard;

    fn protocols(&mut self, _: u32) -> Option<Standard> {
        Some(Standard::default())
    }
}

/// Two hosts, a greeting between them, and some time after it.
fn meeting(seed: u64, recorder: impl Fn(&str) -> SharedRecorder) {
    let mut world = World::new(seed);
    let runtime = world.add_runtime("machine").unwrap();
    let host = |name: &str, number| {
        let mut config = Config::default();
        config.recorder = Some(recorder(name));
        let seed = Seed::for_tests(number);
        Host::builder(runtime.clone(), Standard::default())
            .config(config)
            .keypair(Keypair::ed25519_from_seed(&seed))
            .seed(seed)
            .start()
            .unwrap()
    };
    let (server, client) = (host("server", 1), host("client", 2));
    world
        .block_on(async {
            let bound = server.listen("/ip4/127.0.0.1/tcp/0".parse().unwrap()).await;
            let mut hellos = server.accept(HELLO, 4).unwrap();
            let options = DialOptions::address(bound.unwrap().address);
            let peer = client.dial(options).await.unwrap().peer;
            let mut stream = client.open_stream(peer, HELLO).await.unwrap();
            stream
                .write_bytes(&mut vec![7; 100_000].into())
                .await
                .unwrap();
            stream.finish().unwrap();
            let (_, mut stream) = hellos.next().await.unwrap();
            while stream.read_bytes(30_000).await.unwrap().is_some() {}
            drop((stream, hellos));
            client.shutdown().await;
            server.shutdown().await;
        })
        .unwrap();
}

fn recorded(path: &Path) {
    let recorder = FileRecorder::create(path).unwrap();
    meeting(1, |name| recorder.host(name));
    assert!(recorder.finish().unwrap() > 50);
}

/// A recording of a few entries.
fn short(path: &Path) {
    let recorder = FileRecorder::create(path).unwrap();
    let host = recorder.host("somebody");
    let mut config = Config::default();
    config.recorder = Some(host);
    let seed = Seed::for_tests(1);
    let swarm = drywire::swarm::Swarm::new(
        config,
        Keypair::ed25519_from_seed(&seed),
        Standard::default(),
        seed,
        drywire::time::Instant::ZERO,
        drywire::time::UnixTime::EPOCH,
    );
    drop(swarm.unwrap());
    assert_eq!(recorder.finish().unwrap(), 3);
}

#[test]
fn hosts_run_again_from_a_file() {
    let directory = Directory::new();
    let path = directory.file("a");
    recorded(&path);
    let mut recording = RecordingFile::open(&path).unwrap();
    assert_eq!(recording.hosts(), ["server", "client"]);
    for _ in 0..2 {
        let report = recording.replay(Standards).unwrap();
        assert_eq!(report.entries, recording.entries());
        assert_eq!((report.swarms, report.swarms_left_out), (2, 0));
        assert_eq!(report.connections, 2);
    }
    let report = recording.replay(ConnectionsOnly).unwrap();
    assert_eq!((report.swarms, report.swarms_left_out), (0, 2));
    recording.rewind().unwrap();
    let mut text = String::new();
    while let Some(entry) = recording.next_entry().unwrap() {
        let line = Entry::decode(entry.machine, entry.bytes).unwrap();
        text.push_str(&format!("{} {} {line}\n", entry.host, entry.machine));
    }
    for part in [
        " <- start\n",
        "1 c0",
        "-> event ConnectionEstablished",
        "<- receive",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
}

/// The virtual world is deterministic, hence so are recordings of it.
#[test]
fn the_same_seed_gives_the_same_file() {
    let directory = Directory::new();
    let files = ["a", "b"].map(|name| directory.file(name));
    files.iter().for_each(|path| recorded(path));
    let [a, b] = files.map(|path| fs::read(path).unwrap());
    assert!(a == b);
}

#[test]
fn a_truncated_recording_is_refused_wherever_it_ends() {
    let directory = Directory::new();
    let path = directory.file("a");
    short(&path);
    let whole = fs::read(&path).unwrap();
    RecordingFile::open(&path).unwrap();
    for len in 0..whole.len() {
        fs::write(&path, &whole[..len]).unwrap();
        let error = RecordingFile::open(&path).unwrap_err();
        let expected = if len == 0 {
            matches!(error, RecordingError::NotARecording)
        } else {
            matches!(error, RecordingError::Truncated)
        };
        assert!(expected, "{len} of {}: {error}", whole.len());
    }
}

#[test]
fn an_altered_recording_is_refused_whatever_was_altered() {
    let directory = Directory::new();
    let path = directory.file("a");
    short(&path);
    let whole = fs::read(&path).unwrap();
    let mut altered = whole.clone();
    for at in 0..whole.len() {
        for bit in [at % 8, 7] {
            altered[at] ^= 1 << bit;
            fs::write(&path, &altered).unwrap();
            let error = RecordingFile::open(&path).unwrap_err();
            // In the first two lines it may look like another format or version.
            let lines = whole.iter().take(at).filter(|byte| **byte == b'\n').count();
            let corrupt = matches!(error, RecordingError::Corrupt);
            let truncated = matches!(error, RecordingError::Truncated);
            assert!(corrupt || lines < 2, "byte {at}, bit {bit}: {error}");
            assert!(!truncated, "byte {at}, bit {bit}: {error}");
            altered[at] = whole[at];
        }
    }
    altered.push(0);
    fs::write(&path, &altered).unwrap();
    let error = RecordingFile::open(&path).unwrap_err();
    assert!(matches!(error, RecordingError::Corrupt), "{error}");
}

#[test]
fn other_files_formats_and_versions_are_told_apart() {
    let directory = Directory::new();
    let path = directory.file("a");
    short(&path);
    let whole = fs::read(&path).unwrap();
    let with = |from: &str, to: &str| {
        let (from, head) = (from.as_bytes(), whole.len().min(400));
        let at = whole[..head]
            .windows(from.len())
            .position(|part| part == from)
            .unwrap();
        let mut bytes = whole.clone();
        bytes.splice(at..at + from.len(), to.bytes());
        fs::write(&path, &bytes).unwrap();
        RecordingFile::open(&path).unwrap_err().to_string()
    };
    let error = with(&format!("drywire {VERSION}\n"), "drywire 9.8.7\n");
    assert!(
        error.contains("of drywire 9.8.7") && error.contains(VERSION),
        "{error}"
    );
    let error = with("recording 1\n", "recording 23\n");
    assert!(error.contains("\"23\""), "{error}");
    assert_eq!(
        with("drywire recording", "something else"),
        "not a recording of drywire"
    );
    let error = RecordingFile::open(directory.file("nothing")).unwrap_err();
    assert!(matches!(&error, RecordingError::Io(error) if error.kind() == io::ErrorKind::NotFound));
}

#[test]
fn a_recording_is_its_owners_and_never_overwrites() {
    let directory = Directory::new();
    let path = directory.file("a");
    short(&path);
    let head = fs::read(&path).unwrap();
    let head = String::from_utf8_lossy(&head[..200]).into_owned();
    assert!(
        head.lines().nth(2).unwrap().contains("secret keys"),
        "{head}"
    );
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
    let before = fs::read(&path).unwrap();
    let error = FileRecorder::create(&path).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::AlreadyExists);
    assert!(fs::read(&path).unwrap() == before);
}

/// What machines tell after the end changes nothing; and a recorder that is dropped has ended.
#[test]
fn a_recording_ends_once() {
    let directory = Directory::new();
    let path = directory.file("a");
    let recorder = FileRecorder::create(&path).unwrap();
    let mut config = Config::default();
    config.recorder = Some(recorder.host("one"));
    let seed = Seed::for_tests(1);
    let mut swarm = drywire::swarm::Swarm::new(
        config,
        Keypair::ed25519_from_seed(&seed),
        Standard::default(),
        seed,
        drywire::time::Instant::ZERO,
        drywire::time::UnixTime::EPOCH,
    )
    .unwrap();
    drop(recorder);
    let bytes = fs::read(&path).unwrap();
    swarm.shutdown(drywire::time::Instant::ZERO);
    drop(swarm);
    assert!(fs::read(&path).unwrap() == bytes);
    assert_eq!(
        RecordingFile::open(&path)
            .unwrap()
            .replay(Standards)
            .unwrap()
            .swarms,
        1
    );
}

/// Takes entries to a file, one of them altered.
struct Altering {
    next: SharedRecorder,
    at: u32,
    seen: AtomicU32,
}

impl Recorder for Altering {
    fn record(&self, machine: Machine, entry: &[u8]) {
        let mut entry = entry.to_vec();
        let received = machine == Machine::Connection(ConnectionId::new(0))
            && Entry::decode(machine, &entry)
                .unwrap()
                .to_string()
                .contains("<- receive");
        if received
            && self.seen.fetch_add(1, Ordering::Relaxed) == self.at
            && let Some(last) = entry.last_mut()
        {
            *last ^= 1;
        }
        self.next.record(machine, &entry);
    }
}

/// The file is whole, so it is the machines that notice.
#[test]
fn what_went_in_otherwise_comes_out_otherwise() {
    let directory = Directory::new();
    for at in 0..4 {
        let path = directory.file(&at.to_string());
        let recorder = FileRecorder::create(&path).unwrap();
        meeting(1, |name| {
            SharedRecorder::new(Altering {
                next: recorder.host(name),
                at,
                seen: AtomicU32::new(0),
            })
        });
        recorder.finish().unwrap();
        let error = RecordingFile::open(&path)
            .unwrap()
            .replay(Standards)
            .unwrap_err();
        assert!(
            matches!(error, ReplayFileError::Replay(ReplayError::Diverged { .. })),
            "{at}: {error}"
        );
    }
}
