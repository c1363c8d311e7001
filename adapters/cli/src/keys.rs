//! Identity files: the ecosystem's protobuf encoding of a private key, readable by its owner alone.

use crate::{args::KeyCommand, failure::Failure, output::Output};
use drywire::{identity::Keypair, seed::Seed};
use std::{
    ffi::OsString,
    fs::{self, File, OpenOptions},
    io::{self, Read as _, Write as _},
    path::{Path, PathBuf},
};

/// Longer files are not keys. An RSA key of 8192 bits takes 4.7 KB.
const MAX_FILE: u64 = 16 * 1024;

pub(crate) fn run(command: &KeyCommand, output: &Output) -> Result<(), Failure> {
    match command {
        KeyCommand::New { file } => {
            let key = generate()?;
            write_new(file, &key.to_protobuf()).map_err(|error| match error.kind() {
                io::ErrorKind::AlreadyExists => {
                    Failure::failed(format!("{} exists already", file.display()))
                }
                _ => Failure::failed(format!("cannot write {}: {error}", file.display())),
            })?;
            show("key_created", file, &key, output)
        }
        KeyCommand::Show { file } => show("key", file, &read(file)?, output),
    }
}

fn show(event: &str, file: &Path, key: &Keypair, output: &Output) -> Result<(), Failure> {
    let peer = key.peer_id().to_base58();
    let kind = key.key_type().to_string();
    let fields = [
        ("peer", peer.as_str().into()),
        ("type", kind.into()),
        ("file", file.display().to_string().into()),
    ];
    output.say(&peer, event, &fields)
}

/// A new identity from the operating system's randomness.
pub(crate) fn generate() -> Result<Keypair, Failure> {
    let mut entropy = [0; 32];
    getrandom::fill(&mut entropy)
        .map_err(|error| Failure::failed(format!("no randomness: {error}")))?;
    Ok(Keypair::ed25519_from_seed(&Seed::from_entropy(entropy)))
}

/// The identity in `file`, or a new one if none is named.
pub(crate) fn load(file: Option<&PathBuf>) -> Result<Keypair, Failure> {
    file.map_or_else(generate, |file| read(file))
}

fn read(file: &Path) -> Result<Keypair, Failure> {
    let mut bytes = Vec::new();
    let read =
        File::open(file).and_then(|opened| opened.take(MAX_FILE + 1).read_to_end(&mut bytes));
    if let Err(error) = read {
        let hint = match error.kind() {
            io::ErrorKind::NotFound => {
                format!(" (make one with: drywire key new {})", file.display())
            }
            _ => String::new(),
        };
        return Err(Failure::failed(format!(
            "cannot read the key file {}: {error}{hint}",
            file.display()
        )));
    }
    let key = Keypair::from_protobuf(&bytes);
    bytes.fill(0);
    key.map_err(|error| Failure::failed(format!("{} is not a key file: {error}", file.display())))
}

/// Writes a file that only its owner can read, all of it or nothing, and never over an existing one.
fn write_new(file: &Path, bytes: &[u8]) -> io::Result<()> {
    // Beside the target, so that it can be moved there in one step; named by the process, so that two do not meet.
    let mut name = OsString::from(".");
    name.push(file.file_name().ok_or(io::ErrorKind::InvalidInput)?);
    name.push(format!(".{}.new", std::process::id()));
    let part = file.with_file_name(name);
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let written = options.open(&part).and_then(|mut opened| {
        opened.write_all(bytes)?;
        opened.sync_all()
    });
    // A link, unlike a renaming, fails if the name is taken.
    let result = written.and_then(|()| fs::hard_link(&part, file));
    let removed = fs::remove_file(&part);
    result.and(removed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_file_is_private_whole_and_never_overwritten() {
        let directory = std::env::temp_dir().join(format!("drywire-keys-{}", std::process::id()));
        fs::create_dir_all(&directory).unwrap();
        let file = directory.join("key");
        let key = generate().unwrap();
        write_new(&file, &key.to_protobuf()).unwrap();
        assert_eq!(read(&file).unwrap().peer_id(), key.peer_id());
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            assert_eq!(
                fs::metadata(&file).unwrap().permissions().mode() & 0o777,
                0o600
            );
        }
        assert_eq!(
            write_new(&file, b"other").unwrap_err().kind(),
            io::ErrorKind::AlreadyExists
        );
        assert_eq!(read(&file).unwrap().peer_id(), key.peer_id());
        assert_eq!(
            fs::read_dir(&directory).unwrap().count(),
            1,
            "no part is left behind"
        );
        fs::remove_dir_all(&directory).unwrap();
    }

    #[test]
    fn what_is_not_a_key_is_refused_with_a_reason() {
        let directory =
            std::env::temp_dir().join(format!("drywire-badkeys-{}", std::process::id()));
        fs::create_dir_all(&directory).unwrap();
        let missing = read(&directory.join("missing")).unwrap_err().to_string();
        assert!(missing.contains("drywire key new"), "{missing}");
        let file = directory.join("bad");
        for bad in [
            &b""[..],
            b"hello",
            &[8, 1, 18, 255, 255, 255, 255, 15],
            &[0; 20_000],
        ] {
            fs::write(&file, bad).unwrap();
            assert!(
                read(&file)
                    .unwrap_err()
                    .to_string()
                    .contains("is not a key file")
            );
        }
        fs::remove_dir_all(&directory).unwrap();
    }
}
