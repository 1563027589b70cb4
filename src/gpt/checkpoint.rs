//! The model as a Hugging Face folder: `config.json`, `generation_config.json`, `model.safetensors`, `checksums.json`, and for
//! resuming `optimizer.safetensors`.
//!
//! `transformers.AutoModelForCausalLM.from_pretrained` loads what is written here, and folders it wrote load here. Tensors
//! are f32 under Hugging Face names; biases the model does not have are written as zeros.

use super::layout::{Layout, Tensor};
use super::tensor_file::{TensorFile, Values};
use super::{Config, checksums};
use crate::files::{create_new, write_error, write_new};
use crate::{Error, Result};
use safetensors::Dtype;
use safetensors::tensor::{Metadata, TensorInfo};
use serde_json::Value;
use std::collections::HashMap;
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

/// Writes `config.json`, `generation_config.json` and `model.safetensors` of `parameters` (layout.len) into `folder`.
pub fn write_model(folder: &Path, config: &Config, separator: u32, parameters: &[f32]) -> Result<()> {
    let layout = Layout::new(config);
    let text = serde_json::to_string_pretty(&config.to_hf(separator)).expect("JSON values serialise");
    write_new(&folder.join("config.json"), (text + "\n").as_bytes())?;
    let text = serde_json::to_string_pretty(&config.generation_to_hf(separator)).expect("JSON values serialise");
    write_new(&folder.join("generation_config.json"), (text + "\n").as_bytes())?;
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

    /// A mean of squares is never negative.
    fn values(self) -> Values {
        match self {
            Moment::First => Values::Finite,
            Moment::Second => Values::NotNegative,
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
        checksums::record(self.path, self.checksum.finalize())
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

/// A model in its folder: its sizes are checked, but its parameters are not read yet.
pub struct StoredModel {
    pub config: Config,
    layout: Layout,
    tensors: TensorFile,
}

impl StoredModel {
    /// Reads the folder's configuration, and checks that the file of the weights has exactly these tensors. A configuration
    /// that asks for more than the file holds is refused before anything of its size is allocated.
    pub fn open(folder: &Path) -> Result<Self> {
        let config = read_shape(folder)?;
        let tensors = TensorFile::open(&folder.join("model.safetensors"))?;
        if config.layers > tensors.count() {
            return Err(tensors.refuse(format!(
                "its {} tensors are too few for the {} layers of config.json: they do not belong together",
                tensors.count(),
                config.layers
            )));
        }
        let layout = Layout::new(&config);
        check_tensors(&tensors, &layout, "")?;
        Ok(StoredModel { config, layout, tensors })
    }

    /// Bytes of memory that the parameters take.
    pub fn bytes(&self) -> u64 {
        (self.layout.len * size_of::<f32>()) as u64
    }

    /// Reads the parameters (layout.len).
    pub fn parameters(&self) -> Result<Vec<f32>> {
        let StoredModel { config, layout, tensors } = self;
        let parameters = flat(tensors, layout, "", Values::Finite)?;
        for (name, len) in absent_biases(config, layout).into_iter().filter(|(name, _)| tensors.has(name)) {
            let mut values = vec![0.0; len];
            tensors.check(&name, &[len])?;
            tensors.read(&name, &mut values, Values::Finite)?;
            if values.iter().any(|&value| value != 0.0) {
                return Err(tensors.refuse(format!("config.json says \"bias\": false, but {name} is not zero")));
            }
        }
        Ok(parameters)
    }
}

/// Reads the folder's configuration and parameters.
pub fn read_model(folder: &Path) -> Result<(Config, Vec<f32>)> {
    let stored = StoredModel::open(folder)?;
    Ok((stored.config, stored.parameters()?))
}

/// Reads AdamW's moments and gives each to `take`, one after the other, (layout.len).
pub fn read_moments(
    folder: &Path,
    layout: &Layout,
    mut take: impl FnMut(Moment, Vec<f32>) -> Result<()>,
) -> Result<()> {
    let tensors = TensorFile::open(&folder.join("optimizer.safetensors"))?;
    Moment::BOTH.into_iter().try_for_each(|moment| check_tensors(&tensors, layout, moment.prefix()))?;
    Moment::BOTH
        .into_iter()
        .try_for_each(|moment| take(moment, flat(&tensors, layout, moment.prefix(), moment.values())?))
}

/// Checks that the file has every tensor of the layout under `prefix` + name.
fn check_tensors(tensors: &TensorFile, layout: &Layout, prefix: &str) -> Result<()> {
    layout.tensors().try_for_each(|Tensor { name, shape, .. }| tensors.check(&format!("{prefix}{name}"), shape))
}

/// A flat buffer (layout.len) of the tensors under `prefix` + name, which were checked.
fn flat(tensors: &TensorFile, layout: &Layout, prefix: &str, values: Values) -> Result<Vec<f32>> {
    let mut flat = Vec::new();
    flat.try_reserve_exact(layout.len)
        .map_err(|e| tensors.refuse(format!("no memory for its {} bytes: {e}", layout.len * size_of::<f32>())))?;
    flat.resize(layout.len, 0.0);
    for Tensor { name, range, .. } in layout.tensors() {
        tensors.read(&format!("{prefix}{name}"), &mut flat[range.clone()], values)?;
    }
    Ok(flat)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gpt::init;
    use safetensors::tensor::TensorView;

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
        fs::remove_file(folder.path().join(checksums::NAME)).unwrap();
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
        let second = init::parameters(&layout, 2).into_iter().map(f32::abs).collect();
        let first = init::parameters(&layout, 1);
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
