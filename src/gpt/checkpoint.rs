//! The model as a Hugging Face folder: `config.json`, `model.safetensors`, `checksums.json`, and for resuming
//! `optimizer.safetensors`.
//!
//! `transformers.AutoModelForCausalLM.from_pretrained` loads what is written here, and folders it wrote load here. Tensors
//! are f32 under Hugging Face names; biases the model does not have are written as zeros.

use super::layout::{Layout, Tensor};
use super::{Config, layout};
use crate::files::write_error;
use crate::{Error, Result};
use half::{bf16, f16};
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};
use serde_json::Value;
use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::Path;

/// Names of the tensors a model without biases leaves out, with their sizes: Hugging Face wants them all the same.
fn absent_biases(config: &Config, layout: &Layout) -> Vec<(String, usize)> {
    let with_biases = Layout::new(&Config { bias: true, ..*config });
    let absent = |tensor: &&Tensor| layout.find(&tensor.name).is_none();
    with_biases.tensors().filter(absent).map(|tensor| (tensor.name.clone(), tensor.len())).collect()
}

/// Writes `config.json` and `model.safetensors` of `parameters` (layout.len) into `folder`.
pub fn write_model(folder: &Path, config: &Config, separator: u32, parameters: &[f32]) -> Result<()> {
    let layout = Layout::new(config);
    let text = serde_json::to_string_pretty(&config.to_hf(separator)).expect("JSON values serialise");
    fs::write(folder.join("config.json"), text + "\n").map_err(|e| write_error(&folder.join("config.json"), e))?;
    let absent = absent_biases(config, &layout);
    let zeros = vec![0.0; 4 * config.channels];
    let biases = absent.iter().map(|(name, len)| (name.as_str(), vec![*len], &zeros[..*len]));
    write_tensors(&folder.join("model.safetensors"), named(&layout, "", parameters).into_iter().chain(biases.map(own)))
}

/// Writes AdamW's moments, (layout.len) each, as `optimizer.safetensors`.
pub fn write_moments(folder: &Path, layout: &Layout, first: &[f32], second: &[f32]) -> Result<()> {
    let tensors = named(layout, "first.", first).into_iter().chain(named(layout, "second.", second));
    write_tensors(&folder.join("optimizer.safetensors"), tensors)
}

type Named<'a> = (String, Vec<usize>, &'a [f32]);

fn own<'a>((name, shape, values): (&str, Vec<usize>, &'a [f32])) -> Named<'a> {
    (name.to_string(), shape, values)
}

fn named<'a>(layout: &Layout, prefix: &str, values: &'a [f32]) -> Vec<Named<'a>> {
    let one =
        |tensor: &Tensor| (format!("{prefix}{}", tensor.name), tensor.shape.clone(), &values[tensor.range.clone()]);
    layout.tensors().map(one).collect()
}

fn write_tensors<'a>(path: &Path, tensors: impl Iterator<Item = Named<'a>>) -> Result<()> {
    let view = |(name, shape, values): Named<'a>| {
        let view = TensorView::new(Dtype::F32, shape, bytemuck::cast_slice(values));
        (name, view.expect("shapes of the table match their slices"))
    };
    // One entry only: the map's order, and so the bytes of the file, would change from run to run.
    let metadata = HashMap::from([("format".to_string(), "pt".to_string())]);
    let bytes = safetensors::serialize(tensors.map(view), Some(metadata)).map_err(|e| broken(path, e))?;
    fs::write(path, &bytes).map_err(|e| write_error(path, e))?;
    record_checksum(path, &bytes)
}

/// File name -> CRC-32 of the whole file: safetensors itself notices a file cut short, but not a flipped bit.
const CHECKSUMS: &str = "checksums.json";

fn checksums(folder: &Path) -> Result<BTreeMap<String, String>> {
    let path = folder.join(CHECKSUMS);
    match fs::read(&path) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(BTreeMap::new()),
        Err(e) => Err(Error::io("read", &path, e)),
        Ok(text) => serde_json::from_slice(&text).map_err(|e| broken(&path, format!("{e}; the file is damaged"))),
    }
}

/// Folder and file name of a file in a model folder.
fn split(path: &Path) -> (&Path, String) {
    let name = path.file_name().expect("a file of a model folder").to_string_lossy();
    (path.parent().expect("a file of a model folder"), name.into_owned())
}

