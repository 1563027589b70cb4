//! The model as a Hugging Face folder: `config.json`, `model.safetensors`, `checksums.json`, and for resuming
//! `optimizer.safetensors`.
//!
//! `transformers.AutoModelForCausalLM.from_pretrained` loads what is written here, and folders it wrote load here. Tensors
//! are f32 under Hugging Face names; biases the model does not have are written as zeros.

use super::layout::{Layout, Tensor};
use super::{Config, layout};
use crate::files::{create_new, write_atomic, write_error, write_new};
use crate::{Error, Result};
use half::{bf16, f16};
use memmap2::Mmap;
use safetensors::tensor::{Metadata, TensorInfo, TensorView};
use safetensors::{Dtype, SafeTensors};
use serde_json::Value;
use std::collections::{BTreeMap, HashMap};
use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::ops::Range;
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
    write_new(&folder.join("config.json"), (text + "\n").as_bytes())?;
    let absent = absent_biases(config, &layout);
    let zeros = vec![0.0; 4 * config.channels];
    let mut tensors: Vec<NamedTensor> = named(&layout, "").collect();
    tensors.extend(absent.into_iter().map(|(name, len)| NamedTensor { name, shape: vec![len], range: None }));
    let path = folder.join("model.safetensors");
    let mut file = TensorWriter::create(&path, &mut tensors)?;
    for tensor in &tensors {
        match &tensor.range {
            Some(range) => file.write(&parameters[range.clone()])?,
            None => file.write(&zeros[..tensor.len()])?,
        }
    }
    file.finish()
}

/// Writes AdamW's moments as `optimizer.safetensors`. `read` gets one of them (layout.len) into `buffer`, the first and
/// then the second, so that the host holds one at a time.
pub fn write_moments(
    folder: &Path,
    layout: &Layout,
    buffer: &mut [f32],
    mut read: impl FnMut(Moment, &mut [f32]) -> Result<()>,
) -> Result<()> {
    assert_eq!(buffer.len(), layout.len);
    let mut tensors: Vec<NamedTensor> = Moment::BOTH.iter().flat_map(|moment| named(layout, moment.prefix())).collect();
    let path = folder.join("optimizer.safetensors");
    let mut file = TensorWriter::create(&path, &mut tensors)?;
    for (moment, tensors) in Moment::BOTH.into_iter().zip(tensors.chunks(tensors.len() / 2)) {
        assert!(tensors.iter().all(|tensor| tensor.name.starts_with(moment.prefix())), "the moments are not in order");
        read(moment, buffer)?;
        tensors.iter().flat_map(|tensor| &tensor.range).try_for_each(|range| file.write(&buffer[range.clone()]))?;
    }
    file.finish()
}

/// AdamW's moments: running means of the gradients and of their squares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    First,
    Second,
}

impl Moment {
    /// In the order of the file.
    const BOTH: [Moment; 2] = [Moment::First, Moment::Second];

    /// How the names of its tensors begin.
    fn prefix(self) -> &'static str {
        match self {
            Moment::First => "first.",
            Moment::Second => "second.",
        }
    }
}

/// A tensor of a file: where its values lie in a flat buffer, if they do.
struct NamedTensor {
    name: String,
    shape: Vec<usize>,
    range: Option<Range<usize>>,
}

impl NamedTensor {
    fn len(&self) -> usize {
        self.shape.iter().product()
    }
}

fn named(layout: &Layout, prefix: &str) -> impl Iterator<Item = NamedTensor> {
    layout.tensors().map(move |Tensor { name, shape, range, .. }| NamedTensor {
        name: format!("{prefix}{name}"),
        shape: shape.clone(),
        range: Some(range.clone()),
    })
}

/// A safetensors file that is written tensor by tensor, so that nobody holds it as a whole.
struct TensorWriter<'a> {
    path: &'a Path,
    file: BufWriter<File>,
    checksum: crc32fast::Hasher,
}

