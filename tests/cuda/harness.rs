//! Guarded buffers on a device, seeded inputs, and the rule for how far a kernel may be from the truth.
//!
//! The rule (as in FlashAttention's tests): truth is the reference in f64; *naive* is the plain reference in f32, rounded where
//! the kernel rounds; a kernel may err twice as much as the naive version, plus the rounding of the truth itself. It holds for
//! the largest and the root-mean-square error of a tensor, and for each element: see [`element_bounds`]. Where the kernel uses
//! a function that a GPU computes less exactly than the host, the error that NVIDIA documents for it is added: see
//! [`Hardware`]. Nothing is typed.

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

/// Runs each named test body on the emulator in the place of a Hopper card, as [`on_devices`] does on the emulator.
macro_rules! on_hopper {
    ($($name:ident)*) => {
        mod hopper {
            $(
                #[test]
                fn $name() {
                    [0, 5].into_iter().for_each(|seed| super::$name(&crate::harness::Bench::hopper(seed)));
                }
            )*
        }
    };
}
pub(crate) use on_hopper;

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

    /// The emulator in the place of a Hopper card.
    pub fn hopper(seed: u32) -> Self {
        Bench { device: Arc::new(Emulator::new(seed).like_hopper()), ..Self::emulator(seed) }
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

/// What a GPU may compute less exactly than the host, with its documented error. The emulator takes these functions from the
/// host, so that only a GPU needs the allowance; the rule is one for both.
#[derive(Clone, Copy)]
pub enum Hardware {
    /// `rsqrtf`: 2 ulp (CUDA C++ Programming Guide, "Mathematical Functions", "Standard Functions", single precision).
    Rsqrt,
    /// `ex2.approx.ftz.f32`: 2^-22 relative (PTX ISA, "Floating Point Instructions: ex2").
    Ex2,
    /// A product and a sum contracted to one fused multiply-add: the product is not rounded, which moves the sum by half an ulp
    /// of the product (CUDA C++ Programming Guide, "Floating-Point Standard").
    FusedMultiplyAdd,
}

impl Hardware {
    /// Bound of the error of a result of about this size; of the product, for a fused multiply-add.
    fn error(self, result: f64) -> f64 {
        // An f32 of size x has an ulp of at most 2^-23 x.
        let ulp = result.abs() * 2f64.powi(-23);
        match self {
            Hardware::Rsqrt => 2.0 * ulp,
            Hardware::Ex2 => 2f64.powi(-22) * result.abs(),
            Hardware::FusedMultiplyAdd => 0.5 * ulp,
        }
    }
}

/// Distances from the truth.
fn errors<T: Rounded>(values: &[T], truth: &[f64]) -> Vec<f64> {
    assert_eq!(values.len(), truth.len());
    let distance = |(&x, &t): (&T, &f64)| {
        let d = (x.into() - t).abs();
        // A NaN must not vanish in `max`.
        if d.is_nan() { f64::INFINITY } else { d }
    };
    values.iter().zip(truth).map(distance).collect()
}

fn largest(errors: &[f64]) -> f64 {
    errors.iter().copied().fold(0.0, f64::max)
}

fn root_mean_square(errors: &[f64]) -> f64 {
    (errors.iter().map(|d| d * d).sum::<f64>() / errors.len() as f64).sqrt()
}

/// Elements whose errors are looked at together at least: of fewer, the naive version may hit all by luck.
const PEERS: usize = 64;

/// What each element may err: as the rule has it for the whole tensor, but over the elements that are smaller than it, and the
/// next larger ones: an eighth of the tensor, and [`PEERS`] at least.
///
/// A sum's error follows from the size of its terms, and a sum of large terms may be small. So the small elements of a tensor
/// may err as much as one another, though not as much as the large ones: among many of them the naive version shows how much.
fn element_bounds(truth: &[f64], naive: &[f64], floor: &[f64]) -> Vec<f64> {
    let n = truth.len();
    let mut by_size: Vec<usize> = (0..n).collect();
    by_size.sort_by(|&a, &b| truth[a].abs().total_cmp(&truth[b].abs()));
    // Of an element and all smaller ones.
    let (mut naive_most, mut floor_most) = (0f64, 0f64);
    let up_to: Vec<f64> = by_size
        .iter()
        .map(|&i| {
            (naive_most, floor_most) = (naive_most.max(naive[i]), floor_most.max(floor[i]));
            2.0 * naive_most + floor_most
        })
        .collect();
    let peers = PEERS.max(n / 8);
    let mut bounds = vec![0.0; n];
    by_size.iter().enumerate().for_each(|(rank, &i)| bounds[i] = up_to[(rank + peers).min(n - 1)]);
    bounds
}

/// The rule above.
#[track_caller]
pub fn assert_close<T: Rounded>(what: &str, found: &[T], truth: &[f64], naive: &[T]) {
    assert_close_on(&[], what, found, truth, naive);
}

/// The rule above without its bound of each element: where terms cancel to nothing in exact arithmetic and in the naive
/// version's order of sums, so that this one does not show what is left of them in another order.
#[track_caller]
pub fn assert_close_overall<T: Rounded>(what: &str, found: &[T], truth: &[f64], naive: &[T]) {
    let best: Vec<T> = truth.iter().map(|&x| T::round(x)).collect();
    let more = vec![0.0; truth.len()];
    check_overall(what, &errors(found, truth), &errors(naive, truth), &errors(&best, truth), &more);
}

#[track_caller]
fn check_overall(what: &str, found: &[f64], naive: &[f64], floor: &[f64], more: &[f64]) {
    let of_kind = |kind: &str, of: fn(&[f64]) -> f64| {
        let allowed = 2.0 * of(naive) + of(floor) + of(more);
        assert!(of(found) <= allowed, "{what}: {kind} error {:e}, allowed {allowed:e}", of(found));
    };
    of_kind("largest", largest);
    of_kind("root-mean-square", root_mean_square);
}

/// The rule above for results of functions of the hardware, each with the results that it has given on the way to each element
/// (or the products, for a fused multiply-add).
#[track_caller]
pub fn assert_close_on<T: Rounded>(
    hardware: &[(Hardware, &[f64])],
    what: &str,
    found: &[T],
    truth: &[f64],
    naive: &[T],
) {
    let best: Vec<T> = truth.iter().map(|&x| T::round(x)).collect();
    let (found, naive, floor) = (errors(found, truth), errors(naive, truth), errors(&best, truth));
    let of_element = |i: usize| hardware.iter().map(|(function, results)| function.error(results[i])).sum::<f64>();
    let more: Vec<f64> = (0..truth.len()).map(of_element).collect();
    check_overall(what, &found, &naive, &floor, &more);
    for (i, bound) in element_bounds(truth, &naive, &floor).into_iter().enumerate() {
        let (error, allowed) = (found[i], bound + more[i]);
        assert!(error <= allowed, "{what}: error {error:e} of element {i}, {:e}; allowed {allowed:e}", truth[i]);
    }
}

/// Values of a large dynamic range, f32 sums of them as the naive version has them, and the exact ones.
fn wide_range() -> (Vec<f64>, Vec<f32>) {
    let noise = random(4096, 3, 1.0);
    let truth: Vec<f64> =
        noise.iter().enumerate().map(|(i, &x)| f64::from(x) * 10f64.powi(i as i32 % 12 - 8)).collect();
    let naive = truth.iter().map(|&x| (x * (1.0 + 2f64.powi(-23))) as f32).collect();
    (truth, naive)
}

#[test]
fn small_errors_of_small_elements_are_allowed() {
    let (truth, naive) = wide_range();
    assert_close("as good as naive", &naive, &truth, &naive);
}

/// Off by a tenth of itself, it is still far below the largest error.
#[test]
#[should_panic(expected = "of element 1200")]
fn one_wrong_small_element_is_noticed() {
    let (truth, naive) = wide_range();
    let mut found = naive.clone();
    found[1200] *= 1.1;
    let error = f64::from(found[1200]) - truth[1200];
    assert!(error != 0.0 && error.abs() < largest(&errors(&naive, &truth)) / 10.0, "the planted error is small");
    assert_close("one is wrong", &found, &truth, &naive);
}
