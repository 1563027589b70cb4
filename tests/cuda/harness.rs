//! Guarded buffers on a device, seeded inputs, and the rule for how far a kernel may be from the truth.
//!
//! The rule (as in FlashAttention's tests): truth is the reference in f64; *naive* is the plain reference in f32, rounded where the
//! kernel rounds; a kernel may err twice as much as the naive version, plus the rounding of the truth itself. Nothing is typed.

use bytemuck::Pod;
use half::bf16;
use logwright::cuda::device::memory::{Buffer, View, ViewMut};
use logwright::cuda::device::seam::Device;
use logwright::cuda::emulator::device::Emulator;
use logwright::cuda::open::DeviceId;
use std::cell::RefCell;
use std::marker::PhantomData;
use std::rc::Rc;
use std::sync::Arc;

/// Runs each named test body on the emulator, with threads and blocks in order and shuffled, and on a GPU (ignored unless asked
/// for with `--ignored`).
macro_rules! on_devices {
    ($($name:ident)*) => {
        mod emulator {
            $(
                #[test]
                fn $name() {
                    [0, 5].into_iter().for_each(|seed| super::$name(&crate::harness::Bench::emulator(seed)));
                }
            )*
        }
        mod gpu {
            $(
                #[test]
                #[ignore = "needs a GPU"]
                fn $name() {
                    super::$name(&crate::harness::Bench::gpu());
                }
            )*
        }
    };
}
pub(crate) use on_devices;

const SENTINEL: u8 = 0xa5;
const SENTINEL_BYTES: usize = 256;

/// A device and the guarded buffers of one test.
pub struct Bench {
    pub device: Arc<dyn Device>,
    /// Bytes behind each buffer; the emulator has an unreadable page there instead.
    behind: usize,
    /// Whether fresh memory is NaN patterns already, and known as not written.
    fresh_is_nan: bool,
    guards: RefCell<Vec<Rc<Buffer<u8>>>>,
}

/// A buffer between guards, which stays until the test ends.
pub struct Guarded<T> {
    whole: Rc<Buffer<u8>>,
    bytes: usize,
    of: PhantomData<T>,
}

impl<T: Pod> Guarded<T> {
    pub fn view(&self) -> View<'_, T> {
        self.view_mut().as_view()
    }

    pub fn view_mut(&self) -> ViewMut<'_, T> {
        self.whole.view_mut().slice(SENTINEL_BYTES..SENTINEL_BYTES + self.bytes).cast()
    }
}

impl Bench {
    pub fn emulator(seed: u32) -> Self {
        let device = Arc::new(Emulator::new(seed));
        Bench { device, behind: 0, fresh_is_nan: true, guards: RefCell::default() }
    }

    /// The first GPU; each test has a stream of its own.
    pub fn gpu() -> Self {
        let device = logwright::cuda::open::open(DeviceId::Gpu(0)).unwrap();
        Bench { device, behind: SENTINEL_BYTES, fresh_is_nan: false, guards: RefCell::default() }
    }

    pub fn device(&self) -> &dyn Device {
        &*self.device
    }

    /// A buffer of NaN patterns: what a kernel leaves unwritten shows.
    pub fn output<T: Pod>(&self, len: usize) -> Guarded<T> {
        let bytes = len * size_of::<T>();
        let whole = Rc::new(Buffer::<u8>::new(self.device.clone(), SENTINEL_BYTES + bytes + self.behind).unwrap());
        let all = whole.view_mut();
        all.first(SENTINEL_BYTES).upload(&[SENTINEL; SENTINEL_BYTES]).unwrap();
        all.slice(SENTINEL_BYTES + bytes..all.len()).upload(&vec![SENTINEL; self.behind]).unwrap();
        if !self.fresh_is_nan {
            all.slice(SENTINEL_BYTES..SENTINEL_BYTES + bytes).upload(&vec![0xff; bytes]).unwrap();
        }
        self.guards.borrow_mut().push(whole.clone());
        Guarded { whole, bytes, of: PhantomData }
    }

    pub fn input<T: Pod>(&self, values: &[T]) -> Guarded<T> {
        let buffer = self.output(values.len());
        buffer.view_mut().upload(values).unwrap();
        buffer
    }

    /// bf16 values; they must be exact, so that reference and kernel start from the same numbers.
    pub fn rounded(&self, values: &[f32]) -> Guarded<bf16> {
        let narrow: Vec<bf16> = values.iter().map(|&x| bf16::from_f32(x)).collect();
        assert!(narrow.iter().zip(values).all(|(a, &b)| a.to_f32() == b), "inputs are bf16 values");
        self.input(&narrow)
    }

    /// What the elements are; checks the guards of all buffers.
    pub fn read<T: Pod>(&self, view: View<T>) -> Vec<T> {
        let mut values = vec![T::zeroed(); view.len()];
        view.download(&mut values).unwrap();
        for (i, guard) in self.guards.borrow().iter().enumerate() {
            let whole = guard.view();
            let mut front = [0; SENTINEL_BYTES];
            let mut back = vec![0; self.behind];
            whole.first(SENTINEL_BYTES).download(&mut front).unwrap();
            whole.slice(whole.len() - self.behind..whole.len()).download(&mut back).unwrap();
            assert!(front.iter().chain(&back).all(|&byte| byte == SENTINEL), "buffer {i}: written beyond its bounds");
        }
        values
    }
}

/// `n` bf16 values in (-scale, scale), the same for the same seed.
pub fn random(n: usize, seed: u64, scale: f32) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 40) as f32 / (1u64 << 23) as f32 - 1.0
    };
    (0..n).map(|_| bf16::from_f32(next() * scale).to_f32()).collect()
}

pub fn wide<T: Copy + Into<f64>>(values: &[T]) -> Vec<f64> {
    values.iter().map(|&x| x.into()).collect()
}

pub fn round(values: &[f32]) -> Vec<bf16> {
    values.iter().map(|&x| bf16::from_f32(x)).collect()
}

/// A type that a kernel's result is rounded to.
pub trait Rounded: Copy + Into<f64> {
    fn round(x: f64) -> Self;
}

impl Rounded for bf16 {
    fn round(x: f64) -> Self {
        bf16::from_f64(x)
    }
}

impl Rounded for f32 {
    fn round(x: f64) -> Self {
        x as f32
    }
}

/// Largest and root-mean-square distance from the truth.
fn errors<T: Rounded>(values: &[T], truth: &[f64]) -> [f64; 2] {
    assert_eq!(values.len(), truth.len());
    let distance = |(&x, &t): (&T, &f64)| {
        let d = (x.into() - t).abs();
        // A NaN must not vanish in `max`.
        if d.is_nan() { f64::INFINITY } else { d }
    };
    let max = values.iter().zip(truth).map(distance).fold(0.0, f64::max);
    let squares: f64 = values.iter().zip(truth).map(distance).map(|d| d * d).sum();
    [max, (squares / truth.len() as f64).sqrt()]
}

/// The rule above, for the largest and for the root-mean-square error.
#[track_caller]
pub fn assert_close<T: Rounded>(what: &str, found: &[T], truth: &[f64], naive: &[T]) {
    let best: Vec<T> = truth.iter().map(|&x| T::round(x)).collect();
    let (found, naive, floor) = (errors(found, truth), errors(naive, truth), errors(&best, truth));
    for (kind, i) in [("largest", 0), ("root-mean-square", 1)] {
        let allowed = 2.0 * naive[i] + floor[i];
        assert!(found[i] <= allowed, "{what}: {kind} error {:e}, allowed {allowed:e}", found[i]);
    }
}
