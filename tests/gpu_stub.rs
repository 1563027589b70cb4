//! The GPU device against stand-ins for the driver and cuBLASLt: copies through the ring, and products as they are put
//! to the library. Kernels do nothing here; those are tested on the emulator.

mod stub;

use bytemuck::Pod;
use half::bf16;
use logwright::cuda::device::gemm::{Epilogue, Gemm, Operand, Output};
use logwright::cuda::device::memory::{Buffer, View};
use logwright::cuda::device::seam::Device;
use logwright::cuda::device::tensor_map::MapLayout;
use logwright::cuda::gpu::device::Gpu;
use logwright::cuda::gpu::driver::Driver;
use logwright::cuda::gpu::tensor_maps::TensorMaps;
use std::sync::Arc;

/// Small numbers whose sums and products are exact in bf16 and f32.
fn values(n: usize, seed: usize) -> Vec<bf16> {
    (0..n).map(|i| bf16::from_f32(((i * 7 + seed * 3) % 5) as f32 - 2.0)).collect()
}

struct Bench {
    device: Arc<dyn Device>,
}

impl Bench {
    fn put<T: Pod>(&self, values: &[T]) -> Buffer<T> {
        let buffer = Buffer::new(self.device.clone(), values.len()).unwrap();
        buffer.view_mut().upload(values).unwrap();
        buffer
    }

    fn get<T: Pod>(&self, view: View<T>) -> Vec<T> {
        let mut values = vec![T::zeroed(); view.len()];
        view.download(&mut values).unwrap();
        values
    }

    /// All layouts, outputs and epilogues of one shape.
    fn products(&self, m: usize, n: usize, k: usize) {
        for (a_transposed, b_transposed) in [(false, false), (false, true), (true, false), (true, true)] {
            let (a, b, bias) = (values(m * k, 1), values(k * n, 2), values(n, 3));
            let element = |row: usize, column: usize| -> f32 {
                let a = |i: usize| if a_transposed { a[i * m + row] } else { a[row * k + i] };
                let b = |i: usize| if b_transposed { b[column * k + i] } else { b[i * n + column] };
                (0..k).map(|i| a(i).to_f32() * b(i).to_f32()).sum()
            };
            let sums: Vec<f32> = (0..m * n).map(|i| element(i / n, i % n)).collect();
            let (a, b) = (self.put(&a), self.put(&b));
            let operands = [
                Operand { view: a.view(), transposed: a_transposed },
                Operand { view: b.view(), transposed: b_transposed },
            ];
            self.accumulated([m, n, k], operands, &sums);
            self.rounded([m, n, k], operands, &sums, &bias);
        }
    }

    fn accumulated(&self, [m, n, k]: [usize; 3], [a, b]: [Operand; 2], sums: &[f32]) {
        let buffer = self.put(&vec![0.5f32; sums.len()]);
        let d = buffer.view();
        let gemm = Gemm { m, n, k, a, b, d: Output::Accumulated(buffer.view_mut()) };
        assert!(self.device.supports(&gemm).unwrap());
        assert!(self.get(d).iter().all(|&x| x == 0.5), "planning wrote to the output");
        self.device.gemm(&gemm).unwrap();
        assert_eq!(self.get(d), sums.iter().map(|sum| sum + 0.5).collect::<Vec<f32>>());
    }

    fn rounded(&self, [m, n, k]: [usize; 3], [a, b]: [Operand; 2], sums: &[f32], bias: &[bf16]) {
        let gemm = |d, epilogue| Gemm { m, n, k, a, b, d: Output::Rounded(d, epilogue) };
        let round = |values: &[f32]| values.iter().map(|&x| bf16::from_f32(x)).collect::<Vec<bf16>>();
        let with_bias: Vec<f32> = sums.iter().enumerate().map(|(i, sum)| sum + bias[i % bias.len()].to_f32()).collect();
        let mut gelu = with_bias.clone();
        logwright::cpu::gelu::forward(&mut gelu, &with_bias);
        let before = values(sums.len(), 4);
        let mut backward = sums.to_vec();
        logwright::cpu::gelu::backward(&mut backward, &before.iter().map(|x| x.to_f32()).collect::<Vec<f32>>());
        let (d_buffer, aux_buffer, bias) = (self.put(&before), self.put(&before), self.put(bias));
        let (d, aux) = (d_buffer.view(), aux_buffer.view());
        let (to, aux_to, bias) = (d_buffer.view_mut(), aux_buffer.view_mut(), bias.view());
        let backward_aux = self.put(&before);
        let cases = [
            (Epilogue::None, sums.to_vec()),
            (Epilogue::Bias(bias), with_bias.clone()),
            (Epilogue::Gelu { bias: Some(bias), aux: aux_to }, gelu),
            (Epilogue::GeluBackward { aux: backward_aux.view() }, backward),
        ];
        for (epilogue, expected) in cases {
            let (old_d, old_aux) = (self.get(d), self.get(aux));
            assert!(self.device.supports(&gemm(to, epilogue)).unwrap());
            assert!(self.get(d) == old_d && self.get(aux) == old_aux, "planning wrote to the outputs");
            self.device.gemm(&gemm(to, epilogue)).unwrap();
            // The stand-in and the reference may round a GELU differently, and its tail may vanish or almost.
            let tail = |x: &bf16| x.to_f32().abs() < 1e-30;
            let near = |found: &bf16, expected: &bf16| found.to_bits().abs_diff(expected.to_bits()) <= 1;
            let close = |(x, y): (&bf16, &bf16)| near(x, y) || (tail(x) && tail(y));
            let (found, expected) = (self.get(d), round(&expected));
            let far = found.iter().zip(&expected).find(|&pair| !close(pair));
            assert!(far.is_none(), "found and expected: {far:?}");
        }
        assert_eq!(self.get(aux), round(&with_bias));
        self.device.gemm(&gemm(to, Epilogue::Gelu { bias: None, aux: aux_to })).unwrap();
        assert_eq!(self.get(aux), round(sums));
        assert_eq!(self.get(backward_aux.view()), before);
    }
}

