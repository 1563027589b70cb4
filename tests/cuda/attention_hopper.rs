//! Attention for Hopper (`kernels/attention_hopper*.cuh`) against the CPU, on the emulator. No engine launches it yet: the
//! kernels are those of `kernels/emulator/tests/attention_hopper.cu`.

use crate::attention::{activations, coarse, compare_backward, compare_forward, inputs, naive_forward, narrow, rows};
use crate::launches::{Allocation, Passed, entries, launch, pass, tensor_map};
use half::bf16;
use half::slice::HalfFloatSliceExt;
use logwright::cuda::device::seam::Device;
use logwright::cuda::emulator::device::Emulator;
use logwright::cuda::emulator::runtime::{Entry, LaunchConfig};
use logwright::cuda::ops::attention::AttentionShape;
use std::sync::Arc;

const HEAD_SIZES: [usize; 2] = [64, 128];

/// B, T, NH: less than a box, boxes and tiles with a row less or more, several pieces of work a block.
const SHAPES: [(usize, usize, usize); 8] =
    [(2, 1, 3), (1, 63, 2), (1, 64, 1), (1, 65, 2), (2, 127, 1), (1, 128, 2), (2, 129, 1), (1, 257, 2)];

/// Copies and products as late as possible, as soon as possible, and at random.
const SEEDS: [u32; 3] = [0, 1, 5];

/// The blocks of threads, which persist; and the shared memory that a kernel can have.
const BLOCKS: u32 = 2;
const SHARED: usize = 227 << 10;

/// Threads of a warpgroup.
const WARPGROUP: u32 = 128;

fn shape((batch, seq_len, heads): (usize, usize, usize), head_size: usize) -> AttentionShape {
    AttentionShape { batch, seq_len, heads, head_size }
}

struct Card {
    device: Arc<dyn Device>,
    seed: u32,
    shape: AttentionShape,
}

impl Card {
    fn new(seed: u32, shape: AttentionShape) -> Self {
        Card { device: Arc::new(Emulator::new(seed)), seed, shape }
    }

    fn rounded(&self, values: &[f32]) -> Allocation<bf16> {
        Allocation::of(&self.device, &values.iter().map(|&x| bf16::from_f32(x)).collect::<Vec<_>>())
    }

    /// Of (B,T,parts,NH,HS).
    fn map(&self, of: &Allocation<bf16>, parts: usize) -> Passed {
        let AttentionShape { batch, seq_len, heads, head_size } = self.shape;
        tensor_map(of, &[head_size, parts * heads, seq_len, batch].map(|n| n as u64), &[64, 1, 64, 1])
    }

