use crate::harness::{
    Bench, Hardware, assert_close, assert_close_on, assert_close_overall, on_devices, random, round, wide,
};
use half::bf16;
use half::slice::HalfFloatSliceExt;
use logwright::cpu;
use logwright::cuda::model::attention::AttentionKernels;
use logwright::cuda::ops::attention::{self, AttentionShape, Backward, Forward, HEAD_SIZES};

on_devices! { forward backward rising_scores }

/// B, T, NH: fewer rows than a tile, whole tiles, tails of one row and of a tile less one, several blocks.
const SHAPES: [(usize, usize, usize); 7] =
    [(2, 1, 3), (1, 17, 3), (2, 63, 2), (2, 64, 1), (1, 65, 2), (1, 128, 1), (1, 257, 1)];

/// Of the inputs: nearly uniform attention, and scores of many tens.
const SCALES: [f32; 2] = [1.0, 12.0];

fn shapes() -> impl Iterator<Item = AttentionShape> {
    let shape =
        |(batch, seq_len, heads)| HEAD_SIZES.map(|head_size| AttentionShape { batch, seq_len, heads, head_size });
    SHAPES.into_iter().flat_map(shape)
}

/// Elements of (B,T,NH,HS).
pub fn activations(shape: AttentionShape) -> usize {
    shape.batch * shape.seq_len * shape.heads * shape.head_size
}

pub fn rows(shape: AttentionShape) -> usize {
    shape.batch * shape.heads * shape.seq_len
}

fn cpu_shape(shape: AttentionShape) -> cpu::attention::AttentionShape {
    let AttentionShape { batch, seq_len, heads, head_size } = shape;
    cpu::attention::AttentionShape { batch, seq_len, heads, head_size }
}

/// Packed queries, keys and values, and a gradient of the output.
pub fn inputs(shape: AttentionShape, scale: f32) -> (Vec<f32>, Vec<f32>) {
    (random(3 * activations(shape), 1, scale), random(activations(shape), 2, 1.0))
}

/// Values of few bits, whose sums are exact in any order. The scores' gradient of a lone token is zero by cancellation:
/// from these it must come out as zero, where no naive version could tell how much noise is usual.
pub fn coarse(values: &[f32]) -> Vec<f32> {
    let top = values.iter().fold(0.0f32, |top, x| top.max(x.abs()));
    values.iter().map(|x| (x / top * 8.0).round()).collect()
}

