//! Matrix products: what cuBLASLt is asked for, in row-major terms.

use super::memory::{View, ViewMut};
use half::bf16;

/// D (m,n) = A (m,k) x B (k,n), bf16 x bf16 with f32 sums, all row-major and dense.
#[derive(Clone, Copy)]
pub struct Gemm<'a> {
    pub m: usize,
    pub n: usize,
    pub k: usize,
    pub a: Operand<'a>,
    pub b: Operand<'a>,
    pub d: Output<'a>,
}

#[derive(Clone, Copy)]
pub struct Operand<'a> {
    pub view: View<'a, bf16>,
    /// Whether memory holds the transpose: A as (k,m), or B as (n,k).
    pub transposed: bool,
}

#[derive(Clone, Copy)]
pub enum Output<'a> {
    /// Rounded to bf16 and overwritten (=), after the epilogue.
    Rounded(ViewMut<'a, bf16>, Epilogue<'a>),
    /// Added (+=) in f32: weight gradients.
    Accumulated(ViewMut<'a, f32>),
}

/// What happens to the f32 sums before they are rounded; `aux` (m,n).
#[derive(Clone, Copy)]
pub enum Epilogue<'a> {
    None,
    /// + bias (n)
    Bias(View<'a, bf16>),
    /// aux = sums rounded; D = gelu(sums), tanh form. With a bias (n) it is added first.
    Gelu {
        bias: Option<View<'a, bf16>>,
        aux: ViewMut<'a, bf16>,
    },
    /// D = sums x gelu'(aux)
    GeluBackward {
        aux: View<'a, bf16>,
    },
}

/// A product as devices queue and record it: the lengths are checked, and addresses stand for the views. 0 stands for what
/// the product does not have.
#[derive(Clone, Copy)]
pub struct GemmCall {
    pub m: usize,
    pub n: usize,
    pub k: usize,
    /// Of A and B.
    pub transposed: [bool; 2],
    pub result: GemmResult,
    pub(in crate::cuda) a: u64,
    pub(in crate::cuda) b: u64,
    pub(in crate::cuda) d: u64,
    pub(in crate::cuda) bias: u64,
    pub(in crate::cuda) aux: u64,
}

/// [`Output`] and [`Epilogue`] without their buffers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum GemmResult {
    Accumulated,
    Rounded,
    Bias,
    Gelu,
    BiasGelu,
    GeluBackward,
}

impl<'a> Operand<'a> {
    pub fn plain(view: View<'a, bf16>) -> Self {
        Operand { view, transposed: false }
    }

    pub fn transposed(view: View<'a, bf16>) -> Self {
        Operand { view, transposed: true }
    }
}

impl Gemm<'_> {
    /// The product for a device. Asserts that every buffer has the length its place demands.
    pub fn call(&self) -> GemmCall {
        let Gemm { m, n, k, a, b, d } = *self;
        assert!(m > 0 && n > 0 && k > 0, "an empty product: {m} x {n} x {k}");
        assert_eq!((a.view.len(), b.view.len()), (m * k, k * n), "operands of {m} x {n} x {k}");
        let (d, result, bias, aux) = match d {
            Output::Accumulated(d) => {
                assert_eq!(d.len(), m * n);
                (d.address(), GemmResult::Accumulated, 0, 0)
            }
            Output::Rounded(d, epilogue) => {
                assert_eq!(d.len(), m * n);
                let (result, bias, aux) = epilogue.call(m, n);
                (d.address(), result, bias, aux)
            }
        };
        let transposed = [a.transposed, b.transposed];
        GemmCall { m, n, k, transposed, result, a: a.view.address(), b: b.view.address(), d, bias, aux }
    }
}

impl Epilogue<'_> {
    /// What it makes of the sums, and the addresses of bias and aux.
    fn call(&self, m: usize, n: usize) -> (GemmResult, u64, u64) {
        let bias_address = |bias: View<bf16>| {
            assert_eq!(bias.len(), n);
            bias.address()
        };
        match *self {
            Epilogue::None => (GemmResult::Rounded, 0, 0),
            Epilogue::Bias(bias) => (GemmResult::Bias, bias_address(bias), 0),
            Epilogue::Gelu { bias, aux } => {
                assert_eq!(aux.len(), m * n);
                let result = if bias.is_some() { GemmResult::BiasGelu } else { GemmResult::Gelu };
                (result, bias.map_or(0, bias_address), aux.address())
            }
            Epilogue::GeluBackward { aux } => {
                assert_eq!(aux.len(), m * n);
                (GemmResult::GeluBackward, 0, aux.address())
            }
        }
    }
}

impl GemmCall {
    /// Sizes and epilogue, e.g. `gemm 4096x768x3072 bias`; accumulating products end in `+=`.
    pub fn label(&self) -> String {
        let GemmCall { m, n, k, .. } = self;
        let what = match self.result {
            GemmResult::Accumulated => " +=",
            GemmResult::Rounded => "",
            GemmResult::Bias => " bias",
            GemmResult::Gelu => " gelu",
            GemmResult::BiasGelu => " bias gelu",
            GemmResult::GeluBackward => " dgelu",
        };
        format!("gemm {m}x{n}x{k}{what}")
    }

    /// The same product on other buffers: `to` says where an address has gone. What it does not have stays so.
    pub(super) fn moved(&self, to: &dyn Fn(u64) -> u64) -> Self {
        let to = |address: u64| if address == 0 { 0 } else { to(address) };
        let GemmCall { a, b, d, bias, aux, .. } = *self;
        let [a, b, d, bias, aux] = [a, b, d, bias, aux].map(to);
        GemmCall { a, b, d, bias, aux, ..*self }
    }
}