fn record_checksum(path: &Path, bytes: &[u8]) -> Result<()> {
    let (folder, name) = split(path);
    let mut sums = checksums(folder)?;
    sums.insert(name, format!("{:08x}", crc32fast::hash(bytes)));
    let text = serde_json::to_string_pretty(&sums).expect("strings serialise") + "\n";
    let path = folder.join(CHECKSUMS);
    fs::write(&path, text).map_err(|e| write_error(&path, e))
}

/// Folders of other programs have no checksums; their files are taken as they are.
fn verify_checksum(path: &Path, bytes: &[u8]) -> Result<()> {
    let (folder, name) = split(path);
    let found = format!("{:08x}", crc32fast::hash(bytes));
    match checksums(folder)?.get(&name) {
        Some(expected) if *expected != found => Err(broken(
            path,
            format!(
                "checksum {found}, but {CHECKSUMS} says {expected}: the file is damaged; use another checkpoint (or delete \
                 {CHECKSUMS} if the file was replaced on purpose)"
            ),
        )),
        _ => Ok(()),
    }
}

fn broken(path: &Path, problem: impl std::fmt::Display) -> Error {
    Error::failed(format!("{}: {problem}", path.display()))
}

fn read_config(folder: &Path) -> Result<Value> {
    let path = folder.join("config.json");
    let hint = "is this a model folder? It needs config.json, model.safetensors and tokenizer.json";
    let text = fs::read_to_string(&path).map_err(|e| broken(&path, format!("cannot read ({e}); {hint}")))?;
    serde_json::from_str(&text).map_err(|e| broken(&path, format!("not valid JSON: {e}")))
}

/// Reads the folder's configuration.
pub fn read_shape(folder: &Path) -> Result<Config> {
    Config::from_hf(&read_config(folder)?).map_err(|e| broken(&folder.join("config.json"), e))
}

/// Reads the folder's configuration and parameters.
pub fn read_model(folder: &Path) -> Result<(Config, Vec<f32>)> {
    let config = read_shape(folder)?;
    let layout = Layout::new(&config);
    let path = folder.join("model.safetensors");
    let tensors = TensorFile::read(&path)?;
    let parameters = tensors.flat(&layout, "")?;
    for (name, _) in absent_biases(&config, &layout) {
        if tensors.find(&name).is_some_and(|values| values.iter().any(|&value| value != 0.0)) {
            return Err(broken(&path, format!("config.json says \"bias\": false, but {name} is not zero")));
        }
    }
    Ok((config, parameters))
}

/// Reads AdamW's moments, (layout.len) each.
pub fn read_moments(folder: &Path, layout: &Layout) -> Result<(Vec<f32>, Vec<f32>)> {
    let path = folder.join("optimizer.safetensors");
    let tensors = TensorFile::read(&path)?;
    Ok((tensors.flat(layout, "first.")?, tensors.flat(layout, "second.")?))
}

/// The tensors of one safetensors file, as f32, by name.
struct TensorFile<'a> {
    path: &'a Path,
    tensors: HashMap<String, (Vec<usize>, Vec<f32>)>,
}

impl<'a> TensorFile<'a> {
    fn read(path: &'a Path) -> Result<Self> {
        let bytes = fs::read(path).map_err(|e| Error::io("read", path, e))?;
        let remedy = "the file is damaged or cut short; use another checkpoint";
        verify_checksum(path, &bytes)?;
        let file = SafeTensors::deserialize(&bytes).map_err(|e| broken(path, format!("{e}; {remedy}")))?;
        let decode = |(name, view): (String, TensorView)| Ok((name, (view.shape().to_vec(), floats(path, &view)?)));
        Ok(TensorFile { path, tensors: file.tensors().into_iter().map(decode).collect::<Result<_>>()? })
    }

    /// Folders saved from the bare `GPT2Model` lack the `transformer.` prefix.
    fn find(&self, name: &str) -> Option<&[f32]> {
        self.entry(name).map(|(_, values)| values.as_slice())
    }

    fn entry(&self, name: &str) -> Option<&(Vec<usize>, Vec<f32>)> {
        self.tensors.get(name).or_else(|| self.tensors.get(name.strip_prefix("transformer.")?))
    }