fn dot(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

fn add_scaled(sums: &mut [f32], factor: f32, values: &[f32]) {
    sums.iter_mut().zip(values).for_each(|(sum, value)| *sum += factor * value);
}

pub fn narrow(x: f32) -> f32 {
    bf16::from_f32(x).to_f32()
}

/// One head of a sequence as plain loops see it.
#[derive(Clone, Copy)]
struct Head {
    shape: AttentionShape,
    b: usize,
    h: usize,
}

impl Head {
    fn all(shape: AttentionShape) -> impl Iterator<Item = Head> {
        (0..shape.batch * shape.heads).map(move |i| Head { shape, b: i / shape.heads, h: i % shape.heads })
    }

    /// Where row t lies in (B,T,parts,NH,HS).
    fn range(&self, t: usize, part: usize, parts: usize) -> std::ops::Range<usize> {
        let AttentionShape { seq_len, heads, head_size, .. } = self.shape;
        let start = (((self.b * seq_len + t) * parts + part) * heads + self.h) * head_size;
        start..start + head_size
    }

    /// Where it lies in (B,NH,T).
    fn row(&self, t: usize) -> usize {
        (self.b * self.shape.heads + self.h) * self.shape.seq_len + t
    }

    fn scale(&self) -> f32 {
        1.0 / (self.shape.head_size as f32).sqrt()
    }

    /// Scaled scores of query t with the keys that it sees.
    fn scores(&self, qkv: &[f32], t: usize) -> Vec<f32> {
        let q = &qkv[self.range(t, 0, 3)];
        (0..=t).map(|j| dot(q, &qkv[self.range(j, 1, 3)]) * self.scale()).collect()
    }
}

/// out and lse by plain loops in f32, with exp(score - maximum) rounded before it meets the values.
pub fn naive_forward(qkv: &[f32], shape: AttentionShape) -> (Vec<bf16>, Vec<f32>) {
    let (mut out, mut lse) = (vec![0.0; activations(shape)], vec![0.0; rows(shape)]);
    for head in Head::all(shape) {
        for t in 0..shape.seq_len {
            let scores = head.scores(qkv, t);
            let top = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            let p: Vec<f32> = scores.iter().map(|score| (score - top).exp()).collect();
            let sum: f32 = p.iter().sum();
            let out = &mut out[head.range(t, 0, 1)];
            p.iter().enumerate().for_each(|(j, &p)| add_scaled(out, narrow(p), &qkv[head.range(j, 2, 3)]));
            out.iter_mut().for_each(|x| *x /= sum);
            lse[head.row(t)] = top + sum.ln();
        }
    }
    (round(&out), lse)
}

/// dqkv by plain loops in f32, with probabilities and the scores' gradients rounded before their products.
fn naive_backward(dout: &[f32], out: &[f32], lse: &[f32], qkv: &[f32], shape: AttentionShape) -> Vec<bf16> {
    let mut dqkv = vec![0.0; qkv.len()];
    for head in Head::all(shape) {
        for t in 0..shape.seq_len {
            let dout = &dout[head.range(t, 0, 1)];
            let delta = dot(dout, &out[head.range(t, 0, 1)]);
            for (j, score) in head.scores(qkv, t).into_iter().enumerate() {
                let p = (score - lse[head.row(t)]).exp();
                let ds = narrow(p * (dot(dout, &qkv[head.range(j, 2, 3)]) - delta)) * head.scale();
                add_scaled(&mut dqkv[head.range(j, 2, 3)], narrow(p), dout);
                add_scaled(&mut dqkv[head.range(j, 1, 3)], ds, &qkv[head.range(t, 0, 3)]);
                add_scaled(&mut dqkv[head.range(t, 0, 3)], ds, &qkv[head.range(j, 1, 3)]);
            }
        }
    }
    round(&dqkv)
}

fn true_forward(qkv: &[f32], shape: AttentionShape) -> (Vec<f64>, Vec<f64>) {
    let (mut out, mut lse) = (vec![0.0; activations(shape)], vec![0.0; rows(shape)]);
    let mut by_head = out.clone();
    cpu::attention::forward(&mut out, &mut lse, &mut by_head, &wide(qkv), cpu_shape(shape));
    (out, lse)
}

fn true_backward(dout: &[f32], out: &[f32], lse: &[f32], qkv: &[f32], shape: AttentionShape) -> Vec<f64> {
    let mut dqkv = vec![0.0; qkv.len()];
    let mut by_head = dqkv.clone();
    let [dout, out, lse, qkv] = [dout, out, lse, qkv].map(wide);
    cpu::attention::backward(&mut dqkv, &mut by_head, &dout, &out, &lse, &qkv, cpu_shape(shape));
    dqkv
}

/// out and lse.
pub fn run_forward(
    kernels: AttentionKernels,
    bench: &Bench,
    qkv: &[f32],
    shape: AttentionShape,
) -> (Vec<bf16>, Vec<f32>) {
    let (out, lse, qkv) = (bench.output(activations(shape)), bench.output(rows(shape)), bench.rounded(qkv));
    let forward = Forward { out: out.view_mut(), lse: lse.view_mut(), qkv: qkv.view(), shape };
    kernels.forward(forward, bench.device()).unwrap();
    (bench.read(out.view()), bench.read(lse.view()))
}

/// dqkv, where the forward pass gave `out` and `lse`.
pub fn run_backward(
    kernels: AttentionKernels,
    bench: &Bench,
    [qkv, dout]: [&[f32]; 2],
    (out, lse): (&[f32], &[f32]),
    shape: AttentionShape,
) -> Vec<bf16> {
    let dqkv = bench.output::<bf16>(qkv.len());
    let scratch = bench.output(attention::scratch(shape));
    let [dout, out, qkv] = [dout, out, qkv].map(|values| bench.rounded(values));
    let lse = bench.input(lse);
    let backward = Backward {
        dqkv: dqkv.view_mut(),
        scratch: scratch.view_mut(),
        dout: dout.view(),
        out: out.view(),
        lse: lse.view(),
        qkv: qkv.view(),
        shape,
    };
    kernels.backward(backward, bench.device()).unwrap();
    bench.read(dqkv.view())
}

fn check_forward(bench: &Bench, qkv: &[f32], shape: AttentionShape) {
    let (out, lse) = run_forward(AttentionKernels::Mma, bench, qkv, shape);
    compare_forward(&out, &lse, qkv, shape);
}

pub fn compare_forward(out: &[bf16], lse: &[f32], qkv: &[f32], shape: AttentionShape) {
    let (truth, naive) = (true_forward(qkv, shape), naive_forward(qkv, shape));
    assert_close(&format!("out of {shape:?}"), out, &truth.0, &naive.0);
    // The relative error of a sum of exponentials is the absolute error of its logarithm.
    let ones = vec![1.0; rows(shape)];
    let exponentials = (Hardware::Ex2, &ones[..]);
    assert_close_on(&[exponentials], &format!("lse of {shape:?}"), lse, &truth.1, &naive.1);
}

fn check_backward(bench: &Bench, qkv: &[f32], dout: &[f32], shape: AttentionShape) {
    let (out, lse) = naive_forward(qkv, shape);
    let out = out.to_f32_vec();
    let dqkv = run_backward(AttentionKernels::Mma, bench, [qkv, dout], (&out, &lse), shape);
    compare_backward(&dqkv, dout, (&out, &lse), qkv, shape);
}

/// `forward`: out and lse.
pub fn compare_backward(dqkv: &[bf16], dout: &[f32], forward: (&[f32], &[f32]), qkv: &[f32], shape: AttentionShape) {
    let (out, lse) = forward;
    let truth = true_backward(dout, out, lse, qkv, shape);
    let naive = naive_backward(dout, out, lse, qkv, shape);
    for (part, name) in ["dq", "dk", "dv"].into_iter().enumerate() {
        let what = format!("{name} of {shape:?}");
        let (found, truth) = (pick(dqkv, part, shape), pick(&truth, part, shape));
        let naive = pick(&naive, part, shape);
        match name {
            "dv" => assert_close(&what, &found, &truth, &naive),
            // The scores' gradient of a query that sees one key, or one key alone, is a difference of two equal sums.
            _ => assert_close_overall(&what, &found, &truth, &naive),
        }
    }
}

/// One of the three parts of (B,T,3,NH,HS).
fn pick<T: Copy>(packed: &[T], part: usize, shape: AttentionShape) -> Vec<T> {
    let width = shape.heads * shape.head_size;
    packed.chunks_exact(width).skip(part).step_by(3).flatten().copied().collect()
}

fn forward(bench: &Bench) {
    for shape in shapes() {
        SCALES.into_iter().for_each(|scale| check_forward(bench, &inputs(shape, scale).0, shape));
    }
}

fn backward(bench: &Bench) {
    for shape in shapes() {
        for scale in SCALES {
            let (mut qkv, mut dout) = inputs(shape, scale);
            if shape.seq_len == 1 {
                (qkv, dout) = (coarse(&qkv), coarse(&dout));
            }
            check_backward(bench, &qkv, &dout, shape);
        }
    }
}

/// Later keys score higher and higher, so that every tile moves the maximum and all sums before it.
fn rising_scores(bench: &Bench) {
    for head_size in HEAD_SIZES {
        let shape = AttentionShape { batch: 1, seq_len: 257, heads: 1, head_size };
        let (mut qkv, dout) = inputs(shape, 1.0);
        for (t, row) in qkv.chunks_exact_mut(3 * head_size).enumerate() {
            row[..head_size].iter_mut().for_each(|q| *q = narrow(0.5 + 0.25 * *q));
            row[head_size..2 * head_size].iter_mut().for_each(|k| *k = narrow((t / 16) as f32 + *k));
        }
        check_forward(bench, &qkv, shape);
        check_backward(bench, &qkv, &dout, shape);
    }
}

#[test]
fn results_do_not_depend_on_the_schedule() {
    let run = |seed, shape: AttentionShape| {
        let bench = Bench::emulator(seed);
        let (qkv, dout) = inputs(shape, 2.0);
        let (out, lse) = run_forward(AttentionKernels::Mma, &bench, &qkv, shape);
        let forward = (&out.to_f32_vec()[..], &lse[..]);
        let dqkv = run_backward(AttentionKernels::Mma, &bench, [&qkv, &dout], forward, shape);
        (out, lse.into_iter().map(f32::to_bits).collect::<Vec<u32>>(), dqkv)
    };
    for head_size in HEAD_SIZES {
        let shape = AttentionShape { batch: 2, seq_len: 145, heads: 2, head_size };
        assert!(run(0, shape) == run(5, shape), "{shape:?}");
    }
}

#[test]
fn other_head_sizes_are_refused_by_name() {
    HEAD_SIZES.into_iter().for_each(|head_size| attention::supported(head_size).unwrap());
    let message = attention::supported(80).unwrap_err().to_string();
    assert!(message.contains("80") && message.contains("[32, 64, 128]"), "{message}");
}
