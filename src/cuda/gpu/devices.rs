//! The GPUs that the driver shows.

use super::driver::Driver;
use crate::{Error, Result};
use cudarc::driver::sys::CUdevice_attribute as Attribute;
use std::ffi::CStr;
use std::fmt;

/// bf16 tensor cores and asynchronous copies came with 8.0.
const OLDEST: (u32, u32) = (8, 0);

/// A GPU.
#[derive(Clone, Debug, serde::Serialize)]
pub struct Card {
    pub ordinal: usize,
    pub name: String,
    /// Compute capability: major, minor.
    pub capability: (u32, u32),
    /// Bytes.
    pub memory: u64,
    /// Streaming multiprocessors.
    pub processors: i32,
}

impl fmt::Display for Card {
    fn fmt(&self, to: &mut fmt::Formatter) -> fmt::Result {
        write!(to, "GPU {} ({})", self.ordinal, self.name)
    }
}

impl Card {
    /// Why the program cannot use it; None where it can.
    pub fn refusal(&self) -> Option<String> {
        let ((major, minor), (needed, _)) = (self.capability, OLDEST);
        (self.capability < OLDEST).then(|| {
            format!(
                "{self} has compute capability {major}.{minor}, the kernels need {needed}.0 or later \
                 (A100, RTX 30, L40S, H100, ...); use --device cpu"
            )
        })
    }
}

/// All GPUs, in the driver's order.
pub fn all(driver: &Driver) -> Result<Vec<Card>> {
    let mut count = 0;
    // SAFETY: writes one number.
    driver.check(unsafe { (driver.call.cuDeviceGetCount)(&mut count) }, "counting GPUs")?;
    (0..count).map(|ordinal| read(driver, ordinal)).collect()
}

/// The GPU with this ordinal, if it can be used.
pub fn find(driver: &Driver, ordinal: usize) -> Result<Card> {
    let mut cards = all(driver)?;
    if ordinal >= cards.len() {
        let names: Vec<String> = cards.iter().map(Card::to_string).collect();
        let there = if names.is_empty() { "none".to_string() } else { names.join(", ") };
        let how = "see nvidia-smi and CUDA_VISIBLE_DEVICES";
        return Err(Error::failed(format!("there is no GPU {ordinal}; the driver shows {there}; {how}")));
    }
    let card = cards.swap_remove(ordinal);
    card.refusal().map_or(Ok(card), |refusal| Err(Error::failed(refusal)))
}

fn read(driver: &Driver, ordinal: i32) -> Result<Card> {
    let (call, doing) = (&driver.call, format!("reading the properties of GPU {ordinal}"));
    let (mut device, mut memory, mut name) = (0, 0, [0; 128]);
    // SAFETY: the ordinal is one of those counted; the name fits its buffer, whose length is given, and ends in zero.
    unsafe {
        driver.check((call.cuDeviceGet)(&mut device, ordinal), &doing)?;
        driver.check((call.cuDeviceGetName)(name.as_mut_ptr(), name.len() as i32 - 1, device), &doing)?;
        driver.check((call.cuDeviceTotalMem_v2)(&mut memory, device), &doing)?;
    }
    let attribute = |attribute| {
        let mut value = 0;
        // SAFETY: writes one number.
        driver.check(unsafe { (call.cuDeviceGetAttribute)(&mut value, attribute, device) }, &doing).map(|()| value)
    };
    let major = attribute(Attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR)?;
    let minor = attribute(Attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR)?;
    // SAFETY: the last byte is zero whatever the driver wrote.
    let name = unsafe { CStr::from_ptr(name.as_ptr()) }.to_string_lossy().into_owned();
    let processors = attribute(Attribute::CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT)?;
    Ok(Card {
        ordinal: ordinal as usize,
        name,
        capability: (major as u32, minor as u32),
        memory: memory as u64,
        processors,
    })
}