fn set(variable: &str, value: &str) {
    // SAFETY: this file's only test runs on one thread, which starts no other that reads the environment.
    unsafe { std::env::set_var(variable, value) };
}

fn copies(bench: &Bench) {
    // More than the ring holds, and no whole number of slots.
    let many: Vec<u32> = (0..(40 << 18) + 3).collect();
    let buffer = bench.put(&many);
    assert!(bench.get(buffer.view()) == many);
    buffer.view_mut().slice(1..4).clear().unwrap();
    assert_eq!(bench.get(buffer.view().first(6)), [0, 0, 0, 0, 4, 5]);
}

/// Each tensor is described to the driver once, with all that the kernels rely on.
fn tensor_maps() {
    let maps = TensorMaps::new(Driver::get().unwrap());
    let qkv = MapLayout { address: 0x4000, sizes: [128, 6, 33, 2], tile: [64, 1, 64, 1] };
    let other = MapLayout { address: 0x8000, ..qkv };
    let [first, second, again] = [qkv, other, qkv].map(|layout| *maps.get(&layout).unwrap().words());
    let (bf16_type, swizzle_128, l2_128, no_fill) = (9, 3, 2, 0);
    let (strides, pairs) = ([2 * 128, 2 * 128 * 6, 2 * 128 * 6 * 33], [64 | 1 << 32, 64 | 1 << 32]);
    assert_eq!(first[1..4], [bf16_type, 4, 0x4000]);
    assert_eq!((&first[4..8], &first[8..11], &first[11..13]), (&qkv.sizes[..], &strides[..], &pairs[..]));
    assert_eq!(first[13..], [1, swizzle_128, l2_128 << 8 | no_fill]);
    assert!(again == first && second[3] == 0x8000 && second[0] == first[0] + 1, "encoded more than once");
    set("STUB_CUDA", "cuTensorMapEncodeTiled=1");
    let refused = maps.get(&MapLayout { address: 0x9000, ..qkv }).unwrap_err().to_string();
    set("STUB_CUDA", "");
    assert!(refused.contains("describing a tensor to the copy engine") && refused.contains("36864"), "{refused}");
}

fn failures(bench: &Bench) {
    let device = &bench.device;
    let message = |code: &str, act: &dyn Fn() -> logwright::Result<()>| {
        set("STUB_CUDA", code);
        let message = act().unwrap_err().to_string();
        set("STUB_CUDA", "");
        message
    };
    let full = message("cuMemAlloc_v2=2", &|| device.allocate(5 << 20).map(|_| ()));
    assert!(full.contains("allocating 5 MiB, 3 of 16384 MiB free") && full.contains("smaller --batch"), "{full}");
    let lost = message("cuStreamSynchronize=700", &|| device.synchronize());
    assert!(lost.contains("resume from the last checkpoint") && lost.contains("GPU 0"), "{lost}");
    assert!(message("cuCtxSetCurrent=709", &|| device.begin_capture()).contains("CUDA error 709"));
}

/// One test: the stand-ins answer to the environment, which belongs to the process.
#[test]
fn copies_products_and_failures() {
    let folder = stub::libraries();
    let load = |name: &str| {
        // SAFETY: the stand-ins run nothing when loaded. Once loaded, they are found by their names alone.
        std::mem::forget(unsafe { libloading::Library::new(folder.path().join(name)) }.unwrap())
    };
    ["libcuda.so.1", "libcublasLt.so.13"].into_iter().for_each(load);
    tensor_maps();
    for tune in ["0", "1"] {
        set("LOGWRIGHT_TUNE_GEMM", tune);
        let bench = Bench { device: Arc::new(Gpu::open(0).unwrap()) };
        copies(&bench);
        bench.products(3, 8, 5);
        bench.products(16, 24, 7);
        failures(&bench);
    }
    let device: Arc<dyn Device> = Arc::new(Gpu::open(0).unwrap());
    let bench = Bench { device: device.clone() };
    let [a, aux, d] = [(); 3].map(|_| bench.put(&values(64, 1)));
    let operand = Operand::plain(a.view());
    let d = Output::Rounded(d.view_mut(), Epilogue::GeluBackward { aux: aux.view() });
    let gemm = Gemm { m: 8, n: 8, k: 8, a: operand, b: operand, d };
    set("STUB_WITHOUT", "192");
    assert!(!device.supports(&gemm).unwrap());
    let refused = device.gemm(&gemm).unwrap_err().to_string();
    assert!(refused.contains("no algorithm for the product 8 x 8 x 8") && refused.contains("DGELU"), "{refused}");
    set("STUB_WITHOUT", "0");
    assert!(!device.supports(&gemm).unwrap(), "the library is asked once");
}