impl<'a> TensorWriter<'a> {
    /// Writes the header. The tensors are put into the order of the file, by name, in which their values follow.
    fn create(path: &'a Path, tensors: &mut [NamedTensor]) -> Result<Self> {
        tensors.sort_by(|a, b| a.name.cmp(&b.name));
        let mut end = 0;
        let mut place = |tensor: &NamedTensor| {
            let start = end;
            end += tensor.len() * size_of::<f32>();
            let info = TensorInfo { dtype: Dtype::F32, shape: tensor.shape.clone(), data_offsets: (start, end) };
            (tensor.name.clone(), info)
        };
        // One entry only: the map's order, and so the bytes of the file, would change from run to run.
        let format = HashMap::from([("format".to_string(), "pt".to_string())]);
        let header =
            Metadata::new(Some(format), tensors.iter().map(&mut place).collect()).map_err(|e| broken(path, e))?;
        let mut header = serde_json::to_vec(&header).expect("names and numbers serialise");
        header.resize(header.len().next_multiple_of(8), b' ');
        let file = BufWriter::with_capacity(1 << 18, create_new(path)?);
        let mut writer = TensorWriter { path, file, checksum: crc32fast::Hasher::new() };
        writer.write_bytes(&(header.len() as u64).to_le_bytes())?;
        writer.write_bytes(&header)?;
        Ok(writer)
    }

    fn write_bytes(&mut self, bytes: &[u8]) -> Result<()> {
        self.checksum.update(bytes);
        self.file.write_all(bytes).map_err(|e| write_error(self.path, e))
    }

    /// The values of the next tensor.
    fn write(&mut self, values: &[f32]) -> Result<()> {
        self.write_bytes(bytemuck::cast_slice(values))
    }

    fn finish(mut self) -> Result<()> {
        self.file.flush().map_err(|e| write_error(self.path, e))?;
        record_checksum(self.path, self.checksum.finalize())
    }
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

fn record_checksum(path: &Path, checksum: u32) -> Result<()> {
    let (folder, name) = split(path);
    let mut sums = checksums(folder)?;
    sums.insert(name, format!("{checksum:08x}"));
    let text = serde_json::to_string_pretty(&sums).expect("strings serialise") + "\n";
    write_atomic(&folder.join(CHECKSUMS), text.as_bytes())
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
    let text = fs::read_to_string(&path).map_err(|e| Error::unreadable(&path, e, hint))?;
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
    let bytes = map(&path)?;
    let tensors = TensorFile::read(&path, &bytes)?;
    let parameters = tensors.flat(&layout, "")?;
    for (name, len) in absent_biases(&config, &layout) {
        let mut values = vec![0.0; len];
        if let Some(found) = tensors.find(&name) {
            decode(&path, found, &mut values)?;
        }
        if values.iter().any(|&value| value != 0.0) {
            return Err(broken(&path, format!("config.json says \"bias\": false, but {name} is not zero")));
        }
    }
    Ok((config, parameters))
}

/// Reads AdamW's moments and gives each to `take`, one after the other, (layout.len).
pub fn read_moments(
    folder: &Path,
    layout: &Layout,
    mut take: impl FnMut(Moment, Vec<f32>) -> Result<()>,
) -> Result<()> {
    let path = folder.join("optimizer.safetensors");
    let bytes = map(&path)?;
    let tensors = TensorFile::read(&path, &bytes)?;
    Moment::BOTH.into_iter().try_for_each(|moment| take(moment, tensors.flat(layout, moment.prefix())?))
}

/// The bytes of a file, which stay on disk until they are read.
fn map(path: &Path) -> Result<Mmap> {
    let file = File::open(path).map_err(|e| Error::io("read", path, e))?;
    // SAFETY: the program writes checkpoints aside and renames them, so that nothing changes a file under its name.
    unsafe { Mmap::map(&file) }.map_err(|e| Error::io("read", path, e))
}

/// The tensors of one safetensors file, by name.
struct TensorFile<'a> {
    path: &'a Path,
    tensors: HashMap<String, TensorView<'a>>,
}

