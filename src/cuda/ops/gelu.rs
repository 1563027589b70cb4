//! GELU in its tanh form where no matrix product's epilogue does it.

use crate::Result;
use crate::cuda::device::kernels::{self, int};
use crate::cuda::device::seam::{Device, Launch, Ptr, Span};
use half::bf16;

/// Packs of 8 elements, a thread each, and their launch.
fn cover(a: Span<bf16>, b: Span<bf16>) -> (Launch, [Ptr<bf16>; 2], i32) {
    assert_eq!(a.len(), b.len());
    assert!(a.len().is_multiple_of(8), "{} elements are not a multiple of 8", a.len());
    let items = a.len() / 8;
    (Launch::cover(items, 256, 256), [a.ptr(), b.ptr()], int(items))
}

/// y = gelu(x).  y, x: any one length that is a multiple of 8; y is overwritten.
pub fn forward(device: &dyn Device, y: Span<bf16>, x: Span<bf16>) -> Result<()> {
    let (launch, [y, x], items) = cover(y, x);
    // SAFETY: `cover` asserts that both spans hold `items` packs.
    unsafe { kernels::gelu_forward(device, launch, y, x, items) }
}

/// d: dy on entry, dx = dy gelu'(x) on return.  d, x: any one length that is a multiple of 8.
pub fn backward(device: &dyn Device, d: Span<bf16>, x: Span<bf16>) -> Result<()> {
    let (launch, [d, x], items) = cover(d, x);
    // SAFETY: `cover` asserts that both spans hold `items` packs.
    unsafe { kernels::gelu_backward(device, launch, d, x, items) }
}
