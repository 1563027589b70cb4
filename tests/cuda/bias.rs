use crate::harness::{Bench, assert_close, on_devices, random, wide};
use logwright::cpu;
use logwright::cuda::ops::bias;

on_devices! { backward }

/// dbias of the reference: of a linear layer with one input, the smallest that has a bias.
fn reference<R: cpu::Real>(start: &[R], dy: &[R]) -> Vec<R> {
    let (c, mut dbias) = (start.len(), start.to_vec());
    let (x, weight) = (vec![R::ZERO; dy.len() / c], vec![R::ZERO; c]);
    let (mut dx, mut dweight) = (x.clone(), weight.clone());
    cpu::linear::backward(&mut dx, &mut dweight, Some(&mut dbias), dy, &x, &weight, 1);
    dbias
}

fn backward(bench: &Bench) {
    for (n, c) in [(1, 64), (3, 128), (257, 384), (65, 768), (33, 1600), (5, 6400), (7001, 72)] {
        let (dy, start) = (random(n * c, 1, 1.0), random(c, 2, 1.0));
        let (dbias, device_dy) = (bench.input(&start), bench.rounded(&dy));
        let partials = bench.output(bias::partials(n, c));
        bias::Backward { dbias: dbias.view_mut(), partials: partials.view_mut(), dy: device_dy.view() }
            .run(bench.device())
            .unwrap();
        assert_close(
            "dbias",
            &bench.read(dbias.view()),
            &reference(&wide(&start), &wide(&dy)),
            &reference(&start, &dy),
        );
    }
    assert_eq!(bias::partials(1 << 20, 768), bias::partials(1 << 12, 768));
}