impl<'a> TensorFile<'a> {
    /// `bytes`: of the whole file.
    fn read(path: &'a Path, bytes: &'a [u8]) -> Result<Self> {
        let remedy = "the file is damaged or cut short; use another checkpoint";
        verify_checksum(path, bytes)?;
        let file = SafeTensors::deserialize(bytes).map_err(|e| broken(path, format!("{e}; {remedy}")))?;
        Ok(TensorFile { path, tensors: file.tensors().into_iter().collect() })
    }

    /// Folders saved from the bare `GPT2Model` lack the `transformer.` prefix.
    fn find(&self, name: &str) -> Option<&TensorView<'a>> {
        self.tensors.get(name).or_else(|| self.tensors.get(name.strip_prefix("transformer.")?))
    }

    /// A flat buffer (layout.len) of the tensors under `prefix` + name.
    fn flat(&self, layout: &Layout, prefix: &str) -> Result<Vec<f32>> {
        let mut flat = vec![0.0; layout.len];
        for layout::Tensor { name, shape, range, .. } in layout.tensors() {
            let full = format!("{prefix}{name}");
            match self.find(&full) {
                Some(found) if found.shape() == shape => decode(self.path, found, &mut flat[range.clone()])?,
                Some(found) => {
                    let found = found.shape();
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

/// Decodes a tensor's values, as many as there is room for.
fn decode(path: &Path, view: &TensorView, to: &mut [f32]) -> Result<()> {
    let data = view.data();
    let halves = data.chunks_exact(2).map(|pair| u16::from_le_bytes([pair[0], pair[1]]));
    match view.dtype() {
        Dtype::F32 => {
            let values = data.chunks_exact(4).map(|four| f32::from_le_bytes(four.try_into().expect("four bytes")));
            to.iter_mut().zip(values).for_each(|(to, value)| *to = value);
        }
        Dtype::F16 => to.iter_mut().zip(halves).for_each(|(to, bits)| *to = f16::from_bits(bits).to_f32()),
        Dtype::BF16 => to.iter_mut().zip(halves).for_each(|(to, bits)| *to = bf16::from_bits(bits).to_f32()),
        other => {
            return Err(broken(path, format!("tensors of type {other:?} are not supported; f32, f16 and bf16 are")));
        }
    }
    Ok(())
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

    /// The file is the very one that the safetensors crate writes.
    #[test]
    fn a_file_is_what_the_library_writes() {
        let (folder, parameters) = saved(TINY);
        let layout = Layout::new(&TINY);
        let zeros = [0.0f32; 64];
        let mut tensors: Vec<(String, Vec<usize>, &[f32])> = Vec::new();
        tensors.extend(layout.tensors().map(|t| (t.name.clone(), t.shape.clone(), &parameters[t.range.clone()])));
        tensors.extend(absent_biases(&TINY, &layout).into_iter().map(|(name, len)| (name, vec![len], &zeros[..len])));
        let view = |(name, shape, values): (String, Vec<usize>, &'_ [f32])| {
            (name, shape, bytemuck::cast_slice::<f32, u8>(values).to_vec())
        };
        let owned: Vec<_> = tensors.into_iter().map(view).collect();
        let views = owned
            .iter()
            .map(|(name, shape, bytes)| (name.as_str(), TensorView::new(Dtype::F32, shape.clone(), bytes).unwrap()));
        let format = HashMap::from([("format".to_string(), "pt".to_string())]);
        let expected = safetensors::serialize(views, Some(format)).unwrap();
        assert!(fs::read(folder.path().join("model.safetensors")).unwrap() == expected);
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
        let moments = [first, second];
        let mut buffer = vec![0.0; layout.len];
        let read = |moment: Moment, to: &mut [f32]| {
            to.copy_from_slice(&moments[moment as usize]);
            Ok(())
        };
        write_moments(folder.path(), &layout, &mut buffer, read).unwrap();
        let mut found = Vec::new();
        let take = |moment, values| {
            found.push((moment, values));
            Ok(())
        };
        read_moments(folder.path(), &layout, take).unwrap();
        let [first, second] = moments;
        assert_eq!(found, [(Moment::First, first), (Moment::Second, second)]);
    }
}
