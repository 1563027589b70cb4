//! What pseudonyms a corpus got, in a file that only the key opens, so that later records get the same ones.
//!
//! The file lies beside `records.json` in a data folder and in the model folders trained on it. It contains a value by which
//! a key is recognised, and a sealed part. The seal is a synthetic-IV construction (Rogaway, Shrimpton, "Deterministic
//! authenticated encryption", EUROCRYPT 2006) with HMAC-SHA-256 both for the tag of the content and, in counter mode from
//! the tag, for the key stream; so equal contents give equal files, and a file cannot be changed without the key.
//!
//! | bytes | field |
//! |---|---|
//! | 0..8 | magic `LWPSEUDO` |
//! | 8..12 | version |
//! | 12..16 | CRC-32 (IEEE) of what follows |
//! | 16..32 | the value by which the key is recognised |
//! | 32..64 | tag |
//! | 64.. | content |

use super::key::SecretKey;
use crate::files::write_new;
use crate::{Error, Result};
use std::fs;
use std::path::Path;

/// The name of the file in data and model folders.
pub const SEALED_FILE: &str = "pseudonyms.sealed";

const MAGIC: &[u8; 8] = b"LWPSEUDO";
const VERSION: u32 = 1;
const REMEDY: &str = "run prepare again, or copy the file from the data folder that the model was trained on";

/// The sealed file of a folder.
#[derive(Clone, PartialEq)]
pub struct SealedPseudonyms {
    check: [u8; 16],
    tag: [u8; 32],
    content: Vec<u8>,
}

impl SealedPseudonyms {
    pub(super) fn seal(key: &SecretKey, mut content: Vec<u8>) -> Self {
        let tag = key.mac(&[b"seal", &content]);
        stream(key, &tag, &mut content);
        Self { check: check(key), tag, content }
    }

    /// Whether the key is the one that the pseudonyms were made with.
    pub fn is_of(&self, key: &SecretKey) -> bool {
        self.check == check(key)
    }

    /// The content; `None` if the key is another one, or the file was changed.
    pub(super) fn content(&self, key: &SecretKey) -> Option<Vec<u8>> {
        let mut content = self.content.clone();
        stream(key, &self.tag, &mut content);
        (self.is_of(key) && key.mac(&[b"seal", &content]) == self.tag).then_some(content)
    }

    /// Reads the file of a data or model folder; `None` if it has none.
    pub fn load(folder: &Path) -> Result<Option<Self>> {
        Self::load_from(&folder.join(SEALED_FILE), REMEDY)
    }

    /// Reads a file; `None` if there is none. `remedy` says what to do where it is damaged.
    pub fn load_from(path: &Path, remedy: &str) -> Result<Option<Self>> {
        match fs::read(path) {
            Ok(bytes) => Self::from_bytes(&bytes).map(Some).map_err(|fault| {
                Error::failed(format!("{}: expected sealed pseudonyms: {fault}; {remedy}", path.display()))
            }),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(Error::io("read", path, error)),
        }
    }

    fn from_bytes(bytes: &[u8]) -> std::result::Result<Self, String> {
        let (Some(head), Some(rest)) = (bytes.first_chunk::<16>(), bytes.get(16..).filter(|rest| rest.len() >= 48))
        else {
            return Err(format!("truncated: {} bytes", bytes.len()));
        };
        let word = |at: usize| u32::from_le_bytes(std::array::from_fn(|i| head[at + i]));
        if head[..8] != MAGIC[..] {
            return Err("its first bytes are not those of such a file".into());
        }
        if word(8) != VERSION {
            return Err(format!("version {}, and this program reads {VERSION}", word(8)));
        }
        if word(12) != crc32fast::hash(rest) {
            return Err("checksum mismatch".into());
        }
        let (check, tag) = (std::array::from_fn(|i| rest[i]), std::array::from_fn(|i| rest[16 + i]));
        Ok(Self { check, tag, content: rest[48..].to_vec() })
    }

    pub fn save(&self, folder: &Path) -> Result<()> {
        self.save_as(&folder.join(SEALED_FILE))
    }

    /// Writes a file with a name of its own.
    pub fn save_as(&self, path: &Path) -> Result<()> {
        let rest = [&self.check[..], &self.tag, &self.content].concat();
        let head = [&MAGIC[..], &VERSION.to_le_bytes(), &crc32fast::hash(&rest).to_le_bytes()].concat();
        write_new(path, &[head, rest].concat())
    }
}

fn check(key: &SecretKey) -> [u8; 16] {
    let value = key.mac(&[b"check"]);
    std::array::from_fn(|i| value[i])
}

/// Adds the key stream of the tag to the content, or takes it away.
fn stream(key: &SecretKey, tag: &[u8; 32], content: &mut [u8]) {
    for (number, block) in content.chunks_mut(32).enumerate() {
        let pad = key.mac(&[b"seal stream", tag, &(number as u64).to_le_bytes()]);
        block.iter_mut().zip(pad).for_each(|(byte, pad)| *byte ^= pad);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_key_opens_it_and_no_change_passes() {
        let (key, other) = (SecretKey::new(&[1; 32]), SecretKey::new(&[2; 32]));
        let content = b"Aaron Cole, acole, and more than a block of 32 bytes".to_vec();
        let sealed = SealedPseudonyms::seal(&key, content.clone());
        assert_eq!(sealed.content(&key).as_ref(), Some(&content));
        assert!(sealed.is_of(&key) && !sealed.is_of(&other) && sealed.content(&other).is_none());
        let folder = tempfile::tempdir().unwrap();
        assert!(SealedPseudonyms::load(folder.path()).unwrap().is_none());
        sealed.save(folder.path()).unwrap();
        let path = folder.path().join(SEALED_FILE);
        let bytes = fs::read(&path).unwrap();
        assert!(!bytes.windows(4).any(|window| window == b"Cole"));
        assert!(SealedPseudonyms::load(folder.path()).unwrap().unwrap() == sealed);
        for at in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[at] ^= 1;
            fs::write(&path, &damaged).unwrap();
            let message = SealedPseudonyms::load(folder.path()).err().unwrap().to_string();
            assert!(message.contains(SEALED_FILE) && message.contains("prepare again"), "{message}");
        }
        fs::write(&path, &bytes[..50]).unwrap();
        assert!(SealedPseudonyms::load(folder.path()).is_err());
        // A forger can compute the checksum, but not the tag.
        let mut forged = sealed.clone();
        forged.content[0] ^= 1;
        assert!(forged.content(&key).is_none());
    }
}
