//! A safetensors file that is read tensor by tensor.
//!
//! What the header says is compared with the length of the file before anything is allocated for it. The file is read, not
//! mapped: a file that another program shortens at this moment is an error, where a mapping would end the process.

use super::checksums;
use crate::{Error, Result};
use half::{bf16, f16};
use safetensors::Dtype;
use safetensors::tensor::{Metadata, TensorInfo};
use std::collections::HashMap;
use std::fmt::Display;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

#[cfg(target_endian = "big")]
compile_error!("tensors are read as little-endian numbers");

/// Bytes before the header: its length.
const HEADER_LENGTH: u64 = 8;

/// Longest header in bytes, the limit of the format's own library.
const LONGEST_HEADER: u64 = 100_000_000;

/// The number of 16-bit values that are read at a time.
const PIECE: usize = 1 << 16;

const DAMAGED: &str = "the file is damaged or cut short; use another checkpoint";

/// Which values a tensor may hold.
#[derive(Clone, Copy, PartialEq)]
pub enum Values {
    Finite,
    /// Finite and not negative.
    NotNegative,
}

pub struct TensorFile {
    path: PathBuf,
    file: File,
    /// Where the values of the first tensor begin.
    start: u64,
    tensors: HashMap<String, TensorInfo>,
}

impl TensorFile {
    /// Opens the file and checks its checksum (where the folder has one) and its header.
    pub fn open(path: &Path) -> Result<Self> {
        let file = File::open(path).map_err(|e| Error::io("read", path, e))?;
        checksums::verify(path, &file)?;
        let length = file.metadata().map_err(|e| Error::io("read", path, e))?.len();
        let refuse = |problem: &dyn Display| broken(path, format!("{problem}; {DAMAGED}"));
        let mut bytes = [0; HEADER_LENGTH as usize];
        file.read_exact_at(&mut bytes, 0).map_err(|e| refuse(&e))?;
        let header = u64::from_le_bytes(bytes);
        let room = length.saturating_sub(HEADER_LENGTH).min(LONGEST_HEADER);
        if header > room {
            return Err(refuse(&format!("its header should have {header} bytes, but at most {room} are there")));
        }
        let mut text = vec![0; header as usize];
        file.read_exact_at(&mut text, HEADER_LENGTH).map_err(|e| refuse(&e))?;
        // Reading the header also checks that shapes, types and places of the tensors agree.
        let metadata: Metadata = serde_json::from_slice(&text).map_err(|e| refuse(&e))?;
        let start = HEADER_LENGTH + header;
        let (expected, found) = (metadata.data_len() as u64, length - start);
        if expected != found {
            return Err(refuse(&format!("its tensors should have {expected} bytes, found {found}")));
        }
        let tensors = metadata.tensors().into_iter().map(|(name, info)| (name, info.clone())).collect();
        Ok(TensorFile { path: path.to_owned(), file, start, tensors })
    }

    /// Number of tensors.
    pub fn count(&self) -> usize {
        self.tensors.len()
    }

    /// Folders saved from the bare `GPT2Model` lack the `transformer.` prefix.
    fn find(&self, name: &str) -> Option<&TensorInfo> {
        self.tensors.get(name).or_else(|| self.tensors.get(name.strip_prefix("transformer.")?))
    }

    pub fn has(&self, name: &str) -> bool {
        self.find(name).is_some()
    }

    /// Refuses a file in which the tensor is missing, or has another shape or a type that is not read.
    pub fn check(&self, name: &str, shape: &[usize]) -> Result<()> {
        let Some(TensorInfo { dtype, shape: found, .. }) = self.find(name) else {
            return Err(self.refuse(format!("tensor {name} is missing")));
        };
        if found != shape {
            return Err(self.refuse(format!(
                "{name} has shape {found:?}, expected {shape:?}: it belongs to another configuration"
            )));
        }
        match dtype {
            Dtype::F32 | Dtype::F16 | Dtype::BF16 => Ok(()),
            other => Err(self
                .refuse(format!("tensor {name} is of type {other:?}, which is not supported; f32, f16 and bf16 are"))),
        }
    }

    /// Reads the tensor, which [`TensorFile::check`] has accepted, into `to`, which has its length.
    pub fn read(&self, name: &str, to: &mut [f32], values: Values) -> Result<()> {
        let info = self.find(name).expect("the tensor was checked");
        let at = self.start + info.data_offsets.0 as u64;
        assert_eq!(info.data_offsets.1 - info.data_offsets.0, to.len() * info.dtype.bitsize() / 8, "{name}");
        match info.dtype {
            Dtype::F32 => self.fill(bytemuck::cast_slice_mut(to), at)?,
            Dtype::F16 => self.widen(to, at, |bits| f16::from_bits(bits).to_f32())?,
            _ => self.widen(to, at, |bits| bf16::from_bits(bits).to_f32())?,
        }
        self.check_values(name, to, values)
    }

    fn fill(&self, bytes: &mut [u8], at: u64) -> Result<()> {
        self.file
            .read_exact_at(bytes, at)
            .map_err(|e| self.refuse(format!("cannot read {} bytes at {at}: {e}; {DAMAGED}", bytes.len())))
    }

    fn widen(&self, to: &mut [f32], at: u64, of: impl Fn(u16) -> f32) -> Result<()> {
        let mut piece = vec![0u16; PIECE.min(to.len())];
        for (i, to) in to.chunks_mut(PIECE).enumerate() {
            let bits = &mut piece[..to.len()];
            self.fill(bytemuck::cast_slice_mut(bits), at + (i * PIECE * size_of::<u16>()) as u64)?;
            to.iter_mut().zip(bits).for_each(|(to, bits)| *to = of(*bits));
        }
        Ok(())
    }

    fn check_values(&self, name: &str, found: &[f32], values: Values) -> Result<()> {
        let least = if values == Values::NotNegative { 0.0 } else { f32::MIN };
        let is_good = |value: &f32| value.is_finite() && *value >= least;
        // Without an early exit the compiler uses vectors; only a damaged tensor is searched.
        if found.iter().fold(true, |good, value| good & is_good(value)) {
            return Ok(());
        }
        let at = found.iter().position(|value| !is_good(value)).expect("one is bad");
        let wanted = if values == Values::NotNegative { "finite numbers of at least 0" } else { "finite numbers" };
        Err(self.refuse(format!(
            "tensor {name} holds {} (element {at}), expected {wanted}: training has diverged or the file is damaged; use another \
             checkpoint",
            found[at]
        )))
    }

    pub fn refuse(&self, problem: impl Display) -> Error {
        broken(&self.path, problem)
    }
}

fn broken(path: &Path, problem: impl Display) -> Error {
    Error::failed(format!("{}: {problem}", path.display()))
}
