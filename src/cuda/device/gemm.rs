//! Matrix products: what cuBLASLt is asked for, in row-major terms.

use super::seam::Span;
use half::bf16;

/// D (m,n) = A (m,k) x B (k,n), bf16 x bf16 with f32 sums, all row-major and dense.
#[derive(Clone, Copy)]
pub struct Gemm {
    pub m: usize,
    pub n: usize,
    pub k: usize,
    pub a: Operand,
    pub b: Operand,
    pub d: Output,
}

#[derive(Clone, Copy)]
pub struct Operand {
    pub span: Span<bf16>,
    /// Whether memory holds the transpose: A as (k,m), or B as (n,k).
    pub transposed: bool,
}

#[derive(Clone, Copy)]
pub enum Output {
    /// Rounded to bf16 and overwritten (=), after the epilogue.
    Rounded(Span<bf16>, Epilogue),
    /// Added (+=) in f32: weight gradients.
    Accumulated(Span<f32>),
}

/// What happens to the f32 sums before they are rounded; `aux` (m,n).
#[derive(Clone, Copy)]
pub enum Epilogue {
    None,
    /// + bias (n)
    Bias(Span<bf16>),
    /// aux = sums rounded; D = gelu(sums), tanh form. With a bias (n) it is added first.
    Gelu {
        bias: Option<Span<bf16>>,
        aux: Span<bf16>,
    },
    /// D = sums x gelu'(aux)
    GeluBackward {
        aux: Span<bf16>,
    },
}

impl Operand {
    pub fn plain(span: Span<bf16>) -> Self {
        Operand { span, transposed: false }
    }

    pub fn transposed(span: Span<bf16>) -> Self {
        Operand { span, transposed: true }
    }
}

impl Gemm {
    /// Sizes and epilogue, e.g. `gemm 4096x768x3072 bias`; accumulating products end in `+=`.
    pub fn label(&self) -> String {
        let Gemm { m, n, k, .. } = self;
        let what = match self.d {
            Output::Accumulated(_) => " +=",
            Output::Rounded(_, Epilogue::None) => "",
            Output::Rounded(_, Epilogue::Bias(_)) => " bias",
            Output::Rounded(_, Epilogue::Gelu { bias: None, .. }) => " gelu",
            Output::Rounded(_, Epilogue::Gelu { bias: Some(_), .. }) => " bias gelu",
            Output::Rounded(_, Epilogue::GeluBackward { .. }) => " dgelu",
        };
        format!("gemm {m}x{n}x{k}{what}")
    }

    /// Asserts that every buffer has the length its place demands.
    pub fn check(&self) {
        let Gemm { m, n, k, .. } = *self;
        assert!(m > 0 && n > 0 && k > 0, "an empty product: {m} x {n} x {k}");
        assert_eq!((self.a.span.len(), self.b.span.len()), (m * k, k * n), "operands of {m} x {n} x {k}");
        match self.d {
            Output::Accumulated(d) => assert_eq!(d.len(), m * n),
            Output::Rounded(d, epilogue) => {
                assert_eq!(d.len(), m * n);
                match epilogue {
                    Epilogue::None => {}
                    Epilogue::Bias(bias) => assert_eq!(bias.len(), n),
                    Epilogue::Gelu { bias, aux } => {
                        assert_eq!(aux.len(), m * n);
                        assert!(bias.is_none_or(|bias| bias.len() == n));
                    }
                    Epilogue::GeluBackward { aux } => assert_eq!(aux.len(), m * n),
                }
            }
        }
    }
}
