//! The rows of the table: what is measured, in which unit, and how much drywire may use.

/// One piece of work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Work {
    Upload,
    Download,
    UploadTen,
    UploadSmallWrites,
    UploadSmallWritesMulti,
    Connect,
    EchoNew,
    EchoNewHundred,
    EchoOptimistic,
    EchoOptimisticHundred,
    EchoLasting,
    EchoLastingHundred,
    Request,
    RequestKibibyte,
    RequestHundred,
    RequestMebibyte,
    IdleConnection,
    IdleConnectionUsed,
    IdleStream,
}

/// What a figure counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unit {
    /// Processor seconds of both ends for each GiB.
    SecondsPerGib,
    /// Processor microseconds of both ends for each operation.
    Micros,
    /// Resident kilobytes at the server for each connection.
    Kilobytes,
    /// Resident bytes at the server for each stream.
    Bytes,
}

/// The most drywire may use.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Bar {
    /// A share of what rust-libp2p uses.
    Share(f64),
    /// A number of the row's unit.
    Amount(f64),
    /// Reported only.
    None,
}

impl Work {
    pub(crate) const ALL: [Self; 19] = [
        Self::Upload,
        Self::Download,
        Self::UploadTen,
        Self::UploadSmallWrites,
        Self::UploadSmallWritesMulti,
        Self::Connect,
        Self::EchoNew,
        Self::EchoNewHundred,
        Self::EchoOptimistic,
        Self::EchoOptimisticHundred,
        Self::EchoLasting,
        Self::EchoLastingHundred,
        Self::Request,
        Self::RequestKibibyte,
        Self::RequestHundred,
        Self::RequestMebibyte,
        Self::IdleConnection,
        Self::IdleConnectionUsed,
        Self::IdleStream,
    ];

    /// The name on the command line, and what it is.
    pub(crate) fn describe(self) -> (&'static str, &'static str) {
        match self {
            Self::Upload => ("upload", "upload, 1 stream, 64 KiB writes"),
            Self::Download => ("download", "download, 1 stream, 64 KiB writes"),
            Self::UploadTen => ("upload-ten", "upload, 10 streams, 64 KiB writes"),
            Self::UploadSmallWrites => ("upload-1k", "upload, 1 KiB writes unflushed"),
            Self::UploadSmallWritesMulti => (
                "upload-1k-multi",
                "the same, multi-thread runtimes, not pinned",
            ),
            Self::Connect => ("connect", "connection + first stream + close"),
            Self::EchoNew => ("echo-new", "32 B echo, new stream each"),
            Self::EchoNewHundred => ("echo-new-100", "the same, 100 in flight"),
            Self::EchoOptimistic => ("echo-optimistic", "32 B echo, new stream each, optimistic"),
            Self::EchoOptimisticHundred => ("echo-optimistic-100", "the same, 100 in flight"),
            Self::EchoLasting => ("echo-lasting", "32 B echo, lasting stream"),
            Self::EchoLastingHundred => ("echo-lasting-100", "32 B echo, 100 lasting streams"),
            Self::Request => ("request", "request/response, 32 B each way"),
            Self::RequestKibibyte => ("request-1k", "the same, 1 KiB each way"),
            Self::RequestHundred => ("request-100", "32 B each way, 100 in flight"),
            Self::RequestMebibyte => ("request-1m", "requests of 32 B, responses of 1 MiB"),
            Self::IdleConnection => ("idle-connection", "idle connection, server memory"),
            Self::IdleConnectionUsed => ("idle-connection-64k", "the same after 64 KiB each way"),
            Self::IdleStream => ("idle-stream", "idle open stream, server memory"),
        }
    }

    pub(crate) fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|work| work.describe().0 == name)
    }

    pub(crate) fn unit(self) -> Unit {
        match self {
            Self::Upload | Self::Download | Self::UploadTen => Unit::SecondsPerGib,
            Self::UploadSmallWrites | Self::UploadSmallWritesMulti => Unit::SecondsPerGib,
            Self::IdleConnection | Self::IdleConnectionUsed => Unit::Kilobytes,
            Self::IdleStream => Unit::Bytes,
            _ => Unit::Micros,
        }
    }

    pub(crate) fn bar(self) -> Bar {
        match self {
            Self::Upload | Self::Download => Bar::Share(0.75),
            Self::UploadTen => Bar::Share(0.80),
            Self::UploadSmallWrites => Bar::Share(0.48),
            Self::UploadSmallWritesMulti => Bar::Share(0.25),
            Self::Connect => Bar::Share(0.60),
            Self::EchoNew | Self::EchoNewHundred => Bar::None,
            Self::EchoOptimistic => Bar::Share(0.20),
            Self::EchoOptimisticHundred => Bar::Share(0.10),
            Self::EchoLasting => Bar::Share(0.60),
            Self::EchoLastingHundred => Bar::Share(0.20),
            Self::Request | Self::RequestKibibyte => Bar::Share(0.25),
            Self::RequestHundred => Bar::Share(0.12),
            Self::RequestMebibyte => Bar::Share(0.80),
            Self::IdleConnection => Bar::Amount(12.0),
            Self::IdleConnectionUsed => Bar::Amount(24.0),
            Self::IdleStream => Bar::Amount(400.0),
        }
    }

    /// What each request is like, where the work is requests.
    pub(crate) fn requests(self) -> Option<Requests> {
        let of = |request, response, in_flight| {
            Some(Requests {
                request,
                response,
                in_flight,
            })
        };
        match self {
            Self::Request => of(32, 32, 1),
            Self::RequestKibibyte => of(1024, 1024, 1),
            Self::RequestHundred => of(32, 32, 100),
            Self::RequestMebibyte => of(32, 1 << 20, 1),
            _ => None,
        }
    }

    /// Operations (or connections, or streams) that are measured at scale 1; for bulk work the size is given apart.
    pub(crate) fn operations(self) -> u64 {
        match self {
            Self::Connect => 500,
            Self::EchoNew | Self::EchoOptimistic => 10_000,
            Self::EchoNewHundred | Self::EchoOptimisticHundred => 20_000,
            Self::EchoLasting => 50_000,
            Self::EchoLastingHundred => 200_000,
            Self::Request | Self::RequestKibibyte => 10_000,
            Self::RequestHundred => 50_000,
            Self::RequestMebibyte => 500,
            Self::IdleConnection => 1000,
            Self::IdleConnectionUsed => 500,
            Self::IdleStream => 2000,
            _ => 0,
        }
    }
}

/// Requests and their responses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Requests {
    /// Bytes of a request.
    pub(crate) request: usize,
    /// Bytes of a response.
    pub(crate) response: u32,
    pub(crate) in_flight: u64,
}

impl Unit {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::SecondsPerGib => "s/GiB",
            Self::Micros => "us",
            Self::Kilobytes => "KB",
            Self::Bytes => "B",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_parse() {
        for work in Work::ALL {
            assert_eq!(Work::parse(work.describe().0), Some(work));
        }
    }
}
