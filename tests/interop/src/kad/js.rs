//! [`KadNode`] with js-libp2p: a process of Node for each node, told what to do by lines of JSON. `js/kad.js` is its program.

use super::{Found, KadNode, KadOptions, Put, Told};
use crate::Error;
use serde_json::{Value, json};
use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    process::Stdio,
    sync::{Arc, Mutex, OnceLock, PoisonError},
    time::Duration,
};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines},
    process::{Child, ChildStdin, ChildStdout, Command},
    sync::oneshot,
};

/// A node that has not started by then never will.
const STARTING: Duration = Duration::from_secs(60);

/// Longer than the program gives any of its queries.
const ANSWERING: Duration = Duration::from_secs(60);

/// Installing what is missing may take so long.
const INSTALLING: Duration = Duration::from_secs(300);

/// A js-libp2p node of a DHT.
#[derive(Clone, Debug)]
pub struct JsKad {
    peer: String,
    address: String,
    process: Arc<tokio::sync::Mutex<Process>>,
    waiting: Waiting,
}

type Waiting = Arc<Mutex<BTreeMap<u64, oneshot::Sender<Result<Value, String>>>>>;

/// The process ends with its input, and with the last handle.
#[derive(Debug)]
struct Process {
    _child: Child,
    input: ChildStdin,
    asked: u64,
}

fn node(error: impl std::fmt::Display) -> Error {
    Error::Node(error.to_string())
}

fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("js")
}

/// Runs a program to its end; what it printed.
fn run(program: &str, arguments: &[&str]) -> Result<String, String> {
    let path = directory();
    let mut command = std::process::Command::new("timeout");
    let patience = INSTALLING.as_secs().to_string();
    command.arg(patience).arg(program).args(arguments);
    let output = command.current_dir(path).output();
    let output = output.map_err(|error| format!("{program}: {error}"))?;
    match output.status.success() {
        true => Ok(String::from_utf8_lossy(&output.stdout).into_owned()),
        false => {
            let error = String::from_utf8_lossy(&output.stderr);
            Err(format!(
                "{program} {}: {}",
                arguments.join(" "),
                error.trim()
            ))
        }
    }
}

