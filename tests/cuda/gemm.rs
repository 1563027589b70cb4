use crate::harness::{Bench, Guarded, assert_close, on_devices, random, round, wide};
use half::bf16;
use logwright::cpu::gelu;
use logwright::cuda::device::gemm::{Epilogue, Gemm, Operand, Output};

on_devices! { rounded accumulated epilogues planning_writes_nothing }

/// (m, n, k), A transposed, B transposed: the products of a layer's forward pass, its inputs' and its weights'
/// gradients.
const PRODUCTS: [((usize, usize, usize), bool, bool); 6] = [
    ((1, 64, 64), false, false),
    ((65, 192, 64), false, false),
    ((65, 128, 72), false, true),
    ((63, 64, 256), false, true),
    ((64, 192, 65), true, false),
    ((128, 72, 257), true, false),
];

/// One product's inputs, what the sums are, and what a plain sum makes of them.
struct Case {
    a: Vec<f32>,
    b: Vec<f32>,
    truth: Vec<f64>,
    naive: Vec<f32>,
}

impl Case {
    fn new((m, n, k): (usize, usize, usize), a_transposed: bool, b_transposed: bool) -> Self {
        let (a, b) = (random(m * k, 1, 2.0), random(k * n, 2, 1.0));
        let term = |row: usize, column: usize, i: usize| {
            let a = a[if a_transposed { i * m + row } else { row * k + i }];
            let b = b[if b_transposed { column * k + i } else { i * n + column }];
            f64::from(a) * f64::from(b)
        };
        let terms = |at: usize| (0..k).map(move |i| term(at / n, at % n, i));
        let truth = (0..m * n).map(|at| terms(at).sum()).collect();
        let naive = (0..m * n).map(|at| terms(at).fold(0.0, |sum, term| truncated(f64::from(sum) + term))).collect();
        Case { a, b, truth, naive }
    }

    fn operands(&self, bench: &Bench) -> Operands {
        Operands { a: bench.rounded(&self.a), b: bench.rounded(&self.b) }
    }
}

/// The inputs on a device.
struct Operands {
    a: Guarded<bf16>,
    b: Guarded<bf16>,
}

impl Operands {
    fn gemm<'a>(
        &'a self,
        ((m, n, k), a_transposed, b_transposed): ((usize, usize, usize), bool, bool),
        d: Output<'a>,
    ) -> Gemm<'a> {
        let (a, b) = (self.a.view(), self.b.view());
        let (a, b) = (Operand { view: a, transposed: a_transposed }, Operand { view: b, transposed: b_transposed });
        Gemm { m, n, k, a, b, d }
    }
}

/// Tensor cores cut sums off where other units round them (Fasi, Higham, Mikaitis and Pranesh, 2021).
fn truncated(x: f64) -> f32 {
    let nearest = x as f32;
    if f64::from(nearest).abs() > x.abs() { f32::from_bits(nearest.to_bits() - 1) } else { nearest }
}

fn rounded(bench: &Bench) {
    for product in PRODUCTS {
        let case = Case::new(product.0, product.1, product.2);
        let (d, operands) = (bench.output(case.truth.len()), case.operands(bench));
        let output = Output::Rounded(d.view_mut(), Epilogue::None);
        bench.device().gemm(&operands.gemm(product, output)).unwrap();
        assert_close("d", &bench.read(d.view()), &case.truth, &round(&case.naive));
    }
}

fn accumulated(bench: &Bench) {
    for product in PRODUCTS {
        let case = Case::new(product.0, product.1, product.2);
        let before = random(case.truth.len(), 3, 1.0);
        let (d, operands) = (bench.input(&before), case.operands(bench));
        bench.device().gemm(&operands.gemm(product, Output::Accumulated(d.view_mut()))).unwrap();
        let truth: Vec<f64> = case.truth.iter().zip(&before).map(|(sum, &b)| sum + f64::from(b)).collect();
        let naive: Vec<f32> = case.naive.iter().zip(&before).map(|(sum, b)| sum + b).collect();
        assert_close("d", &bench.read(d.view()), &truth, &naive);
    }
}

