//! GELU in its tanh form, where no matrix product's epilogue computes it.

use crate::Result;
use crate::cuda::device::kernel::Launch;
use crate::cuda::device::kernels::constants::gelu::THREADS;
use crate::cuda::device::kernels::{GeluBackward, GeluForward, int};
use crate::cuda::device::memory::{View, ViewMut};
use crate::cuda::device::seam::Device;
use half::bf16;

/// y = gelu(x).  y, x: any one length that is a multiple of 8; y is overwritten.
pub struct Forward<'a> {
    pub y: ViewMut<'a, bf16>,
    pub x: View<'a, bf16>,
}

/// d: dy on entry, dx = dy gelu'(x) on return.  d, x: any one length that is a multiple of 8.
pub struct Backward<'a> {
    pub d: ViewMut<'a, bf16>,
    pub x: View<'a, bf16>,
}

/// Packs of 8 elements, one to a thread, and their launch.
fn cover(y: ViewMut<bf16>, x: View<bf16>) -> (Launch, i32) {
    assert_eq!(y.len(), x.len());
    assert!(x.len().is_multiple_of(8), "{} elements are not a multiple of 8", x.len());
    let items = x.len() / 8;
    (Launch::cover(items, THREADS, THREADS), int(items))
}

impl Forward<'_> {
    pub fn run(self, device: &dyn Device) -> Result<()> {
        let (launch, items) = cover(self.y, self.x);
        // SAFETY: `cover` asserts that both views hold `items` packs.
        unsafe { GeluForward { y: self.y, x: self.x, items }.launch(device, launch) }
    }
}

impl Backward<'_> {
    pub fn run(self, device: &dyn Device) -> Result<()> {
        let (launch, items) = cover(self.d, self.x);
        // SAFETY: `cover` asserts that both views hold `items` packs.
        unsafe { GeluBackward { d: self.d, x: self.x, items }.launch(device, launch) }
    }
}
