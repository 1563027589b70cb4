//! The secret key of all pseudonyms: HMAC-SHA-256 with 32 random bytes from a file.

use crate::files::{Access, WholeFile};
use crate::{Error, Result};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// The length of the secret in bytes; the file contains two hexadecimal digits for each.
const BYTES: usize = 32;
/// The most bytes of a key file that are read: the digits and white space around them.
const LONGEST: u64 = 1024;

/// A keyed pseudo-random function. It does not implement `Debug`, so that no message can contain the key.
#[derive(Clone)]
pub struct SecretKey(Hmac<Sha256>);

impl SecretKey {
    pub fn new(secret: &[u8; BYTES]) -> Self {
        SecretKey(<Hmac<Sha256> as KeyInit>::new_from_slice(secret).expect("HMAC takes keys of any length"))
    }

    /// A random key that is not saved, for a dry run without a key file.
    pub fn throwaway() -> Result<Self> {
        random().map(|secret| Self::new(&secret))
    }

    /// Reads the key file, or creates it (mode 0600, complete or not at all) if it does not exist.
    ///
    /// Errors: a file that others may read, that is not a regular file, or that contains anything but 64 hexadecimal digits.
    /// No message quotes the file.
    pub fn open(path: &Path) -> Result<Self> {
        match fs::metadata(path) {
            Ok(facts) => load(path, &facts),
            // Another process of several that begin together may have been faster.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                create(path).or_else(|error| fs::metadata(path).map_err(|_| error).and_then(|facts| load(path, &facts)))
            }
            Err(error) => Err(Error::io("read the key file", path, error)),
        }
    }

    /// Reads the key file.
    ///
    /// Errors: as [`SecretKey::open`], and a file that does not exist.
    pub fn read(path: &Path) -> Result<Self> {
        match fs::metadata(path) {
            Ok(facts) => load(path, &facts),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Err(Error::usage(format!(
                "--key-file {}: no such file; give the key file that prepare --pseudonymise was given",
                path.display()
            ))),
            Err(error) => Err(Error::io("read the key file", path, error)),
        }
    }

    /// HMAC-SHA-256 (RFC 2104, FIPS 180-4) over the parts. Each part is preceded by its length, so that different lists of
    /// parts are different messages.
    pub fn mac(&self, parts: &[&[u8]]) -> [u8; 32] {
        let mut mac = self.0.clone();
        for part in parts {
            mac.update(&(part.len() as u64).to_le_bytes());
            mac.update(part);
        }
        mac.finalize().into_bytes().into()
    }
}

fn load(path: &Path, facts: &fs::Metadata) -> Result<SecretKey> {
    let name = path.display();
    if !facts.is_file() {
        return Err(Error::usage(format!("--key-file {name}: expected a file with a key, found something else")));
    }
    let mode = facts.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(Error::usage(format!(
            "--key-file {name}: users other than its owner may access it (mode {mode:04o}), and whoever has the key can \
             undo pseudonyms; run chmod 600 {name}"
        )));
    }
    let mut text = String::new();
    let file = File::open(path).map_err(|e| Error::io("read the key file", path, e))?;
    let read = file.take(LONGEST).read_to_string(&mut text);
    let secret = read.ok().and_then(|_| from_hex(text.trim()));
    secret.map(|secret| SecretKey::new(&secret)).ok_or_else(|| {
        Error::usage(format!(
            "--key-file {name}: expected {} hexadecimal digits and nothing else, found something else; to create a new key, \
             name a file that does not exist",
            2 * BYTES
        ))
    })
}

fn create(path: &Path) -> Result<SecretKey> {
    let secret = random()?;
    let text: String = secret.iter().map(|byte| format!("{byte:02x}")).collect();
    let create = || {
        let mut file = WholeFile::create(path, Access::Secret)?;
        file.write(format!("{text}\n").as_bytes())?;
        file.publish_new()
    };
    create().map_err(|e| Error::failed(format!("--key-file: {e}")))?;
    tracing::info!(
        "{}: created a new key; keep it to get the same pseudonyms again, and keep it secret, because it can undo them",
        path.display()
    );
    Ok(SecretKey::new(&secret))
}

fn random() -> Result<[u8; BYTES]> {
    let mut secret = [0; BYTES];
    getrandom::fill(&mut secret)
        .map_err(|e| Error::failed(format!("the operating system gives no random numbers for a key: {e}")))?;
    Ok(secret)
}

fn from_hex(text: &str) -> Option<[u8; BYTES]> {
    let digits: Option<Vec<u32>> = text.chars().map(|c| c.to_digit(16)).collect();
    let digits = digits.filter(|digits| digits.len() == 2 * BYTES)?;
    Some(std::array::from_fn(|i| (digits[2 * i] * 16 + digits[2 * i + 1]) as u8))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_file_is_made_once_private_and_read_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        let made = SecretKey::open(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_to_string(&path).unwrap().trim().len(), 64);
        assert_eq!(made.mac(&[b"a"]), SecretKey::open(&path).unwrap().mac(&[b"a"]));
        assert_ne!(made.mac(&[b"a"]), SecretKey::open(&folder.path().join("other")).unwrap().mac(&[b"a"]));
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2, "nothing else is left");
    }

    #[test]
    fn a_key_that_others_may_read_or_that_is_none_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        let refused = |text: &[u8], mode: u32| {
            fs::write(&path, text).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            SecretKey::open(&path).err().map(|e| (e.exit_code(), e.to_string()))
        };
        let good = "0123456789abcdef".repeat(4);
        assert_eq!(refused(good.as_bytes(), 0o600), None);
        for mode in [0o640, 0o604, 0o620] {
            let (code, message) = refused(good.as_bytes(), mode).unwrap();
            assert!(code == 2 && message.contains("chmod 600") && !message.contains(&good), "{message}");
        }
        for text in [b"".as_slice(), b"secret123", &good.as_bytes()[1..], b"\xff\xfe", "g".repeat(64).as_bytes()] {
            let (code, message) = refused(text, 0o600).unwrap();
            assert!(code == 2 && message.contains("64 hexadecimal") && !message.contains("secret123"), "{message}");
        }
        assert!(SecretKey::open(folder.path()).is_err());
    }

    #[test]
    fn parts_do_not_run_together() {
        let key = SecretKey::new(&[7; 32]);
        assert_ne!(key.mac(&[b"ab", b"c"]), key.mac(&[b"a", b"bc"]));
    }
}
