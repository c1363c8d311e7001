//! TXT records, for `/dnsaddr`. (Addresses of host names are the system resolver's business.)

use hickory_resolver::{
    TokioResolver,
    config::{ConnectionConfig, NameServerConfig, ResolveHosts, ResolverConfig, ResolverOpts},
    net::{NetError, runtime::TokioRuntimeProvider},
    proto::rr::RData,
};
use std::{
    io,
    net::SocketAddr,
    sync::{Arc, OnceLock},
    time::Duration,
};

/// Records taken from one answer. The core uses at most 16 of them, but others may be among them.
const MAX_RECORDS: usize = 64;
/// The longest record taken, in bytes; longer ones are left out.
const MAX_RECORD: usize = 1024;
/// For one request to one server.
const TIMEOUT: Duration = Duration::from_secs(3);
/// Answers remembered, for as long as they are valid.
const CACHED: u64 = 64;

/// Asks name servers for TXT records.
#[derive(Clone)]
pub(crate) struct TextResolver {
    /// Empty: as the system is configured.
    servers: Arc<[SocketAddr]>,
    /// Made at the first question: many nodes never ask one.
    resolver: Arc<OnceLock<Result<TokioResolver, NetError>>>,
}

impl TextResolver {
    /// Asks these servers, over UDP and where an answer does not fit over TCP; if there are none, those of the system.
    pub(crate) fn new(servers: impl IntoIterator<Item = SocketAddr>) -> Self {
        Self {
            servers: servers.into_iter().collect(),
            resolver: Arc::default(),
        }
    }

    fn make(&self) -> Result<TokioResolver, NetError> {
        let mut builder = if self.servers.is_empty() {
            TokioResolver::builder_tokio()?
        } else {
            let servers = self.servers.iter().map(|server| {
                let mut config = NameServerConfig::udp_and_tcp(server.ip());
                config.connections = [ConnectionConfig::udp(), ConnectionConfig::tcp()]
                    .map(|mut connection| {
                        connection.port = server.port();
                        connection
                    })
                    .into();
                config
            });
            let config = ResolverConfig::from_parts(None, Vec::new(), servers.collect());
            TokioResolver::builder_with_config(config, TokioRuntimeProvider::default())
        };
        limit(builder.options_mut());
        builder.build()
    }

    /// The TXT records of a name, the strings of each joined.
    pub(crate) async fn lookup(self, name: String) -> io::Result<Vec<String>> {
        let resolver = match self.resolver.get_or_init(|| self.make()) {
            Ok(resolver) => resolver,
            Err(error) => return Err(io_error(error)),
        };
        // Absolute: the domains that the system searches are no concern of these names.
        let name = format!("{}.", name.trim_end_matches('.'));
        let found = resolver
            .txt_lookup(name)
            .await
            .map_err(|error| io_error(&error))?;
        let records = found
            .answers()
            .iter()
            .filter_map(|record| match &record.data {
                RData::TXT(text) => Some(&text.txt_data),
                _ => None,
            });
        let texts = records
            .filter(|strings| {
                strings.iter().map(|string| string.len()).sum::<usize>() <= MAX_RECORD
            })
            .filter_map(|strings| String::from_utf8(strings.concat()).ok());
        Ok(texts.take(MAX_RECORDS).collect())
    }
}

fn limit(options: &mut ResolverOpts) {
    options.timeout = options.timeout.min(TIMEOUT);
    options.attempts = options.attempts.min(1);
    options.cache_size = CACHED;
    options.use_hosts_file = ResolveHosts::Never;
}

fn io_error(error: &NetError) -> io::Error {
    let kind = match error {
        NetError::Timeout => io::ErrorKind::TimedOut,
        NetError::Io(error) => error.kind(),
        error if error.is_no_records_found() => io::ErrorKind::NotFound,
        _ => io::ErrorKind::Other,
    };
    io::Error::new(kind, error.to_string())
}