    /// A flat buffer (layout.len) of the tensors under `prefix` + name.
    fn flat(&self, layout: &Layout, prefix: &str) -> Result<Vec<f32>> {
        let mut flat = vec![0.0; layout.len];
        for layout::Tensor { name, shape, range, .. } in layout.tensors() {
            let full = format!("{prefix}{name}");
            match self.entry(&full) {
                Some((found, values)) if found == shape => flat[range.clone()].copy_from_slice(values),
                Some((found, _)) => {
                    let problem =
                        format!("{full} has shape {found:?}, expected {shape:?}: it belongs to another configuration");
                    return Err(broken(self.path, problem));
                }
                None => return Err(broken(self.path, format!("tensor {full} is missing"))),
            }
        }
        Ok(flat)
    }
}

fn floats(path: &Path, view: &TensorView) -> Result<Vec<f32>> {
    let data = view.data();
    let halves = || data.chunks_exact(2).map(|pair| u16::from_le_bytes([pair[0], pair[1]]));
    match view.dtype() {
        Dtype::F32 => {
            Ok(data.chunks_exact(4).map(|four| f32::from_le_bytes(four.try_into().expect("four bytes"))).collect())
        }
        Dtype::F16 => Ok(halves().map(|bits| f16::from_bits(bits).to_f32()).collect()),
        Dtype::BF16 => Ok(halves().map(|bits| bf16::from_bits(bits).to_f32()).collect()),
        // Old GPT-2 folders hold attention masks as booleans; nothing asks for those.
        Dtype::BOOL | Dtype::U8 => Ok(Vec::new()),
        other => Err(broken(path, format!("tensors of type {other:?} are not supported; f32, f16 and bf16 are"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gpt::init;

    const TINY: Config = Config { layers: 2, heads: 2, channels: 16, context: 8, vocab: 11, bias: false };

    fn saved(config: Config) -> (tempfile::TempDir, Vec<f32>) {
        let folder = tempfile::tempdir().unwrap();
        let parameters = init::parameters(&Layout::new(&config), 3);
        write_model(folder.path(), &config, 0, &parameters).unwrap();
        (folder, parameters)
    }

    #[test]
    fn a_folder_reads_back_bit_for_bit() {
        for bias in [false, true] {
            let config = Config { bias, ..TINY };
            let (folder, parameters) = saved(config);
            assert_eq!(read_model(folder.path()).unwrap(), (config, parameters));
        }
    }

    #[test]
    fn damage_is_noticed_and_named() {
        let (folder, _) = saved(TINY);
        let path = folder.path().join("model.safetensors");
        let good = fs::read(&path).unwrap();
        let mut flipped = good.clone();
        *flipped.last_mut().unwrap() ^= 1;
        for bad in [&flipped[..], &good[..good.len() - 4], &good[..3], &[]] {
            fs::write(&path, bad).unwrap();
            let message = read_model(folder.path()).unwrap_err().to_string();
            assert!(message.contains("model.safetensors") && message.contains("checksum"), "{message}");
        }
        // A folder of another program has no checksums; a file cut short is noticed all the same.
        fs::remove_file(folder.path().join(CHECKSUMS)).unwrap();
        for (bad, word) in [(&good[..good.len() - 4], "damaged"), (&good[..3], "damaged"), (&[], "damaged")] {
            fs::write(&path, bad).unwrap();
            let message = read_model(folder.path()).unwrap_err().to_string();
            assert!(message.contains("model.safetensors") && message.contains(word), "{message}");
        }
    }

    #[test]
    fn another_configuration_is_refused_by_tensor() {
        let (folder, _) = saved(TINY);
        let other = Config { channels: 32, ..TINY };
        fs::write(folder.path().join("config.json"), other.to_hf(0).to_string()).unwrap();
        let message = read_model(folder.path()).unwrap_err().to_string();
        assert!(message.contains("wte") && message.contains("[11, 16]"), "{message}");
    }

    #[test]
    fn moments_read_back() {
        let folder = tempfile::tempdir().unwrap();
        let layout = Layout::new(&TINY);
        let (first, second) = (init::parameters(&layout, 1), init::parameters(&layout, 2));
        write_moments(folder.path(), &layout, &first, &second).unwrap();
        assert_eq!(read_moments(folder.path(), &layout).unwrap(), (first, second));
    }
}
