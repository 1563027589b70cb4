//! The peak throughput of GPUs, for model FLOPs utilisation and the roofline.

/// The peaks of a GPU.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Peaks {
    /// The short name that `--gpu` takes.
    pub name: &'static str,
    /// The driver's name for the GPU contains all of these words.
    words: &'static [&'static str],
    /// Dense bf16 products with f32 sums on the tensor cores, in TFLOP/s.
    pub tflops: f64,
    /// Bandwidth of device memory, in GB/s.
    pub bandwidth: f64,
}

const fn card(name: &'static str, words: &'static [&'static str], tflops: f64, bandwidth: f64) -> Peaks {
    Peaks { name, words, tflops, bandwidth }
}

impl Peaks {
    /// Whether it is of the Hopper generation.
    pub fn is_hopper(&self) -> bool {
        self.words.iter().any(|word| ["H100", "GH200", "H200"].contains(word))
    }

    /// Measured peaks instead of those of the data sheet.
    pub fn measured(tflops: f64, bandwidth: f64) -> Self {
        card("measured", &[], tflops, bandwidth)
    }
}

/// The figures come from NVIDIA's data sheets and architecture papers, for dense matrices. The first match counts, so a
/// variant comes before the plain name.
pub const PEAKS: &[Peaks] = &[
    card("a100-40gb", &["A100", "40GB"], 312.0, 1555.0),
    card("a100-pcie", &["A100", "PCIe"], 312.0, 1935.0),
    card("a100", &["A100"], 312.0, 2039.0),
    card("h100-pcie", &["H100", "PCIe"], 756.0, 2039.0),
    card("h100-nvl", &["H100", "NVL"], 835.0, 3938.0),
    card("h100", &["H100"], 989.4, 3352.0),
    card("gh200", &["GH200"], 989.4, 4000.0),
    card("h200-nvl", &["H200", "NVL"], 835.0, 4800.0),
    card("h200", &["H200"], 989.4, 4800.0),
    card("b200", &["B200"], 2250.0, 8000.0),
    card("a10", &["A10"], 125.0, 600.0),
    card("a30", &["A30"], 165.0, 933.0),
    card("a40", &["A40"], 149.7, 696.0),
    card("l4", &["L4"], 121.0, 300.0),
    card("l40s", &["L40S"], 362.0, 864.0),
    card("l40", &["L40"], 181.0, 864.0),
    card("rtx-a6000", &["RTX", "A6000"], 154.8, 768.0),
    card("rtx-6000-ada", &["RTX", "6000", "Ada"], 364.2, 960.0),
    card("3090", &["RTX", "3090"], 71.0, 936.0),
    card("4090", &["RTX", "4090"], 165.2, 1008.0),
    card("5090", &["RTX", "5090"], 209.5, 1792.0),
];

/// The GPU with this device name in the driver, e.g. `NVIDIA A100-SXM4-80GB`.
pub fn by_device_name(device: &str) -> Option<&'static Peaks> {
    let found: Vec<String> =
        device.split(|c: char| !c.is_alphanumeric()).map(|word| word.to_ascii_lowercase()).collect();
    let has = |word: &&str| found.contains(&word.to_ascii_lowercase());
    PEAKS.iter().find(|card| card.words.iter().all(&has))
}

/// The GPU with this short name, in upper or lower case.
pub fn by_name(name: &str) -> Option<&'static Peaks> {
    PEAKS.iter().find(|card| card.name.eq_ignore_ascii_case(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drivers_names_find_their_card() {
        for (device, name) in [
            ("NVIDIA A100-SXM4-80GB", "a100"),
            ("NVIDIA A100-SXM4-40GB", "a100-40gb"),
            ("NVIDIA A100-PCIE-40GB", "a100-40gb"),
            ("NVIDIA A100 80GB PCIe", "a100-pcie"),
            ("NVIDIA H100 80GB HBM3", "h100"),
            ("NVIDIA H100 PCIe", "h100-pcie"),
            ("NVIDIA H200", "h200"),
            ("NVIDIA L40S", "l40s"),
            ("NVIDIA L4", "l4"),
            ("NVIDIA A10", "a10"),
            ("NVIDIA GeForce RTX 4090", "4090"),
            ("NVIDIA RTX A6000", "rtx-a6000"),
        ] {
            assert_eq!(by_device_name(device).map(|card| card.name), Some(name), "{device}");
        }
        assert_eq!(by_device_name("Quadro P400"), None);
    }

    #[test]
    fn hopper_cards_are_known() {
        let hopper: Vec<&str> = PEAKS.iter().filter(|card| card.is_hopper()).map(|card| card.name).collect();
        assert_eq!(hopper, ["h100-pcie", "h100-nvl", "h100", "gh200", "h200-nvl", "h200"]);
    }

    #[test]
    fn short_names_are_unique_and_found() {
        for card in PEAKS {
            assert_eq!(by_name(&card.name.to_uppercase()), Some(card));
        }
    }
}