fn epilogues(bench: &Bench) {
    for product in PRODUCTS {
        let case = Case::new(product.0, product.1, product.2);
        let n = product.0.1;
        let values = random(n, 4, 1.0);
        for bias in [None, Some(values)] {
            gelu_forward(bench, product, &case, bias);
        }
        gelu_backward(bench, product, &case);
    }
}

fn gelu_forward(bench: &Bench, product: ((usize, usize, usize), bool, bool), case: &Case, bias: Option<Vec<f32>>) {
    let n = product.0.1;
    let added = |i: usize| bias.as_ref().map_or(0.0, |bias| bias[i % n]);
    let truth: Vec<f64> = case.truth.iter().enumerate().map(|(i, sum)| sum + f64::from(added(i))).collect();
    let naive: Vec<f32> = case.naive.iter().enumerate().map(|(i, sum)| sum + added(i)).collect();
    let (operands, device_bias) = (case.operands(bench), bias.as_ref().map(|bias| bench.rounded(bias)));
    if let Some(bias) = &device_bias {
        let d = bench.output(truth.len());
        let output = Output::Rounded(d.view_mut(), Epilogue::Bias(bias.view()));
        bench.device().gemm(&operands.gemm(product, output)).unwrap();
        assert_close("d + bias", &bench.read(d.view()), &truth, &round(&naive));
    }
    let (d, aux) = (bench.output(truth.len()), bench.output(truth.len()));
    let epilogue = Epilogue::Gelu { bias: device_bias.as_ref().map(Guarded::view), aux: aux.view_mut() };
    let gemm = operands.gemm(product, Output::Rounded(d.view_mut(), epilogue));
    if !bench.device().supports(&gemm).unwrap() {
        println!("not run: {} has no epilogue GELU for {:?}", bench.device().name(), product.0);
        return;
    }
    bench.device().gemm(&gemm).unwrap();
    assert_close("aux", &bench.read(aux.view()), &truth, &round(&naive));
    let (mut y, mut y_naive) = (truth.clone(), naive.clone());
    gelu::forward(&mut y, &truth);
    gelu::forward(&mut y_naive, &naive);
    assert_close("gelu(d)", &bench.read(d.view()), &y, &round(&y_naive));
}

fn gelu_backward(bench: &Bench, product: ((usize, usize, usize), bool, bool), case: &Case) {
    let before = random(case.truth.len(), 5, 3.0);
    let (d, aux, operands) = (bench.output::<bf16>(before.len()), bench.rounded(&before), case.operands(bench));
    let epilogue = Epilogue::GeluBackward { aux: aux.view() };
    let gemm = operands.gemm(product, Output::Rounded(d.view_mut(), epilogue));
    if !bench.device().supports(&gemm).unwrap() {
        println!("not run: {} has no epilogue DGELU for {:?}", bench.device().name(), product.0);
        return;
    }
    bench.device().gemm(&gemm).unwrap();
    let (mut truth, mut naive) = (case.truth.clone(), case.naive.clone());
    gelu::backward(&mut truth, &wide(&before));
    gelu::backward(&mut naive, &before);
    assert_close("dx", &bench.read(d.view()), &truth, &round(&naive));
}

fn planning_writes_nothing(bench: &Bench) {
    let product = PRODUCTS[4];
    let case = Case::new(product.0, product.1, product.2);
    let before = random(case.truth.len(), 3, 1.0);
    let (d, operands) = (bench.input(&before), case.operands(bench));
    let gemm = operands.gemm(product, Output::Accumulated(d.view_mut()));
    assert!(bench.device().supports(&gemm).unwrap());
    assert_eq!(bench.read(d.view()), before);
}
