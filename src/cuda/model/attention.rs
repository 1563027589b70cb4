//! Which attention kernels a model runs on its device.

use crate::cuda::device::seam::Device;
use crate::cuda::ops::{attention, attention_hopper};
use crate::{Error, Result};
use std::ffi::OsStr;

/// Takes the choice from the card: `hopper` or `mma`.
pub const VARIABLE: &str = "LOGWRIGHT_ATTENTION";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AttentionKernels {
    /// Those of every card and head size: mma.sync.
    Mma,
    /// Those for Hopper: wgmma, and copies by the copy engine.
    Hopper,
}

impl AttentionKernels {
    /// The fastest that the device has for this head size, unless [`VARIABLE`] asks for others.
    ///
    /// # Errors
    /// Where the variable asks for what there is not, or for what cannot run.
    pub fn choose(device: &dyn Device, head_size: usize) -> Result<Self> {
        let obstacle = obstacle(&device.name(), device.properties().compute_capability, head_size);
        Self::asked(std::env::var_os(VARIABLE).as_deref(), obstacle)
    }

    /// `obstacle`: why Hopper's kernels cannot run, if they cannot.
    fn asked(value: Option<&OsStr>, obstacle: Option<String>) -> Result<Self> {
        let value = value.map(|value| value.to_string_lossy()).filter(|value| !value.is_empty());
        match (value.as_deref(), obstacle) {
            (None, None) | (Some("hopper"), None) => Ok(AttentionKernels::Hopper),
            (None, Some(_)) | (Some("mma"), _) => Ok(AttentionKernels::Mma),
            (Some("hopper"), Some(obstacle)) => Err(Error::failed(format!(
                "{VARIABLE}=hopper: {obstacle}; leave the variable out, or set it to mma, whose kernels run everywhere"
            ))),
            (Some(other), _) => Err(Error::usage(format!(
                "{VARIABLE}={other}: expected hopper (wgmma and TMA, on Hopper cards) or mma (mma.sync, on every card); \
                 without it the card decides"
            ))),
        }
    }

    /// Runs the operation with these kernels.
    pub fn forward(self, operation: attention::Forward, device: &dyn Device) -> Result<()> {
        match self {
            AttentionKernels::Mma => operation.run(device),
            AttentionKernels::Hopper => attention_hopper::Forward(operation).run(device),
        }
    }

    /// Runs the operation with these kernels.
    pub fn backward(self, operation: attention::Backward, device: &dyn Device) -> Result<()> {
        match self {
            AttentionKernels::Mma => operation.run(device),
            AttentionKernels::Hopper => attention_hopper::Backward(operation).run(device),
        }
    }
}

/// Why a device cannot run Hopper's kernels for this head size.
fn obstacle(device: &str, (major, minor): (u32, u32), head_size: usize) -> Option<String> {
    let (needed_major, needed_minor) = attention_hopper::CAPABILITY;
    if (major, minor) != attention_hopper::CAPABILITY {
        return Some(format!(
            "{device} has compute capability {major}.{minor}, and these kernels need {needed_major}.{needed_minor} (H100, \
             H200, GH200)"
        ));
    }
    let sizes = attention_hopper::HEAD_SIZES;
    (!sizes.contains(&head_size)).then(|| {
        format!("these kernels are for head sizes {sizes:?}, and this model's is {head_size} (channels / heads)")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(value: &str, capability: (u32, u32), head_size: usize) -> Result<AttentionKernels> {
        let value = Some(value).filter(|value| !value.is_empty()).map(OsStr::new);
        AttentionKernels::asked(value, obstacle("GPU 0 (a card)", capability, head_size))
    }

    #[test]
    fn the_card_and_the_head_size_decide() {
        for (capability, head_size, kernels) in [
            ((9, 0), 64, AttentionKernels::Hopper),
            ((9, 0), 128, AttentionKernels::Hopper),
            ((9, 0), 32, AttentionKernels::Mma),
            ((8, 0), 64, AttentionKernels::Mma),
            ((8, 9), 128, AttentionKernels::Mma),
            ((10, 0), 64, AttentionKernels::Mma),
            ((12, 0), 64, AttentionKernels::Mma),
        ] {
            assert_eq!(asked("", capability, head_size).unwrap(), kernels, "{capability:?}, {head_size}");
        }
    }

    #[test]
    fn the_variable_asks_for_either_and_is_told_why_not() {
        assert_eq!(asked("mma", (9, 0), 64).unwrap(), AttentionKernels::Mma);
        assert_eq!(asked("hopper", (9, 0), 64).unwrap(), AttentionKernels::Hopper);
        for (value, capability, head_size, says) in [
            ("hopper", (8, 0), 64, "GPU 0 (a card) has compute capability 8.0, and these kernels need 9.0"),
            ("hopper", (9, 0), 32, "head sizes [64, 128], and this model's is 32"),
            ("Hopper", (9, 0), 64, "LOGWRIGHT_ATTENTION=Hopper: expected hopper"),
            ("fast", (8, 0), 64, "or mma (mma.sync"),
        ] {
            let message = asked(value, capability, head_size).unwrap_err().to_string();
            assert!(message.contains(says), "{message}");
        }
    }
}
