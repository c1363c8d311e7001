//! TXT records, for `/dnsaddr`. (Addresses of host names are the system resolver's business.)

use core::{fmt, net::SocketAddr, time::Duration};
use hickory_resolver::{
    ConnectionProvider, Resolver,
    config::{ConnectionConfig, NameServerConfig, ResolveHosts, ResolverConfig, ResolverOpts},
    net::NetError,
    proto::rr::RData,
};
use std::{
    io,
    sync::{Arc, OnceLock},
};

/// Records taken from one answer. The core uses at most 16 of them, but others may be among them.
const MAX_RECORDS: usize = 64;
/// The longest record taken, in bytes; longer ones are left out.
const MAX_RECORD: usize = 1024;
/// For one request to one server.
const TIMEOUT: Duration = Duration::from_secs(3);
/// Answers remembered, for as long as they are valid.
const CACHED: u64 = 64;

/// Asks name servers for TXT records, over the sockets and timers of an async runtime.
///
/// At most 64 records of an answer are taken, and none longer than 1024 bytes. Clones share their answers.
#[derive(Clone)]
pub struct TextResolver<P: ConnectionProvider> {
    provider: P,
    /// Empty: as the system is configured.
    servers: Arc<[SocketAddr]>,
    /// Made at the first question: many nodes never ask one. Where that fails, the next question tries again.
    resolver: Arc<OnceLock<Resolver<P>>>,
}

impl<P: ConnectionProvider> TextResolver<P> {
    /// Asks these servers, over UDP and where an answer does not fit over TCP; if there are none, those of the system.
    pub fn new(provider: P, servers: impl IntoIterator<Item = SocketAddr>) -> Self {
        Self {
            provider,
            servers: servers.into_iter().collect(),
            resolver: Arc::default(),
        }
    }

    fn make(&self) -> Result<Resolver<P>, NetError> {
        let provider = self.provider.clone();
        let mut builder = if self.servers.is_empty() {
            Resolver::builder(provider)?
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
            Resolver::builder_with_config(config, provider)
        };
        limit(builder.options_mut());
        builder.build()
    }

    /// The TXT records of a name, the strings of each joined.
    ///
    /// # Errors
    /// If there are none, if no server answers in time, or if its answer makes no sense.
    pub async fn lookup(self, name: String) -> io::Result<Vec<String>> {
        let resolver = if let Some(resolver) = self.resolver.get() {
            resolver
        } else {
            let made = self.make().map_err(|error| io_error(&error))?;
            self.resolver.get_or_init(|| made)
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

impl<P: ConnectionProvider> fmt::Debug for TextResolver<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TextResolver")
            .field("servers", &self.servers)
            .finish_non_exhaustive()
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
