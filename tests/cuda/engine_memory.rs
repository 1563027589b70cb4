//! The CUDA engine on devices that are full, or lost.

use crate::engine::{BIASED, Data, PLAIN, WIDE_HEADS, parameters, step};
use logwright::cuda::emulator::device::Emulator;
use logwright::cuda::model::activations::{Purpose, Recompute};
use logwright::cuda::model::engine::{CudaEngine, Options};
use logwright::cuda::model::memory;
use logwright::engine::Engine;
use logwright::gpt::Config;
use std::sync::Arc;

/// Room for the model and for a batch of `batch`, no more.
fn device_for(config: &Config, batch: usize, seq_len: usize) -> Emulator {
    let purpose = Purpose::Training(Recompute::Nothing);
    Emulator::with_memory(0, memory::of(config, batch, seq_len, purpose).total())
}

/// What the memory report counts is what training takes: a batch that it says fits does, and the error about the next names it.
#[test]
fn a_full_device_names_the_largest_batch() {
    // Larger buffers take whole pages of a GPU, where a fourth sequence may find room.
    let small = Config { channels: 128, heads: 1, ..WIDE_HEADS };
    for (device, config) in [
        (device_for(&PLAIN, 3, 65), PLAIN),
        (device_for(&BIASED, 3, 65).like_hopper(), BIASED),
        (device_for(&small, 3, 65).like_hopper(), small),
    ] {
        let mut engine = CudaEngine::new(Arc::new(device), config, parameters(&config), Options::default()).unwrap();
        let fits = Data::new(&config, 3, 65, 1);
        engine.accumulate(fits.batch(), fits.scale()).unwrap();
        engine.update(&step(1)).unwrap();
        let large = Data::new(&config, 4, 65, 1);
        let error = engine.accumulate(large.batch(), large.scale()).unwrap_err().to_string();
        assert!(error.contains("the largest batch that fits is 3 sequences"), "{error}");
        // The engine survives it.
        engine.accumulate(fits.batch(), fits.scale()).unwrap();
    }
}

#[test]
fn a_cache_that_does_not_fit_names_the_one_that_does() {
    let device = Arc::new(Emulator::with_memory(0, 4 << 20));
    let mut engine = CudaEngine::new(device, PLAIN, parameters(&PLAIN), Options::default()).unwrap();
    let error = engine.open_cache(4000).unwrap_err().to_string();
    let most = error.split("--parallel ").nth(1).unwrap_or_else(|| panic!("{error}")).parse().unwrap();
    assert!(error.contains("KV cache of 4000 sequences"), "{error}");
    assert!(engine.open_cache(most).is_ok() && engine.open_cache(most + 1).is_err(), "{most}");
}

#[test]
fn a_full_device_with_no_room_for_one_sequence_says_what_to_do() {
    let enough = memory::of(&PLAIN, 1, 65, Purpose::Training(Recompute::Blocks)).total();
    let device = Arc::new(Emulator::with_memory(0, enough));
    let mut engine = CudaEngine::new(device.clone(), PLAIN, parameters(&PLAIN), Options::default()).unwrap();
    let data = Data::new(&PLAIN, 1, 65, 1);
    let error = engine.accumulate(data.batch(), data.scale()).unwrap_err().to_string();
    assert!(error.contains("--recompute blocks"), "{error}");
    drop(engine);
    let options = Options { recompute: Recompute::Blocks, ..Options::default() };
    let mut engine = CudaEngine::new(device, PLAIN, parameters(&PLAIN), options).unwrap();
    engine.accumulate(data.batch(), data.scale()).unwrap();
}

#[test]
fn a_lost_device_is_an_error_and_stays_one() {
    let device = Arc::new(Emulator::lost_after(0, 40));
    let mut engine = CudaEngine::new(device, PLAIN, parameters(&PLAIN), Options::default()).unwrap();
    let data = Data::new(&PLAIN, 1, 9, 1);
    let mut train = || -> logwright::Result<()> {
        engine.accumulate(data.batch(), data.scale())?;
        engine.update(&step(1)).map(drop)
    };
    let error = (0..3).find_map(|_| train().err()).expect("the device is lost on the way").to_string();
    assert!(error.contains("lost"), "{error}");
    assert!(train().is_err());
}