impl JsKad {
    /// Whether there is a Node that can run it, and its packages, which are installed if they are not; else the reason.
    pub fn available() -> Result<(), &'static str> {
        static AVAILABLE: OnceLock<Result<(), String>> = OnceLock::new();
        let available = AVAILABLE.get_or_init(|| run("./install", &[]).map(drop));
        available.as_ref().copied().map_err(String::as_str)
    }

    async fn ask(&self, what: &str, mut with: Value) -> Result<Value, Error> {
        let (reply, answer) = oneshot::channel();
        {
            let mut process = self.process.lock().await;
            process.asked += 1;
            let id = process.asked;
            with["id"] = json!(id);
            with["do"] = json!(what);
            lock(&self.waiting).insert(id, reply);
            let line = format!("{with}\n");
            process.input.write_all(line.as_bytes()).await?;
        }
        let answer = tokio::time::timeout(ANSWERING, answer).await;
        let answer = answer.map_err(|_| Error::Timeout)?;
        answer.map_err(|_| Error::NotConnected)?.map_err(node)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The task that hears the program's answers. It ends with the program.
async fn hear(mut output: Lines<BufReader<ChildStdout>>, waiting: Waiting) {
    while let Ok(Some(line)) = output.next_line().await {
        let Ok(answer) = serde_json::from_str::<Value>(&line) else {
            continue;
        };
        let id = answer["id"].as_u64().unwrap_or_default();
        if let Some(reply) = lock(&waiting).remove(&id) {
            let result = match answer["error"].as_str() {
                Some(error) => Err(error.to_owned()),
                None => Ok(answer["ok"].clone()),
            };
            // Who no longer waits does not need the answer.
            let _ = reply.send(result);
        }
    }
    lock(&waiting).clear();
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Vec<u8> {
    let digits = text.as_bytes().chunks(2);
    let digits = digits.filter_map(|pair| std::str::from_utf8(pair).ok());
    let bytes = digits.filter_map(|pair| u8::from_str_radix(pair, 16).ok());
    bytes.collect()
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn texts<T: FromIterator<String>>(value: &Value) -> T {
    value.as_array().into_iter().flatten().map(text).collect()
}

fn told(value: &Value) -> Vec<Told> {
    let told = value.as_array().into_iter().flatten().map(|told| Told {
        peer: text(&told["peer"]),
        addresses: texts(&told["addresses"]),
    });
    told.collect()
}

impl KadNode for JsKad {
    const NAME: &'static str = "js";

    async fn start(options: KadOptions) -> Result<Self, Error> {
        Self::available().map_err(node)?;
        let mode = if options.server { "server" } else { "client" };
        let mut child = Command::new("node")
            .args(["kad.js", options.name, mode])
            .current_dir(directory())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            // Node makes what it is given non-blocking, for everybody who has it.
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()?;
        let (Some(input), Some(output)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(node("no pipes"));
        };
        let mut output = BufReader::new(output).lines();
        let first = tokio::time::timeout(STARTING, output.next_line()).await;
        let first = first.map_err(|_| Error::Timeout)??;
        let first: Value = serde_json::from_str(&first.unwrap_or_default()).map_err(node)?;
        let peer = text(&first["ok"]["peer"]);
        let address = text(&first["ok"]["address"]);
        let waiting = Waiting::default();
        tokio::spawn(hear(output, waiting.clone()));
        let process = Process {
            _child: child,
            input,
            asked: 0,
        };
        Ok(Self {
            address: address.trim_end_matches(&format!("/p2p/{peer}")).to_owned(),
            peer,
            process: Arc::new(tokio::sync::Mutex::new(process)),
            waiting,
        })
    }

    fn id(&self) -> String {
        self.peer.clone()
    }

    fn address(&self) -> String {
        self.address.clone()
    }

    async fn connect(&self, peer: &str, address: &str) -> Result<(), Error> {
        let with = json!({ "peer": peer, "address": address });
        self.ask("connect", with).await.map(drop)
    }

    async fn introduce(&self, peer: &str, address: &str) -> Result<(), Error> {
        let with = json!({ "peer": peer, "address": address });
        self.ask("introduce", with).await.map(drop)
    }

    async fn table(&self) -> Result<BTreeSet<String>, Error> {
        Ok(texts(&self.ask("table", json!({})).await?))
    }

    async fn closest(&self, key: &[u8]) -> Result<Vec<Told>, Error> {
        let with = json!({ "key": hex(key) });
        Ok(told(&self.ask("closest", with).await?))
    }

    async fn put(
        &self,
        key: &[u8],
        value: &[u8],
        quorum: usize,
        _: Option<Duration>,
    ) -> Result<Put, Error> {
        let with = json!({ "key": hex(key), "value": hex(value) });
        let by: BTreeSet<String> = texts(&self.ask("put", with).await?);
        let enough = by.len() >= quorum;
        Ok(Put { enough, by })
    }

    async fn get(&self, key: &[u8]) -> Result<Option<Found>, Error> {
        let with = json!({ "key": hex(key) });
        let found = match self.ask("get", with).await {
            // That is how it says so.
            Err(Error::Node(error)) if error.contains("NotFoundError") => return Ok(None),
            found => found?,
        };
        Ok(found.as_str().map(|value| Found {
            value: unhex(value),
            publisher: None,
            ttl: None,
        }))
    }

    async fn provide(&self, key: &[u8]) -> Result<(), Error> {
        let with = json!({ "key": hex(key) });
        self.ask("provide", with).await.map(drop)
    }

    async fn providers(&self, key: &[u8]) -> Result<Vec<Told>, Error> {
        let with = json!({ "key": hex(key) });
        Ok(told(&self.ask("providers", with).await?))
    }

    async fn bootstrap(&self) -> Result<(), Error> {
        self.ask("bootstrap", json!({})).await.map(drop)
    }

    async fn serve(&self, server: bool) -> Result<(), Error> {
        let with = json!({ "server": server });
        self.ask("serve", with).await.map(drop)
    }

    async fn stored(&self, _: &[u8]) -> Result<Option<Vec<u8>>, Error> {
        Err(node("its store is not asked"))
    }

    async fn offered(&self) -> Result<(Vec<u8>, Vec<u8>), Error> {
        Err(node("it has no filter"))
    }
}