    fn launch(&self, kernels: [&'static Entry; 2], warpgroups: u32, mut arguments: Vec<Passed>) {
        let AttentionShape { batch, seq_len, heads, head_size } = self.shape;
        arguments.extend([batch, seq_len, heads].map(|n| pass(n as i32, b'i')));
        arguments.push(pass(1.0 / (head_size as f32).sqrt(), b'f'));
        let block = [warpgroups * WARPGROUP, 1, 1];
        let run = LaunchConfig { grid: [BLOCKS, 1, 1], block, shared: SHARED, seed: self.seed };
        let at = HEAD_SIZES.iter().position(|&size| size == head_size).unwrap();
        launch(kernels[at], run, arguments).unwrap();
    }

    /// out and lse.
    fn forward(&self, qkv: &[f32]) -> (Vec<bf16>, Vec<f32>) {
        let kernels = entries!("attention_hopper_" forward_64 "attention_hopper_" forward_128);
        let out = Allocation::new(&self.device, activations(self.shape));
        let lse = Allocation::new(&self.device, rows(self.shape));
        let qkv = self.rounded(qkv);
        let warpgroups = if self.shape.head_size == 64 { 5 } else { 3 };
        self.launch(kernels, warpgroups, vec![self.map(&qkv, 3), self.map(&out, 1), pass(lse.address, b'F')]);
        (out.read(), lse.read())
    }

    /// dqkv.
    fn backward(&self, qkv: &[f32], dout: &[f32], out: &[f32], lse: &[f32]) -> Vec<bf16> {
        let queries = entries!("attention_hopper_" queries_64 "attention_hopper_" queries_128);
        let keys = entries!("attention_hopper_" keys_64 "attention_hopper_" keys_128);
        let [qkv, dout, out] = [qkv, dout, out].map(|values| self.rounded(values));
        let lse = Allocation::of(&self.device, lse);
        let padded = self.shape.seq_len.next_multiple_of(128);
        let scratch = Allocation::<f32>::new(&self.device, self.shape.batch * self.shape.heads * 2 * padded);
        let dqkv = Allocation::new(&self.device, 3 * activations(self.shape));
        let map = |of, parts| self.map(of, parts);
        let (to, scratch) = (|| map(&dqkv, 3), scratch.address);
        let mut arguments = vec![map(&qkv, 3), map(&dout, 1), map(&out, 1), to()];
        arguments.extend([pass(scratch, b'F'), pass(lse.address, b'F')]);
        self.launch(queries, 3, arguments);
        self.launch(keys, 3, vec![map(&qkv, 3), map(&dout, 1), to(), pass(scratch, b'F')]);
        dqkv.read()
    }
}

/// What all seeds give, to the last bit.
fn of_seeds<T: PartialEq>(seeds: &[u32], shape: AttentionShape, run: impl Fn(Card) -> T) -> T {
    let mut results = seeds.iter().map(|&seed| run(Card::new(seed, shape)));
    let first = results.next().unwrap();
    assert!(results.all(|other| other == first), "{shape:?}: results depend on the seed");
    first
}

fn check(seeds: &[u32], qkv: &[f32], dout: &[f32], shape: AttentionShape) {
    let (out, lse) = of_seeds(seeds, shape, |card| card.forward(qkv));
    compare_forward(&out, &lse, qkv, shape);
    let (out, lse) = naive_forward(qkv, shape);
    let out = out.to_f32_vec();
    let dqkv = of_seeds(seeds, shape, |card| card.backward(qkv, dout, &out, &lse));
    compare_backward(&dqkv, dout, (&out, &lse), qkv, shape);
}

/// Nearly uniform attention, and scores of many tens.
fn lengths(head_size: usize) {
    for (of, scale) in SHAPES.into_iter().zip([1.0, 12.0].into_iter().cycle()) {
        let shape = shape(of, head_size);
        let (mut qkv, mut dout) = inputs(shape, scale);
        if shape.seq_len == 1 {
            (qkv, dout) = (coarse(&qkv), coarse(&dout));
        }
        check(&SEEDS, &qkv, &dout, shape);
    }
}

#[test]
fn lengths_of_head_size_64() {
    lengths(64);
}

#[test]
fn lengths_of_head_size_128() {
    lengths(128);
}

/// Many tiles, so that every ring goes round several times, in eight orders: `.ci/long`.
#[test]
#[ignore = "takes minutes"]
fn a_thousand_rows() {
    for head_size in HEAD_SIZES {
        let shape = shape((2, 1000, 2), head_size);
        let (qkv, dout) = inputs(shape, 4.0);
        check(&[0, 1, 2, 3, 4, 5, 6, 7], &qkv, &dout, shape);
    }
}

/// Keys whose scores try the hope of the softmax that none exceeds the reference: the tiles of keys are visited from the last.
#[test]
fn scores_that_disappoint() {
    type OfKey = fn(usize, f32) -> f32;
    let kinds: [OfKey; 4] = [
        |t, k| (t / 16) as f32 + k,
        |t, k| (16 - t / 16) as f32 + k,
        |t, k| if t == 70 { 300.0 } else { k },
        |_, _| 0.75,
    ];
    for (head_size, of_key) in HEAD_SIZES.into_iter().flat_map(|size| kinds.map(|kind| (size, kind))) {
        let shape = shape((1, 257, 1), head_size);
        let (mut qkv, dout) = inputs(shape, 1.0);
        for (t, row) in qkv.chunks_exact_mut(3 * head_size).enumerate() {
            row[..head_size].iter_mut().for_each(|q| *q = narrow(0.5 + 0.25 * *q));
            row[head_size..2 * head_size].iter_mut().for_each(|k| *k = narrow(of_key(t, *k)));
        }
        check(&SEEDS, &qkv, &dout, shape);
    }
}
