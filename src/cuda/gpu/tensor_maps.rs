//! Tensor maps as the driver encodes them, each once.

use super::driver::Driver;
use crate::Result;
use crate::cuda::device::tensor_map::{MapLayout, RANK};
use cudarc::driver::sys::{
    CUtensorMap, CUtensorMapDataType, CUtensorMapFloatOOBfill, CUtensorMapInterleave, CUtensorMapL2promotion,
    CUtensorMapSwizzle,
};
use std::collections::HashMap;
use std::sync::Mutex;

/// A map as kernels take it. CUDA 13 aligns it to 128 bytes, earlier versions to 64.
#[repr(C, align(128))]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EncodedMap(CUtensorMap);

impl EncodedMap {
    pub fn words(&self) -> &[u64; 16] {
        &self.0.opaque
    }
}

/// The most maps that are kept: prompts of all lengths would have one each.
const MOST: usize = 4096;

/// The maps made so far. A map follows from where a tensor lies and from its sizes, so one that outlives its buffer does no
/// harm.
pub struct TensorMaps {
    driver: &'static Driver,
    made: Mutex<HashMap<MapLayout, EncodedMap>>,
}

impl TensorMaps {
    pub fn new(driver: &'static Driver) -> Self {
        TensorMaps { driver, made: Mutex::default() }
    }

    /// # Errors
    /// When the driver refuses the map: addresses and strides must be multiples of 16 bytes, boxes of at most 256 a side.
    pub fn get(&self, layout: &MapLayout) -> Result<EncodedMap> {
        let mut made = self.made.lock().expect("no panic while encoding");
        if let Some(map) = made.get(layout) {
            return Ok(*map);
        }
        if made.len() == MOST {
            made.clear();
        }
        let map = self.encode(layout)?;
        made.insert(*layout, map);
        Ok(map)
    }

    fn encode(&self, layout: &MapLayout) -> Result<EncodedMap> {
        let MapLayout { address, sizes, tile } = layout;
        let (strides, steps) = (layout.strides(), [1u32; RANK]);
        let mut map = EncodedMap(CUtensorMap { opaque: [0; 16] });
        // SAFETY: the lists have as many elements as the rank demands; one map is written. The address is only noted.
        let code = unsafe {
            (self.driver.call.cuTensorMapEncodeTiled)(
                &mut map.0,
                CUtensorMapDataType::CU_TENSOR_MAP_DATA_TYPE_BFLOAT16,
                RANK as u32,
                *address as *mut _,
                sizes.as_ptr(),
                strides.as_ptr(),
                tile.as_ptr(),
                steps.as_ptr(),
                CUtensorMapInterleave::CU_TENSOR_MAP_INTERLEAVE_NONE,
                CUtensorMapSwizzle::CU_TENSOR_MAP_SWIZZLE_128B,
                CUtensorMapL2promotion::CU_TENSOR_MAP_L2_PROMOTION_L2_128B,
                CUtensorMapFloatOOBfill::CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE,
            )
        };
        self.driver.check(code, format_args!("describing a tensor to the copy engine, {layout:?}")).map(|()| map)
    }
}
